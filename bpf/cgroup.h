/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Reading memory cgroups: the levels from a task's own to the root, and their paths.
 */
#ifndef OOMTRACE_CGROUP_H
#define OOMTRACE_CGROUP_H

#include "kernel.h"

/*
 * Reads straight into the event and ignores failures: checks at each level would cost the verifier a quarter of a
 * second. `contents.levels` is the number of levels that exist.
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
 * Paths of cgroups, appended one after the other: of each the names up to, but excluding, the root. The walk is done in
 * chunks (as in fd_walk.h), and its state is kept in a map: the verifier does not track map values, so it need not
 * follow every possible length through the rest of the program.
 */
#define STEPS_PER_CHUNK 28 /* names and ends of paths; most hosts need one chunk for all paths of a victim */
#define MAX_PATHS	16 /* a power of two, for the mask */

struct path_walk {
	u64 index; /* of the current path */
	u64 count; /* of paths */
	s64 names; /* of the current path */
	s64 start; /* its offset */
	void *kn;  /* its next name; of later paths the first one is in `kns` */
	void *kns[MAX_PATHS];
};

inline_always void begin_path(struct path_walk *p, u64 index, s64 start)
{
	p->index = index;
	asm volatile("" : "+r"(index)); /* or the compiler drops the mask */
	p->kn = p->kns[index & (MAX_PATHS - 1)];
	p->start = start;
	p->names = 0;
}

/*
 * Walks one chunk; returns whether there is more. `lengths`: of the first path; those of the others follow at distances
 * of `stride`. A length is the bytes added, or UNKNOWN if not all names fit; `none` if there is no cgroup.
 */
inline_always int append_paths(char *strings, s64 *used, struct path_walk *p, void *lengths, u32 stride, s64 max_names,
			       s64 none)
{
	int i;

	for (i = 0; i < STEPS_PER_CHUNK; i++) {
		u64 index = p->index;
		void *parent;
		u32 at = *used;
		s64 n = 0, *length;

		if (index >= p->count)
			return 0;
		parent = read_ptr(p->kn, OFF_KN_PARENT);
		if (parent && at < PATHS_LEN && p->names < max_names) {
			/* Else the compiler drops the mask and checks a copy, which the verifier does not relate to
			 * `at`. */
			asm volatile("" : "+r"(at));
			n = bpf_probe_read_kernel_str(&strings[at & (PATHS_LEN - 1)], NAME_LEN,
						      read_ptr(p->kn, OFF_KN_NAME));
		}
		if (n > 0) {
			*used += n;
			p->names++;
			p->kn = parent;
			continue;
		}
		asm volatile("" : "+r"(index));
		length = lengths + (index & (MAX_PATHS - 1)) * stride;
		*length = p->kn ? *used - p->start : none;
		if (parent) {
			*length = UNKNOWN;
			*used = p->start;
		}
		begin_path(p, index + 1, *used);
	}
	return 1;
}

/*
 * The walk from the memory cgroups of victim and trigger to the root, in chunks (as in fd_walk.h): a hierarchy may be
 * deep, and the limit that was reached may be far above the victim.
 */
#define LEVELS_PER_CHUNK 16

struct memcg_walk {
	void *memcg; /* the next one to describe; 0: no more */
	void *trigger_memcg;
	struct path_walk paths;
	struct memcg_level level;
};

inline_always void begin_cgroups(struct victim_event *e, struct memcg_walk *w, void *task, void *current)
{
	void *unified_kn = read_ptr(read_ptr(read_ptr(task, OFF_TASK_CGROUPS), OFF_CSS_SET_DFL_CGRP), OFF_CGROUP_KN);
	s64 hierarchy;

	w->memcg = task_css_memory(task);
	w->trigger_memcg = task_css_memory(current);
	hierarchy = read_s32(read_ptr(read_ptr(w->memcg, OFF_CSS_CGROUP), OFF_CGROUP_ROOT), OFF_ROOT_HIERARCHY_ID);
	/* The v2 hierarchy always has id 0: cgroup_init() sets it up first. */
	e->memcg_version = hierarchy == UNKNOWN ? UNKNOWN : hierarchy ? 1 : 2;
	e->unified_id = read_s64(unified_kn, OFF_KN_ID);
	w->paths.kns[0] = css_kernfs(w->memcg);
	w->paths.kns[1] = unified_kn;
	w->paths.kns[2] = css_kernfs(w->trigger_memcg);
	w->paths.count = 3;
	e->contents.used = e->contents.levels = e->contents.trigger_ids = 0;
	begin_path(&w->paths, 0, 0);
}

/* Appends one chunk of the paths; returns whether there is more. */
inline_always int append_victim_names(struct victim_event *e, struct memcg_walk *w)
{
	struct contents *c = &e->contents;

	return append_paths(e->strings, &c->used, &w->paths, &c->memcg_path, sizeof(c->memcg_path), MAX_CGROUPS, 0);
}

inline_always void append_entry(struct victim_event *e, s64 *count, const void *from, u32 size)
{
	u64 at = e->contents.used;

	asm volatile("" : "+r"(at));
	if (at > STRINGS_LEN - size || bpf_probe_read_kernel(&e->strings[at], size, from))
		return;
	e->contents.used += size;
	*count += 1;
}

/* Walks one chunk; returns whether there is more. */
inline_always int walk_memcgs(struct victim_event *e, struct memcg_walk *w)
{
	struct contents *c = &e->contents;
	s64 id;
	int i;

	for (i = 0; i < LEVELS_PER_CHUNK && w->memcg && c->levels < MAX_CGROUPS; i++) {
		fill_level(&w->level, w->memcg);
		append_entry(e, &c->levels, &w->level, sizeof(w->level));
		w->memcg = read_ptr(w->memcg, OFF_CSS_PARENT);
	}
	if (w->memcg && c->levels < MAX_CGROUPS)
		return 1;
	for (i = 0; i < LEVELS_PER_CHUNK && w->trigger_memcg && c->trigger_ids < MAX_CGROUPS; i++) {
		id = read_s64(css_kernfs(w->trigger_memcg), OFF_KN_ID);
		append_entry(e, &c->trigger_ids, &id, sizeof(id));
		w->trigger_memcg = read_ptr(w->trigger_memcg, OFF_CSS_PARENT);
	}
	return w->trigger_memcg && c->trigger_ids < MAX_CGROUPS;
}

#endif
