// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#include "count.h"

#define VICTIM_SITE 0x2010
#define SHARER_SITE 0x2020

static struct signal_stack stack;

TEST(the_first_mark_counts_and_learns_the_call_site)
{
	struct kill_counter counter = {};

	CHECK_EQUAL(count_signal(&counter, VICTIM_SITE), 0);
	CHECK_EQUAL(count_mark(&counter, VICTIM_SITE, 0), 1);
	CHECK_EQUAL(counter.kills, 1);
	CHECK_EQUAL(counter.call_site, VICTIM_SITE);
}

TEST(a_later_kill_is_counted_at_its_signal_and_not_again_at_its_mark)
{
	struct kill_counter counter = {.kills = 1, .call_site = VICTIM_SITE};

	CHECK_EQUAL(count_signal(&counter, VICTIM_SITE), 2);
	CHECK_EQUAL(count_mark(&counter, VICTIM_SITE, 2), 2);
	CHECK_EQUAL(counter.kills, 2);
}

TEST(signals_to_sharers_are_not_counted)
{
	struct kill_counter counter = {.kills = 1, .call_site = VICTIM_SITE};

	CHECK_EQUAL(count_signal(&counter, SHARER_SITE), 0);
	CHECK_EQUAL(counter.kills, 1);
}

TEST(a_repeat_kill_is_counted_without_a_mark)
{
	struct kill_counter counter = {};

	count_mark(&counter, VICTIM_SITE, count_signal(&counter, VICTIM_SITE));
	count_signal(&counter, SHARER_SITE);
	CHECK_EQUAL(count_signal(&counter, VICTIM_SITE), 2);
	CHECK_EQUAL(counter.kills, 2);
}

TEST(without_call_sites_every_mark_is_counted_and_no_signal)
{
	struct kill_counter counter = {};

	CHECK_EQUAL(count_signal(&counter, 0), 0);
	CHECK_EQUAL(count_mark(&counter, 0, 0), 1);
	CHECK_EQUAL(count_mark(&counter, 0, count_signal(&counter, 0)), 2);
	CHECK_EQUAL(counter.kills, 2);
}

TEST(without_a_counter_nothing_is_counted)
{
	CHECK_EQUAL(count_signal(0, VICTIM_SITE), 0);
	CHECK_EQUAL(count_mark(0, VICTIM_SITE, 0), 0);
	CHECK_EQUAL(count_mark(0, VICTIM_SITE, 5), 5);
}

TEST(the_sender_is_found_on_the_stack)
{
	fake_stack[0] = 0x9000;
	fake_stack[3] = VICTIM_SITE;
	fake_stack[4] = 0x1020;
	CHECK_EQUAL(signal_sender(0, &stack, 1).call_site, VICTIM_SITE);
	CHECK_EQUAL(signal_sender(0, &stack, 1).oom_killer, 1);
}

TEST(functions_begin_at_their_address_and_end_before_the_next)
{
	fake_stack[0] = OOM_KILL_ONE + OOM_KILL_ONE_SIZE;
	fake_stack[1] = OOM_KILL_PROCESS + OOM_KILL_PROCESS_SIZE;
	fake_stack[2] = OOM_KILL_PROCESS - 1;
	fake_stack[3] = OOM_KILL_ONE - 1;
	CHECK_EQUAL(signal_sender(0, &stack, 1).call_site, 0);
	CHECK_EQUAL(signal_sender(0, &stack, 1).oom_killer, 0);
	fake_stack[0] = OOM_KILL_ONE;
	fake_stack[1] = OOM_KILL_PROCESS;
	CHECK_EQUAL(signal_sender(0, &stack, 1).call_site, OOM_KILL_ONE);
	CHECK_EQUAL(signal_sender(0, &stack, 1).oom_killer, 1);
}

TEST(the_last_of_sixteen_frames_is_searched_and_none_after_it)
{
	fake_stack[SENDER_FRAMES] = OOM_KILL_PROCESS;
	CHECK_EQUAL(signal_sender(0, &stack, 1).oom_killer, 0);
	fake_stack[SENDER_FRAMES - 1] = OOM_KILL_PROCESS;
	CHECK_EQUAL(signal_sender(0, &stack, 1).oom_killer, 1);
}

TEST(without_the_address_of_the_oom_killer_no_sender_is_known)
{
	oom_kill_process_address = 0;
	fake_stack[0] = VICTIM_SITE;
	fake_stack[1] = 0x10;
	CHECK_EQUAL(signal_sender(0, &stack, 1).call_site, 0);
	CHECK_EQUAL(signal_sender(0, &stack, 1).oom_killer, 0);
}
