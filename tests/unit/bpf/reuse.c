// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Events are built in maps, which keep what was written for the victim before: none of it may be in the next event. */
#include "harness.h"
#undef OFF_TASK_NSPROXY
#undef OFF_NSPROXY_UTS_NS
#undef OFF_NSPROXY_NET_NS
#undef OFF_NET_INUM
#undef OFF_UTS_INUM
#undef OFF_UTS_NODENAME
#undef OFF_MEMCG_EVENTS
#undef OFF_MEMCG_SWAPPINESS
#undef OFF_TASK_FS
#undef OFF_FS_ROOT_DENTRY
#undef OFF_FS_ROOT_MNT
#undef OFF_FS_PWD_DENTRY
#undef OFF_FS_PWD_MNT
#undef OFF_FILE_PATH_DENTRY
#undef OFF_FILE_PATH_MNT
#define OFF_TASK_NSPROXY     OFF(task, thread_node) /* not used otherwise here */
#define OFF_NSPROXY_UTS_NS   OFF(nsproxy, uts)
#define OFF_NSPROXY_NET_NS   OFF(nsproxy, net)
#define OFF_NET_INUM	     OFF(net, inum)
#define OFF_UTS_INUM	     OFF(uts, inum)
#define OFF_UTS_NODENAME     OFF(uts, nodename)
#define OFF_MEMCG_EVENTS     64
#define OFF_MEMCG_SWAPPINESS 0
#define OFF_TASK_FS	     OFF(task, cgroups) /* the same */
#define OFF_FS_ROOT_DENTRY   OFF(fs, root_dentry)
#define OFF_FS_ROOT_MNT	     OFF(fs, root_mnt)
#define OFF_FS_PWD_DENTRY    OFF(fs, pwd_dentry)
#define OFF_FS_PWD_MNT	     OFF(fs, pwd_mnt)
#define OFF_FILE_PATH_DENTRY OFF(opened, dentry)
#define OFF_FILE_PATH_MNT    OFF(opened, mnt)

struct model_net {
	u32 inum;
};
struct model_uts {
	char nodename[16];
	u32 inum;
};
struct model_nsproxy {
	struct model_uts *uts;
	struct model_net *net;
};
struct model_fs {
	struct model_dentry *root_dentry;
	struct model_vfsmount *root_mnt;
	struct model_dentry *pwd_dentry;
	struct model_vfsmount *pwd_mnt;
};
struct model_opened {
	struct model_dentry *dentry;
	struct model_vfsmount *mnt;
};

#include "cgroups.h"
#include "decision.h"
#include "ranking.h"
#include "sockets.h"
#include "task.h"

static struct victim victim;
static struct model_mm mm = {{1, 2, 3, 4}, 500, 600, 700};
static struct model_signal adjusted = {.oom_score_adj = -998, .threads = 3};
static struct model_uts uts = {"web-7", 4026532001};
static struct model_net net = {4026532002};
static struct model_nsproxy nsproxy = {&uts, &net};
static struct model_pid_ns pid_ns = {4026532003};
static struct model_pid pid = {0, {{7, &pid_ns}}};
static struct model_task task = {
    .pid = 11, .tgid = 10, .comm = "worker", .signal = &adjusted, .thread_pid = &pid, .thread_node = &nsproxy};

static void fill_known(void)
{
	task.leader = &task;
	fill_victim(&victim, &task, &mm);
}

TEST(every_size_of_a_victim_is_its_own_and_its_adjustment_may_be_negative)
{
	fill_known();
	CHECK_EQUAL(victim.rss[0], 1);
	CHECK_EQUAL(victim.rss[1], 2);
	CHECK_EQUAL(victim.rss[2], 3);
	CHECK_EQUAL(victim.rss[3], 4);
	CHECK_EQUAL(victim.pgtables_bytes, 500);
	CHECK_EQUAL(victim.total_vm, 600);
	CHECK_EQUAL(victim.hiwater_rss, 700);
	CHECK_EQUAL(victim.oom_score_adj, -998);
	CHECK_EQUAL(count_threads(&task), 3);
}

TEST(each_namespace_is_of_its_own_kind)
{
	fill_known();
	CHECK_EQUAL(victim.uts_ns, 4026532001);
	CHECK_EQUAL(victim.net_ns, 4026532002);
	CHECK_EQUAL(victim.pid_ns, 4026532003);
	CHECK(!strcmp(victim.nodename, "web-7"));
}

TEST(a_victim_that_cannot_be_read_has_nothing_of_the_one_before)
{
	static const char zeros[NODENAME_LEN];

	fill_known();
	fill_victim(&victim, 0, 0);
	CHECK_EQUAL(victim.task.pid, UNKNOWN);
	CHECK_EQUAL(victim.rss[2], UNKNOWN);
	CHECK_EQUAL(victim.pgtables_bytes, UNKNOWN);
	CHECK_EQUAL(victim.oom_score_adj, UNKNOWN);
	CHECK_EQUAL(victim.uts_ns, UNKNOWN);
	CHECK_EQUAL(victim.net_ns, UNKNOWN);
	CHECK_EQUAL(victim.pid_ns, UNKNOWN);
	CHECK(!memcmp(victim.task.comm, zeros, COMM_LEN));
	CHECK(!memcmp(victim.parent.comm, zeros, COMM_LEN));
	CHECK(!memcmp(victim.nodename, zeros, NODENAME_LEN));
}

TEST(a_shorter_name_has_no_end_of_a_longer_one)
{
	fill_known();
	strcpy(task.comm, "sh");
	strcpy(uts.nodename, "a");
	fill_known();
	CHECK(!memcmp(victim.task.comm, "sh\0\0\0\0", 7));
	CHECK(!memcmp(victim.nodename, "a\0\0\0\0", 6));
}

TEST(points_have_64_bits_and_a_decision_has_only_its_own_message)
{
	static struct decision decision;
	static const char zeros[MESSAGE_LEN], message[MESSAGE_LEN] = "Out of memory";
	struct model_oom_control control = {.chosen_points = 5000000000LL, .totalpages = 6000000000LL};

	fill_decision(&decision, &control, message);
	CHECK_EQUAL(decision.chosen_points, 5000000000LL);
	CHECK_EQUAL(decision.totalpages, 6000000000LL);
	CHECK(!strcmp(decision.message, message));
	fill_decision(&decision, &control, 0);
	CHECK(!memcmp(decision.message, zeros, MESSAGE_LEN));
}

#define DEPTH 40 /* three chunks of levels */

static struct model_kernfs root_kn = {.name = "", .id = 1}, leaf_kn = {&root_kn, "leaf", 2}, deep_kn[DEPTH];
static struct model_cgroup root = {&root_kn}, leaf = {&leaf_kn}, deep[DEPTH];
static struct model_css root_memory = {&root}, leaf_memory = {&leaf, &root_memory}, deep_memory[DEPTH];
static struct model_css_set root_set = {&root_memory, &root}, leaf_set = {&leaf_memory, &leaf};
static struct model_css_set deep_set = {&deep_memory[DEPTH - 1], &deep[DEPTH - 1]};
static struct model_task in_root = {.cgroups = &root_set}, in_leaf = {.cgroups = &leaf_set};
static struct model_task in_deep = {.cgroups = &deep_set}, without_cgroups;
static struct victim_event event;

static s64 size_of_entries(s64 levels, s64 trigger_ids)
{
	return levels * sizeof(struct memcg_level) + trigger_ids * sizeof(s64);
}

static void fill_deep(void)
{
	int i;

	for (i = 0; i < DEPTH; i++) {
		deep_kn[i] = (struct model_kernfs){i ? &deep_kn[i - 1] : &root_kn, "deep", 100 + i};
		deep[i].kn = &deep_kn[i];
		deep_memory[i] = (struct model_css){&deep[i], i ? &deep_memory[i - 1] : &root_memory};
	}
	fill_cgroups(&event, &in_deep, &in_deep);
	CHECK_EQUAL(event.contents.levels, DEPTH + 1);
	CHECK_EQUAL(event.contents.trigger_ids, DEPTH + 1);
	CHECK_EQUAL(event.contents.used, 3 * 5 * DEPTH + size_of_entries(DEPTH + 1, DEPTH + 1));
}

TEST(paths_levels_and_ids_of_each_victim_replace_those_of_the_one_before)
{
	int i;

	for (i = 0; i < 3; i++) {
		fill_cgroups(&event, &in_leaf, &in_leaf);
		CHECK_EQUAL(event.contents.levels, 2);
		CHECK_EQUAL(event.contents.trigger_ids, 2);
		CHECK_EQUAL(event.contents.used, 15 + size_of_entries(2, 2));
		CHECK(!memcmp(event.strings, "leaf\0leaf\0leaf", 15));
	}
}

TEST(a_victim_in_the_root_has_no_cgroup_of_a_deeper_one_before)
{
	fill_deep();
	fill_cgroups(&event, &in_root, &in_leaf);
	CHECK_EQUAL(event.contents.memcg_path, 0);
	CHECK_EQUAL(event.contents.unified_path, 0);
	CHECK_EQUAL(event.contents.trigger_path, 5);
	CHECK_EQUAL(event.contents.levels, 1);
	CHECK_EQUAL(event.contents.trigger_ids, 2);
	CHECK_EQUAL(event.contents.used, 5 + size_of_entries(1, 2));
	CHECK_EQUAL(level(&event, 0).id, 1);
	CHECK_EQUAL(trigger_id(&event, 0), 2);
	CHECK_EQUAL(trigger_id(&event, 1), 1);
}

TEST(a_victim_whose_cgroups_cannot_be_read_has_none_of_the_one_before)
{
	fill_deep();
	fill_cgroups(&event, &without_cgroups, &without_cgroups);
	CHECK_EQUAL(event.memcg_version, UNKNOWN);
	CHECK_EQUAL(event.unified_id, UNKNOWN);
	CHECK_EQUAL(event.contents.levels, 0);
	CHECK_EQUAL(event.contents.trigger_ids, 0);
	CHECK_EQUAL(event.contents.used, 0);
}

TEST(a_path_that_cannot_be_read_leaves_no_bytes_and_the_next_one_follows)
{
	fill_deep();
	deep_kn[1].name = 0;
	fill_cgroups(&event, &in_deep, &in_leaf);
	CHECK_EQUAL(event.contents.memcg_path, UNKNOWN);
	CHECK_EQUAL(event.contents.unified_path, UNKNOWN);
	CHECK_EQUAL(event.contents.trigger_path, 5);
	CHECK_EQUAL(after_paths(&event) - event.strings, 5);
	CHECK(!strcmp(event.strings, "leaf"));
}

TEST(a_counter_that_this_kernel_does_not_have_is_unknown)
{
	static struct {
		struct model_css css;
		char counters[256];
	} memcg;
	static struct memcg_level level;

	memset(&level, 5, sizeof(level));
	fill_level(&level, &memcg);
	CHECK_EQUAL(level.events_oom, UNKNOWN);
	CHECK_EQUAL(level.events_oom_group_kill, UNKNOWN);
	CHECK_EQUAL(level.usage, UNKNOWN);
	CHECK_EQUAL(level.oom_group, UNKNOWN);
}

TEST(all_ten_candidates_that_are_sent_have_their_names)
{
	static struct ranking_state state;
	static struct model_task processes[MAX_CANDIDATES];
	int i;

	for (i = 0; i < MAX_CANDIDATES; i++) {
		processes[i] = (struct model_task){.tgid = 100 + i, .comm = "worker", .signal = &adjusted};
		processes[i].comm[6] = '0' + i;
		state.task = &processes[i];
		keep_candidate(&state, i);
	}
	finish_ranking(&state, 77);
	for (i = 0; i < MAX_CANDIDATES; i++) {
		CHECK_EQUAL(state.ranking.best[i].comm[6], '0' + i);
		CHECK_EQUAL(state.ranking.best[i].oom_score_adj, -998);
	}
}

static struct context context;
static struct fd_walk walk;
static struct model_inode inode = {0100644};
static struct model_file file = {&inode, 0};
static struct model_proto_ops inet = {AF_INET}, local = {AF_UNIX};
static struct model_socket tcp = {&inet, SOCK_STREAM, 0, {0140000}}, udp = {&inet, SOCK_DGRAM, 0, {0140000}};
static struct model_socket unix_socket = {&local, SOCK_STREAM, 0, {0140000}};
static struct model_file tcp_file = {&tcp.inode, &tcp}, udp_file = {&udp.inode, &udp};
static struct model_file unix_file = {&unix_socket.inode, &unix_socket};
static void *full_table[FDS_PER_CHUNK] = {&file, &tcp_file, &udp_file, &unix_file}, *empty_table[FDS_PER_CHUNK];
static struct model_fdtable fdt;
static struct model_files files = {&fdt};
static struct model_task owner = {.files = &files};

static void walk_all(void **table, u32 slots)
{
	fdt = (struct model_fdtable){slots, table};
	begin_walk(&context, &walk, &owner);
	while (walk_chunk(&context, &walk))
		;
}

TEST(a_walk_begins_at_the_first_descriptor_and_counts_only_its_own)
{
	walk_all(full_table, FDS_PER_CHUNK);
	walk_all(full_table, FDS_PER_CHUNK);
	CHECK_EQUAL(context.file_types[TYPE_REGULAR], 1);
	CHECK_EQUAL(context.file_types[TYPE_SOCKET], 3);
	CHECK_EQUAL(context.tcp, 1);
	CHECK_EQUAL(context.udp, 1);
	CHECK_EQUAL(context.unix_domain, 1);
	CHECK_EQUAL(walk.inet, 2);
	CHECK_EQUAL(walk.unix_domain, 1);
	CHECK_EQUAL(context.walked, FDS_PER_CHUNK);
	walk_all(empty_table, FDS_PER_CHUNK);
	CHECK_EQUAL(context.file_types[TYPE_REGULAR], 0);
	CHECK_EQUAL(context.tcp, 0);
	CHECK_EQUAL(context.udp, 0);
	CHECK_EQUAL(context.unix_domain, 0);
	CHECK_EQUAL(walk.inet, 0);
	CHECK_EQUAL(walk.unix_domain, 0);
}

TEST(nothing_beyond_the_table_is_walked)
{
	walk_all(full_table, 0);
	CHECK_EQUAL(context.walked, 0);
	CHECK_EQUAL(context.file_types[TYPE_REGULAR], 0);
}

TEST(sockets_of_the_victim_before_are_not_described)
{
	walk_all(full_table, FDS_PER_CHUNK);
	while (fill_sockets(&context, &walk))
		;
	CHECK_EQUAL(context.sockets, 2);
	walk_all(empty_table, FDS_PER_CHUNK);
	while (fill_sockets(&context, &walk))
		;
	CHECK_EQUAL(context.sockets, 0);
}

static struct model_dentry root_entry = {0, "/"}, folder = {&root_entry, "srv"}, program = {&folder, "worker"};
static struct model_mount mount = {&mount, 0, {&root_entry}};
static struct model_opened exe = {&program, &mount.mnt};
static struct model_fs fs = {&root_entry, &mount.mnt, &folder, &mount.mnt};
static struct model_mm with_exe = {.exe_file = &exe};
static struct model_task running = {.mm = &with_exe, .cgroups = (void *)&fs};

TEST(executable_and_working_directory_are_each_its_own_and_end_at_the_root_of_the_process)
{
	int i;

	fake_time = 4000;
	for (i = 0; i < 2; i++) {
		begin_context(&context, &running);
		CHECK_EQUAL(context.kind, KIND_CONTEXT);
		CHECK_EQUAL(context.ktime, 4000);
		CHECK_EQUAL(context.executable, 11);
		CHECK_EQUAL(context.working_directory, 4);
		CHECK_EQUAL(context.used, 15);
		CHECK(!memcmp(context.strings, "worker\0srv\0srv", 15));
	}
	fs.root_dentry = &folder;
	begin_context(&context, &running);
	CHECK_EQUAL(context.executable, 7);
	CHECK_EQUAL(context.working_directory, 0);
}

TEST(the_deepest_pid_namespace_is_read_and_a_level_beyond_it_is_not)
{
	static struct {
		struct model_pid pid;
		struct model_upid more[32];
	} deep;

	deep.pid.level = 32; /* MAX_PID_NS_LEVEL */
	*(deep.pid.numbers + 32) = (struct model_upid){9, &pid_ns};
	task.thread_pid = &deep.pid;
	fill_known();
	CHECK_EQUAL(victim.task.vpid, 9);
	CHECK_EQUAL(victim.pid_ns, 4026532003);
	deep.pid.level = 33;
	fill_known();
	CHECK_EQUAL(victim.task.vpid, UNKNOWN);
}
