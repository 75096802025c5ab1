// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#include "oom_round.h"

static struct {
	u64 before;
	s64 value;
} memory = {1, -2};

TEST(numbers_keep_their_sign_and_size)
{
	CHECK_EQUAL(read_s64(&memory, 8), -2);
	CHECK_EQUAL(read_s32(&memory, 8), -2);
	CHECK_EQUAL(read_u32(&memory, 8), 0xfffffffe);
	CHECK_EQUAL(read_s16(&memory, 8), -2);
	CHECK_EQUAL(read_u16(&memory, 8), 0xfffe);
	CHECK_EQUAL(read_u8(&memory, 8), 0xfe);
	CHECK_EQUAL(read_s64(&memory, 0), 1);
}

TEST(an_absent_member_and_unreadable_memory_are_unknown)
{
	CHECK_EQUAL(read_s64(&memory, -1), UNKNOWN);
	CHECK_EQUAL(read_u8(0, 8), UNKNOWN);
	CHECK(read_ptr(&memory, -1) == 0);
	CHECK(read_ptr(0, 8) == 0);
	fault = (char *)&memory;
	fault_size = sizeof(memory);
	CHECK_EQUAL(read_s32(&memory, 8), UNKNOWN);
	CHECK(read_ptr(&memory, 8) == 0);
}

TEST(a_string_is_cut_to_its_destination_and_left_alone_if_absent)
{
	char comm[4] = "old";

	read_str(comm, "sixteen", -1);
	CHECK(!strcmp(comm, "old"));
	read_str(comm, "sixteen", 0);
	CHECK(!strcmp(comm, "six"));
}

static struct model_task trigger = {.pid = 10}, signalled = {.pid = 20};

static void *task_marked(int tid, void *signalled_task)
{
	struct bpf_raw_tracepoint_args ctx = {{tid}};
	struct oom_round round = {.signalled_task = signalled_task};

	fake_current = &trigger;
	return marked_task(&ctx, &round);
}

TEST(a_mark_by_thread_id_refers_to_the_signalled_task_or_the_trigger)
{
	CHECK(task_marked(20, &signalled) == &signalled);
	CHECK(task_marked(10, &signalled) == &trigger);
	CHECK(task_marked(10, 0) == &trigger);
	CHECK(task_marked(30, &signalled) == 0);
}
