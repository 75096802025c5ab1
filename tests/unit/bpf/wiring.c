// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* How the programs call each other and what they send; a tail call does not return, as in the kernel. */
#include "harness.h"
#include "maps.h"
#include <setjmp.h>

static jmp_buf left;

static inline void do_tail_call(void *ctx, int index)
{
	keep_tail_call(ctx, index);
	longjmp(left, 1);
}

#undef BPF_PROG_ARRAY
#define BPF_PROG_ARRAY(name, length)       \
	static struct {                    \
		void (*call)(void *, int); \
	} name = {do_tail_call}

#define MARK_VICTIM_TASK 1
#include "oomtrace.bpf.c"

#define VICTIM_SITE (OOM_KILL_ONE + 0x10)
#define SHARER_SITE (OOM_KILL_ONE + 0x20)

static struct model_kernfs root_kn = {.name = "", .id = 1};
static struct model_kernfs web_kn = {&root_kn, "web", 2}, job_kn = {&root_kn, "nightly", 3};
static struct model_cgroup web_cgroup = {&web_kn}, job_cgroup = {&job_kn};
static struct model_css web = {&web_cgroup}, job = {&job_cgroup};
static struct model_css_set web_set = {&web, &web_cgroup}, job_set = {&job, &job_cgroup};
static struct model_mm first_mm, second_mm;
static struct model_signal first_signal, second_signal, trigger_signal;
static struct model_task first = {.pid = 10, .tgid = 10, .signal = &first_signal, .mm = &first_mm, .cgroups = &web_set};
static struct model_task second = {
    .pid = 20, .tgid = 20, .signal = &second_signal, .mm = &second_mm, .cgroups = &web_set};
static struct model_task sharer = {.pid = 40, .tgid = 40, .signal = &trigger_signal, .cgroups = &web_set};
static struct model_task trigger = {
    .pid = 31, .tgid = 30, .comm = "trigger", .signal = &trigger_signal, .cgroups = &job_set};

static void run_in(struct model_task *task)
{
	fake_current = task;
	fake_pid_tgid = (u64)task->tgid << 32 | task->pid;
}

static void send(struct model_task *task, u64 call_site)
{
	struct bpf_raw_tracepoint_args ctx = {{SIGKILL, SEND_SIG_PRIV, (u64)task}};

	fake_stack[1] = call_site;
	fake_stack[2] = OOM_KILL_PROCESS + 1;
	on_signal_generate(&ctx);
}

static void kill_process(struct model_task *task)
{
	struct bpf_raw_tracepoint_args ctx = {{(u64)task}};

	run_in(&trigger);
	send(task, VICTIM_SITE);
	on_mark_victim(&ctx);
}

static void *last(void)
{
	CHECK(sent_count > 0);
	return sent[sent_count - 1].data;
}

/* Calls a program; returns the tail call with which it ended, or -1. */
static int ended_with(int (*program)(struct bpf_raw_tracepoint_args *), u64 signal)
{
	struct bpf_raw_tracepoint_args ctx = {{signal}};

	tail_call = -1;
	if (!setjmp(left))
		program(&ctx);
	return tail_call;
}

TEST(cgroups_and_paths_are_those_of_victim_and_trigger_and_are_sent_whole)
{
	struct victim_event *e;

	kill_process(&first);
	e = last();
	CHECK_EQUAL(e->memcg[0].id, 2);
	CHECK_EQUAL(e->trigger_memcg_ids[0], 3);
	CHECK_EQUAL(e->trigger.pid, 30);
	CHECK_EQUAL(e->trigger.tid, 31);
	CHECK(!strcmp(e->trigger.comm, "trigger"));
	CHECK_EQUAL(e->paths.used, 4 + 4 + 8);
	CHECK(!memcmp(e->strings, "web\0web\0nightly", 16));
	CHECK_EQUAL(sent[0].size, offsetof(struct victim_event, strings) + 16);
}

TEST(a_kill_with_a_decision_has_no_stack_of_the_kill_before)
{
	static const char message[MESSAGE_LEN] = "Out of memory";
	struct model_oom_control control = {.order = 0};
	struct victim_event *e;

	kill_process(&first);
	e = last();
	CHECK_EQUAL(e->stack[1], VICTIM_SITE);
	run_in(&trigger);
	on_decision(0, &control, message);
	kill_process(&second);
	e = last();
	CHECK(e->decision.ktime != UNKNOWN);
	CHECK_EQUAL(e->stack[1], 0);
}

TEST(sharers_are_those_of_the_last_victim)
{
	kill_process(&first);
	kill_process(&second);
	sharer.mm = &first_mm;
	send(&sharer, SHARER_SITE);
	CHECK_EQUAL(sent_count, 2);
	sharer.mm = &second_mm;
	send(&sharer, SHARER_SITE);
	CHECK_EQUAL(sent_count, 3);
	CHECK_EQUAL(((struct victim_event *)last())->kind, KIND_SHARER);
}

TEST(a_scan_begins_without_a_task)
{
	struct model_oom_control control = {.order = 0};
	static const char message[MESSAGE_LEN] = "Out of memory";

	run_in(&trigger);
	begin_ranking();
	badness_enter(&first);
	begin_ranking();
	badness_exit(7); /* of a call that had begun before the scan did */
	on_decision(0, &control, message);
	CHECK_EQUAL(sent_count, 0);
}

TEST(a_ranking_is_sent_with_the_paths_of_its_candidates)
{
	struct model_oom_control control = {.order = 0};
	static const char message[MESSAGE_LEN] = "Out of memory";
	struct ranking *ranking;

	run_in(&trigger);
	begin_ranking();
	badness_enter(&first);
	badness_exit(7);
	on_decision(0, &control, message);
	CHECK_EQUAL(sent_count, 1);
	ranking = last();
	CHECK_EQUAL(ranking->used, 4);
	CHECK(!strcmp(ranking->strings, "web"));
	CHECK_EQUAL(sent[0].size, offsetof(struct ranking, strings) + 4);
}

TEST(only_sigkill_begins_a_context)
{
	kill_process(&first);
	run_in(&first);
	CHECK_EQUAL(ended_with(on_signal_deliver, 15), -1);
	CHECK_EQUAL(ended_with(on_signal_deliver, SIGKILL), WALK_FDS);
	CHECK_EQUAL(ended_with(on_signal_deliver, SIGKILL), -1);
}

static struct model_proto_ops inet = {AF_INET};
static struct model_sock sock = {.family = AF_INET};
static struct model_socket tcp = {&inet, SOCK_STREAM, &sock, {0140000, 0}};
static struct model_file tcp_file = {&tcp.inode, &tcp};
static void *table[2 * FDS_PER_CHUNK] = {[70] = &tcp_file};
static struct model_fdtable fdt = {2 * FDS_PER_CHUNK, table};
static struct model_files files = {&fdt};
static char arguments[PAGE] = "worker";

TEST(a_walk_goes_on_to_the_end_of_the_table_and_then_the_context_is_sent_with_its_sockets)
{
	struct context *context;

	first.files = &files;
	first_mm.arg_start = arguments;
	first_mm.arg_end = arguments + 7;
	kill_process(&first);
	run_in(&first);
	CHECK_EQUAL(ended_with(on_signal_deliver, SIGKILL), WALK_FDS);
	CHECK_EQUAL(ended_with(walk_fds, 0), WALK_FDS);
	CHECK_EQUAL(ended_with(walk_fds, 0), EMIT_CONTEXT);
	CHECK_EQUAL(ended_with(emit_context, 0), -1);
	CHECK_EQUAL(sent_count, 2);
	context = last();
	CHECK_EQUAL(context->walked, 2 * FDS_PER_CHUNK);
	CHECK_EQUAL(context->tcp, 1);
	CHECK_EQUAL(context->sockets, 1);
	CHECK_EQUAL(context->socket[0].fd, 70);
	CHECK_EQUAL(context->arguments, 7);
	CHECK_EQUAL(context->used, 8 + 7);
	CHECK_EQUAL(sent[1].size, offsetof(struct context, strings) + 15);
}
