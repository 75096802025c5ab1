// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#include "cgroup.h"

static struct model_kernfs chain[MAX_DEPTH + 2];
static char strings[2 * PATHS_LEN];

/* Returns the leaf of a hierarchy with `depth` cgroups below the root. */
static struct model_kernfs *hierarchy(int depth, const char *name)
{
	int i;

	chain[0] = (struct model_kernfs){.name = ""};
	for (i = 1; i <= depth; i++)
		chain[i] = (struct model_kernfs){&chain[i - 1], name, i};
	return &chain[depth];
}

TEST(a_path_is_leaf_first_and_excludes_the_root)
{
	s64 used = 3;

	hierarchy(2, "name");
	chain[2].name = "leaf";
	CHECK_EQUAL(append_path(strings, &used, &chain[2]), 10);
	CHECK_EQUAL(used, 13);
	CHECK(!memcmp(strings + 3, "leaf\0name", 10));
}

TEST(the_path_of_the_root_is_empty)
{
	s64 used = 3;

	CHECK_EQUAL(append_path(strings, &used, hierarchy(0, "")), 0);
	CHECK_EQUAL(used, 3);
}

TEST(a_path_has_at_most_32_names)
{
	s64 used = 0;

	CHECK_EQUAL(append_path(strings, &used, hierarchy(MAX_DEPTH, "n")), 2 * MAX_DEPTH);
	CHECK_EQUAL(append_path(strings, &used, hierarchy(MAX_DEPTH + 1, "n")), UNKNOWN);
	CHECK_EQUAL(used, 2 * MAX_DEPTH);
}

TEST(a_name_may_begin_just_below_the_limit_and_none_at_it)
{
	s64 used = PATHS_LEN - 1;

	CHECK_EQUAL(append_path(strings, &used, hierarchy(1, "name")), 5);
	CHECK(!strcmp(strings + PATHS_LEN - 1, "name"));
	used = PATHS_LEN - 1;
	CHECK_EQUAL(append_path(strings, &used, hierarchy(2, "name")), UNKNOWN);
	CHECK_EQUAL(used, PATHS_LEN - 1);
	used = PATHS_LEN;
	CHECK_EQUAL(append_path(strings, &used, hierarchy(1, "name")), UNKNOWN);
}

TEST(a_path_with_an_unreadable_name_is_unknown)
{
	s64 used = 7;

	hierarchy(3, "name");
	chain[2].name = 0;
	CHECK_EQUAL(append_path(strings, &used, &chain[3]), UNKNOWN);
	CHECK_EQUAL(used, 7);
}

static struct model_cgroup cgroups[MAX_LEVELS + 1];
static struct model_css levels[MAX_LEVELS + 1];
static struct model_css_set set = {&levels[MAX_LEVELS]};
static struct victim_event event;

static void fill_from(struct model_css *memory)
{
	struct model_task task = {.cgroups = &set};
	int i;

	hierarchy(MAX_LEVELS, "n");
	for (i = 0; i <= MAX_LEVELS; i++) {
		cgroups[i].kn = &chain[i];
		levels[i] = (struct model_css){&cgroups[i], i ? &levels[i - 1] : 0};
	}
	chain[0].id = 100;
	set.memory = memory;
	fill_cgroups(&event, &task, &task);
}

TEST(levels_go_from_the_victims_cgroup_to_the_root)
{
	fill_from(&levels[2]);
	CHECK_EQUAL(event.memcg[0].id, 2);
	CHECK_EQUAL(event.memcg[1].id, 1);
	CHECK_EQUAL(event.memcg[2].id, 100);
	CHECK_EQUAL(event.memcg[3].id, UNKNOWN);
	CHECK_EQUAL(event.memcg[0].usage, UNKNOWN);
	CHECK_EQUAL(event.trigger_memcg_ids[2], 100);
	CHECK_EQUAL(event.trigger_memcg_ids[3], UNKNOWN);
	CHECK_EQUAL(event.paths.memcg, 4);
	CHECK_EQUAL(event.paths.trigger_memcg, 4);
	CHECK_EQUAL(event.paths.used, 8);
}

TEST(levels_beyond_the_sixteenth_are_left_out)
{
	fill_from(&levels[MAX_LEVELS]);
	CHECK_EQUAL(event.memcg[MAX_LEVELS - 1].id, 1);
	CHECK_EQUAL(event.trigger_memcg_ids[MAX_LEVELS - 1], 1);
}

TEST(without_a_memory_cgroup_there_are_no_levels)
{
	fill_from(0);
	CHECK_EQUAL(event.memcg[0].id, UNKNOWN);
	CHECK_EQUAL(event.trigger_memcg_ids[0], UNKNOWN);
	CHECK_EQUAL(event.memcg_version, UNKNOWN);
	CHECK_EQUAL(event.unified_id, UNKNOWN);
}
