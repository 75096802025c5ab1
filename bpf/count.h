/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Counting kills as the kernel does (oom_kill in /proc/vmstat), so that user space can detect missing ones.
 *
 * __oom_kill_process() counts, sends SIGKILL to the victim, marks it, and sends SIGKILL to all processes that share its
 * mm. A group kill repeats this for its first victim: the kernel counts it again, but does not mark it again. So the
 * signals are counted here. A signal to a victim is distinguished from one to a sharer by its call site in
 * __oom_kill_process(), which is learned from the signal just before the first mark.
 */
#ifndef OOMTRACE_COUNT_H
#define OOMTRACE_COUNT_H

#include "read.h"

#define SENDER_FRAMES 16 /* oom_kill_process() is six to eight frames above the sending of a signal */

struct kill_counter {
	s64 kills;     /* since the probes were attached */
	u64 call_site; /* return address of the call that sends SIGKILL to a victim; 0: not known yet */
};

/*
 * The call stack of the last SIGKILL of the kernel's on this CPU. The mark of a victim follows its signal on the same
 * CPU, and most of their stacks is the same: walking it again would be a fifth of the whole cost.
 */
struct signal_stack {
	s64 ktime; /* when the signal was sent; 0: the stack was not read */
	u64 frames[SENDER_FRAMES];
};
struct sender {
	u64 call_site;	/* return address in __oom_kill_process(); 0: not known */
	int oom_killer; /* oom_kill_process() is on the stack; other kernel code sends such signals, too */
};

/*
 * Returns all ones if the address is in the function, else 0. Computed without a branch: the verifier follows both
 * sides of each, and with two for each of 16 frames it exceeds its limit where it does not prune (LLVM 19 for arm64).
 */
inline_always u64 mask_if_within(u64 address, u64 start, u64 size)
{
	u64 offset = address - start;
	u64 mask = -((~offset & (offset - size)) >> 63); /* both below 2^63, or the function is none */

	asm volatile("" : "+r"(mask)); /* or the compiler makes it a branch again */
	return mask;
}

/* Reads the stack into `s`, innermost frame first. */
inline_always struct sender signal_sender(void *ctx, struct signal_stack *s, s64 ktime)
{
	u64 *stack = s->frames;
	u64 call_site = 0, oom_killer = 0;
	int i;

	s->ktime = 0;
	if (!OOM_KILL_PROCESS)
		return (struct sender){};
	s->ktime = ktime;
	__builtin_memset(stack, 0, sizeof(s->frames));
	bpf_get_stack(ctx, stack, sizeof(s->frames), 0);
	for (i = 0; i < SENDER_FRAMES; i++) {
		u64 mask = mask_if_within(stack[i], OOM_KILL_ONE, OOM_KILL_ONE_SIZE);

		call_site = (call_site & ~mask) | (stack[i] & mask);
		oom_killer |= mask_if_within(stack[i], OOM_KILL_PROCESS, OOM_KILL_PROCESS_SIZE);
	}
	return (struct sender){.call_site = call_site, .oom_killer = oom_killer != 0};
}

/* To be called for each signal. Returns the kill's ordinal; 0 if it is no kill or not known to be one yet. */
inline_always s64 count_signal(struct kill_counter *counter, u64 call_site)
{
	/* The kernel holds oom_lock: no other CPU counts at the same time. */
	return counter && call_site && call_site == counter->call_site ? ++counter->kills : 0;
}

/* To be called for each mark that follows a signal, with the result for that signal. Returns the kill's ordinal. */
inline_always s64 count_mark(struct kill_counter *counter, u64 call_site, s64 ordinal)
{
	if (!counter || ordinal)
		return ordinal;
	counter->call_site = call_site;
	return ++counter->kills;
}

#endif
