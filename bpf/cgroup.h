/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Reading memory cgroups: the levels from a task's own to the root, and their paths.
 */
#ifndef OOMTRACE_CGROUP_H
#define OOMTRACE_CGROUP_H

#include "kernel.h"

/*
 * Reads straight into the event and ignores failures: checks at sixteen levels would cost the verifier a quarter of a
 * second. A level without an id does not exist.
 */
#define fill(dst, base, off)                                                                      \
	do {                                                                                      \
		(dst) = UNKNOWN;                                                                  \
		if ((off) >= 0)                                                                   \
			bpf_probe_read_kernel(&(dst), sizeof(dst), (const char *)(base) + (off)); \
	} while (0)
#define OFF_EVENT(index) ((index) < 0 ? -1 : OFF_MEMCG_EVENTS + (index) * 8)

inline_always void fill_level(struct memcg_level *to, void *memcg)
{
	to->id = read_s64(css_kernfs(memcg), OFF_KN_ID);
	fill(to->usage, memcg, OFF_MEMCG_MEMORY_USAGE);
	fill(to->max, memcg, OFF_MEMCG_MEMORY_MAX);
	fill(to->high, memcg, OFF_MEMCG_MEMORY_HIGH);
	fill(to->watermark, memcg, OFF_MEMCG_MEMORY_WATERMARK);
	fill(to->swap_usage, memcg, OFF_MEMCG_SWAP_USAGE);
	fill(to->swap_max, memcg, OFF_MEMCG_SWAP_MAX);
	fill(to->events_high, memcg, OFF_EVENT(MEMCG_HIGH));
	fill(to->events_max, memcg, OFF_EVENT(MEMCG_MAX));
	fill(to->events_oom, memcg, OFF_EVENT(MEMCG_OOM));
	fill(to->events_oom_kill, memcg, OFF_EVENT(MEMCG_OOM_KILL));
	fill(to->events_oom_group_kill, memcg, OFF_EVENT(MEMCG_OOM_GROUP_KILL));
	to->swappiness = read_s32(memcg, OFF_MEMCG_SWAPPINESS);
	to->oom_group = read_u8(memcg, OFF_MEMCG_OOM_GROUP);
}

/*
 * Appends the names from a cgroup up to, but excluding, the root. Returns the bytes added, or UNKNOWN if not all fit.
 * The length so far is kept in the event and not in a register: the verifier does not track map values, so it need not
 * follow every possible length through the rest of the program.
 */
inline_always s64 append_path(char *strings, s64 *used, void *kn)
{
	s64 start = *used;
	int i;

	for (i = 0; i < MAX_DEPTH; i++) {
		void *parent = read_ptr(kn, OFF_KN_PARENT);
		u32 at = *used;
		s64 n;

		if (!parent || at >= PATHS_LEN)
			break;
		/* Else the compiler drops the mask and checks a copy, which the verifier does not relate to `at`. */
		asm volatile("" : "+r"(at));
		n = bpf_probe_read_kernel_str(&strings[at & (PATHS_LEN - 1)], NAME_LEN, read_ptr(kn, OFF_KN_NAME));
		if (n <= 0)
			break;
		*used += n;
		kn = parent;
	}
	if (!read_ptr(kn, OFF_KN_PARENT))
		return *used - start;
	*used = start;
	return UNKNOWN;
}

inline_always void fill_cgroups(struct victim_event *e, void *task, void *current)
{
	void *memcg = task_css_memory(task);
	void *trigger_memcg = task_css_memory(current);
	void *unified = read_ptr(read_ptr(task, OFF_TASK_CGROUPS), OFF_CSS_SET_DFL_CGRP);
	s64 hierarchy = read_s32(read_ptr(read_ptr(memcg, OFF_CSS_CGROUP), OFF_CGROUP_ROOT), OFF_ROOT_HIERARCHY_ID);
	void *unified_kn = read_ptr(unified, OFF_CGROUP_KN);
	int i;

	e->paths.used = 0;
	e->paths.memcg = append_path(e->strings, &e->paths.used, css_kernfs(memcg));
	e->paths.unified = append_path(e->strings, &e->paths.used, unified_kn);
	e->paths.trigger_memcg = append_path(e->strings, &e->paths.used, css_kernfs(trigger_memcg));
	e->unified_id = read_s64(unified_kn, OFF_KN_ID);
	/* The v2 hierarchy always has id 0: cgroup_init() sets it up first. */
	e->memcg_version = hierarchy == UNKNOWN ? UNKNOWN : hierarchy ? 1 : 2;
	for (i = 0; i < MAX_LEVELS; i++) {
		e->trigger_memcg_ids[i] = trigger_memcg ? read_s64(css_kernfs(trigger_memcg), OFF_KN_ID) : UNKNOWN;
		if (trigger_memcg)
			trigger_memcg = read_ptr(trigger_memcg, OFF_CSS_PARENT);
	}
	for (i = 0; i < MAX_LEVELS; i++) {
		e->memcg[i].id = UNKNOWN;
		if (!memcg)
			break;
		fill_level(&e->memcg[i], memcg);
		memcg = read_ptr(memcg, OFF_CSS_PARENT);
	}
}

#endif
