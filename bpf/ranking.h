/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The kernel's ranking: the candidates to which oom_badness() gave the most points.
 *
 * out_of_memory() may run several times before it kills, so each run starts a new ranking. Reading /proc/PID/oom_score
 * calls oom_badness(), too: only calls by the thread in out_of_memory() count. The kernel's oom_lock admits one thread.
 */
#ifndef OOMTRACE_RANKING_H
#define OOMTRACE_RANKING_H

#include "cgroup.h"

#define MAX_NAMES	64	/* in a candidate's path */
#define CANDIDATE_SLOTS 16	/* MAX_CANDIDATES, rounded up to a power of two for the mask */
#define INELIGIBLE	UNKNOWN /* LONG_MIN: oom_badness() of a process that must not be killed */

#if defined(WITH_KPROBE) || defined(WITH_FENTRY)
#define HAS_DECISION 1
#else
#define HAS_DECISION 0 /* level `reduced` */
#endif

struct ranking_state {
	u32 tid;	  /* the thread in out_of_memory() */
	void *task;	  /* the task that oom_badness() is running for */
	u32 worst;	  /* index of the worst entry of `best`, once that is full */
	s64 worst_points; /* its points: a candidate with fewer is not kept */
	struct ranking ranking;
	void *tasks[CANDIDATE_SLOTS];
	u32 decided_tid; /* the thread that has decided by this ranking, which is not sent yet */
	struct path_walk paths;
};

/* Of two with equal points the earlier is worse: the kernel would choose the later. */
inline_always void find_worst(struct ranking_state *state)
{
	struct candidate *worst = &state->ranking.best[0];
	u32 i;

	state->worst = 0;
	for (i = 1; i < MAX_CANDIDATES; i++) {
		struct candidate *c = &state->ranking.best[i];

		if (c->points < worst->points || (c->points == worst->points && c->order < worst->order)) {
			worst = c;
			state->worst = i;
		}
	}
	state->worst_points = worst->points;
}

/* Runs for every process of the machine while it is out of memory: return early for most of them. */
inline_always int keep_candidate(struct ranking_state *state, s64 points)
{
	struct candidate *c;
	u32 index;

	if (!state->task || points == INELIGIBLE)
		return 0;
	state->ranking.weighed++;
	if (state->ranking.count == MAX_CANDIDATES) {
		if (points < state->worst_points)
			return 0;
		index = state->worst;
	} else {
		index = state->ranking.count++;
	}
	asm volatile("" : "+r"(index)); /* as in append_path(): keep the mask */
	index &= CANDIDATE_SLOTS - 1;
	c = &state->ranking.best[index];
	c->pid = read_s32(state->task, OFF_TASK_TGID);
	c->points = points;
	c->order = state->ranking.weighed;
	state->tasks[index] = state->task;
	if (state->ranking.count == MAX_CANDIDATES)
		find_worst(state);
	return 0;
}

/*
 * Adds what is read only of candidates that are sent, and returns the cgroup of which the path is to be read. Of one
 * that has exited since, only pid and points are known.
 */
inline_always void *finish_candidate(struct candidate *c, void *task)
{
	c->oom_score_adj = UNKNOWN;
	c->path = UNKNOWN;
	__builtin_memset(c->comm, 0, sizeof(c->comm));
	if (read_s32(task, OFF_TASK_TGID) != c->pid)
		return 0;
	c->oom_score_adj = read_s16(read_ptr(task, OFF_TASK_SIGNAL), OFF_SIGNAL_OOM_SCORE_ADJ);
	read_str(c->comm, task, OFF_TASK_COMM);
	return css_kernfs(task_css_memory(task));
}

inline_always void finish_ranking(struct ranking_state *state, s64 ktime)
{
	struct ranking *r = &state->ranking;
	int i;

	r->kind = KIND_RANKING;
	r->ktime = ktime;
	r->used = 0;
	for (i = 0; i < MAX_CANDIDATES; i++) {
		if (i >= r->count)
			break;
		state->paths.kns[i] = finish_candidate(&r->best[i], state->tasks[i]);
	}
	state->paths.count = r->count;
	begin_path(&state->paths, 0, 0);
}

/* Appends one chunk of the paths; returns whether there is more. */
inline_always int append_candidate_names(struct ranking_state *state)
{
	struct ranking *r = &state->ranking;

	return append_paths(r->strings, &r->used, &state->paths, &r->best[0].path, sizeof(r->best[0]), MAX_NAMES,
			    UNKNOWN);
}

#endif
