// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#include "cgroups.h"

static struct model_kernfs chain[MAX_CGROUPS + 2];
static char strings[PATHS_LEN + NAME_LEN];

/* Returns the leaf of a hierarchy with `depth` cgroups below the root. */
static struct model_kernfs *hierarchy(int depth, const char *name)
{
	int i;

	chain[0] = (struct model_kernfs){.name = ""};
	for (i = 1; i <= depth; i++)
		chain[i] = (struct model_kernfs){&chain[i - 1], name, i};
	return &chain[depth];
}

static s64 append_path(char *to, s64 *used, struct model_kernfs *kn, int max_names)
{
	struct path_walk walk = {.count = 1, .kns = {kn}};
	s64 length = 77;

	begin_path(&walk, 0, *used);
	while (append_paths(to, used, &walk, &length, sizeof(length), max_names, 0))
		;
	return length;
}

TEST(a_path_is_leaf_first_and_excludes_the_root)
{
	s64 used = 3;

	hierarchy(2, "name");
	chain[2].name = "leaf";
	CHECK_EQUAL(append_path(strings, &used, &chain[2], MAX_CGROUPS), 10);
	CHECK_EQUAL(used, 13);
	CHECK(!memcmp(strings + 3, "leaf\0name", 10));
}

TEST(the_path_of_the_root_is_empty)
{
	s64 used = 3;

	CHECK_EQUAL(append_path(strings, &used, hierarchy(0, ""), MAX_CGROUPS), 0);
	CHECK_EQUAL(used, 3);
}

TEST(a_path_with_too_many_names_is_unknown)
{
	s64 used = 0;

	CHECK_EQUAL(append_path(strings, &used, hierarchy(32, "n"), 32), 2 * 32);
	CHECK_EQUAL(append_path(strings, &used, hierarchy(33, "n"), 32), UNKNOWN);
	CHECK_EQUAL(used, 2 * 32);
}

TEST(a_name_may_begin_just_below_the_limit_and_none_at_it)
{
	s64 used = PATHS_LEN - 1;

	CHECK_EQUAL(append_path(strings, &used, hierarchy(1, "name"), MAX_CGROUPS), 5);
	CHECK(!strcmp(strings + PATHS_LEN - 1, "name"));
	used = PATHS_LEN - 1;
	CHECK_EQUAL(append_path(strings, &used, hierarchy(2, "name"), MAX_CGROUPS), UNKNOWN);
	CHECK_EQUAL(used, PATHS_LEN - 1);
	used = PATHS_LEN;
	CHECK_EQUAL(append_path(strings, &used, hierarchy(1, "name"), MAX_CGROUPS), UNKNOWN);
}

TEST(a_path_with_an_unreadable_name_is_unknown)
{
	s64 used = 7;

	hierarchy(3, "name");
	chain[2].name = 0;
	CHECK_EQUAL(append_path(strings, &used, &chain[3], MAX_CGROUPS), UNKNOWN);
	CHECK_EQUAL(used, 7);
}

static struct model_cgroup cgroups[MAX_CGROUPS + 1];
static struct model_css levels[MAX_CGROUPS + 1];
static struct model_css_set set = {&levels[MAX_CGROUPS]};
static struct victim_event event;

static void fill_from(struct model_css *memory, const char *name)
{
	struct model_task task = {.cgroups = &set};
	int i;

	hierarchy(MAX_CGROUPS, name);
	for (i = 0; i <= MAX_CGROUPS; i++) {
		cgroups[i].kn = &chain[i];
		levels[i] = (struct model_css){&cgroups[i], i ? &levels[i - 1] : 0};
	}
	chain[0].id = 1000;
	set.memory = memory;
	fill_cgroups(&event, &task, &task);
}

TEST(levels_go_from_the_victims_cgroup_to_the_root)
{
	fill_from(&levels[2], "n");
	CHECK_EQUAL(event.contents.levels, 3);
	CHECK_EQUAL(level(&event, 0).id, 2);
	CHECK_EQUAL(level(&event, 1).id, 1);
	CHECK_EQUAL(level(&event, 2).id, 1000);
	CHECK_EQUAL(level(&event, 0).usage, UNKNOWN);
	CHECK_EQUAL(event.contents.trigger_ids, 3);
	CHECK_EQUAL(trigger_id(&event, 2), 1000);
	CHECK_EQUAL(event.contents.memcg_path, 4);
	CHECK_EQUAL(event.contents.trigger_path, 4);
	CHECK_EQUAL(after_paths(&event) - event.strings, 8);
}

TEST(every_number_of_levels_is_walked_to_the_root)
{
	int depth;

	for (depth = 0; depth < MAX_CGROUPS; depth++) {
		fill_from(&levels[depth], "n");
		CHECK_EQUAL(event.contents.levels, depth + 1);
		CHECK_EQUAL(event.contents.trigger_ids, depth + 1);
		CHECK_EQUAL(level(&event, depth).id, 1000);
		CHECK_EQUAL(trigger_id(&event, depth), 1000);
		CHECK_EQUAL(event.contents.memcg_path, 2 * depth);
	}
}

TEST(levels_beyond_the_limit_are_left_out)
{
	fill_from(&levels[MAX_CGROUPS], "n");
	CHECK_EQUAL(event.contents.levels, MAX_CGROUPS);
	CHECK_EQUAL(level(&event, MAX_CGROUPS - 1).id, 1);
	CHECK_EQUAL(trigger_id(&event, MAX_CGROUPS - 1), 1);
	CHECK_EQUAL(event.contents.memcg_path, 2 * MAX_CGROUPS);
}

TEST(the_longest_paths_leave_room_for_all_levels)
{
	static char name[NAME_LEN];

	memset(name, 'n', 62);
	fill_from(&levels[MAX_CGROUPS], name);
	CHECK_EQUAL(event.contents.memcg_path, 63 * MAX_CGROUPS);
	CHECK_EQUAL(event.contents.trigger_path, UNKNOWN);
	CHECK_EQUAL(event.contents.levels, MAX_CGROUPS);
	CHECK_EQUAL(event.contents.trigger_ids, MAX_CGROUPS);
}

TEST(without_a_memory_cgroup_there_are_no_levels)
{
	fill_from(0, "n");
	CHECK_EQUAL(event.contents.levels, 0);
	CHECK_EQUAL(event.contents.trigger_ids, 0);
	CHECK_EQUAL(event.memcg_version, UNKNOWN);
	CHECK_EQUAL(event.unified_id, UNKNOWN);
}
