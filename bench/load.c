// SPDX-License-Identifier: Apache-2.0
/*
 * What other processes pay: sends itself a signal, or executes itself, so many times. Prints nanoseconds of CPU time
 * for each, which other processes disturb less than time by the clock.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Of this process and of its children that have ended. */
static double cpu_ns(void)
{
	struct timespec own;
	struct rusage children;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return (own.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1e9 + own.tv_nsec +
	       (children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1e3;
}

static void ignore(int number)
{
	(void)number;
}

static void send_signals(long count)
{
	pid_t self = getpid();

	signal(SIGUSR1, ignore);
	for (long i = 0; i < count; i++)
		kill(self, SIGUSR1);
}

static void execute(long count)
{
	char *arguments[] = {"load", NULL}, *environment[] = {NULL};
	pid_t child;

	for (long i = 0; i < count; i++) {
		if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environment))
			exit(1);
		waitpid(child, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	long count;
	double began;

	if (argc < 3)
		return 0;
	count = atol(argv[2]);
	began = cpu_ns();
	if (!strcmp(argv[1], "signal"))
		send_signals(count);
	else if (!strcmp(argv[1], "exec"))
		execute(count);
	else
		return 2;
	printf("%.1f\n", (cpu_ns() - began) / count);
	return 0;
}
