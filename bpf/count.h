/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Counting kills as the kernel does (oom_kill in /proc/vmstat), so that user space can tell which ones it has not seen.
 *
 * __oom_kill_process() counts, then sends SIGKILL to the victim, marks it, and sends SIGKILL to who shares its memory.
 * A group kill comes to the first victim a second time: that is counted, too, but not marked again. So it is the
 * signal that counts, told from those to sharers by the place in __oom_kill_process() that it is sent from: the one of
 * the signal just before the first mark.
 */
#ifndef OOMTRACE_COUNT_H
#define OOMTRACE_COUNT_H

#include "read.h"

#define SENDER_FRAMES 16 /* from sending a signal to oom_kill_process() there are six to eight */

struct tally {
	s64 kills; /* since the probes were attached */
	u64 site;  /* return address of the call that sends SIGKILL to a victim; 0: not known yet */
};

struct sender {
	u64 site;	/* where __oom_kill_process() sends the signal; 0: not known */
	int oom_killer; /* whether oom_kill_process() is on the stack: others in the kernel send such signals, too */
};

inline_always struct sender signal_sender(void *ctx)
{
	u64 stack[SENDER_FRAMES] = {};
	struct sender sender = {};
	int i;

	if (!OOM_KILL_PROCESS)
		return sender;
	bpf_get_stack(ctx, stack, sizeof(stack), 0);
	for (i = 0; i < SENDER_FRAMES; i++) {
		if (stack[i] - OOM_KILL_ONE < OOM_KILL_ONE_SIZE)
			sender.site = stack[i];
		if (stack[i] - OOM_KILL_PROCESS < OOM_KILL_PROCESS_SIZE)
			sender.oom_killer = 1;
	}
	return sender;
}

/* Call it for each signal; returns the kill's number, or 0 if this is none, or is not known to be one yet. */
inline_always s64 count_signal(struct tally *t, u64 site)
{
	/* Under the kernel's oom_lock: nobody else counts meanwhile. */
	return t && site && site == t->site ? ++t->kills : 0;
}

/* Call it for each mark that follows a signal, with what that has given; returns the kill's number. */
inline_always s64 count_mark(struct tally *t, u64 site, s64 counted)
{
	if (!t || counted)
		return counted;
	t->site = site;
	return ++t->kills;
}

#endif
