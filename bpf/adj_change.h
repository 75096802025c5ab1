/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The record that adj_changes.bpf.c sends for each change of an oom_score_adj; ooMtrace/scores/adj_change.py mirrors
 * it.
 */
#ifndef OOMTRACE_ADJ_CHANGE_H
#define OOMTRACE_ADJ_CHANGE_H

#include "events.h"

#define MAX_PROCESS_CHANGES 20	 /* reported in one period of one process */
#define MAX_CHANGES	    2000 /* reported in one period of all processes together */
#define PERIOD_SHIFT	    30	 /* a period is 2^30 ns, about a second */

/* UNKNOWN where the kernel does not offer it. */
struct adj_change {
	s64 ktime;
	s64 before;  /* oom_score_adj that this process had after its last change */
	s64 after;   /* oom_score_adj that it has now */
	s64 skipped; /* changes of this process that were not reported since its last one that was */
	s64 dropped; /* changes of all processes that were not reported since the program was attached */
	s64 started; /* of the process: CLOCK_BOOTTIME, ns */
	s64 uid;     /* of the process */
	struct task target;
	s64 writer_uid;
	struct task writer;
};

#endif
