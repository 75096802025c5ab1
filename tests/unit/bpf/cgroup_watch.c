// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Which changes of cgroups are sent, and through which buffer. */
#include "harness.h"
#include "maps.h"
#define MARK_VICTIM_TASK 1
#include "oomtrace.bpf.c"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static struct model_root memory = {.hierarchy_id = 4}, pids = {.hierarchy_id = 5};
static struct model_cgroup in_memory = {.root = &memory}, in_pids = {.root = &pids};

static void change(int (*program)(struct bpf_raw_tracepoint_args *), struct model_cgroup *cgroup, const char *path)
{
	struct bpf_raw_tracepoint_args ctx = {{(u64)cgroup, (u64)path}};

	program(&ctx);
}

static int is_sent(const char *path)
{
	int before = sent_count;

	change(on_cgroup_mkdir, &in_memory, path);
	return sent_count > before;
}

TEST(a_container_is_sent_when_it_is_made_and_removed)
{
	static const char path[] = "/docker/" ID;
	struct cgroup_change *e = (void *)sent[0].data, *removed = (void *)sent[1].data;

	fake_time = 77;
	change(on_cgroup_mkdir, &in_memory, path);
	change(on_cgroup_rmdir, &in_memory, path);
	CHECK_EQUAL(sent_count, 2);
	CHECK_EQUAL(e->change, CGROUP_MADE);
	CHECK_EQUAL(removed->change, CGROUP_REMOVED);
	CHECK_EQUAL(e->ktime, 77);
	CHECK_EQUAL(e->size, sizeof(path) - 1);
	CHECK(!strcmp(e->path, path));
	CHECK_EQUAL(sent[0].size, offsetof(struct cgroup_change, path) + sizeof(path));
}

TEST(a_cgroup_of_another_hierarchy_is_not_sent)
{
	change(on_cgroup_mkdir, &in_pids, "/docker/" ID);
	CHECK_EQUAL(sent_count, 0);
}

TEST(only_a_last_name_with_room_for_an_id_is_sent)
{
	CHECK(is_sent("/" ID));
	CHECK(is_sent("/system.slice/docker-" ID ".scope"));
	CHECK(is_sent("/a/kubepods-pod1.slice:cri-containerd:" ID));
	CHECK(!is_sent("/docker/" ID "/init"));
	CHECK(!is_sent("/0123456789abcdef/0123456789abcdef/0123456789abcdef/0123456789abcdef"));
	CHECK(!is_sent(""));
	CHECK(!is_sent(0));
}

TEST(one_character_less_than_an_id_is_not_sent)
{
	static char path[] = "/docker/" ID;

	path[sizeof(path) - 2] = 0;
	CHECK(!is_sent(path));
}

TEST(what_a_user_has_made_is_not_sent)
{
	CHECK(!is_sent("/user.slice/user-1000.slice/user@1000.service/" ID));
	CHECK(!is_sent("/user.slice/" ID));
	CHECK(is_sent("/user.slices/" ID));
	CHECK(is_sent("/a/user.slice/" ID));
}

TEST(a_path_that_does_not_fit_is_not_sent)
{
	static char path[CGROUP_PATH_LEN + 1];

	memset(path, 'a', CGROUP_PATH_LEN);
	path[0] = '/';
	CHECK(!is_sent(path));
	path[CGROUP_PATH_LEN - 1] = 0;
	CHECK(!is_sent(path));
	path[CGROUP_PATH_LEN - 2] = 0;
	CHECK(is_sent(path));
	CHECK_EQUAL(sent[0].size, sizeof(struct cgroup_change) - 1);
}

TEST(nothing_of_the_path_before_is_sent_with_the_next)
{
	is_sent("/system.slice/docker-" ID ".scope");
	is_sent("/" ID);
	CHECK_EQUAL(sent[1].size, offsetof(struct cgroup_change, path) + 66);
	CHECK_EQUAL(((struct cgroup_change *)sent[1].data)->size, 65);
}
