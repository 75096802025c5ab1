// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The probes of the level `minimal`: a kernel without type information. The only source is the tracepoints' own fields,
 * at the offsets from their format files (MARK_VICTIM_*, SIGNAL_GENERATE_*, CGROUP_MKDIR_*; -1: no such field).
 */
#include "cgroup_watch.h"
#include "count.h"
#include "sigkill.h"

#define SIGKILL	  9
#define SI_KERNEL 0x80

BPF_PERF_OUTPUT(events);

struct signalled_thread {
	u32 tid;
	char comm[COMM_LEN];
	u64 call_site;
	s64 ordinal;
};

/* Trigger's thread -> the thread that it sent SIGKILL to. */
BPF_TABLE("lru_hash", u32, struct signalled_thread, signalled_threads, 256);
BPF_PERCPU_ARRAY(event_scratch, struct victim_event, 1);
BPF_ARRAY(kill_counter, struct kill_counter, 1);

inline_always struct kill_counter *get_kill_counter(void)
{
	u32 zero = 0;

	return kill_counter.lookup(&zero); /* BCC rewrites map calls in this file only */
}

#ifdef WITH_SIGKILL
BPF_PERF_OUTPUT(sigkills);
BPF_PERCPU_ARRAY(sigkill_scratch, struct sigkill, 1);

inline_always int emit_sigkill(void *ctx)
{
	u64 current = bpf_get_current_pid_tgid();
	u32 zero = 0;
	struct sigkill *e = sigkill_scratch.lookup(&zero);
	s64 *word = (s64 *)e;
	int i;

	if (!e)
		return 0;
	for (i = 0; i < offsetof(struct sigkill, exec_args) / 8; i++)
		word[i] = UNKNOWN;
	e->kind = KIND_SIGKILL;
	e->ktime = bpf_ktime_get_ns();
	e->cgroup_kill = is_cgroup_kill(ctx);
	e->sender_uid = (u32)bpf_get_current_uid_gid();
	e->sender.pid = current >> 32;
	e->sender.tid = (u32)current;
	bpf_get_current_comm(e->sender.comm, COMM_LEN);
	e->victim.task.tid = read_s32(ctx, SIGNAL_GENERATE_PID);
	__builtin_memset(e->victim.task.comm, 0, COMM_LEN);
	if (SIGNAL_GENERATE_COMM >= 0)
		bpf_probe_read_kernel(e->victim.task.comm, COMM_LEN, (char *)ctx + SIGNAL_GENERATE_COMM);
	__builtin_memset(e->victim.parent.comm, 0, COMM_LEN);
	__builtin_memset(e->victim.nodename, 0, NODENAME_LEN);
	sigkills.perf_submit(ctx, e, offsetof(struct sigkill, strings));
	return 0;
}
#endif

int on_signal_generate(void *ctx)
{
	struct signal_stack stack;
	u32 trigger = bpf_get_current_pid_tgid();
	struct signalled_thread target = {};

	if (read_s32(ctx, SIGNAL_GENERATE_SIG) != SIGKILL)
		return 0;
#ifdef WITH_SIGKILL
	if (FROM_USER(read_s32(ctx, SIGNAL_GENERATE_CODE)) &&
	    read_s32(ctx, SIGNAL_GENERATE_RESULT) == TRACE_SIGNAL_DELIVERED && is_wanted_sender())
		return emit_sigkill(ctx);
#endif
	if (read_s32(ctx, SIGNAL_GENERATE_CODE) != SI_KERNEL)
		return 0;
	target.tid = read_s32(ctx, SIGNAL_GENERATE_PID);
	if (SIGNAL_GENERATE_COMM >= 0) /* a plain array, not a __data_loc */
		bpf_probe_read_kernel(target.comm, COMM_LEN, (char *)ctx + SIGNAL_GENERATE_COMM);
	target.call_site = signal_sender(ctx, &stack, 0).call_site;
	target.ordinal = count_signal(get_kill_counter(), target.call_site);
	signalled_threads.update(&trigger, &target);
	return 0;
}

inline_always s64 pages(s64 kilobytes)
{
	return kilobytes == UNKNOWN ? UNKNOWN : (u64)kilobytes * 1024 / PAGE_SIZE; /* BPF has no signed division */
}

inline_always void fill_victim(struct victim *to, void *ctx, u32 tid)
{
	s64 comm = read_u32(ctx, MARK_VICTIM_COMM);
	s64 pgtables = read_s64(ctx, MARK_VICTIM_PGTABLES);

	to->task.tid = tid;
	/* __data_loc: the low half is the offset of the string from the start of the fields */
	if (comm != UNKNOWN)
		read_str(to->task.comm, ctx, comm & 0xffff);
	to->uid = read_u32(ctx, MARK_VICTIM_UID);
	to->oom_score_adj = read_s16(ctx, MARK_VICTIM_OOM_SCORE_ADJ);
	to->rss[0] = pages(read_s64(ctx, MARK_VICTIM_FILE_RSS));
	to->rss[1] = pages(read_s64(ctx, MARK_VICTIM_ANON_RSS));
	to->rss[3] = pages(read_s64(ctx, MARK_VICTIM_SHMEM_RSS));
	to->total_vm = pages(read_s64(ctx, MARK_VICTIM_TOTAL_VM));
	to->pgtables_bytes = pgtables == UNKNOWN ? UNKNOWN : pgtables * 1024;
}

inline_always void init_event(struct victim_event *e)
{
	s64 *word = (s64 *)e;
	int i;

	for (i = 0; i < offsetof(struct victim_event, strings) / 8; i++)
		word[i] = UNKNOWN;
	__builtin_memset(e->victim.task.comm, 0, COMM_LEN);
	__builtin_memset(e->victim.parent.comm, 0, COMM_LEN);
	__builtin_memset(e->victim.nodename, 0, NODENAME_LEN);
	__builtin_memset(e->trigger.comm, 0, COMM_LEN);
	__builtin_memset(e->decision.message, 0, MESSAGE_LEN);
	__builtin_memset(&e->contents, 0, sizeof(e->contents));
	__builtin_memset(e->stack, 0, sizeof(e->stack));
}

int on_mark_victim(void *ctx)
{
	u64 current = bpf_get_current_pid_tgid();
	u32 trigger = current, tid = read_s32(ctx, MARK_VICTIM_PID), zero = 0;
	struct signalled_thread *killed = signalled_threads.lookup(&trigger);
	struct victim_event *e = event_scratch.lookup(&zero);

	if (!e)
		return 0;
	init_event(e);
	e->kind = KIND_DYING;
	e->ktime = bpf_ktime_get_ns();
	fill_victim(&e->victim, ctx, tid);
	if (killed && killed->tid == tid) {
		e->kind = KIND_KILLED;
		e->ordinal = count_mark(get_kill_counter(), killed->call_site, killed->ordinal);
		/* Before 72ba14deb40a (6.9, and in stable series) mark_victim had a pid and no comm. */
		if (MARK_VICTIM_COMM < 0)
			__builtin_memcpy(e->victim.task.comm, killed->comm, COMM_LEN);
	}
	e->trigger.pid = current >> 32;
	e->trigger.tid = trigger;
	bpf_get_current_comm(e->trigger.comm, COMM_LEN);
	bpf_get_stack(ctx, e->stack, sizeof(e->stack), 0);
	signalled_threads.delete(&trigger);
	events.perf_submit(ctx, e, offsetof(struct victim_event, strings));
	return 0;
}

BPF_PERF_OUTPUT(cgroup_changes);
BPF_PERCPU_ARRAY(cgroup_scratch, struct cgroup_change, 1);

/* Both tracepoints are of one event class (include/trace/events/cgroup.h): their fields have the same offsets. */
inline_always int on_cgroup_change(void *ctx, enum change change)
{
	u32 zero = 0;
	struct cgroup_change *e = cgroup_scratch.lookup(&zero);
	s64 path = read_u32(ctx, CGROUP_MKDIR_PATH); /* __data_loc, as MARK_VICTIM_COMM */
	u64 used = fill_cgroup_change(e, change, read_s32(ctx, CGROUP_MKDIR_ROOT), (char *)ctx + (path & 0xffff));

	if (!used)
		return 0;
	asm volatile("" : "+r"(used)); /* or the compiler joins the checks, of which Linux 5.10 learns no lower bound */
	if (used <= CGROUP_PATH_LEN)
		cgroup_changes.perf_submit(ctx, e, offsetof(struct cgroup_change, path) + used);
	return 0;
}

int on_cgroup_mkdir(void *ctx)
{
	return on_cgroup_change(ctx, CGROUP_MADE);
}

int on_cgroup_rmdir(void *ctx)
{
	return on_cgroup_change(ctx, CGROUP_REMOVED);
}
