/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The kernel's ranking: what oom_badness() said of every process that it weighed, the best of them kept. Part of
 * oomtrace.bpf.c, where all that touches a map must stand: BCC translates that in no other file.
 *
 * out_of_memory() may run several times before it kills, so each run starts afresh. Whoever reads /proc/PID/oom_score
 * has oom_badness() called, too: only the thread that is in out_of_memory() counts. The kernel's oom_lock lets one be.
 */
#ifndef OOMTRACE_RANKING_H
#define OOMTRACE_RANKING_H

#define SLOTS	   16	   /* BEST, rounded up to what a mask can say */
#define INELIGIBLE UNKNOWN /* LONG_MIN: oom_badness() of a process that must not be killed */

struct weighing {
	u32 tid;    /* the thread in out_of_memory() */
	void *task; /* what it is weighing */
	struct ranking ranking;
	void *memcg[SLOTS];
};

/* The place for a candidate with so many points: a free one, or that of the worst; BEST if it is worse than all. */
inline_always u32 place_for(struct ranking *r, s64 points)
{
	u32 i, place = 0;

	if (r->told < BEST)
		return r->told++;
	for (i = 1; i < BEST; i++) {
		struct candidate *a = &r->best[i], *b = &r->best[place & (SLOTS - 1)];

		if (a->points < b->points || (a->points == b->points && a->order < b->order))
			place = i;
	}
	return points < r->best[place & (SLOTS - 1)].points ? BEST : place;
}

inline_always int keep_candidate(struct weighing *w, s64 points)
{
	struct candidate *c;
	u32 place;

	if (!w->task || points == INELIGIBLE)
		return 0;
	w->ranking.weighed++;
	place = place_for(&w->ranking, points);
	if (place >= BEST)
		return 0;
	asm volatile("" : "+r"(place)); /* as in append_path(): keep the mask */
	place &= SLOTS - 1;
	c = &w->ranking.best[place];
	c->pid = read_s32(w->task, OFF_TASK_TGID);
	c->points = points;
	c->oom_score_adj = read_s16(read_ptr(w->task, OFF_TASK_SIGNAL), OFF_SIGNAL_OOM_SCORE_ADJ);
	c->order = w->ranking.weighed;
	__builtin_memset(c->comm, 0, sizeof(c->comm));
	read_str(c->comm, w->task, OFF_TASK_COMM);
	w->memcg[place] = task_css_memory(w->task);
	return 0;
}

/* Fills in what the record still lacks: the paths, which only the few that are told of need. */
inline_always void finish_ranking(struct weighing *w, s64 ktime)
{
	struct ranking *r = &w->ranking;
	int i;

	r->kind = KIND_RANKING;
	r->ktime = ktime;
	r->used = 0;
	for (i = 0; i < BEST; i++) {
		void *kn = css_kernfs(w->memcg[i]);

		if (i >= r->told)
			break;
		r->best[i].path = kn ? append_path(r->strings, &r->used, kn) : UNKNOWN;
	}
}

#endif
