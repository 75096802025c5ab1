// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Who changes whose oom_score_adj: what is reported of each change, and that storms are cut short. */
#include "harness.h"
#include "maps.h"

static u64 bpf_get_current_uid_gid(void)
{
	return (u64)5 << 32 | 1000;
}

#include "adj_changes.bpf.c"

static struct model_signal signals[2];
static struct model_cred cred = {33};
static struct model_task leader = {.pid = 40, .tgid = 40, .comm = "target", .start_boottime = 7000, .cred = &cred};
static struct model_task thread = {.pid = 41, .tgid = 40, .comm = "its thread", .start_boottime = 8000, .cred = &cred};

static void write_adj(struct model_task *task, s16 value)
{
	struct bpf_raw_tracepoint_args args = {{(u64)task}};

	fake_pid_tgid = (u64)30 << 32 | 31;
	leader.leader = thread.leader = &leader;
	leader.signal = thread.signal = &signals[0];
	task->signal->oom_score_adj = value;
	on_oom_score_adj_update(&args);
}

static struct adj_change *last(void)
{
	CHECK(sent_count > 0);
	return (struct adj_change *)sent[sent_count - 1].data;
}

/* Writes so often; returns how many of these are reported. */
static int write_often(struct model_task *task, int times)
{
	int reported = 0;

	for (; times; times--) {
		sent_count = 0;
		write_adj(task, times % 1000);
		reported += sent_count;
	}
	return reported;
}

TEST(writer_and_target_are_named)
{
	write_adj(&leader, -500);
	CHECK_EQUAL(sent[0].size, sizeof(struct adj_change));
	CHECK_EQUAL(last()->ktime, fake_time);
	CHECK_EQUAL(last()->after, -500);
	CHECK_EQUAL(last()->writer.pid, 30);
	CHECK_EQUAL(last()->writer.tid, 31);
	CHECK_EQUAL(last()->writer_uid, 1000);
	CHECK(!strcmp(last()->writer.comm, "trigger"));
	CHECK_EQUAL(last()->target.pid, 40);
	CHECK_EQUAL(last()->target.tid, 40);
	CHECK_EQUAL(last()->uid, 33);
	CHECK(!strcmp(last()->target.comm, "target"));
	CHECK_EQUAL(last()->started, 7000);
}

TEST(the_value_before_is_that_of_the_last_change_of_the_same_process)
{
	write_adj(&leader, 1);
	CHECK_EQUAL(last()->before, UNKNOWN);
	write_adj(&thread, 2);
	CHECK_EQUAL(last()->before, 1);
	CHECK_EQUAL(last()->target.tid, 41);
	CHECK_EQUAL(last()->started, 7000);
}

TEST(a_later_process_of_the_same_pid_has_no_value_before)
{
	write_adj(&leader, 1);
	leader.start_boottime = 9000;
	write_adj(&leader, 2);
	CHECK_EQUAL(last()->before, UNKNOWN);
	CHECK_EQUAL(last()->skipped, 0);
}

TEST(without_its_start_a_process_has_no_value_before)
{
	leader.leader = 0;
	write_adj(&leader, 1);
	leader.start_boottime = UNKNOWN;
	write_adj(&leader, 2);
	write_adj(&leader, 3);
	CHECK_EQUAL(last()->before, UNKNOWN);
}

TEST(a_loop_is_cut_short_and_counted_and_the_next_line_has_the_right_value_before)
{
	CHECK_EQUAL(write_often(&leader, 1000), MAX_PROCESS_CHANGES);
	fake_time += 2ULL << PERIOD_SHIFT;
	write_adj(&leader, 77);
	CHECK_EQUAL(last()->before, 1);
	CHECK_EQUAL(last()->skipped, 1000 - MAX_PROCESS_CHANGES);
	CHECK_EQUAL(last()->dropped, 1000 - MAX_PROCESS_CHANGES);
	write_adj(&leader, 78);
	CHECK_EQUAL(last()->skipped, 0);
	CHECK_EQUAL(last()->dropped, 1000 - MAX_PROCESS_CHANGES);
}

TEST(a_loop_of_one_process_does_not_hide_the_changes_of_another)
{
	struct model_task other = {.pid = 50, .tgid = 50, .start_boottime = 1, .signal = &signals[1]};

	write_often(&leader, 5000);
	other.leader = &other;
	sent_count = 0;
	write_adj(&other, 3);
	CHECK_EQUAL(sent_count, 1);
	CHECK_EQUAL(last()->target.pid, 50);
}

TEST(all_processes_together_are_cut_short_too)
{
	int i, reported = 0;

	for (i = 0; i < 2 * MAX_CHANGES; i++) {
		leader.start_boottime = i; /* another process each time */
		reported += write_often(&leader, 1);
	}
	CHECK_EQUAL(reported, MAX_CHANGES);
	CHECK_EQUAL(changes_values[0].dropped, MAX_CHANGES);
	fake_time += 2ULL << PERIOD_SHIFT;
	CHECK_EQUAL(write_often(&leader, 1), 1);
}

static int submit_to_full_buffer(void *ctx, void *data, u32 size)
{
	(void)ctx, (void)data, (void)size;
	return -28;
}

TEST(what_finds_the_buffer_full_is_counted)
{
	events.perf_submit = submit_to_full_buffer;
	write_adj(&leader, 1);
	write_adj(&leader, 2);
	CHECK_EQUAL(changes_values[0].dropped, 2);
	events.perf_submit = keep_sent;
	write_adj(&leader, 3);
	CHECK_EQUAL(last()->skipped, 2);
	CHECK_EQUAL(last()->before, 2);
}
