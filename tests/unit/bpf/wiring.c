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

#define MARK_VICTIM_TASK   1
#define WITH_KPROBE	   1
#define PT_REGS_PARM1(ctx) ((u64)(ctx)) /* the probes of the ranking are not called here */
#define PT_REGS_PARM2(ctx) ((u64)(ctx))
#define PT_REGS_RC(ctx)	   ((s64)(ctx))
#include "oomtrace.bpf.c"
#include "cgroups.h"

#define VICTIM_SITE (OOM_KILL_ONE + 0x10)
#define SHARER_SITE (OOM_KILL_ONE + 0x20)

static struct model_kernfs root_kn = {.name = "", .id = 1};
static struct model_kernfs web_kn = {&root_kn, "web", 2}, job_kn = {&root_kn, "nightly", 3};
static struct model_cgroup root_cgroup = {&root_kn}, web_cgroup = {&web_kn}, job_cgroup = {&job_kn};
static struct model_css root = {&root_cgroup}, web = {&web_cgroup, &root}, job = {&job_cgroup, &root};
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

typedef int (*program_type)(struct bpf_raw_tracepoint_args *);

#define MAX_TAIL_CALLS 33 /* MAX_TAIL_CALL_CNT of the kernel; more are not called */

static const program_type programs[] = {walk_fds, emit_context, append_victim_paths, emit_victim_event, emit_ranking};
static int called[MAX_TAIL_CALLS], called_count;

/* Calls a program and those that follow it by tail calls, which are kept in `called`. */
static void run(program_type program, struct bpf_raw_tracepoint_args *ctx)
{
	called_count = 0;
	for (;;) {
		tail_call = -1;
		if (!setjmp(left))
			program(ctx);
		if (tail_call < 0)
			return;
		CHECK(called_count < MAX_TAIL_CALLS);
		called[called_count++] = tail_call;
		program = programs[tail_call];
	}
}

static void send(struct model_task *task, u64 call_site)
{
	struct bpf_raw_tracepoint_args ctx = {{SIGKILL, SEND_SIG_PRIV, (u64)task}};

	fake_stack[5] = call_site;
	fake_stack[6] = OOM_KILL_PROCESS + 1;
	run(on_signal_generate, &ctx);
}

static void kill_process(struct model_task *task)
{
	struct bpf_raw_tracepoint_args ctx = {{(u64)task}};

	run_in(&trigger);
	send(task, VICTIM_SITE);
	run(on_mark_victim, &ctx);
}

static void *last(void)
{
	CHECK(sent_count > 0);
	return sent[sent_count - 1].data;
}

/* Calls a program; returns the tail call with which it ended, or -1. */
static int ended_with(program_type program, u64 signal)
{
	struct bpf_raw_tracepoint_args ctx = {{signal}};

	tail_call = -1;
	if (!setjmp(left))
		program(&ctx);
	return tail_call;
}

static u32 sent_size(s64 paths, s64 levels, s64 trigger_ids)
{
	return offsetof(struct victim_event, strings) + paths + levels * sizeof(struct memcg_level) +
	       trigger_ids * sizeof(s64);
}

TEST(cgroups_and_paths_are_those_of_victim_and_trigger_and_are_sent_whole)
{
	struct victim_event *e;

	kill_process(&first);
	CHECK_EQUAL(sent_count, 1);
	e = last();
	CHECK_EQUAL(e->contents.levels, 2);
	CHECK_EQUAL(level(e, 0).id, 2);
	CHECK_EQUAL(level(e, 1).id, 1);
	CHECK_EQUAL(e->contents.trigger_ids, 2);
	CHECK_EQUAL(trigger_id(e, 0), 3);
	CHECK_EQUAL(trigger_id(e, 1), 1);
	CHECK_EQUAL(e->unified_id, 2);
	CHECK_EQUAL(e->trigger.pid, 30);
	CHECK_EQUAL(e->trigger.tid, 31);
	CHECK(!strcmp(e->trigger.comm, "trigger"));
	CHECK_EQUAL(after_paths(e) - e->strings, 4 + 4 + 8);
	CHECK(!memcmp(e->strings, "web\0web\0nightly", 16));
	CHECK_EQUAL(sent[0].size, sent_size(16, 2, 2));
}

TEST(the_paths_are_appended_once_and_before_the_levels)
{
	kill_process(&first);
	CHECK_EQUAL(called_count, 2);
	CHECK_EQUAL(called[0], APPEND_VICTIM_PATHS);
	CHECK_EQUAL(called[1], EMIT_VICTIM_EVENT);
}

static struct model_kernfs deep_kn[MAX_CGROUPS];
static struct model_cgroup deep_cgroups[MAX_CGROUPS];
static struct model_css deep[MAX_CGROUPS];
static struct model_css_set deep_set = {&deep[MAX_CGROUPS - 1]}, root_set = {&root, &root_cgroup};

static void build_deep(void)
{
	int i;

	for (i = 0; i < MAX_CGROUPS; i++) {
		deep_kn[i] = (struct model_kernfs){i ? &deep_kn[i - 1] : &root_kn, "n", 1000 + i};
		deep_cgroups[i].kn = &deep_kn[i];
		deep[i] = (struct model_css){&deep_cgroups[i], i ? &deep[i - 1] : &root};
	}
}

TEST(the_deepest_cgroups_of_both_are_described_within_the_kernels_limit_of_tail_calls)
{
	struct victim_event *e;

	build_deep();
	first.cgroups = trigger.cgroups = &deep_set;
	kill_process(&first);
	CHECK_EQUAL(sent_count, 1);
	e = last();
	CHECK_EQUAL(e->contents.levels, MAX_CGROUPS);
	CHECK_EQUAL(level(e, MAX_CGROUPS - 1).id, 1000);
	CHECK_EQUAL(e->contents.trigger_ids, MAX_CGROUPS);
	CHECK_EQUAL(trigger_id(e, MAX_CGROUPS - 1), 1000);
	CHECK_EQUAL(sent[0].size, sent_size(2 * 2 * MAX_CGROUPS, MAX_CGROUPS, MAX_CGROUPS));
	CHECK(called_count > MAX_CGROUPS / LEVELS_PER_CHUNK);
}

TEST(nothing_of_the_victim_before_is_sent_with_the_next)
{
	struct victim_event *e;

	build_deep();
	first.cgroups = trigger.cgroups = &deep_set;
	kill_process(&first);
	second.cgroups = trigger.cgroups = &root_set;
	kill_process(&second);
	CHECK_EQUAL(sent_count, 2);
	e = last();
	CHECK_EQUAL(e->contents.memcg_path, 0);
	CHECK_EQUAL(e->contents.unified_path, 0);
	CHECK_EQUAL(e->contents.trigger_path, 0);
	CHECK_EQUAL(e->contents.levels, 1);
	CHECK_EQUAL(level(e, 0).id, 1);
	CHECK_EQUAL(e->contents.trigger_ids, 1);
	CHECK_EQUAL(trigger_id(e, 0), 1);
	CHECK_EQUAL(sent[1].size, sent_size(0, 1, 1));
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
	on_decision(&control, message);
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
	CHECK_EQUAL(((struct victim_event *)last())->contents.levels, 2);
	CHECK_EQUAL(called_count, 2);
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
	on_decision(&control, message);
	kill_process(&first);
	CHECK_EQUAL(sent_count, 1);
	CHECK_EQUAL(((struct victim_event *)last())->kind, KIND_KILLED);
}

static void decide(struct model_task *candidates, int count)
{
	static const char message[MESSAGE_LEN] = "Out of memory";
	struct model_oom_control control = {.order = 0};
	int i;

	run_in(&trigger);
	begin_ranking();
	for (i = 0; i < count; i++) {
		badness_enter(&candidates[i]);
		badness_exit(7);
	}
	on_decision(&control, message);
	CHECK_EQUAL(sent_count, 0);
}

TEST(a_ranking_is_sent_before_its_victim_with_the_paths_of_its_candidates)
{
	struct ranking *ranking = (struct ranking *)sent[0].data;

	decide(&first, 1);
	kill_process(&first);
	CHECK_EQUAL(sent_count, 2);
	CHECK_EQUAL(ranking->kind, KIND_RANKING);
	CHECK_EQUAL(ranking->used, 4);
	CHECK(!strcmp(ranking->strings, "web"));
	CHECK_EQUAL(sent[0].size, offsetof(struct ranking, strings) + 4);
	CHECK_EQUAL(((struct victim_event *)last())->decision.ktime, ranking->ktime);
}

TEST(a_ranking_is_sent_once)
{
	decide(&first, 1);
	kill_process(&first);
	kill_process(&second); /* as a group kill does */
	CHECK_EQUAL(sent_count, 3);
	CHECK_EQUAL(((struct victim_event *)last())->kind, KIND_KILLED);
}

TEST(another_thread_does_not_send_the_ranking)
{
	struct bpf_raw_tracepoint_args ctx = {{SIGKILL, SEND_SIG_PRIV, (u64)&second}};

	decide(&first, 1);
	run_in(&sharer);
	run(on_signal_generate, &ctx);
	CHECK_EQUAL(sent_count, 0);
}

TEST(the_longest_paths_of_ten_candidates_are_read_within_the_kernels_limit_of_tail_calls)
{
	static struct model_task candidates[MAX_CANDIDATES];
	static struct model_css_set long_set = {&deep[MAX_NAMES - 1]};
	struct ranking *ranking = (struct ranking *)sent[0].data;
	int i;

	build_deep();
	for (i = 0; i < MAX_CANDIDATES; i++)
		candidates[i] = (struct model_task){.tgid = 50 + i, .signal = &first_signal, .cgroups = &long_set};
	decide(candidates, MAX_CANDIDATES);
	run_in(&trigger);
	send(&first, VICTIM_SITE);
	CHECK(called_count > MAX_CANDIDATES);
	CHECK_EQUAL(sent_count, 1);
	CHECK_EQUAL(ranking->count, MAX_CANDIDATES);
	for (i = 0; i < MAX_CANDIDATES; i++)
		CHECK_EQUAL(ranking->best[i].path, 2 * MAX_NAMES);
}

TEST(a_mark_after_another_signal_on_this_cpu_has_its_own_stack)
{
	struct bpf_raw_tracepoint_args other = {{SIGKILL, SEND_SIG_PRIV, (u64)&second}}, mark = {{(u64)&first}};
	struct victim_event *e;

	run_in(&trigger);
	send(&first, VICTIM_SITE);
	run_in(&sharer);
	fake_time += 1;
	fake_stack[5] = 0x9000;
	run(on_signal_generate, &other);
	run_in(&trigger);
	fake_stack[1] = 0x7000;
	run(on_mark_victim, &mark);
	e = last();
	CHECK_EQUAL(e->kind, KIND_KILLED);
	CHECK_EQUAL(e->stack[1], 0x7000);
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
