/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The kernel's decision: struct oom_control on entry of oom_kill_process().
 */
#ifndef OOMTRACE_DECISION_H
#define OOMTRACE_DECISION_H

#include "kernel.h"

inline_always void fill_decision(struct decision *d, void *oc, const void *message)
{
	d->ktime = bpf_ktime_get_ns();
	d->constraint = read_u32(oc, OFF_OC_CONSTRAINT);
	d->gfp_mask = read_u32(oc, OFF_OC_GFP_MASK);
	d->order = read_s32(oc, OFF_OC_ORDER);
	d->totalpages = read_s64(oc, OFF_OC_TOTALPAGES);
	d->chosen_points = read_s64(oc, OFF_OC_CHOSEN_POINTS);
	d->chosen_pid = read_s32(read_ptr(oc, OFF_OC_CHOSEN), OFF_TASK_TGID);
	d->memcg_id = read_s64(css_kernfs(read_ptr(oc, OFF_OC_MEMCG)), OFF_KN_ID);
	__builtin_memset(d->message, 0, sizeof(d->message));
	read_str(d->message, message, 0);
}

#endif
