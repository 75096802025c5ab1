/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What one thread has done so far in the OOM killer, and how a mark and a signal refer to it.
 */
#ifndef OOMTRACE_OOM_ROUND_H
#define OOMTRACE_OOM_ROUND_H

#include "kernel.h"

#define SIGKILL		 9
#define SEND_SIG_PRIV	 1		/* "from the kernel", include/linux/sched/signal.h */
#define SHARER_WINDOW_NS 10000000000ULL /* signals to sharers follow the mark within this time */

struct oom_round {
	s64 signalled_pid; /* process that was sent SIGKILL and is not marked yet */
	s64 signalled_at;
	s64 threads; /* of that process then */
	void *signalled_task;
	u64 call_site; /* of that signal */
	s64 ordinal;   /* of that kill; 0: no kill, or not known to be one yet */
	s64 marked_pid;
	void *marked_mm;
	u64 marked_at;
	struct decision decision;
};

/* The first victim of a group kill is sent the signal twice: the first one counts. */
inline_always int is_newer(s64 when, const s64 *before)
{
	return !before || when - *before > SHARER_WINDOW_NS;
}

inline_always void keep_mark(struct oom_round *round, s64 pid, void *mm)
{
	round->marked_pid = pid;
	round->marked_mm = mm;
	round->marked_at = bpf_ktime_get_ns();
}

/*
 * Whether a process that was just signalled shares the mm of the last victim. A thread that has marked a victim may
 * later send such signals for another reason, as the init process of a pid namespace does when it exits, and by then
 * the victim's mm may have been freed and its address reused.
 */
inline_always int is_sharer(struct oom_round *round, void *task)
{
	return round->marked_mm && round->signalled_pid != round->marked_pid &&
	       round->signalled_at - round->marked_at < SHARER_WINDOW_NS && process_mm(task) == round->marked_mm;
}

/*
 * The marked task. Up to 6.8, and in stable series before the backport of 72ba14deb40a, the tracepoint has only the
 * thread's id; the task is then the one just signalled, or the trigger itself.
 */
inline_always void *marked_task(struct bpf_raw_tracepoint_args *ctx, struct oom_round *round)
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
