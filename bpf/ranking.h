/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The kernel's ranking: what oom_badness() said of every process that it weighed, the best of them kept.
 *
 * out_of_memory() may run several times before it kills, so each run starts afresh. Whoever reads /proc/PID/oom_score
 * has oom_badness() called, too: only the thread that is in out_of_memory() counts. The kernel's oom_lock lets one be.
 */
#ifndef OOMTRACE_RANKING_H
#define OOMTRACE_RANKING_H

#include "cgroup.h"

#define SLOTS	   16	   /* BEST, rounded up to what a mask can say */
#define INELIGIBLE UNKNOWN /* LONG_MIN: oom_badness() of a process that must not be killed */

struct weighing {
	u32 tid;    /* the thread in out_of_memory() */
	void *task; /* what it is weighing */
	u32 worst;  /* the place of the worst of `best`, once that is full */
	s64 enough; /* its points: who has fewer is not among the best */
	struct ranking ranking;
	void *tasks[SLOTS];
};

/* Of two that weigh the same the earlier is the worse: the kernel would take the later. */
inline_always void find_worst(struct weighing *w)
{
	struct candidate *worst = &w->ranking.best[0];
	u32 i;

	w->worst = 0;
	for (i = 1; i < BEST; i++) {
		struct candidate *c = &w->ranking.best[i];

		if (c->points < worst->points || (c->points == worst->points && c->order < worst->order)) {
			worst = c;
			w->worst = i;
		}
	}
	w->enough = worst->points;
}

/* Runs for every process on the machine while that is out of memory: most must leave here at once. */
inline_always int keep_candidate(struct weighing *w, s64 points)
{
	struct candidate *c;
	u32 place;

	if (!w->task || points == INELIGIBLE)
		return 0;
	w->ranking.weighed++;
	if (w->ranking.told == BEST) {
		if (points < w->enough)
			return 0;
		place = w->worst;
	} else {
		place = w->ranking.told++;
	}
	asm volatile("" : "+r"(place)); /* as in append_path(): keep the mask */
	place &= SLOTS - 1;
	c = &w->ranking.best[place];
	c->pid = read_s32(w->task, OFF_TASK_TGID);
	c->points = points;
	c->order = w->ranking.weighed;
	w->tasks[place] = w->task;
	if (w->ranking.told == BEST)
		find_worst(w);
	return 0;
}

/* Fills in what only the few need that are told of. One that has exited since is known by its pid and points alone. */
inline_always void finish_candidate(struct ranking *r, struct candidate *c, void *task)
{
	void *kn = css_kernfs(task_css_memory(task));

	c->oom_score_adj = UNKNOWN;
	c->path = UNKNOWN;
	__builtin_memset(c->comm, 0, sizeof(c->comm));
	if (read_s32(task, OFF_TASK_TGID) != c->pid)
		return;
	c->oom_score_adj = read_s16(read_ptr(task, OFF_TASK_SIGNAL), OFF_SIGNAL_OOM_SCORE_ADJ);
	read_str(c->comm, task, OFF_TASK_COMM);
	if (kn)
		c->path = append_path(r->strings, &r->used, kn);
}

inline_always void finish_ranking(struct weighing *w, s64 ktime)
{
	struct ranking *r = &w->ranking;
	int i;

	r->kind = KIND_RANKING;
	r->ktime = ktime;
	r->used = 0;
	for (i = 0; i < BEST; i++) {
		if (i >= r->told)
			break;
		finish_candidate(r, &r->best[i], w->tasks[i]);
	}
}

#endif
