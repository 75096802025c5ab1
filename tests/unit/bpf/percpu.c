// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#undef PER_CPU_OFFSET
#undef NR_CPUS
#undef OFF_PERCPU_COUNT
#undef OFF_PERCPU_COUNTERS
#define PER_CPU_OFFSET	    ((u64)offsets)
#define NR_CPUS		    3
#define OFF_PERCPU_COUNT    OFF(percpu, count)
#define OFF_PERCPU_COUNTERS OFF(percpu, counters)

struct model_percpu {
	s64 count;
	s32 *counters;
};

static u64 offsets[4] = {0, 4, 8, 12};
static s32 parts[4] = {5, -7, 100, 1000};
#include "task.h"

TEST(the_parts_of_all_cpus_are_added)
{
	struct model_percpu counter = {1000, parts};

	CHECK_EQUAL(counter_sum(&counter), 1098);
}

TEST(a_counter_that_cannot_be_read_is_unknown)
{
	struct model_percpu counter = {1000, 0};

	CHECK_EQUAL(counter_sum(&counter), UNKNOWN);
	CHECK_EQUAL(counter_sum(0), UNKNOWN);
}
