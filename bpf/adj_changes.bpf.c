// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * Reports who changes whose oom_score_adj. The only probe is the tracepoint oom:oom_score_adj_update: raw where the
 * kernel has type information (OFF_*), or else its record (WITH_RECORD, OOM_SCORE_ADJ_UPDATE_*).
 *
 * __set_oom_adj() in fs/proc/base.c calls it in the writer's context and holds oom_adj_mutex (since 4.8): no other CPU
 * runs this program at the same time, so the counts need no atomic operations.
 */
#include "adj_change.h"
#include "read.h"

struct process_changes {
	s64 started;
	s64 after;
	s64 skipped;
	u64 period;
	u64 count; /* reported in that period */
};
struct all_changes {
	s64 dropped;
	u64 period;
	u64 count; /* reported in that period */
};

BPF_PERF_OUTPUT(events);
BPF_PERCPU_ARRAY(change_scratch, struct adj_change, 1);
BPF_ARRAY(changes, struct all_changes, 1);
/* By pid. Where the kernel has no type information, by the id of the thread that the writer has named. */
BPF_TABLE("lru_hash", u32, struct process_changes, processes, 16384);

/* Whether one more may be reported in this period; counts it. */
inline_always int take(u64 *period, u64 *count, u64 now, u64 limit)
{
	if (*period != now) {
		*period = now;
		*count = 0;
	}
	if (*count >= limit)
		return 0;
	*count += 1;
	return 1;
}

inline_always int report(void *ctx, struct adj_change *e, u32 key)
{
	u32 zero = 0;
	u64 now = e->ktime >> PERIOD_SHIFT;
	struct all_changes *all = changes.lookup(&zero);
	struct process_changes fresh = {.started = e->started, .after = UNKNOWN}, *process;

	if (!all)
		return 0;
	process = processes.lookup(&key);
	/* Another process that had this pid before; it may be the same one where `started` is not known. */
	if (process && process->started != e->started)
		*process = fresh;
	if (!process) {
		processes.update(&key, &fresh);
		process = processes.lookup(&key);
		if (!process) {
			all->dropped++;
			return 0;
		}
	}
	e->before = e->started == UNKNOWN ? UNKNOWN : process->after;
	e->skipped = process->skipped;
	e->dropped = all->dropped;
	process->after = e->after;
	if (take(&process->period, &process->count, now, MAX_PROCESS_CHANGES) &&
	    take(&all->period, &all->count, now, MAX_CHANGES) && events.perf_submit(ctx, e, sizeof(*e)) == 0) {
		process->skipped = 0;
		return 0;
	}
	process->skipped++;
	all->dropped++;
	return 0;
}

inline_always struct adj_change *begin(void)
{
	u32 zero = 0;
	u64 current = bpf_get_current_pid_tgid();
	struct adj_change *e = change_scratch.lookup(&zero);

	if (!e)
		return 0;
	e->ktime = bpf_ktime_get_ns();
	e->started = UNKNOWN;
	e->uid = UNKNOWN;
	e->target = (struct task){.pid = UNKNOWN, .vpid = UNKNOWN};
	e->writer = (struct task){.pid = current >> 32, .tid = (u32)current, .vpid = UNKNOWN};
	e->writer_uid = (u32)bpf_get_current_uid_gid();
	bpf_get_current_comm(e->writer.comm, COMM_LEN);
	return e;
}

#ifdef WITH_RECORD
int on_oom_score_adj_update(void *ctx)
{
	struct adj_change *e = begin();

	if (!e)
		return 0;
	e->target.tid = read_s32(ctx, OOM_SCORE_ADJ_UPDATE_PID);
	bpf_probe_read_kernel(e->target.comm, COMM_LEN, (char *)ctx + OOM_SCORE_ADJ_UPDATE_COMM); /* a plain array */
	e->after = read_s16(ctx, OOM_SCORE_ADJ_UPDATE_OOM_SCORE_ADJ);
	return report(ctx, e, e->target.tid);
}
#else
int on_oom_score_adj_update(struct bpf_raw_tracepoint_args *ctx)
{
	struct adj_change *e = begin();
	void *task = (void *)ctx->args[0];

	if (!e)
		return 0;
	e->target.pid = read_s32(task, OFF_TASK_TGID);
	e->target.tid = read_s32(task, OFF_TASK_PID);
	read_str(e->target.comm, task, OFF_TASK_COMM);
	e->uid = read_u32(read_ptr(task, OFF_TASK_REAL_CRED), OFF_CRED_UID);
	e->started = read_s64(read_ptr(task, OFF_TASK_GROUP_LEADER), OFF_TASK_START_BOOTTIME);
	e->after = read_s16(read_ptr(task, OFF_TASK_SIGNAL), OFF_SIGNAL_OOM_SCORE_ADJ);
	return report(ctx, e, e->target.pid);
}
#endif
