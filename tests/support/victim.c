// SPDX-License-Identifier: Apache-2.0
/*
 * Processes made to be killed. `victim MODE [MEGABYTES or number]` waits for one byte on stdin, so that its parent can
 * move it into a cgroup, then does what its mode says. Nothing here grows without the limit of a cgroup above it.
 * Environment: VICTIM_MODE for one without arguments, VICTIM_COMM and VICTIM_TITLE for the name and title that it sets,
 * VICTIM_FILE for the file to read.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	 4096
#define MEGABYTE (1 << 20)

static size_t megabytes = 256;

static void *map(size_t size, int flags)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return at;
}

static void touch(char *at, size_t size)
{
	for (size_t i = 0; i < size; i += PAGE)
		at[i] = 1;
}

static void hog(int flags)
{
	touch(map(megabytes * MEGABYTE, flags), megabytes * MEGABYTE);
}

/* Private and shared memory in turns, and its own program's pages: every counter has something. */
static void hog_mixed(void)
{
	for (size_t i = 0; i < megabytes; i++)
		touch(map(MEGABYTE, i % 3 ? MAP_PRIVATE : MAP_SHARED), MEGABYTE);
}

static void say(const char *what)
{
	puts(what);
	fflush(stdout);
}

static void hold(void)
{
	hog(MAP_PRIVATE);
	say("holding");
	pause();
}

/* Holds memory and the given number of descriptors, from 0 on without a gap. */
static void files(void)
{
	static const char *const paths[] = {"/proc/self/exe", "/", "/dev/null"};
	struct rlimit limit = {megabytes, megabytes};

	setrlimit(RLIMIT_NOFILE, &limit);
	for (size_t i = 0; open(paths[i % 3], O_RDONLY) >= 0; i++)
		;
	megabytes = 32;
	hold();
}

/* Holds memory and reads a file that never answers. */
static void reader(void)
{
	const char *file = getenv("VICTIM_FILE");
	char byte;

	hog(MAP_PRIVATE);
	say("holding");
	if (!file || read(open(file, O_RDONLY), &byte, 1) < 0)
		perror("read");
}

/* A child without an execve() of its own; it waits for one more byte. The parent stays, or execs another program. */
static void with_child(int stay)
{
	pid_t child = fork();

	if (!child) {
		getchar();
		hog(MAP_PRIVATE);
		_exit(0);
	}
	printf("%d\n", child);
	fflush(stdout);
	if (!stay)
		execlp("sleep", "sleep", "60", NULL);
	waitpid(child, NULL, 0);
}

/* The given number of processes, all small and all paused. */
static void crowd(void)
{
	for (size_t i = 1; i < megabytes; i++)
		if (!fork())
			pause();
	say("crowded");
	pause();
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (write(fd, text, strlen(text)) < 0)
		_exit(1);
	close(fd);
}

/*
 * The given number of kills, one after the other or some at once; prints the pid of each as soon as it is dead. The
 * children move into the cgroup themselves: in there the kernel would kill their parent sooner or later.
 */
static void storm(size_t kills, const char *procs, size_t at_once)
{
	size_t started = 0;
	int status;

	megabytes = 256;
	for (size_t dead = 0; dead < kills; dead++) {
		for (; started < kills && started < dead + at_once; started++)
			if (!fork()) {
				write_to(procs, "0");
				hog(MAP_PRIVATE);
				_exit(0);
			}
		printf("%d\n", wait(&status));
		fflush(stdout);
		if (!WIFSIGNALED(status))
			exit(1);
	}
}

/* With a child of separate memory, which the kernel kills together with the first process of a pid namespace. */
static void first(void)
{
	if (!fork())
		pause();
	hog(MAP_PRIVATE);
}

static void *hog_thread(void *unused)
{
	(void)unused;
	usleep(100000); /* until the first thread is gone */
	hog(MAP_PRIVATE);
	return NULL;
}

static void *pause_thread(void *unused)
{
	(void)unused;
	pause();
	return NULL;
}

/* Five threads, memory of every kind, and before that more memory for a moment. */
static void threads(void)
{
	size_t more = megabytes / 4 * MEGABYTE;
	char *at = map(more, MAP_PRIVATE);
	pthread_t thread;

	hog_mixed();
	touch(at, more);
	munmap(at, more);
	for (int i = 0; i < 4; i++)
		pthread_create(&thread, NULL, pause_thread, NULL);
	say("holding");
	pause();
}

static int idle(void *unused)
{
	(void)unused;
	while (pause())
		;
	return 0;
}

/*
 * The given number of threads, all with small stacks, which grow by so much at a second byte on stdin; if asked, with
 * another process of the same memory.
 */
static void crew(size_t count, int shared)
{
	pthread_attr_t attributes;
	pthread_t thread;

	/* The stacks, side by side, would get huge pages. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN); /* 16 KiB; 128 KiB on arm64 */
	pthread_attr_setguardsize(&attributes, 0); /* a guard is a mapping, of which a process may have 65,530 */
	for (size_t i = 1; i < count; i++)
		if (pthread_create(&thread, &attributes, pause_thread, NULL)) {
			perror("pthread_create");
			exit(1);
		}
	printf("%d\n",
	       shared ? clone(idle, (char *)map(MEGABYTE, MAP_PRIVATE) + MEGABYTE, CLONE_VM | SIGCHLD, NULL) : 0);
	fflush(stdout);
	getchar();
	hog(MAP_PRIVATE);
	say("holding");
	pause();
}

static void leaderless(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, hog_thread, NULL);
	pthread_exit(NULL);
}

/* Two processes, not threads, with one memory. */
static void sharer(void)
{
	int child = clone(idle, (char *)map(MEGABYTE, MAP_PRIVATE) + MEGABYTE, CLONE_VM | SIGCHLD, NULL);

	printf("%d\n", child);
	fflush(stdout);
	hog(MAP_PRIVATE);
}

/*
 * Allocates while dying. The kernel walks the list of robust futexes of an exiting thread and marks each one; these
 * lie in a private mapping of a file, so that every mark is a copied page, charged when the limit is already reached.
 */
static void dying(void)
{
	enum { PAGES = 2000 };
	static struct robust_list_head head;
	FILE *file = tmpfile();
	char *at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < PAGES; i++) {
		struct robust_list next = {(struct robust_list *)(i + 1 < PAGES ? at + (i + 1) * PAGE : (char *)&head)};
		uint32_t page[PAGE / 4] = {0};

		memcpy(page, &next, sizeof(next));
		page[4] = gettid();
		fwrite(page, PAGE, 1, file);
	}
	fflush(file);
	if (mmap(at, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fileno(file), 0) != at)
		exit(1);
	head.list.next = (struct robust_list *)at;
	head.futex_offset = 4 * sizeof(uint32_t);
	syscall(SYS_set_robust_list, &head, sizeof(head));
	hog(MAP_PRIVATE); /* as much as the limit allows, nearly */
	kill(getpid(), SIGKILL);
}

/* Over the arguments and, where it is longer, over the environment behind them: so do setproctitle() and PostgreSQL. */
static void write_title(int argc, char **argv, const char *title)
{
	char *copy = strdup(title);

	memset(argv[0], 0, argv[argc - 1] + strlen(argv[argc - 1]) - argv[0]);
	strcpy(argv[0], copy);
	free(copy);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : getenv("VICTIM_MODE");
	const char *name = getenv("VICTIM_COMM");
	const char *title = getenv("VICTIM_TITLE");

	if (argc > 2)
		megabytes = strtoul(argv[2], NULL, 10);
	if (name)
		prctl(PR_SET_NAME, name);
	mode = strdup(mode ? mode : "");
	if (title)
		write_title(argc, argv, title);
	getchar();
	if (!strcmp(mode, "hog"))
		hog(MAP_PRIVATE);
	else if (!strcmp(mode, "mixed"))
		hog_mixed();
	else if (!strcmp(mode, "hold"))
		hold();
	else if (!strcmp(mode, "files"))
		files();
	else if (!strcmp(mode, "reader"))
		reader();
	else if (!strcmp(mode, "parent"))
		with_child(1);
	else if (!strcmp(mode, "changed-parent"))
		with_child(0);
	else if (!strcmp(mode, "crowd"))
		crowd();
	else if (!strcmp(mode, "storm"))
		storm(megabytes, argv[3], strtoul(argv[4], NULL, 10));
	else if (!strcmp(mode, "first"))
		first();
	else if (!strcmp(mode, "threads"))
		threads();
	else if (!strcmp(mode, "crew"))
		crew(strtoul(argv[3], NULL, 10), argc > 4);
	else if (!strcmp(mode, "leaderless"))
		leaderless();
	else if (!strcmp(mode, "sharer"))
		sharer();
	else if (!strcmp(mode, "dying"))
		dying();
	else
		return 2;
	return 0;
}
