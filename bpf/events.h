/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The wire record: what the kernel side hands to user space through the perf buffer.
 *
 * ooMtrace/probe/wire.py mirrors these structures; a test compiles this file and compares every offset and size.
 * Every number is an s64 in the kernel's own unit (pages, bytes, nanoseconds); a number that could not be read is
 * UNKNOWN, never 0. A string that could not be read is empty.
 */
#ifndef OOMTRACE_EVENTS_H
#define OOMTRACE_EVENTS_H

#define UNKNOWN	     ((s64)1 << 63)
#define COMM_LEN     16
#define NODENAME_LEN 65 /* __NEW_UTS_LEN + 1 */
#define MESSAGE_LEN  48
#define LEVELS	     16	  /* memory cgroups described, from the victim's own towards the root */
#define DEPTH	     32	  /* names in a path */
#define BEST	     10	  /* candidates told of */
#define FRAMES	     12	  /* mem_cgroup_out_of_memory() is the seventh, callers of out_of_memory() come before it */
#define NAME_LEN     256  /* NAME_MAX + 1: the longest cgroup name */
#define STRINGS	     4096 /* room for all paths of one record */
#define EXEC_LEN     256  /* of the arguments at exec */
#define DESCRIPTORS  1024 /* walked at most */
#define KINDS	     16	  /* what S_IFMT can tell apart */
#define SOCKETS	     32	  /* TCP and UDP sockets told of */
#define UNIX_SOCKETS 16	  /* Unix domain sockets told of */
#define ARGUMENTS    4096
#ifdef ENVIRONMENT
#define CONTEXT_STRINGS 28672 /* with the rest of struct context below 32 KiB, the most that a per-CPU map can hold */
#else
#define CONTEXT_STRINGS 16384
#endif

enum kind {
	KIND_DYING = 1,	  /* marked, but SIGKILL was not sent by the OOM killer: it was already dying */
	KIND_KILLED = 2,  /* SIGKILL sent by the OOM killer, then marked */
	KIND_SHARER = 3,  /* SIGKILL sent because it shares the memory of the process marked just before */
	KIND_RANKING = 4, /* a struct ranking follows, not a struct sighting */
	KIND_CONTEXT = 5, /* a struct context */
	KIND_EXIT = 6,	  /* a struct exit */
	KIND_AGAIN = 7,	  /* a struct again */
};

/* One process or thread, as far as it is worth knowing about a bystander. */
struct task {
	s64 pid;  /* process (tgid), initial pid namespace */
	s64 tid;  /* thread, initial pid namespace */
	s64 vpid; /* process, as it sees itself: innermost pid namespace */
	char comm[COMM_LEN];
};

/* What only the victim has. */
struct victim {
	struct task task;
	struct task parent;
	s64 uid;
	s64 start_boottime; /* ns */
	s64 oom_score_adj;
	s64 threads;
	s64 rss[4];	/* pages: file, anon, swap entries, shmem, as the kernel's cheap counters say */
	s64 rss_sum[4]; /* pages: the same with every CPU's part added; UNKNOWN where that cannot be read */
	s64 pgtables_bytes;
	s64 total_vm;	 /* pages */
	s64 hiwater_rss; /* pages */
	s64 pid_ns;	 /* inode numbers */
	s64 net_ns;
	s64 uts_ns;
	char nodename[NODENAME_LEN];
	char pad[7];
};

/* One memory cgroup on the way from the victim's own to the root. */
struct memcg_level {
	s64 id;	   /* kernfs id: the inode number of its directory */
	s64 usage; /* pages */
	s64 max;
	s64 high;
	s64 watermark;
	s64 swap_usage; /* cgroup v1: memory and swap together */
	s64 swap_max;
	s64 swappiness;
	s64 events_high;
	s64 events_max;
	s64 events_oom;
	s64 events_oom_kill;
	s64 events_oom_group_kill;
	s64 oom_group;
};

/* struct oom_control when oom_kill_process() was entered. */
struct decision {
	s64 ktime;	/* ns, CLOCK_MONOTONIC; UNKNOWN: no decision was seen */
	s64 constraint; /* enum oom_constraint */
	s64 gfp_mask;
	s64 order;
	s64 totalpages;
	s64 chosen_points;
	s64 chosen_pid; /* process */
	s64 memcg_id;	/* kernfs id of the memory cgroup out of memory; UNKNOWN: none */
	char message[MESSAGE_LEN];
};

/*
 * Lengths of the paths in sighting.strings, in the order they lie there. A path is a row of names, leaf first; one that
 * is longer than what can be carried is UNKNOWN, and nothing of it lies there.
 */
struct paths {
	s64 memcg;   /* the victim's memory cgroup */
	s64 unified; /* the victim's cgroup in the v2 hierarchy */
	s64 trigger_memcg;
	s64 used; /* all of them together */
};

struct sighting {
	s64 kind;
	s64 ktime;	   /* ns, CLOCK_MONOTONIC */
	s64 memcg_version; /* 1 or 2 */
	s64 unified_id;
	s64 signalled_at; /* ns, CLOCK_MONOTONIC: when SIGKILL was sent; UNKNOWN: it was not */
	s64 counted; /* the how-manieth kill since the probes were attached; UNKNOWN: the kernel has not counted it */
	struct victim victim;
	struct task trigger;
	struct decision decision;
	struct memcg_level memcg[LEVELS];
	s64 trigger_memcg_ids[LEVELS];
	s64 stack[FRAMES]; /* return addresses of the path that led here, where no decision was seen */
	s64 exec_size;	   /* bytes of exec_args; UNKNOWN: no exec was seen */
	char exec_args[EXEC_LEN];
	struct paths paths;
	char strings[2 * STRINGS]; /* only the used part is sent; the last name may begin just below STRINGS */
};

/* A process that the kernel weighed. */
struct candidate {
	s64 pid;
	s64 points;
	s64 oom_score_adj;
	s64 order; /* the how-manieth it was: of two that weigh the same the kernel takes the later */
	s64 path;  /* bytes of its memory cgroup's path in ranking.strings; UNKNOWN: not known */
	char comm[COMM_LEN];
};

/* The kernel's ranking, sent before the sighting whose decision has the same ktime. */
struct ranking {
	s64 kind; /* KIND_RANKING */
	s64 ktime;
	s64 weighed; /* how many processes were eligible */
	s64 told;    /* how many of `best` there are */
	s64 used;    /* bytes of all paths together */
	struct candidate best[BEST];
	char strings[2 * STRINGS]; /* as in struct sighting */
};

/* One open socket. Addresses lie in context.strings: 4 or 16 bytes, or the name of a Unix domain socket. */
struct socket {
	s64 fd;
	s64 family;
	s64 protocol;
	s64 state;
	s64 local_port;
	s64 remote_port;
	s64 local; /* bytes; UNKNOWN: no address */
	s64 remote;
};

/*
 * What a victim was doing, read in its own context when SIGKILL was delivered to it. In `strings` lie one after the
 * other: executable, working directory, the sockets' addresses, arguments, environment.
 */
struct context {
	s64 kind; /* KIND_CONTEXT */
	s64 ktime;
	s64 pid;
	s64 signalled_at;   /* as in the sighting that it belongs to */
	s64 arguments_size; /* mm->arg_end - mm->arg_start */
	s64 arguments_end;  /* the last byte of them */
	s64 environment_size;
	s64 executable; /* bytes in `strings`; UNKNOWN: not known */
	s64 working_directory;
	s64 arguments;
	s64 environment;
	s64 walked;	  /* descriptors looked at; UNKNOWN: the table could not be read */
	s64 slots;	  /* descriptors that the table has room for */
	s64 kinds[KINDS]; /* open ones by i_mode >> 12; 0: anonymous inodes */
	s64 tcp;
	s64 udp;
	s64 unix_domain;
	s64 sockets; /* how many of `socket` there are */
	s64 used;    /* bytes of all in `strings` */
	struct socket socket[SOCKETS + UNIX_SOCKETS];
	char strings[CONTEXT_STRINGS]; /* only the used part is sent */
};

/* The last thread of a victim has exited. */
struct exit {
	s64 kind; /* KIND_EXIT */
	s64 ktime;
	s64 pid;
	s64 signalled_at;
	s64 maxrss; /* pages */
};

/* The kernel has killed and counted once more who was marked before: a group kill comes to its first victim twice. */
struct again {
	s64 kind; /* KIND_AGAIN */
	s64 ktime;
	s64 tid;
	s64 counted; /* as in a sighting */
};

#endif
