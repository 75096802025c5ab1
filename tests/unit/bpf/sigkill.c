// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Which SIGKILLs from user space are reported, and what is sent of them. */
#include "harness.h"
#include "maps.h"

static u32 fake_uid;
static char fake_comm[16];
static u64 by_all, killers[48];

static inline u64 bpf_get_current_uid_gid(void)
{
	return (u64)77 << 32 | fake_uid;
}

static inline void get_comm(void *to, u32 size)
{
	memcpy(to, fake_comm, size);
}
#define bpf_get_current_comm get_comm

#define WITH_SIGKILL	       1
#define SIGKILL_ALL	       by_all
#define CGROUP_KILL_WRITE      0x5000
#define CGROUP_KILL_WRITE_SIZE 0x100
#define KILLER_0_LOW	       killers[0]
#define KILLER_0_HIGH	       killers[1]
#define KILLER_1_LOW	       killers[2]
#define KILLER_1_HIGH	       killers[3]
#define KILLER_2_LOW	       killers[4]
#define KILLER_2_HIGH	       killers[5]
#define KILLER_3_LOW	       killers[6]
#define KILLER_3_HIGH	       killers[7]
#define KILLER_4_LOW	       killers[8]
#define KILLER_4_HIGH	       killers[9]
#define KILLER_5_LOW	       killers[10]
#define KILLER_5_HIGH	       killers[11]
#define KILLER_6_LOW	       killers[12]
#define KILLER_6_HIGH	       killers[13]
#define KILLER_7_LOW	       killers[14]
#define KILLER_7_HIGH	       killers[15]
#define KILLER_8_LOW	       killers[16]
#define KILLER_8_HIGH	       killers[17]
#define KILLER_9_LOW	       killers[18]
#define KILLER_9_HIGH	       killers[19]
#define KILLER_10_LOW	       killers[20]
#define KILLER_10_HIGH	       killers[21]
#define KILLER_11_LOW	       killers[22]
#define KILLER_11_HIGH	       killers[23]
#define KILLER_12_LOW	       killers[24]
#define KILLER_12_HIGH	       killers[25]
#define KILLER_13_LOW	       killers[26]
#define KILLER_13_HIGH	       killers[27]
#define KILLER_14_LOW	       killers[28]
#define KILLER_14_HIGH	       killers[29]
#define KILLER_15_LOW	       killers[30]
#define KILLER_15_HIGH	       killers[31]
#define KILLER_16_LOW	       killers[32]
#define KILLER_16_HIGH	       killers[33]
#define KILLER_17_LOW	       killers[34]
#define KILLER_17_HIGH	       killers[35]
#define KILLER_18_LOW	       killers[36]
#define KILLER_18_HIGH	       killers[37]
#define KILLER_19_LOW	       killers[38]
#define KILLER_19_HIGH	       killers[39]
#define KILLER_20_LOW	       killers[40]
#define KILLER_20_HIGH	       killers[41]
#define KILLER_21_LOW	       killers[42]
#define KILLER_21_HIGH	       killers[43]
#define KILLER_22_LOW	       killers[44]
#define KILLER_22_HIGH	       killers[45]
#define KILLER_23_LOW	       killers[46]
#define KILLER_23_HIGH	       killers[47]
#define MARK_VICTIM_TASK       1
#include "oomtrace.bpf.c"

struct siginfo {
	s32 signo, error, code;
};

static struct model_signal victim_signal = {.threads = 2, .live = 2}, sender_signal = {.threads = 1, .live = 1};
static struct model_mm victim_mm;
static struct model_cred victim_cred = {1000};
static struct model_task victim = {
    .pid = 11, .tgid = 10, .comm = "ruby", .signal = &victim_signal, .mm = &victim_mm, .cred = &victim_cred};
static struct model_task sender = {.pid = 31, .tgid = 30, .comm = "earlyoom", .signal = &sender_signal};
static struct siginfo by_kill = {9, 0, 0};

static void name(int slot, const char *comm)
{
	memset(&killers[2 * slot], 0, 16);
	strncpy((char *)&killers[2 * slot], comm, 15);
}

static void begin(const char *comm, u32 uid)
{
	memset(killers, 0xff, sizeof(killers));
	name(0, "systemd-oomd");
	name(7, "earlyoom");
	name(8, "mykiller");
	name(23, "another");
	memset(fake_comm, 0, 16);
	strncpy(fake_comm, comm, 15);
	fake_uid = uid;
	fake_current = &sender;
	fake_pid_tgid = (u64)30 << 32 | 31;
	by_all = 0;
	sent_count = 0;
}

/* Returns whether an event was sent. */
static int send(u64 signal, u64 info, u64 result)
{
	struct bpf_raw_tracepoint_args ctx = {{signal, info, (u64)&victim, 1, result}};
	int before = sent_count;

	tail_call = -1;
	on_signal_generate(&ctx);
	if (tail_call == EMIT_SIGKILL)
		emit_sigkill(&ctx);
	while (tail_call == APPEND_SIGKILL_PATHS) {
		tail_call = -1;
		append_sigkill_paths(&ctx);
	}
	return sent_count - before;
}

static int kill_with(const char *comm, u32 uid)
{
	begin(comm, uid);
	return send(9, (u64)&by_kill, 0);
}

TEST(of_the_default_names_system_accounts_are_reported)
{
	CHECK_EQUAL(kill_with("systemd-oomd", 0), 1);
	CHECK_EQUAL(kill_with("earlyoom", 999), 1);
	CHECK_EQUAL(kill_with("earlyoom", 61184), 1);
	CHECK_EQUAL(kill_with("earlyoom", 65519), 1);
	CHECK_EQUAL(kill_with("earlyoom", 1000), 0);
	CHECK_EQUAL(kill_with("earlyoom", 61183), 0);
	CHECK_EQUAL(kill_with("earlyoom", 65520), 0);
}

TEST(the_operators_names_are_reported_for_any_user)
{
	CHECK_EQUAL(kill_with("mykiller", 1000), 1);
	CHECK_EQUAL(kill_with("another", 1000), 1);
}

TEST(other_names_are_not_reported)
{
	CHECK_EQUAL(kill_with("bash", 0), 0);
	CHECK_EQUAL(kill_with("earlyoom2", 0), 0);
	CHECK_EQUAL(kill_with("early", 0), 0);
	CHECK_EQUAL(kill_with("", 0), 0);
}

TEST(with_all_any_process_is_reported)
{
	begin("bash", 1000);
	by_all = 1;
	CHECK_EQUAL(send(9, (u64)&by_kill, 0), 1);
}

TEST(other_signals_are_not_reported)
{
	begin("earlyoom", 0);
	CHECK_EQUAL(send(15, (u64)&by_kill, 0), 0);
}

TEST(signals_of_the_kernel_are_not_reported)
{
	struct siginfo forced = {9, 0, 0x80}, timer = {9, 0, -2};

	begin("earlyoom", 0);
	CHECK_EQUAL(send(9, SEND_SIG_PRIV, 0), 0);
	CHECK_EQUAL(send(9, (u64)&forced, 0), 0);
	CHECK_EQUAL(send(9, (u64)&timer, 0), 0);
}

TEST(signals_of_sigqueue_tgkill_and_cgroup_kill_are_reported)
{
	struct siginfo queued = {9, 0, -1}, thread = {9, 0, -6};

	begin("earlyoom", 0);
	CHECK_EQUAL(send(9, (u64)&queued, 0), 1);
	CHECK_EQUAL(send(9, (u64)&thread, 0), 1);
	CHECK_EQUAL(send(9, 0, 0), 1);
}

TEST(a_signal_that_was_not_delivered_is_not_reported)
{
	begin("earlyoom", 0);
	CHECK_EQUAL(send(9, (u64)&by_kill, 1), 0);
	CHECK_EQUAL(send(9, (u64)&by_kill, 2), 0);
	victim_signal.live = 0;
	CHECK_EQUAL(send(9, (u64)&by_kill, 0), 0);
}

TEST(an_event_has_victim_and_sender)
{
	struct sigkill *e = (struct sigkill *)sent[0].data;

	CHECK_EQUAL(kill_with("earlyoom", 3), 1);
	CHECK_EQUAL(e->kind, KIND_SIGKILL);
	CHECK_EQUAL(e->ktime, 1000);
	CHECK_EQUAL(e->victim.task.pid, 10);
	CHECK_EQUAL(e->victim.task.tid, 11);
	CHECK(!strcmp(e->victim.task.comm, "ruby"));
	CHECK_EQUAL(e->victim.uid, 1000);
	CHECK_EQUAL(e->victim.threads, 2);
	CHECK_EQUAL(e->sender.pid, 30);
	CHECK_EQUAL(e->sender.tid, 31);
	CHECK(!strcmp(e->sender.comm, "earlyoom"));
	CHECK_EQUAL(e->sender_uid, 3);
	CHECK_EQUAL(e->exec_size, UNKNOWN);
	CHECK_EQUAL(sent[0].size, offsetof(struct sigkill, strings));
}

TEST(cgroup_kill_is_recognized_on_the_stack_of_a_signal_without_information)
{
	struct sigkill *e = (struct sigkill *)sent[0].data;

	begin("earlyoom", 0);
	send(9, 0, 0);
	CHECK_EQUAL(e->cgroup_kill, UNKNOWN);
	sent_count = 0;
	fake_stack[9] = CGROUP_KILL_WRITE + 0x10;
	send(9, 0, 0);
	CHECK_EQUAL(e->cgroup_kill, 1);
	sent_count = 0;
	send(9, (u64)&by_kill, 0);
	CHECK_EQUAL(e->cgroup_kill, UNKNOWN);
}

TEST(a_kill_of_the_oom_killer_is_none_even_if_all_are_reported)
{
	begin("earlyoom", 0);
	by_all = 1;
	fake_stack[2] = OOM_KILL_PROCESS + 1;
	CHECK_EQUAL(send(9, SEND_SIG_PRIV, 0), 0);
}
