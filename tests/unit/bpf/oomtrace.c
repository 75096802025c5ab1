// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#include "maps.h"
#define MARK_VICTIM_TASK   1
#define WITH_EXIT	   1
#define WITH_KPROBE	   1
#define PT_REGS_PARM1(ctx) ((u64)(ctx)) /* the probes of the ranking are not called here */
#define PT_REGS_PARM2(ctx) ((u64)(ctx))
#define PT_REGS_RC(ctx)	   ((s64)(ctx))
#include "oomtrace.bpf.c"

#define VICTIM_SITE (OOM_KILL_ONE + 0x10)
#define SHARER_SITE (OOM_KILL_ONE + 0x20)
#define SECOND	    1000000000ULL

static char memory[4 * PAGE] __attribute__((aligned(PAGE)));

struct process {
	struct model_task leader, thread;
	struct model_signal signal;
	struct model_cred cred;
	struct model_mm mm;
};

static struct process victim, other, trigger;
static const char message[MESSAGE_LEN] = "Memory cgroup out of memory";

static void begin_process(struct process *process, int pid)
{
	process->mm = (struct model_mm){.rss = {1, 2, 3, 4}, .exe_file = process};
	process->signal = (struct model_signal){.threads = 2, .maxrss = 77};
	process->leader = (struct model_task){
	    .pid = pid, .tgid = pid, .signal = &process->signal, .mm = &process->mm, .cred = &process->cred};
	process->leader.leader = &process->leader;
	process->leader.start_boottime = 1000 + pid;
	process->thread = process->leader;
	process->thread.pid = pid + 1;
	process->thread.start_boottime = 9000 + pid;
}

static void run_in(struct process *process)
{
	fake_current = &process->leader;
	fake_pid_tgid = (u64)process->leader.tgid << 32 | process->leader.pid;
}

static void begin(void)
{
	begin_process(&victim, 10);
	begin_process(&other, 20);
	begin_process(&trigger, 30);
	run_in(&trigger);
	fake_stack[5] = VICTIM_SITE;
	fake_stack[6] = OOM_KILL_PROCESS + 1;
}

static void run_tail_calls(struct bpf_raw_tracepoint_args *ctx)
{
	if (tail_call == EMIT_RANKING)
		emit_ranking(ctx);
	if (tail_call == APPEND_VICTIM_PATHS)
		append_victim_paths(ctx);
	if (tail_call == EMIT_VICTIM_EVENT)
		emit_victim_event(ctx);
}

static void send(struct model_task *task)
{
	struct bpf_raw_tracepoint_args ctx = {{SIGKILL, SEND_SIG_PRIV, (u64)task}};

	tail_call = -1;
	on_signal_generate(&ctx);
	run_tail_calls(&ctx);
}

static void mark(struct model_task *task)
{
	struct bpf_raw_tracepoint_args ctx = {{(u64)task}};

	tail_call = -1;
	on_mark_victim(&ctx);
	run_tail_calls(&ctx);
}

static void kill_process(struct process *process)
{
	fake_stack[5] = VICTIM_SITE;
	send(&process->thread);
	mark(&process->thread);
}

static int deliver(void)
{
	struct bpf_raw_tracepoint_args ctx = {{SIGKILL}};

	tail_call = -1;
	on_signal_deliver(&ctx);
	return tail_call == WALK_FDS;
}

static struct victim_event *event(int index)
{
	CHECK(index < sent_count);
	return (struct victim_event *)sent[index].data;
}

TEST(a_kill_has_the_facts_of_the_process_and_not_of_the_thread)
{
	begin();
	kill_process(&victim);
	CHECK_EQUAL(sent_count, 1);
	CHECK_EQUAL(event(0)->kind, KIND_KILLED);
	CHECK_EQUAL(event(0)->ordinal, 1);
	CHECK_EQUAL(event(0)->victim.task.pid, 10);
	CHECK_EQUAL(event(0)->victim.task.tid, 11);
	CHECK_EQUAL(event(0)->victim.start_boottime, 1010);
	CHECK_EQUAL(event(0)->victim.threads, 2);
	CHECK_EQUAL(event(0)->victim.rss[0], 1);
	CHECK_EQUAL(event(0)->victim.rss[3], 4);
	CHECK_EQUAL(event(0)->trigger.pid, 30);
}

TEST(a_kill_states_when_the_signal_was_sent_and_when_it_was_marked)
{
	begin();
	fake_time = 3000;
	send(&victim.thread);
	fake_time = 4000;
	mark(&victim.thread);
	CHECK_EQUAL(event(0)->signalled_at, 3000);
	CHECK_EQUAL(event(0)->ktime, 4000);
}

TEST(the_threads_are_those_before_the_signal)
{
	begin();
	send(&victim.thread);
	victim.signal.threads = 1; /* they exit while the trigger goes on */
	mark(&victim.thread);
	CHECK_EQUAL(event(0)->victim.threads, 2);
	mark(&victim.thread);
	CHECK_EQUAL(event(1)->kind, KIND_DYING);
	CHECK_EQUAL(event(1)->victim.threads, 1);
}

TEST(a_sharers_threads_are_its_own)
{
	begin();
	other.leader.mm = &victim.mm;
	other.signal.threads = 7;
	kill_process(&victim);
	fake_stack[5] = SHARER_SITE;
	send(&other.leader);
	CHECK_EQUAL(event(1)->kind, KIND_SHARER);
	CHECK_EQUAL(event(1)->victim.threads, 7);
}

TEST(a_second_mark_is_no_second_kill)
{
	begin();
	kill_process(&victim);
	mark(&victim.thread);
	CHECK_EQUAL(event(1)->kind, KIND_DYING);
	CHECK_EQUAL(kill_counter_values[0].kills, 1);
}

TEST(a_process_whose_leader_has_exited_has_the_memory_of_another_thread)
{
	begin();
	victim.leader.mm = 0;
	victim.signal.thread_head = &victim.leader.thread_node;
	victim.leader.thread_node = &victim.thread.thread_node;
	victim.thread.thread_node = &victim.signal.thread_head;
	CHECK(process_mm(&victim.leader) == &victim.mm);
	victim.thread.mm = 0;
	CHECK(process_mm(&victim.leader) == 0);
}

TEST(user_vpid_and_namespace_are_those_of_the_victim)
{
	struct model_pid_ns inner = {4026532000}, outer = {4026531836};
	struct model_pid pid = {1, {{10, &outer}, {7, &inner}}};

	begin();
	victim.cred.uid = 1000;
	victim.leader.thread_pid = &pid;
	victim.leader.parent = victim.thread.parent = &other.thread;
	kill_process(&victim);
	CHECK_EQUAL(event(0)->victim.uid, 1000);
	CHECK_EQUAL(event(0)->victim.task.vpid, 7);
	CHECK_EQUAL(event(0)->victim.pid_ns, 4026532000);
	CHECK_EQUAL(event(0)->victim.parent.tid, 20);
}

TEST(a_process_that_was_dying_has_no_ordinal_no_signal_and_no_decision)
{
	struct model_oom_control control = {.order = 3};

	begin();
	on_decision(&control, message);
	mark(&victim.thread);
	CHECK_EQUAL(event(0)->kind, KIND_DYING);
	CHECK_EQUAL(event(0)->ordinal, UNKNOWN);
	CHECK_EQUAL(event(0)->signalled_at, UNKNOWN);
	CHECK_EQUAL(event(0)->decision.ktime, UNKNOWN);
}

TEST(a_sharer_is_reported_without_an_ordinal)
{
	begin();
	other.leader.mm = &victim.mm;
	kill_process(&victim);
	fake_stack[5] = SHARER_SITE;
	send(&other.leader);
	CHECK_EQUAL(sent_count, 2);
	CHECK_EQUAL(event(1)->kind, KIND_SHARER);
	CHECK_EQUAL(event(1)->ordinal, UNKNOWN);
	CHECK_EQUAL(event(1)->victim.task.pid, 20);
	CHECK_EQUAL(kill_counter_values[0].kills, 1);
}

TEST(what_is_no_sharer_is_not_reported)
{
	begin();
	kill_process(&victim);
	fake_stack[5] = SHARER_SITE;
	send(&other.leader); /* another mm */
	send(&victim.leader);
	other.leader.mm = &victim.mm;
	fake_time += SHARER_WINDOW_NS; /* the mm may be another one by now */
	send(&other.leader);
	CHECK_EQUAL(sent_count, 1);
	fake_time--;
	send(&other.leader);
	CHECK_EQUAL(sent_count, 2);
}

TEST(signals_to_sharers_may_take_seconds)
{
	begin();
	other.leader.mm = &victim.mm;
	kill_process(&victim);
	fake_stack[5] = SHARER_SITE;
	fake_time += 9 * SECOND;
	send(&other.leader);
	CHECK_EQUAL(sent_count, 2);
}

TEST(other_signals_change_nothing)
{
	struct bpf_raw_tracepoint_args sigterm = {{15, SEND_SIG_PRIV, (u64)&victim.leader}};
	struct bpf_raw_tracepoint_args by_user = {{SIGKILL, 0, (u64)&victim.leader}};

	begin();
	on_signal_generate(&sigterm);
	on_signal_generate(&by_user);
	run_in(&victim);
	CHECK(!deliver());
	mark(&victim.leader);
	CHECK_EQUAL(event(0)->kind, KIND_DYING);
}

TEST(a_repeat_kill_is_sent_with_its_ordinal)
{
	struct repeat_kill *repeat_kill;

	begin();
	kill_process(&victim);
	victim.signal.oom_mm = &victim.mm;
	send(&victim.thread);
	CHECK_EQUAL(sent_count, 2);
	repeat_kill = (struct repeat_kill *)event(1);
	CHECK_EQUAL(repeat_kill->kind, KIND_REPEAT_KILL);
	CHECK_EQUAL(repeat_kill->ordinal, 2);
	CHECK_EQUAL(repeat_kill->tid, 11);
	kill_process(&other);
	CHECK_EQUAL(event(2)->ordinal, 3);
}

TEST(a_kill_has_the_decision_before_it_and_no_stack)
{
	struct model_kernfs kernfs = {0, "", 55};
	struct model_cgroup cgroup = {&kernfs};
	struct model_css memcg = {&cgroup};
	struct model_oom_control control = {3, 0xcc0, -1, 4000, 250, &victim.thread, &memcg};

	begin();
	fake_time = 5000;
	on_decision(&control, message);
	fake_time = 6000;
	kill_process(&victim);
	CHECK_EQUAL(event(0)->decision.ktime, 5000);
	CHECK_EQUAL(event(0)->decision.constraint, 3);
	CHECK_EQUAL(event(0)->decision.gfp_mask, 0xcc0);
	CHECK_EQUAL(event(0)->decision.order, -1);
	CHECK_EQUAL(event(0)->decision.totalpages, 4000);
	CHECK_EQUAL(event(0)->decision.chosen_points, 250);
	CHECK_EQUAL(event(0)->decision.chosen_pid, 10);
	CHECK_EQUAL(event(0)->decision.memcg_id, 55);
	CHECK(!strcmp(event(0)->decision.message, message));
	CHECK_EQUAL(event(0)->stack[1], 0);
	CHECK_EQUAL(event(0)->signalled_at, 6000);
}

TEST(without_a_decision_a_kill_has_the_stack)
{
	begin();
	kill_process(&victim);
	CHECK_EQUAL(event(0)->decision.ktime, UNKNOWN);
	CHECK_EQUAL(event(0)->stack[1], VICTIM_SITE);
}

TEST(a_kill_without_known_arguments_does_not_have_those_of_the_one_before)
{
	struct bpf_raw_tracepoint_args ctx = {{(u64)&victim.leader}};

	begin();
	strcpy(memory, "worker");
	victim.mm.arg_start = memory;
	victim.mm.arg_end = memory + 7;
	on_sched_process_exec(&ctx);
	kill_process(&victim);
	CHECK_EQUAL(event(0)->exec_size, 7);
	CHECK(!strcmp(event(0)->exec_args, "worker"));
	kill_process(&other);
	CHECK_EQUAL(event(1)->exec_size, UNKNOWN);
}

TEST(long_arguments_at_exec_are_cut_and_keep_their_size)
{
	struct bpf_raw_tracepoint_args ctx = {{(u64)&victim.leader}};

	begin();
	memset(memory, 'x', PAGE);
	victim.mm.arg_start = memory;
	victim.mm.arg_end = memory + PAGE;
	on_sched_process_exec(&ctx);
	kill_process(&victim);
	CHECK_EQUAL(event(0)->exec_size, PAGE);
	CHECK_EQUAL(event(0)->exec_args[EXEC_LEN - 1], 'x');
}

TEST(a_context_is_begun_once_for_each_kill_with_the_time_of_its_first_signal)
{
	begin();
	fake_time = 3000;
	kill_process(&victim);
	fake_time += SECOND; /* the first victim of a group is sent the signal again */
	send(&victim.thread);
	run_in(&victim);
	CHECK(deliver());
	CHECK_EQUAL(context_scratch_values[0].pid, 10);
	CHECK_EQUAL(context_scratch_values[0].signalled_at, 3000);
	CHECK(!deliver());
}

TEST(a_signal_that_the_oom_killer_did_not_send_begins_no_context)
{
	begin();
	fake_stack[5] = fake_stack[6] = 0x9000;
	send(&victim.leader);
	run_in(&victim);
	CHECK(!deliver());
}

TEST(without_the_address_of_the_oom_killer_a_mark_begins_the_context)
{
	begin();
	oom_kill_process_address = 0;
	kill_process(&victim);
	run_in(&victim);
	CHECK(deliver());
	CHECK_EQUAL(event(0)->ordinal, 1);
}

TEST(an_exit_is_sent_by_the_last_thread_with_the_peak)
{
	struct exit *exited;

	begin();
	fake_time = 3000;
	kill_process(&victim);
	run_in(&victim);
	victim.signal.live = 1;
	on_sched_process_exit(0);
	CHECK_EQUAL(sent_count, 1);
	victim.signal.live = 0;
	fake_time = 4000;
	on_sched_process_exit(0);
	CHECK_EQUAL(sent_count, 2);
	exited = (struct exit *)event(1);
	CHECK_EQUAL(exited->kind, KIND_EXIT);
	CHECK_EQUAL(exited->ktime, 4000);
	CHECK_EQUAL(exited->pid, 10);
	CHECK_EQUAL(exited->signalled_at, 3000);
	CHECK_EQUAL(exited->maxrss, 77);
	on_sched_process_exit(0);
	CHECK_EQUAL(sent_count, 2);
}

static void weigh(struct process *process, s64 points)
{
	badness_enter(&process->leader);
	badness_exit(points);
}

TEST(a_ranking_has_the_time_of_its_decision_and_the_candidates_of_the_last_scan)
{
	struct model_oom_control control = {.order = 0};
	struct ranking *ranking;

	begin();
	begin_ranking();
	weigh(&other, 9);
	begin_ranking();
	weigh(&victim, 7);
	run_in(&other); /* reads /proc/PID/oom_score meanwhile */
	weigh(&other, 8);
	run_in(&trigger);
	fake_time = 5000;
	on_decision(&control, message);
	send(&victim.thread);
	CHECK_EQUAL(sent_count, 1);
	ranking = (struct ranking *)event(0);
	CHECK_EQUAL(ranking->kind, KIND_RANKING);
	CHECK_EQUAL(ranking->ktime, 5000);
	CHECK_EQUAL(ranking->weighed, 1);
	CHECK_EQUAL(ranking->count, 1);
	CHECK_EQUAL(ranking->best[0].pid, 10);
	CHECK_EQUAL(ranking->best[0].points, 7);
	on_decision(&control, message);
	send(&other.thread);
	CHECK_EQUAL(sent_count, 1);
}

static struct context context;

TEST(arguments_of_a_page_are_whole_wherever_they_begin)
{
	begin();
	victim.mm.arg_start = memory + PAGE - 100;
	victim.mm.arg_end = memory + 2 * PAGE - 100;
	memory[2 * PAGE - 101] = 'z';
	fill_arguments(&context, &victim.mm);
	CHECK_EQUAL(context.arguments_size, PAGE);
	CHECK_EQUAL(context.arguments, PAGE);
	CHECK_EQUAL(context.arguments_end, 'z');
	CHECK_EQUAL(context.strings[PAGE - 1], 'z');
	CHECK_EQUAL(context.environment, UNKNOWN);
}

TEST(longer_arguments_are_cut_to_4_kib_and_keep_their_size)
{
	begin();
	victim.mm.arg_start = memory;
	victim.mm.arg_end = memory + 3 * PAGE;
	fill_arguments(&context, &victim.mm);
	CHECK_EQUAL(context.arguments_size, 3 * PAGE);
	CHECK_EQUAL(context.arguments, ARGUMENTS_LEN);
}

TEST(a_title_extends_into_the_environment_and_arguments_do_not_pass_a_gap)
{
	begin();
	victim.mm.arg_start = memory;
	victim.mm.arg_end = victim.mm.env_start = memory + 10;
	victim.mm.env_end = memory + 30;
	fill_arguments(&context, &victim.mm);
	CHECK_EQUAL(context.arguments, 30);
	CHECK_EQUAL(context.arguments_size, 10);
	victim.mm.env_start = memory + 11;
	fill_arguments(&context, &victim.mm);
	CHECK_EQUAL(context.arguments, 10);
}

TEST(a_process_without_memory_has_no_arguments)
{
	context.arguments = 5;
	fill_arguments(&context, 0);
	CHECK_EQUAL(context.arguments, UNKNOWN);
	CHECK_EQUAL(context.arguments_size, UNKNOWN);
	CHECK_EQUAL(context.arguments_end, UNKNOWN);
}

TEST(a_context_is_sent_without_the_unused_end_of_its_strings)
{
	begin();
	kill_process(&victim);
	run_in(&victim);
	victim.mm.arg_start = memory;
	victim.mm.arg_end = memory + 9;
	CHECK(deliver());
	emit_context(0);
	CHECK_EQUAL(sent_count, 2);
	CHECK_EQUAL(sent[1].size, offsetof(struct context, strings) + 9);
}
