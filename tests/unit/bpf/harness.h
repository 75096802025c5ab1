/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Runs helpers of bpf/ in user space: integer types, stubs of the BPF helpers, and a model of the kernel structures
 * that they read. test_helpers.py compiles each *.c here and runs its tests by name; offsets not defined here are -1.
 */
#ifndef OOMTRACE_HARNESS_H
#define OOMTRACE_HARNESS_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef signed char s8;
typedef unsigned char u8;
typedef short s16;
typedef unsigned short u16;
typedef int s32;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;

#define MAX_TESTS 64

static struct {
	const char *name;
	void (*run)(void);
} tests[MAX_TESTS];
static int test_count;

#define TEST(function)                                                     \
	static void function(void);                                        \
	static __attribute__((constructor)) void register_##function(void) \
	{                                                                  \
		tests[test_count].name = #function;                        \
		tests[test_count++].run = function;                        \
	}                                                                  \
	static void function(void)

#define CHECK(condition)                                                                \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			exit(1);                                                        \
		}                                                                       \
	} while (0)

#define CHECK_EQUAL(found, expected)                                                                         \
	do {                                                                                                 \
		long long found_ = (long long)(found), expected_ = (long long)(expected);                    \
		if (found_ != expected_) {                                                                   \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #found, found_, \
				expected_);                                                                  \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

int main(int argc, char **argv)
{
	int i;

	for (i = 0; argc == 2 && i < test_count; i++) {
		if (!strcmp(tests[i].name, argv[1])) {
			tests[i].run();
			return 0;
		}
	}
	return 2;
}

/* Stubs of the BPF helpers. Reads from page 0, as from a NULL base, and from the range at `fault` fail. */
static const char *fault;
static size_t fault_size;
static u64 fake_stack[64];
static void *fake_current;
static u64 fake_pid_tgid;
static u64 fake_time = 1000;

static inline int readable(const void *from, size_t size)
{
	const char *start = from;

	if ((size_t)start < 4096)
		return 0;
	return !fault || start + size <= fault || start >= fault + fault_size;
}

static inline long bpf_probe_read_kernel(void *to, u32 size, const void *from)
{
	if (!readable(from, size)) {
		memset(to, 0, size);
		return -14;
	}
	memcpy(to, from, size);
	return 0;
}

static inline long bpf_probe_read_user(void *to, u32 size, const void *from)
{
	return bpf_probe_read_kernel(to, size, from);
}

static inline long bpf_probe_read_kernel_str(void *to, u32 size, const void *from)
{
	size_t length;

	if (!readable(from, 1))
		return -14;
	length = strnlen(from, size - 1);
	memcpy(to, from, length);
	((char *)to)[length] = 0;
	return length + 1;
}

static inline long bpf_get_stack(void *ctx, void *to, u32 size, u64 flags)
{
	(void)ctx;
	(void)flags;
	memcpy(to, fake_stack, size);
	return size;
}

static inline u64 bpf_get_current_task(void)
{
	return (u64)fake_current;
}

static inline u64 bpf_get_current_pid_tgid(void)
{
	return fake_pid_tgid;
}

static inline u64 bpf_ktime_get_ns(void)
{
	return fake_time;
}

static inline u16 bpf_ntohs(u16 value)
{
	return __builtin_bswap16(value);
}

struct bpf_raw_tracepoint_args {
	u64 args[5];
};

/* The model of the kernel. */
struct model_kernfs {
	struct model_kernfs *parent;
	const char *name;
	u64 id;
};
struct model_root {
	s32 hierarchy_id;
};
struct model_cgroup {
	struct model_kernfs *kn;
	struct model_root *root;
};
struct model_css {
	struct model_cgroup *cgroup;
	struct model_css *parent;
};
struct model_css_set {
	struct model_css *memory;
	struct model_cgroup *unified;
};
struct model_signal {
	s16 oom_score_adj;
	s32 threads;
	s32 live;
	s64 maxrss;
	void *oom_mm;
	void *thread_head;
};
struct model_cred {
	u32 uid;
};
struct model_pid_ns {
	u32 inum;
};
struct model_upid {
	s32 nr;
	struct model_pid_ns *ns;
};
struct model_pid {
	u32 level;
	struct model_upid numbers[2];
};
struct model_mm {
	s64 rss[4];
	s64 pgtables_bytes;
	s64 total_vm;
	s64 hiwater_rss;
	void *arg_start;
	void *arg_end;
	void *env_start;
	void *env_end;
	void *exe_file;
};
struct model_fdtable {
	u32 max_fds;
	void **fd;
};
struct model_files {
	struct model_fdtable *fdt;
};
struct model_task {
	s32 pid;
	s32 tgid;
	char comm[16];
	struct model_signal *signal;
	struct model_css_set *cgroups;
	struct model_files *files;
	struct model_mm *mm;
	struct model_task *leader;
	struct model_task *parent;
	struct model_cred *cred;
	struct model_pid *thread_pid;
	void *thread_node;
	u64 start_boottime;
};
struct model_oom_control {
	u32 constraint;
	u32 gfp_mask;
	s32 order;
	u64 totalpages;
	s64 chosen_points;
	struct model_task *chosen;
	struct model_css *memcg;
};
struct model_proto_ops {
	s32 family;
};
struct model_inode {
	u16 mode;
	u32 flags;
};
struct model_socket { /* struct socket_alloc: the socket and its inode */
	struct model_proto_ops *ops;
	u16 type;
	void *sk;
	struct model_inode inode;
};
struct model_file {
	struct model_inode *inode;
	void *private_data;
};
struct model_sock {
	u16 family;
	u16 protocol;
	u8 state;
	u16 num;
	u16 dport;
	u8 rcv_saddr[4];
	u8 daddr[4];
	u8 v6_rcv_saddr[16];
	u8 v6_daddr[16];
	void *addr;
	void *peer;
};
struct model_unix_address {
	s32 len;
	char name[128]; /* struct sockaddr_un */
};
struct model_dentry {
	struct model_dentry *parent;
	const char *name;
};
struct model_vfsmount {
	struct model_dentry *root;
};
struct model_mount {
	struct model_mount *parent;
	struct model_dentry *mountpoint;
	struct model_vfsmount mnt;
};

#define OFF(structure, member)	  ((int)offsetof(struct model_##structure, member))
#define OFF_KN_PARENT		  OFF(kernfs, parent)
#define OFF_KN_NAME		  OFF(kernfs, name)
#define OFF_KN_ID		  OFF(kernfs, id)
#define OFF_CGROUP_KN		  OFF(cgroup, kn)
#define OFF_CGROUP_ROOT		  OFF(cgroup, root)
#define OFF_ROOT_HIERARCHY_ID	  OFF(root, hierarchy_id)
#define OFF_CSS_SET_DFL_CGRP	  OFF(css_set, unified)
#define OFF_CSS_CGROUP		  OFF(css, cgroup)
#define OFF_CSS_PARENT		  OFF(css, parent)
#define OFF_CSS_SET_SUBSYS_MEMORY OFF(css_set, memory)
#define OFF_SIGNAL_OOM_SCORE_ADJ  OFF(signal, oom_score_adj)
#define OFF_SIGNAL_NR_THREADS	  OFF(signal, threads)
#define OFF_SIGNAL_LIVE		  OFF(signal, live)
#define OFF_SIGNAL_MAXRSS	  OFF(signal, maxrss)
#define OFF_SIGNAL_OOM_MM	  OFF(signal, oom_mm)
#define OFF_SIGNAL_THREAD_HEAD	  OFF(signal, thread_head)
#define OFF_CRED_UID		  OFF(cred, uid)
#define OFF_PID_NS_INUM		  OFF(pid_ns, inum)
#define OFF_UPID_NR		  OFF(upid, nr)
#define OFF_UPID_NS		  OFF(upid, ns)
#define SIZE_UPID		  ((int)sizeof(struct model_upid))
#define OFF_PID_LEVEL		  OFF(pid, level)
#define OFF_PID_NUMBERS		  OFF(pid, numbers)
#define OFF_MM_RSS_STAT		  OFF(mm, rss)
#define OFF_RSS_COUNT		  0
#define SIZE_RSS_COUNTER	  8
#define OFF_MM_PGTABLES_BYTES	  OFF(mm, pgtables_bytes)
#define OFF_MM_TOTAL_VM		  OFF(mm, total_vm)
#define OFF_MM_HIWATER_RSS	  OFF(mm, hiwater_rss)
#define OFF_MM_ARG_START	  OFF(mm, arg_start)
#define OFF_MM_ARG_END		  OFF(mm, arg_end)
#define OFF_MM_ENV_START	  OFF(mm, env_start)
#define OFF_MM_ENV_END		  OFF(mm, env_end)
#define OFF_MM_EXE_FILE		  OFF(mm, exe_file)
#define OFF_TASK_MM		  OFF(task, mm)
#define OFF_TASK_GROUP_LEADER	  OFF(task, leader)
#define OFF_TASK_REAL_PARENT	  OFF(task, parent)
#define OFF_TASK_REAL_CRED	  OFF(task, cred)
#define OFF_TASK_THREAD_PID	  OFF(task, thread_pid)
#define OFF_TASK_THREAD_NODE	  OFF(task, thread_node)
#define OFF_TASK_START_BOOTTIME	  OFF(task, start_boottime)
#define OFF_OC_CONSTRAINT	  OFF(oom_control, constraint)
#define OFF_OC_GFP_MASK		  OFF(oom_control, gfp_mask)
#define OFF_OC_ORDER		  OFF(oom_control, order)
#define OFF_OC_TOTALPAGES	  OFF(oom_control, totalpages)
#define OFF_OC_CHOSEN_POINTS	  OFF(oom_control, chosen_points)
#define OFF_OC_CHOSEN		  OFF(oom_control, chosen)
#define OFF_OC_MEMCG		  OFF(oom_control, memcg)
#define OFF_TASK_PID		  OFF(task, pid)
#define OFF_TASK_TGID		  OFF(task, tgid)
#define OFF_TASK_COMM		  OFF(task, comm)
#define OFF_TASK_SIGNAL		  OFF(task, signal)
#define OFF_TASK_CGROUPS	  OFF(task, cgroups)
#define OFF_TASK_FILES		  OFF(task, files)
#define OFF_FILES_FDT		  OFF(files, fdt)
#define OFF_FDT_MAX_FDS		  OFF(fdtable, max_fds)
#define OFF_FDT_FD		  OFF(fdtable, fd)
#define OFF_FILE_INODE		  OFF(file, inode)
#define OFF_FILE_PRIVATE	  OFF(file, private_data)
#define OFF_INODE_MODE		  OFF(inode, mode)
#define OFF_INODE_FLAGS		  OFF(inode, flags)
#define OFF_SOCKET_ALLOC_INODE	  OFF(socket, inode)
#define OFF_SOCKET_OPS		  OFF(socket, ops)
#define OFF_SOCKET_TYPE		  OFF(socket, type)
#define OFF_SOCKET_SK		  OFF(socket, sk)
#define OFF_PROTO_OPS_FAMILY	  OFF(proto_ops, family)
#define OFF_SK_FAMILY		  OFF(sock, family)
#define OFF_SK_PROTOCOL		  OFF(sock, protocol)
#define OFF_SK_STATE		  OFF(sock, state)
#define OFF_SK_NUM		  OFF(sock, num)
#define OFF_SK_DPORT		  OFF(sock, dport)
#define OFF_SK_RCV_SADDR	  OFF(sock, rcv_saddr)
#define OFF_SK_DADDR		  OFF(sock, daddr)
#define OFF_SK_V6_RCV_SADDR	  OFF(sock, v6_rcv_saddr)
#define OFF_SK_V6_DADDR		  OFF(sock, v6_daddr)
#define OFF_UNIX_ADDR		  OFF(sock, addr)
#define OFF_UNIX_PEER		  OFF(sock, peer)
#define OFF_UNIX_ADDRESS_LEN	  OFF(unix_address, len)
#define OFF_UNIX_ADDRESS_NAME	  OFF(unix_address, name)
#define OFF_DENTRY_PARENT	  OFF(dentry, parent)
#define OFF_DENTRY_NAME		  OFF(dentry, name)
#define OFF_VFSMOUNT_ROOT	  OFF(vfsmount, root)
#define OFF_MOUNT_PARENT	  OFF(mount, parent)
#define OFF_MOUNT_MOUNTPOINT	  OFF(mount, mountpoint)
#define OFF_MOUNT_MNT		  OFF(mount, mnt)

/* Kernel addresses, as ooMtrace/kernel/plan.py gives them; a variable, so that one test can have none. */
static __attribute__((unused)) u64 oom_kill_process_address = 0x1000;
#define OOM_KILL_PROCESS      oom_kill_process_address
#define OOM_KILL_PROCESS_SIZE 0x100
#define MEMORY_HIERARCHY      4
#define OOM_KILL_ONE	      0x2000
#define OOM_KILL_ONE_SIZE     0x100

#endif
