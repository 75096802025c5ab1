/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What a `struct sigkill` says of victim and sender, read from the kernel's structures.
 */
#ifndef OOMTRACE_SIGKILL_TASK_H
#define OOMTRACE_SIGKILL_TASK_H

#include "cgroup.h"
#include "sigkill.h"
#include "task.h"

#ifdef WITH_SIGKILL

#define SI_CODE 8 /* offset in siginfo_t, except on MIPS */

/* `info` is 0 (SEND_SIG_NOINFO) from cgroup.kill, and 1 (SEND_SIG_PRIV) from the kernel itself. */
inline_always int is_user_sigkill(struct bpf_raw_tracepoint_args *ctx)
{
	void *signal = read_ptr((void *)ctx->args[2], OFF_TASK_SIGNAL), *info = (void *)ctx->args[1];

	if (info && !FROM_USER(read_s32(info, SI_CODE)))
		return 0;
	/* Up to 5.15 a signal to a process whose threads have all exited counts as delivered. */
	return (int)ctx->args[4] == TRACE_SIGNAL_DELIVERED && read_s32(signal, OFF_SIGNAL_LIVE) != 0;
}

inline_always void *unified_kernfs(void *task)
{
	return read_ptr(read_ptr(read_ptr(task, OFF_TASK_CGROUPS), OFF_CSS_SET_DFL_CGRP), OFF_CGROUP_KN);
}

inline_always void fill_sigkill(struct sigkill *e, struct path_walk *p, struct bpf_raw_tracepoint_args *ctx)
{
	void *task = (void *)ctx->args[2], *kn = css_kernfs(task_css_memory(task));
	void *sender = (void *)bpf_get_current_task();
	s64 hierarchy =
	    read_s32(read_ptr(read_ptr(task_css_memory(task), OFF_CSS_CGROUP), OFF_CGROUP_ROOT), OFF_ROOT_HIERARCHY_ID);

	e->kind = KIND_SIGKILL;
	e->ktime = bpf_ktime_get_ns();
	e->cgroup_kill = ctx->args[1] ? UNKNOWN : is_cgroup_kill(ctx);
	e->memcg_version = hierarchy == UNKNOWN ? UNKNOWN : hierarchy ? 1 : 2;
	e->memcg_id = read_s64(kn, OFF_KN_ID);
	e->unified_id = read_s64(unified_kernfs(task), OFF_KN_ID);
	e->sender_uid = (u32)bpf_get_current_uid_gid();
	fill_task(&e->sender, sender);
	fill_victim(&e->victim, task, process_mm(task));
	e->victim.threads = count_threads(task);
	e->used = 0;
	p->kns[0] = kn;
	p->kns[1] = unified_kernfs(task);
	p->kns[2] = css_kernfs(task_css_memory(sender));
	p->kns[3] = unified_kernfs(sender);
	p->count = 4;
	begin_path(p, 0, 0);
}

/* Appends one chunk of the paths; returns whether there is more. */
inline_always int append_sigkill_names(struct sigkill *e, struct path_walk *p)
{
	return append_paths(e->strings, &e->used, p, &e->memcg_path, sizeof(e->memcg_path), MAX_CGROUPS, 0);
}

#endif
#endif
