/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The wire format: events that the BPF programs send to user space through the perf buffer.
 *
 * ooMtrace/probe/wire.py mirrors these structures; a test compiles this file and compares every constant, offset and
 * size. Every number is an s64 in the kernel's own unit (pages, bytes, nanoseconds). A number that could not be read
 * is UNKNOWN, never 0. A string that could not be read is empty.
 */
#ifndef OOMTRACE_EVENTS_H
#define OOMTRACE_EVENTS_H

#define UNKNOWN		 ((s64)1 << 63)
#define COMM_LEN	 16
#define NODENAME_LEN	 65 /* __NEW_UTS_LEN + 1 */
#define MESSAGE_LEN	 48
#define NAME_LEN	 256  /* NAME_MAX + 1: the longest cgroup name */
#define EXEC_LEN	 256  /* bytes kept of the arguments at exec */
#define ARGUMENTS_LEN	 4096 /* bytes sent of the arguments at the time of the kill */
#define PATHS_LEN	 8192 /* all paths of one event; the last name may begin just below */
#define MAX_DEPTH	 32   /* names in a path of files, and directories on the way to it */
#define MAX_CGROUPS	 128  /* names in a path of cgroups; memory cgroups from a task's own towards the root */
#define MAX_CANDIDATES	 10
#define MAX_FRAMES	 12   /* mem_cgroup_out_of_memory() is the seventh; the callers of out_of_memory() precede it */
#define MAX_DESCRIPTORS	 1024 /* file descriptors walked */
#define MAX_FILE_TYPES	 16   /* values of i_mode >> 12 */
#define MAX_INET_SOCKETS 32
#define MAX_UNIX_SOCKETS 16 /* Unix domain sockets described: those with a name */
#define MAX_UNIX_WALKED	 64 /* Unix domain sockets searched for a name */
#ifdef ENVIRONMENT
#define CONTEXT_LEN 28672 /* with the rest of struct context below 32 KiB, the largest value of a per-CPU map */
#else
#define CONTEXT_LEN 16384
#endif

/* The first member of every event. DYING, KILLED and SHARER are kinds of struct victim_event. */
enum kind {
	KIND_DYING = 1,	      /* marked without a SIGKILL from the OOM killer: it was already dying */
	KIND_KILLED = 2,      /* SIGKILL sent by the OOM killer, then marked */
	KIND_SHARER = 3,      /* SIGKILL sent because it shares the mm of the process marked just before */
	KIND_RANKING = 4,     /* a struct ranking */
	KIND_CONTEXT = 5,     /* a struct context */
	KIND_EXIT = 6,	      /* a struct exit */
	KIND_REPEAT_KILL = 7, /* a struct repeat_kill */
	KIND_SIGKILL = 8,     /* a struct sigkill */
};

/* The identity of a process or thread. */
struct task {
	s64 pid;  /* process (tgid), initial pid namespace */
	s64 tid;  /* thread, initial pid namespace */
	s64 vpid; /* process, in its innermost pid namespace */
	char comm[COMM_LEN];
};

/* Facts recorded of the victim only. */
struct victim {
	struct task task;
	struct task parent;
	s64 uid;
	s64 start_boottime; /* ns */
	s64 oom_score_adj;
	s64 threads;	/* before SIGKILL; of a process that was already dying: those left */
	s64 rss[4];	/* pages: file, anon, swap entries, shmem; the approximate counters */
	s64 rss_sum[4]; /* pages: the same, with the deltas of all CPUs; UNKNOWN if they cannot be read */
	s64 pgtables_bytes;
	s64 total_vm;	 /* pages */
	s64 hiwater_rss; /* pages */
	s64 pid_ns;	 /* inode numbers */
	s64 net_ns;
	s64 uts_ns;
	char nodename[NODENAME_LEN];
	char pad[7];
};

/* One memory cgroup between the victim's own and the root, both included. */
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

/* struct oom_control on entry of oom_kill_process(). */
struct decision {
	s64 ktime;	/* ns, CLOCK_MONOTONIC; UNKNOWN: no decision was recorded */
	s64 constraint; /* enum oom_constraint */
	s64 gfp_mask;
	s64 order;
	s64 totalpages;
	s64 chosen_points;
	s64 chosen_pid; /* process */
	s64 memcg_id;	/* kernfs id of the memory cgroup that is out of memory; UNKNOWN: none */
	char message[MESSAGE_LEN];
};

/*
 * What victim_event.strings holds, in this order. A path is a sequence of NUL-terminated names, leaf first; here is its
 * length. A path that does not fit is UNKNOWN and has no bytes in `strings`.
 */
struct contents {
	s64 memcg_path;	  /* bytes: the victim's memory cgroup */
	s64 unified_path; /* bytes: the victim's cgroup in the v2 hierarchy */
	s64 trigger_path; /* bytes: the trigger's memory cgroup */
	s64 levels;	  /* number of struct memcg_level: the victim's memory cgroup and its ancestors */
	s64 trigger_ids;  /* number of s64: the kernfs ids of the trigger's memory cgroup and its ancestors */
	s64 used;	  /* bytes of all these */
};

#define STRINGS_LEN (PATHS_LEN + NAME_LEN + MAX_CGROUPS * (sizeof(struct memcg_level) + sizeof(s64)))

struct victim_event {
	s64 kind;
	s64 ktime;	   /* ns, CLOCK_MONOTONIC */
	s64 memcg_version; /* 1 or 2 */
	s64 unified_id;
	s64 signalled_at; /* ns, CLOCK_MONOTONIC: when the OOM killer sent SIGKILL; UNKNOWN: it did not */
	s64 ordinal;	  /* of this kill since the probes were attached; UNKNOWN: the kernel did not count it */
	struct victim victim;
	struct task trigger;
	struct decision decision;
	s64 stack[MAX_FRAMES]; /* return addresses, innermost first; only if there is no decision */
	s64 exec_size;	       /* bytes of all arguments at exec; UNKNOWN: exec was not seen */
	char exec_args[EXEC_LEN];
	struct contents contents;
	char strings[STRINGS_LEN]; /* only the used part is sent */
};

/* A process that the kernel weighed: oom_badness() was called for it. */
struct candidate {
	s64 pid;
	s64 points;
	s64 oom_score_adj;
	s64 order; /* ordinal in the kernel's scan: of two with equal points the kernel takes the later */
	s64 path;  /* bytes of its memory cgroup's path in ranking.strings; UNKNOWN: not read */
	char comm[COMM_LEN];
};

/* The kernel's ranking, sent before the victim event whose decision has the same ktime. */
struct ranking {
	s64 kind; /* KIND_RANKING */
	s64 ktime;
	s64 weighed; /* number of eligible processes */
	s64 count;   /* entries of `best` in use */
	s64 used;    /* bytes of all paths */
	struct candidate best[MAX_CANDIDATES];
	char strings[PATHS_LEN + NAME_LEN]; /* as in struct victim_event */
};

/* One open socket. Its addresses are in context.strings: 4 or 16 bytes, or the name of a Unix domain socket. */
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
 * What a victim was doing, read in its own context when SIGKILL was delivered to it. `strings` holds, in this order:
 * executable, working directory, the sockets' addresses, arguments, environment.
 */
struct context {
	s64 kind; /* KIND_CONTEXT */
	s64 ktime;
	s64 pid;
	s64 signalled_at;   /* as in the victim event of this kill */
	s64 arguments_size; /* mm->arg_end - mm->arg_start */
	s64 arguments_end;  /* their last byte */
	s64 environment_size;
	s64 executable; /* bytes in `strings`, as are the next three; UNKNOWN: not read */
	s64 working_directory;
	s64 arguments;
	s64 environment;
	s64 walked;			/* descriptors walked; UNKNOWN: the table could not be read */
	s64 slots;			/* size of the descriptor table (fdtable.max_fds) */
	s64 file_types[MAX_FILE_TYPES]; /* open descriptors by i_mode >> 12; 0: anonymous inodes */
	s64 tcp;
	s64 udp;
	s64 unix_domain;
	s64 sockets; /* entries of `socket` in use */
	s64 used;    /* bytes used of `strings` */
	struct socket socket[MAX_INET_SOCKETS + MAX_UNIX_SOCKETS];
	char strings[CONTEXT_LEN]; /* only the used part is sent */
};

/* The last thread of a victim has exited. */
struct exit {
	s64 kind; /* KIND_EXIT */
	s64 ktime;
	s64 pid;
	s64 signalled_at;
	s64 maxrss; /* pages */
};

/* The kernel killed and counted a marked victim a second time, as a group kill does with its first victim. */
struct repeat_kill {
	s64 kind; /* KIND_REPEAT_KILL */
	s64 ktime;
	s64 tid;
	s64 ordinal; /* as in struct victim_event */
};

#define CGROUP_PATH_LEN 512

enum change { CGROUP_MADE = 1, CGROUP_REMOVED = 2 };

/* A cgroup was made or removed. Sent through the perf buffer `cgroup_changes`, never through the one for kills. */
struct cgroup_change {
	s64 change;		    /* enum change */
	s64 ktime;		    /* ns, CLOCK_MONOTONIC */
	s64 size;		    /* bytes of the path */
	char path[CGROUP_PATH_LEN]; /* from the root of its hierarchy; only the used part is sent */
};

/* SIGKILL from user space, read in the sender's context. Sent through the perf buffer `sigkills`, never with kills. */
struct sigkill {
	s64 kind; /* KIND_SIGKILL */
	s64 ktime;
	s64 cgroup_kill; /* 1: by a write to cgroup.kill; UNKNOWN: not known to be */
	s64 memcg_version;
	s64 memcg_id;
	s64 unified_id;
	s64 sender_uid;
	struct task sender;
	struct victim victim;
	s64 memcg_path; /* bytes in `strings`, in this order, as in struct contents */
	s64 unified_path;
	s64 sender_memcg_path;
	s64 sender_unified_path;
	s64 used;
	s64 exec_size; /* as in struct victim_event */
	char exec_args[EXEC_LEN];
	char strings[PATHS_LEN + NAME_LEN]; /* only the used part is sent */
};

#endif
