// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#include "maps.h"

struct mark {
	s32 pid;
	u32 comm; /* __data_loc */
	u64 total_vm, anon, file, shmem;
	u32 uid;
	u64 pgtables;
	s16 oom_score_adj;
	char strings[16];
};
struct signal {
	s32 sig;
	s32 code;
	char comm[16];
	s32 pid;
};
struct cgroup_mkdir {
	s32 root;
	u32 path; /* __data_loc */
	char strings[128];
};

static int mark_has_comm = 1; /* since 72ba14deb40a */

#define FIELD(structure, member)  ((int)offsetof(struct structure, member))
#define MARK_VICTIM_PID		  FIELD(mark, pid)
#define MARK_VICTIM_COMM	  (mark_has_comm ? FIELD(mark, comm) : -1)
#define MARK_VICTIM_TOTAL_VM	  FIELD(mark, total_vm)
#define MARK_VICTIM_ANON_RSS	  FIELD(mark, anon)
#define MARK_VICTIM_FILE_RSS	  FIELD(mark, file)
#define MARK_VICTIM_SHMEM_RSS	  FIELD(mark, shmem)
#define MARK_VICTIM_UID		  FIELD(mark, uid)
#define MARK_VICTIM_PGTABLES	  FIELD(mark, pgtables)
#define MARK_VICTIM_OOM_SCORE_ADJ FIELD(mark, oom_score_adj)
#define SIGNAL_GENERATE_SIG	  FIELD(signal, sig)
#define SIGNAL_GENERATE_CODE	  FIELD(signal, code)
#define SIGNAL_GENERATE_COMM	  FIELD(signal, comm)
#define SIGNAL_GENERATE_PID	  FIELD(signal, pid)
#define CGROUP_MKDIR_ROOT	  FIELD(cgroup_mkdir, root)
#define CGROUP_MKDIR_PATH	  FIELD(cgroup_mkdir, path)
#define PAGE_SIZE		  16384
#include "minimal.bpf.c"

static struct mark marked = {11, offsetof(struct mark, strings) | 7 << 16, 1600, 320, 160, 48, 1000, 64, -5, "worker"};
static struct signal signalled = {SIGKILL, SI_KERNEL, "by signal", 11};

static void kill_thread(void)
{
	fake_pid_tgid = (u64)30 << 32 | 31;
	fake_stack[1] = OOM_KILL_ONE;
	on_signal_generate(&signalled);
	on_mark_victim(&marked);
}

static struct victim_event *event(int index)
{
	CHECK(index < sent_count);
	return (struct victim_event *)sent[index].data;
}

TEST(sizes_are_in_pages_and_each_is_the_victims_own)
{
	kill_thread();
	CHECK_EQUAL(event(0)->victim.rss[0], 10);
	CHECK_EQUAL(event(0)->victim.rss[1], 20);
	CHECK_EQUAL(event(0)->victim.rss[2], UNKNOWN);
	CHECK_EQUAL(event(0)->victim.rss[3], 3);
	CHECK_EQUAL(event(0)->victim.total_vm, 100);
	CHECK_EQUAL(event(0)->victim.pgtables_bytes, 65536);
}

TEST(victim_and_trigger_are_named)
{
	kill_thread();
	CHECK_EQUAL(event(0)->kind, KIND_KILLED);
	CHECK_EQUAL(event(0)->ordinal, 1);
	CHECK_EQUAL(event(0)->victim.task.tid, 11);
	CHECK_EQUAL(event(0)->victim.task.pid, UNKNOWN);
	CHECK(!strcmp(event(0)->victim.task.comm, "worker"));
	CHECK_EQUAL(event(0)->victim.uid, 1000);
	CHECK_EQUAL(event(0)->victim.oom_score_adj, -5);
	CHECK_EQUAL(event(0)->trigger.pid, 30);
	CHECK_EQUAL(event(0)->trigger.tid, 31);
	CHECK(!strcmp(event(0)->trigger.comm, "trigger"));
}

TEST(before_the_mark_had_a_name_it_is_the_signals)
{
	mark_has_comm = 0;
	kill_thread();
	CHECK(!strcmp(event(0)->victim.task.comm, "by signal"));
}

TEST(a_mark_without_its_signal_is_no_kill)
{
	kill_thread();
	on_mark_victim(&marked);
	CHECK_EQUAL(event(1)->kind, KIND_DYING);
	CHECK_EQUAL(event(1)->ordinal, UNKNOWN);
	on_signal_generate(&signalled);
	marked.pid = 12;
	on_mark_victim(&marked);
	CHECK_EQUAL(event(2)->kind, KIND_DYING);
}

TEST(signals_that_the_kernel_did_not_send_are_no_kills)
{
	signalled.code = 0;
	kill_thread();
	CHECK_EQUAL(event(0)->kind, KIND_DYING);
	signalled.code = SI_KERNEL;
	signalled.sig = 15;
	kill_thread();
	CHECK_EQUAL(event(1)->kind, KIND_DYING);
	CHECK_EQUAL(kill_counter_values[0].kills, 0);
}

TEST(a_signal_to_a_marked_victim_counts_as_a_repeat_kill)
{
	kill_thread();
	on_signal_generate(&signalled);
	kill_thread();
	CHECK_EQUAL(event(1)->ordinal, 3);
}

TEST(a_kill_has_the_time_of_its_own_mark)
{
	fake_time = 4000;
	kill_thread();
	fake_time = 5000;
	kill_thread();
	CHECK_EQUAL(event(0)->ktime, 4000);
	CHECK_EQUAL(event(1)->ktime, 5000);
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

TEST(a_container_that_is_made_or_removed_is_sent_with_its_path)
{
	struct cgroup_mkdir made = {4, offsetof(struct cgroup_mkdir, strings) | 73 << 16, "/docker/" ID};
	struct cgroup_change *e = (void *)sent[0].data, *removed = (void *)sent[1].data;

	on_cgroup_mkdir(&made);
	on_cgroup_rmdir(&made);
	made.root = 5;
	on_cgroup_mkdir(&made);
	CHECK_EQUAL(sent_count, 2);
	CHECK_EQUAL(e->change, CGROUP_MADE);
	CHECK_EQUAL(removed->change, CGROUP_REMOVED);
	CHECK(!strcmp(e->path, "/docker/" ID));
	CHECK_EQUAL(e->size, 72);
}
