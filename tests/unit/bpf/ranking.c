// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#include "ranking.h"

#define MANY 500

static struct ranking_state state;
static struct model_task processes[MANY];

static void weigh(int index, s64 points)
{
	processes[index].tgid = 1000 + index;
	state.task = &processes[index];
	keep_candidate(&state, points);
}

static struct candidate *find(s64 pid)
{
	int i;

	for (i = 0; i < state.ranking.count; i++)
		if (state.ranking.best[i].pid == pid)
			return &state.ranking.best[i];
	return 0;
}

TEST(a_candidate_is_kept_with_its_pid_points_order_and_task)
{
	weigh(0, 7);
	weigh(1, -3);
	CHECK_EQUAL(state.ranking.weighed, 2);
	CHECK_EQUAL(state.ranking.count, 2);
	CHECK_EQUAL(state.ranking.best[1].pid, 1001);
	CHECK_EQUAL(state.ranking.best[1].points, -3);
	CHECK_EQUAL(state.ranking.best[1].order, 2);
	CHECK(state.tasks[1] == &processes[1]);
}

TEST(ineligible_processes_are_neither_counted_nor_kept)
{
	weigh(0, INELIGIBLE);
	CHECK_EQUAL(state.ranking.weighed, 0);
	CHECK_EQUAL(state.ranking.count, 0);
	weigh(1, INELIGIBLE + 1);
	CHECK_EQUAL(state.ranking.count, 1);
}

TEST(points_without_a_task_are_ignored)
{
	CHECK_EQUAL(keep_candidate(&state, 5), 0);
	CHECK_EQUAL(state.ranking.weighed, 0);
}

TEST(a_better_candidate_replaces_the_worst_once_the_list_is_full)
{
	int i;

	for (i = 0; i < MAX_CANDIDATES; i++)
		weigh(i, 100 + (i + 5) % MAX_CANDIDATES); /* the worst is the sixth */
	CHECK_EQUAL(state.worst, 5);
	CHECK_EQUAL(state.worst_points, 100);
	weigh(10, 105);
	CHECK_EQUAL(state.ranking.count, MAX_CANDIDATES);
	CHECK(!find(1005));
	CHECK_EQUAL(find(1010)->order, 11);
	CHECK_EQUAL(state.worst_points, 101);
	weigh(11, 100);
	CHECK(!find(1011));
	CHECK_EQUAL(state.ranking.weighed, 12);
}

TEST(of_equal_points_the_later_is_kept)
{
	int i;

	for (i = 0; i < 2 * MAX_CANDIDATES; i++)
		weigh(i, 50);
	for (i = 0; i < MAX_CANDIDATES; i++) {
		CHECK(!find(1000 + i));
		CHECK(find(1000 + MAX_CANDIDATES + i));
	}
}

TEST(the_worst_is_found_at_either_end)
{
	int i;

	for (i = 0; i < MAX_CANDIDATES; i++) {
		state.ranking.best[i].points = i;
		state.ranking.best[i].order = i;
	}
	find_worst(&state);
	CHECK_EQUAL(state.worst, 0);
	state.ranking.best[MAX_CANDIDATES - 1].points = -1;
	find_worst(&state);
	CHECK_EQUAL(state.worst, MAX_CANDIDATES - 1);
	CHECK_EQUAL(state.worst_points, -1);
	state.ranking.best[4].points = -1; /* scanned before the last */
	find_worst(&state);
	CHECK_EQUAL(state.worst, 4);
}

/* How many of the first `count` processes the kernel prefers to this one. */
static int preferred(s64 *points, int count, int index)
{
	int i, better = 0;

	for (i = 0; i < count; i++)
		better +=
		    points[i] != INELIGIBLE && (points[i] > points[index] || (points[i] == points[index] && i > index));
	return better;
}

TEST(the_kept_are_always_the_best_in_the_kernels_order)
{
	static s64 points[MANY];
	u32 seed = 1;
	int count, i;

	for (count = 0; count < MANY; count++) {
		seed = seed * 1103515245 + 12345;
		points[count] = seed % 7 ? (s64)(seed >> 16) % 40 - 20 : INELIGIBLE;
		weigh(count, points[count]);
		for (i = 0; i <= count; i++) {
			int best = points[i] != INELIGIBLE && preferred(points, count + 1, i) < MAX_CANDIDATES;

			CHECK_EQUAL(find(1000 + i) != 0, best);
		}
	}
}

static struct model_kernfs root_kn = {.name = ""}, leaf_kn = {.parent = &root_kn, .name = "leaf"};
static struct model_cgroup leaf = {&leaf_kn};
static struct model_css memory = {.cgroup = &leaf};
static struct model_css_set set = {&memory};
static struct model_signal adjusted = {-500};

static void finish(void)
{
	finish_ranking(&state, 77);
	while (append_candidate_names(&state))
		;
}

TEST(a_finished_ranking_has_the_facts_of_every_candidate)
{
	processes[0] = processes[1] = (struct model_task){.comm = "worker", .signal = &adjusted, .cgroups = &set};
	state.ranking.used = 99; /* of the ranking before */
	weigh(0, 1);
	weigh(1, 2);
	finish();
	CHECK_EQUAL(state.ranking.kind, KIND_RANKING);
	CHECK_EQUAL(state.ranking.ktime, 77);
	CHECK_EQUAL(state.ranking.used, 10);
	CHECK(!memcmp(state.ranking.strings, "leaf\0leaf", 10));
	CHECK_EQUAL(state.ranking.best[1].oom_score_adj, -500);
	CHECK_EQUAL(state.ranking.best[1].path, 5);
	CHECK(!strcmp(state.ranking.best[1].comm, "worker"));
}

TEST(of_a_candidate_that_has_exited_only_pid_and_points_are_known)
{
	struct candidate *c = &state.ranking.best[0];

	processes[0] = (struct model_task){.comm = "other", .signal = &adjusted, .cgroups = &set};
	weigh(0, 1);
	processes[0].tgid = 5; /* its task_struct is used again */
	strcpy(c->comm, "stale");
	finish();
	CHECK_EQUAL(c->pid, 1000);
	CHECK_EQUAL(c->oom_score_adj, UNKNOWN);
	CHECK_EQUAL(c->path, UNKNOWN);
	CHECK_EQUAL(c->comm[0], 0);
	CHECK_EQUAL(state.ranking.used, 0);
}

TEST(a_candidate_without_a_cgroup_has_no_path_and_the_others_have_theirs)
{
	static struct model_css_set none;

	processes[0] = processes[2] = (struct model_task){.signal = &adjusted, .cgroups = &set};
	processes[1] = (struct model_task){.signal = &adjusted, .cgroups = &none};
	weigh(0, 1);
	weigh(1, 2);
	weigh(2, 3);
	finish();
	CHECK_EQUAL(state.ranking.best[0].path, 5);
	CHECK_EQUAL(state.ranking.best[1].path, UNKNOWN);
	CHECK_EQUAL(state.ranking.best[2].path, 5);
	CHECK_EQUAL(state.ranking.used, 10);
}
