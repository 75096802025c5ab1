// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#define ENVIRONMENT 1
#include "victim_context.h"

static struct context context;
static char memory[8 * PAGE] __attribute__((aligned(PAGE)));

TEST(an_environment_of_five_pages_is_whole_wherever_it_begins)
{
	struct model_mm mm = {
	    .arg_start = memory, .arg_end = memory + 10, .env_start = memory + 100, .env_end = memory + 100 + 5 * PAGE};

	memory[99 + 5 * PAGE] = 'z';
	fill_arguments(&context, &mm);
	CHECK_EQUAL(context.arguments, 10);
	CHECK_EQUAL(context.environment_size, 5 * PAGE);
	CHECK_EQUAL(context.environment, 5 * PAGE);
	CHECK_EQUAL(context.strings[10 + 5 * PAGE - 1], 'z');
}

TEST(a_longer_environment_is_cut_and_keeps_its_size)
{
	struct model_mm mm = {
	    .arg_start = memory, .arg_end = memory + 10, .env_start = memory + PAGE, .env_end = memory + 8 * PAGE};

	fill_arguments(&context, &mm);
	CHECK_EQUAL(context.environment_size, 7 * PAGE);
	CHECK_EQUAL(context.environment, 6 * PAGE);
}
