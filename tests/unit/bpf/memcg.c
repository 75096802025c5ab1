// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#undef OFF_MEMCG_MEMORY_USAGE
#undef OFF_MEMCG_MEMORY_MAX
#undef OFF_MEMCG_MEMORY_HIGH
#undef OFF_MEMCG_MEMORY_WATERMARK
#undef OFF_MEMCG_SWAP_USAGE
#undef OFF_MEMCG_SWAP_MAX
#undef OFF_MEMCG_SWAPPINESS
#undef OFF_MEMCG_OOM_GROUP
#undef OFF_MEMCG_EVENTS
#undef MEMCG_HIGH
#undef MEMCG_MAX
#undef MEMCG_OOM
#undef MEMCG_OOM_KILL
#undef MEMCG_OOM_GROUP_KILL
#define OFF_MEMCG_MEMORY_USAGE	   OFF(memcg, usage)
#define OFF_MEMCG_MEMORY_MAX	   OFF(memcg, max)
#define OFF_MEMCG_MEMORY_HIGH	   OFF(memcg, high)
#define OFF_MEMCG_MEMORY_WATERMARK OFF(memcg, watermark)
#define OFF_MEMCG_SWAP_USAGE	   OFF(memcg, swap_usage)
#define OFF_MEMCG_SWAP_MAX	   OFF(memcg, swap_max)
#define OFF_MEMCG_SWAPPINESS	   OFF(memcg, swappiness)
#define OFF_MEMCG_OOM_GROUP	   OFF(memcg, oom_group)
#define OFF_MEMCG_EVENTS	   OFF(memcg, events)
#define MEMCG_HIGH		   0
#define MEMCG_MAX		   1
#define MEMCG_OOM		   2
#define MEMCG_OOM_KILL		   3
#define MEMCG_OOM_GROUP_KILL	   4

struct model_memcg {
	struct model_css css;
	s64 usage, max, high, watermark;
	s64 swap_usage, swap_max;
	s64 events[5];
	s32 swappiness;
	u8 oom_group;
};

#include "cgroups.h"
#include "fd_walk.h"

static struct model_root hierarchy = {0};
static struct model_kernfs root_kn = {0, "", 1}, pod_kn = {&root_kn, "pod", 2}, web_kn = {&pod_kn, "web", 3};
static struct model_kernfs job_kn = {&pod_kn, "job", 4}, unified_kn = {&root_kn, "unified", 5};
static struct model_cgroup root_cgroup = {&root_kn, &hierarchy}, pod_cgroup = {&pod_kn, &hierarchy};
static struct model_cgroup web_cgroup = {&web_kn, &hierarchy}, job_cgroup = {&job_kn, &hierarchy};
static struct model_cgroup unified_cgroup = {&unified_kn, &hierarchy};
static struct model_memcg root = {.css = {&root_cgroup, 0}};
static struct model_memcg pod = {{&pod_cgroup, &root.css}, 10, 20, 30, 40, 50, 60, {1, 2, 3, 4, 5}, 70, 1};
static struct model_memcg web = {.css = {&web_cgroup, &pod.css}}, job = {.css = {&job_cgroup, &pod.css}};
static struct model_css_set victim_set = {&web.css, &unified_cgroup}, trigger_set = {&job.css, &unified_cgroup};
static struct model_task victim = {.cgroups = &victim_set}, trigger = {.cgroups = &trigger_set};
static struct victim_event event;

TEST(the_levels_are_those_of_the_victim_up_to_the_root)
{
	fill_cgroups(&event, &victim, &trigger);
	CHECK_EQUAL(event.contents.levels, 3);
	CHECK_EQUAL(level(&event, 0).id, 3);
	CHECK_EQUAL(level(&event, 1).id, 2);
	CHECK_EQUAL(level(&event, 2).id, 1);
	CHECK_EQUAL(event.contents.trigger_ids, 3);
	CHECK_EQUAL(trigger_id(&event, 0), 4);
	CHECK_EQUAL(trigger_id(&event, 1), 2);
	CHECK_EQUAL(trigger_id(&event, 2), 1);
	CHECK_EQUAL(event.unified_id, 5);
}

TEST(every_counter_of_a_level_is_its_own)
{
	struct memcg_level pod_level;

	fill_cgroups(&event, &victim, &trigger);
	pod_level = level(&event, 1);
	CHECK_EQUAL(pod_level.usage, 10);
	CHECK_EQUAL(pod_level.max, 20);
	CHECK_EQUAL(pod_level.high, 30);
	CHECK_EQUAL(pod_level.watermark, 40);
	CHECK_EQUAL(pod_level.swap_usage, 50);
	CHECK_EQUAL(pod_level.swap_max, 60);
	CHECK_EQUAL(pod_level.events_high, 1);
	CHECK_EQUAL(pod_level.events_max, 2);
	CHECK_EQUAL(pod_level.events_oom, 3);
	CHECK_EQUAL(pod_level.events_oom_kill, 4);
	CHECK_EQUAL(pod_level.events_oom_group_kill, 5);
	CHECK_EQUAL(pod_level.swappiness, 70);
	CHECK_EQUAL(pod_level.oom_group, 1);
}

TEST(the_paths_of_victim_and_trigger_follow_each_other)
{
	fill_cgroups(&event, &victim, &trigger);
	CHECK_EQUAL(event.contents.memcg_path, 8);
	CHECK_EQUAL(event.contents.unified_path, 8);
	CHECK_EQUAL(event.contents.trigger_path, 8);
	CHECK_EQUAL(after_paths(&event) - event.strings, 24);
	CHECK(!memcmp(event.strings, "web\0pod\0unified\0job\0pod", 24));
}

TEST(only_the_hierarchy_0_is_version_2)
{
	fill_cgroups(&event, &victim, &trigger);
	CHECK_EQUAL(event.memcg_version, 2);
	hierarchy.hierarchy_id = 4;
	fill_cgroups(&event, &victim, &trigger);
	CHECK_EQUAL(event.memcg_version, 1);
	web_cgroup.root = 0;
	fill_cgroups(&event, &victim, &trigger);
	CHECK_EQUAL(event.memcg_version, UNKNOWN);
}

TEST(the_numbers_of_socket_types_and_families_are_the_kernels)
{
	CHECK_EQUAL(SOCK_STREAM, 1);
	CHECK_EQUAL(SOCK_DGRAM, 2);
	CHECK_EQUAL(AF_UNIX, 1);
	CHECK_EQUAL(AF_INET, 2);
	CHECK_EQUAL(AF_INET6, 10);
}
