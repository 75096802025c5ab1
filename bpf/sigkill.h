/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * SIGKILLs from user space: which ones are reported (the macros SIGKILL_* and KILLER_* come from
 * ooMtrace/kernel/sigkill_macros.py), and through what they came. A kernel's own SIGKILL is none.
 */
#ifndef OOMTRACE_SIGKILL_H
#define OOMTRACE_SIGKILL_H

#include "count.h"

#ifdef WITH_SIGKILL

/* si_code of kill(2), pidfd_send_signal(2) and cgroup.kill, of sigqueue(3), and of tgkill(2). */
#define FROM_USER(code) ((code) == 0 || (code) == -1 || (code) == -6)

/* The signal was delivered: to a process that is already dying it is not (enum in include/trace/events/signal.h). */
#define TRACE_SIGNAL_DELIVERED 0

/* A system account (SYS_UID_MAX of login.defs(5)), or one that systemd made for a unit with DynamicUser=. */
#define IS_SYSTEM_UID(uid) ((uid) < 1000 || ((uid) >= 61184 && (uid) <= 65519))

#define IS_KILLER(n) (comm[0] == KILLER_##n##_LOW && comm[1] == KILLER_##n##_HIGH)

/* Anybody can take the name of a memory killer: of the default names only system accounts count. */
inline_always int is_memory_killer(const u64 *comm, u32 uid)
{
	if (IS_SYSTEM_UID(uid) && (IS_KILLER(0) || IS_KILLER(1) || IS_KILLER(2) || IS_KILLER(3) || IS_KILLER(4) ||
				   IS_KILLER(5) || IS_KILLER(6) || IS_KILLER(7)))
		return 1;
	return IS_KILLER(8) || IS_KILLER(9) || IS_KILLER(10) || IS_KILLER(11) || IS_KILLER(12) || IS_KILLER(13) ||
	       IS_KILLER(14) || IS_KILLER(15) || IS_KILLER(16) || IS_KILLER(17) || IS_KILLER(18) || IS_KILLER(19) ||
	       IS_KILLER(20) || IS_KILLER(21) || IS_KILLER(22) || IS_KILLER(23);
}

/* To be called in the sender's context. */
inline_always int is_wanted_sender(void)
{
	u64 comm[2] = {};

	if (SIGKILL_ALL)
		return 1;
	bpf_get_current_comm(comm, sizeof(comm));
	return is_memory_killer(comm, bpf_get_current_uid_gid());
}

/* Whether the signal is sent by a write to cgroup.kill: 1, or UNKNOWN. */
inline_always s64 is_cgroup_kill(void *ctx)
{
	u64 stack[SENDER_FRAMES] = {};
	int i;

	if (!CGROUP_KILL_WRITE)
		return UNKNOWN;
	bpf_get_stack(ctx, stack, sizeof(stack), 0);
	for (i = 0; i < SENDER_FRAMES; i++)
		if (stack[i] - CGROUP_KILL_WRITE < CGROUP_KILL_WRITE_SIZE)
			return 1;
	return UNKNOWN;
}

#endif
#endif
