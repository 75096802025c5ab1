// SPDX-License-Identifier: Apache-2.0
/*
 * What an unprivileged user may do to delay the lines of others.
 *   crowd idle NUMBER                  that many processes which only sleep, until stdin ends
 *   crowd storm KILLS PROCS UID        kills one after the other, each in a new network namespace, in the cgroup of the
 *                                      file PROCS; prints the pids
 *   crowd hog ARGUMENT...              allocates memory until it is killed
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	  4096
#define HOG_BYTES (64 << 20)
#define ARGUMENT  "pwd=/"
#define ARGUMENTS 800 /* 4 KB, the most that a line's source keeps */

static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

static void hog(void)
{
	char *at = mmap(NULL, HOG_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("mmap");
	for (size_t i = 0; i < HOG_BYTES; i += PAGE)
		at[i] = 1;
}

static void join(const char *procs)
{
	int file = open(procs, O_WRONLY);

	if (file < 0 || write(file, "0", 1) != 1)
		fail(procs);
	close(file);
}

static void be_victim(const char *procs, uid_t uid)
{
	static char argument[sizeof(ARGUMENT) * ARGUMENTS];

	for (int i = 0; i < ARGUMENTS; i++)
		strcat(argument, ARGUMENT);
	join(procs);
	if (unshare(CLONE_NEWNET) || setresuid(uid, uid, uid))
		fail("unshare, setresuid");
	execl("/proc/self/exe", "crowd", "hog", argument, NULL);
	fail("execl");
}

static void storm(int kills, const char *procs, uid_t uid)
{
	for (int i = 0; i < kills; i++) {
		pid_t child = fork();

		if (child < 0)
			fail("fork");
		if (!child)
			be_victim(procs, uid);
		waitpid(child, NULL, 0);
		printf("%d\n", child);
		fflush(stdout);
	}
}

static void idle(int number)
{
	pid_t *children = calloc(number, sizeof(*children));
	char byte;

	for (int i = 0; i < number; i++) {
		children[i] = fork();
		if (!children[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		if (children[i] < 0)
			fail("fork");
	}
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	for (int i = 0; i < number; i++)
		kill(children[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "idle"))
		idle(atoi(argv[2]));
	else if (argc >= 5 && !strcmp(argv[1], "storm"))
		storm(atoi(argv[2]), argv[3], atoi(argv[4]));
	else if (argc >= 2 && !strcmp(argv[1], "hog"))
		hog();
	else
		return 2;
	return 0;
}
