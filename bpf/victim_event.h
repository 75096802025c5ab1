/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What a `struct victim_event` says of victim, trigger and decision.
 */
#ifndef OOMTRACE_VICTIM_EVENT_H
#define OOMTRACE_VICTIM_EVENT_H

#include "cgroup.h"
#include "count.h"
#include "oom_round.h"
#include "task.h"

/* The frames above the sending of the signal, or else those above the caller. */
inline_always void fill_stack(void *ctx, struct victim_event *e, struct signal_stack *s)
{
	if (s->ktime && s->ktime == e->signalled_at)
		__builtin_memcpy(e->stack, &s->frames[SENDER_FRAMES - MAX_FRAMES], sizeof(e->stack));
	else
		bpf_get_stack(ctx, e->stack, sizeof(e->stack), 0);
}

inline_always void fill_event(void *ctx, struct victim_event *e, enum kind kind, void *task, void *mm,
			      struct oom_round *round, struct signal_stack *s)
{
	/* A process that was already dying is marked without a signal or decision: the round's are of an earlier kill.
	 */
	int was_sent = kind != KIND_DYING;

	e->kind = kind;
	e->ktime = bpf_ktime_get_ns();
	e->signalled_at = was_sent ? round->signalled_at : UNKNOWN;
	e->ordinal = kind == KIND_KILLED ? round->ordinal : UNKNOWN;
	fill_victim(&e->victim, task, mm);
	/* By now other threads may have exited: the signal has been sent. */
	e->victim.threads = was_sent ? round->threads : count_threads(task);
	fill_task(&e->trigger, (void *)bpf_get_current_task());
	e->decision.ktime = UNKNOWN;
	if (was_sent)
		e->decision = round->decision;
	__builtin_memset(e->stack, 0, sizeof(e->stack));
	if (e->decision.ktime == UNKNOWN)
		fill_stack(ctx, e, s);
}

#endif
