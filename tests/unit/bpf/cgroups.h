/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The programs that describe the memory cgroups of a victim, one after the other, and what they have written.
 */
#ifndef OOMTRACE_TEST_CGROUPS_H
#define OOMTRACE_TEST_CGROUPS_H

#include "cgroup.h"

static inline void fill_cgroups(struct victim_event *e, void *task, void *current)
{
	static struct memcg_walk walk;

	begin_cgroups(e, &walk, task, current);
	while (append_victim_names(e, &walk))
		;
	while (walk_memcgs(e, &walk))
		;
}

static inline char *after_paths(struct victim_event *e)
{
	struct contents *c = &e->contents;

	return e->strings + c->used - c->trigger_ids * sizeof(s64) - c->levels * sizeof(struct memcg_level);
}

static inline struct memcg_level level(struct victim_event *e, int index)
{
	struct memcg_level found;

	CHECK(index < e->contents.levels);
	memcpy(&found, after_paths(e) + index * sizeof(found), sizeof(found));
	return found;
}

static inline s64 trigger_id(struct victim_event *e, int index)
{
	s64 found;

	CHECK(index < e->contents.trigger_ids);
	memcpy(&found, e->strings + e->contents.used - (e->contents.trigger_ids - index) * sizeof(found),
	       sizeof(found));
	return found;
}

#endif
