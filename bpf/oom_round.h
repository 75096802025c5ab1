/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What one thread has done so far in the OOM killer.
 */
#ifndef OOMTRACE_OOM_ROUND_H
#define OOMTRACE_OOM_ROUND_H

#include "kernel.h"

#define SIGKILL	       9
#define SEND_SIG_PRIV  1 /* "from the kernel", include/linux/sched/signal.h */
#define SHARERS_WITHIN 10000000000ULL

struct round {
	s64 signalled_pid; /* process that got SIGKILL and is not marked yet */
	s64 signalled_at;
	void *signalled_task;
	u64 site;    /* where that was sent from */
	s64 counted; /* the kill's number; 0: that was no kill, or is not known to be one yet */
	s64 marked_pid;
	void *marked_mm;
	u64 marked_at;
	struct decision decision;
};

/*
 * The marked task. Up to 6.8, and in stable series before the backport of 72ba14deb40a, the tracepoint gives only the
 * thread's id; the task is then the one just signalled, or the trigger itself.
 */
inline_always void *marked_task(struct bpf_raw_tracepoint_args *ctx, struct round *round)
{
#ifdef MARK_VICTIM_TASK
	return (void *)ctx->args[0];
#else
	int tid = ctx->args[0];
	void *current = (void *)bpf_get_current_task();

	if (round && round->signalled_task && read_s32(round->signalled_task, OFF_TASK_PID) == tid)
		return round->signalled_task;
	return read_s32(current, OFF_TASK_PID) == tid ? current : 0;
#endif
}

#endif
