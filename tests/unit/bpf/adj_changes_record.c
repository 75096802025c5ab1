// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* The same from the tracepoint's record, on a kernel without type information. */
#include "harness.h"
#include "maps.h"

struct record {
	u64 common;
	s32 pid;
	char comm[16];
	s16 oom_score_adj;
};

static u64 bpf_get_current_uid_gid(void)
{
	return 1000;
}

#define WITH_RECORD			   1
#define OOM_SCORE_ADJ_UPDATE_PID	   ((int)offsetof(struct record, pid))
#define OOM_SCORE_ADJ_UPDATE_COMM	   ((int)offsetof(struct record, comm))
#define OOM_SCORE_ADJ_UPDATE_OOM_SCORE_ADJ ((int)offsetof(struct record, oom_score_adj))
#include "adj_changes.bpf.c"

TEST(thread_name_and_value_are_those_of_the_record_and_nothing_else_is_known_of_the_target)
{
	struct record record = {0, 41, "target", -1000};
	struct adj_change *change = (struct adj_change *)sent[1].data;

	fake_pid_tgid = (u64)30 << 32 | 31;
	on_oom_score_adj_update(&record);
	on_oom_score_adj_update(&record);
	CHECK_EQUAL(sent_count, 2);
	CHECK_EQUAL(change->target.tid, 41);
	CHECK_EQUAL(change->target.pid, UNKNOWN);
	CHECK_EQUAL(change->uid, UNKNOWN);
	CHECK_EQUAL(change->started, UNKNOWN);
	CHECK_EQUAL(change->before, UNKNOWN);
	CHECK_EQUAL(change->after, -1000);
	CHECK(!strcmp(change->target.comm, "target"));
	CHECK_EQUAL(change->writer.pid, 30);
}
