// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The probes of the levels `full` and `reduced`: maps and entry points.
 *
 * __oom_kill_process() sends SIGKILL (signal_generate), marks the victim (mark_victim), then sends SIGKILL to every
 * other process that shares its mm, all in one thread: the trigger, `current`. `oom_rounds` keeps what that thread
 * has done so far. The kernel's oom_lock serializes OOM kills, so a CPU's scratch event is never shared.
 *
 * Everything that uses a map is in this file: BCC rewrites map calls in the main file only.
 */
#include <linux/ptrace.h>
#include "cgroup_watch.h"
#include "count.h"
#include "decision.h"
#include "exec_args.h"
#include "oom_round.h"
#include "ranking.h"
#include "sigkill_task.h"
#include "sockets.h"
#include "victim_event.h"

BPF_PERF_OUTPUT(events);
BPF_TABLE("lru_hash", u32, struct oom_round, oom_rounds, 256);
BPF_PERCPU_ARRAY(event_scratch, struct victim_event, 1);
BPF_ARRAY(kill_counter, struct kill_counter, 1);

/* Processes that were sent SIGKILL by the OOM killer, until it is delivered: when it was sent. */
BPF_TABLE("lru_hash", u32, s64, pending_context, 8192);
#ifdef WITH_EXIT
BPF_TABLE("lru_hash", u32, s64, pending_exit, 8192); /* the same, until they exit */
#endif
BPF_PERCPU_ARRAY(context_scratch, struct context, 1);
BPF_PERCPU_ARRAY(fd_walks, struct fd_walk, 1);
BPF_PERCPU_ARRAY(memcg_walks, struct memcg_walk, 1);

enum tail_call {
	WALK_FDS,
	EMIT_CONTEXT,
	APPEND_VICTIM_PATHS,
	EMIT_VICTIM_EVENT,
	EMIT_RANKING,
	EMIT_SIGKILL,
	APPEND_SIGKILL_PATHS,
};
BPF_PROG_ARRAY(tail_calls, 7);

BPF_PERCPU_ARRAY(signal_stacks, struct signal_stack, 1);

BPF_ARRAY(ranking_states, struct ranking_state, 1);

BPF_TABLE("lru_hash", struct exec_key, struct exec_args, exec_cache, 4096);

inline_always struct kill_counter *get_kill_counter(void)
{
	u32 zero = 0;

	return kill_counter.lookup(&zero);
}

inline_always struct oom_round *current_oom_round(void)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct oom_round *round = oom_rounds.lookup(&tid);
	struct oom_round fresh = {};

	if (round)
		return round;
	fresh.decision.ktime = UNKNOWN;
	oom_rounds.update(&tid, &fresh);
	return oom_rounds.lookup(&tid);
}

inline_always s64 fill_exec(char *args, void *mm)
{
	struct exec_key key = exec_key(mm);
	struct exec_args *exec = exec_cache.lookup(&key);

	if (!exec)
		return UNKNOWN;
	__builtin_memcpy(args, exec->args, EXEC_LEN);
	return exec->size;
}

inline_always struct ranking_state *get_ranking(void)
{
	u32 zero = 0;

	return ranking_states.lookup(&zero);
}

/* Whether this thread has decided by a ranking that is not sent yet. */
inline_always int has_ranking(void)
{
	struct ranking_state *state = HAS_DECISION ? get_ranking() : 0;

	return state && state->decided_tid == (u32)bpf_get_current_pid_tgid();
}

/* Does not return if it succeeds: tail calls do the rest, so that the verifier follows that once for both callers. */
inline_always void emit_victim(void *ctx, enum kind kind, void *task, void *mm, struct oom_round *round)
{
	u32 zero = 0;
	struct victim_event *e = event_scratch.lookup(&zero);
	struct memcg_walk *w = memcg_walks.lookup(&zero);
	struct signal_stack *s = signal_stacks.lookup(&zero);

	if (!e || !w || !s)
		return;
	fill_event(ctx, e, kind, task, mm, round, s);
	e->exec_size = fill_exec(e->exec_args, mm);
	begin_cgroups(e, w, task, (void *)bpf_get_current_task());
	tail_calls.call(ctx, APPEND_VICTIM_PATHS);
}

/* Called when the chosen process is signalled: the decision's probe is of another type and cannot call it. */
int emit_ranking(struct bpf_raw_tracepoint_args *ctx)
{
	struct ranking_state *state = get_ranking();
	u64 used;

	if (!state)
		return 0;
	if (append_candidate_names(state))
		tail_calls.call(ctx, EMIT_RANKING);
	state->decided_tid = 0;
	used = state->ranking.used;
	asm volatile("" : "+r"(used));
	if (used <= sizeof(state->ranking.strings))
		events.perf_submit(ctx, &state->ranking, offsetof(struct ranking, strings) + used);
	return 0;
}

int append_victim_paths(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct victim_event *e = event_scratch.lookup(&zero);
	struct memcg_walk *w = memcg_walks.lookup(&zero);

	if (!e || !w)
		return 0;
	if (append_victim_names(e, w))
		tail_calls.call(ctx, APPEND_VICTIM_PATHS);
	tail_calls.call(ctx, EMIT_VICTIM_EVENT);
	return 0;
}

int emit_victim_event(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct victim_event *e = event_scratch.lookup(&zero);
	struct memcg_walk *w = memcg_walks.lookup(&zero);
	u64 used;

	if (!e || !w)
		return 0;
	if (walk_memcgs(e, w))
		tail_calls.call(ctx, EMIT_VICTIM_EVENT);
	used = e->contents.used;
	asm volatile("" : "+r"(used));
	if (used <= STRINGS_LEN) /* always; the check proves it to the verifier */
		events.perf_submit(ctx, e, offsetof(struct victim_event, strings) + used);
	return 0;
}

inline_always struct ranking_state *current_ranking(void)
{
	struct ranking_state *state = get_ranking();

	return state && state->tid == (u32)bpf_get_current_pid_tgid() ? state : 0;
}

inline_always int begin_ranking(void)
{
	struct ranking_state *state = get_ranking();

	if (!state)
		return 0;
	state->tid = bpf_get_current_pid_tgid();
	state->decided_tid = 0;
	state->task = 0;
	state->ranking.weighed = 0;
	state->ranking.count = 0;
	return 0;
}

inline_always int badness_enter(void *task)
{
	struct ranking_state *state = current_ranking();

	if (state)
		state->task = task;
	return 0;
}

inline_always int badness_exit(s64 points)
{
	struct ranking_state *state = current_ranking();

	return state ? keep_candidate(state, points) : 0;
}

inline_always void end_ranking(s64 ktime)
{
	struct ranking_state *state = current_ranking();

	if (!state || !state->ranking.weighed)
		return;
	finish_ranking(state, ktime);
	state->decided_tid = state->tid;
	state->tid = 0;
}

inline_always int on_decision(void *oc, const void *message)
{
	struct oom_round *round = current_oom_round();
	struct decision *d;

	if (!round)
		return 0;
	d = &round->decision;
	fill_decision(d, oc, message);
	end_ranking(d->ktime);
	return 0;
}

#ifdef WITH_KPROBE
int on_out_of_memory(struct pt_regs *ctx)
{
	return begin_ranking();
}

int on_oom_badness(struct pt_regs *ctx)
{
	return badness_enter((void *)PT_REGS_PARM1(ctx));
}

int on_oom_badness_return(struct pt_regs *ctx)
{
	return badness_exit(PT_REGS_RC(ctx));
}

int on_oom_kill_process(struct pt_regs *ctx)
{
	return on_decision((void *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM2(ctx));
}
#endif

#ifdef WITH_FENTRY
KFUNC_PROBE(out_of_memory, void *oc)
{
	return begin_ranking();
}

KRETFUNC_PROBE(oom_badness, void *task, unsigned long totalpages, long points)
{
	badness_enter(task);
	return badness_exit(points);
}

KFUNC_PROBE(oom_kill_process, void *oc, void *message)
{
	return on_decision(oc, message);
}
#endif

inline_always void mark_pending(s64 pid, s64 when)
{
	u32 key = pid;

	if (is_newer(when, pending_context.lookup(&key)))
		pending_context.update(&key, &when);
#ifdef WITH_EXIT
	if (is_newer(when, pending_exit.lookup(&key)))
		pending_exit.update(&key, &when);
#endif
}

int on_signal_generate(struct bpf_raw_tracepoint_args *ctx)
{
	void *task = (void *)ctx->args[2];
	struct signal_stack *stack;
	struct sender sender;
	struct oom_round *round;
	u32 zero = 0;
	s64 pid;

	if ((int)ctx->args[0] != SIGKILL)
		return 0;
#ifdef WITH_SIGKILL
	if (ctx->args[1] != SEND_SIG_PRIV && is_wanted_sender() && is_user_sigkill(ctx))
		tail_calls.call(ctx, EMIT_SIGKILL);
#endif
	if (ctx->args[1] != SEND_SIG_PRIV)
		return 0;
	round = current_oom_round();
	stack = signal_stacks.lookup(&zero);
	if (!round || !stack)
		return 0;
	pid = read_s32(task, OFF_TASK_TGID);
	round->signalled_at = bpf_ktime_get_ns();
	/* No thread can exit of this signal before we return: the process's siglock is held. */
	round->threads = count_threads(task);
	sender = signal_sender(ctx, stack, round->signalled_at);
	/* Here and not at the mark, by which time the signal may have been delivered. */
	if (sender.oom_killer)
		mark_pending(pid, round->signalled_at);
	round->call_site = sender.call_site;
	round->ordinal = count_signal(get_kill_counter(), sender.call_site);
	if (round->ordinal && read_ptr(read_ptr(task, OFF_TASK_SIGNAL), OFF_SIGNAL_OOM_MM)) {
		struct repeat_kill event = {KIND_REPEAT_KILL, round->signalled_at, read_s32(task, OFF_TASK_PID),
					    round->ordinal};

		events.perf_submit(ctx, &event, sizeof(event));
	}
	round->signalled_pid = pid;
	round->signalled_task = task;
	if (!round->ordinal && is_sharer(round, task))
		emit_victim(ctx, KIND_SHARER, task, round->marked_mm, round);
	if (has_ranking())
		tail_calls.call(ctx, EMIT_RANKING);
	return 0;
}

#ifdef WITH_SIGKILL
BPF_PERF_OUTPUT(sigkills);
BPF_PERCPU_ARRAY(sigkill_scratch, struct sigkill, 1);
BPF_PERCPU_ARRAY(sigkill_paths, struct path_walk, 1);

int emit_sigkill(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct sigkill *e = sigkill_scratch.lookup(&zero);
	struct path_walk *p = sigkill_paths.lookup(&zero);

	if (!e || !p)
		return 0;
	fill_sigkill(e, p, ctx);
	e->exec_size = fill_exec(e->exec_args, process_mm((void *)ctx->args[2]));
	tail_calls.call(ctx, APPEND_SIGKILL_PATHS);
	return 0;
}

int append_sigkill_paths(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct sigkill *e = sigkill_scratch.lookup(&zero);
	struct path_walk *p = sigkill_paths.lookup(&zero);
	u64 used;

	if (!e || !p)
		return 0;
	if (append_sigkill_names(e, p))
		tail_calls.call(ctx, APPEND_SIGKILL_PATHS);
	used = e->used;
	asm volatile("" : "+r"(used));
	if (used <= sizeof(e->strings))
		sigkills.perf_submit(ctx, e, offsetof(struct sigkill, strings) + used);
	return 0;
}
#endif

int on_mark_victim(struct bpf_raw_tracepoint_args *ctx)
{
	struct oom_round *round = current_oom_round();
	void *task = marked_task(ctx, round);
	void *mm = process_mm(task);
	s64 pid = read_s32(task, OFF_TASK_TGID);
	enum kind kind = KIND_DYING;

	if (!round)
		return 0;
	if (round->signalled_pid == pid) {
		kind = KIND_KILLED;
		round->ordinal = count_mark(get_kill_counter(), round->call_site, round->ordinal);
		keep_mark(round, pid, mm);
		if (!OOM_KILL_PROCESS) /* signal_sender() cannot recognize the OOM killer */
			mark_pending(pid, round->signalled_at);
	}
	round->signalled_pid = 0;
	emit_victim(ctx, kind, task, mm, round);
	return 0;
}

/* Runs in every thread of a victim, also for the SIGKILL that only announces the group exit: the first one counts. */
int on_signal_deliver(struct bpf_raw_tracepoint_args *ctx)
{
	u32 pid, zero = 0;
	struct context *c;
	struct fd_walk *w;
	void *task;
	s64 *when;

	if ((int)ctx->args[0] != SIGKILL)
		return 0;
	pid = bpf_get_current_pid_tgid() >> 32;
	when = pending_context.lookup(&pid);
	if (!when)
		return 0;
	c = context_scratch.lookup(&zero);
	w = fd_walks.lookup(&zero);
	if (!c || !w)
		return 0;
	c->pid = pid;
	c->signalled_at = *when;
	if (pending_context.delete(&pid))
		return 0;
	task = (void *)bpf_get_current_task();
	begin_context(c, task);
	begin_walk(c, w, task);
	tail_calls.call(ctx, WALK_FDS);
	return 0;
}

int walk_fds(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct context *c = context_scratch.lookup(&zero);
	struct fd_walk *w = fd_walks.lookup(&zero);

	if (!c || !w)
		return 0;
	if (walk_chunk(c, w))
		tail_calls.call(ctx, WALK_FDS);
	tail_calls.call(ctx, EMIT_CONTEXT);
	return 0;
}

int emit_context(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct context *c = context_scratch.lookup(&zero);
	struct fd_walk *w = fd_walks.lookup(&zero);
	u64 used;

	if (!c || !w)
		return 0;
	if (fill_sockets(c, w))
		tail_calls.call(ctx, EMIT_CONTEXT);
	fill_arguments(c, read_ptr((void *)bpf_get_current_task(), OFF_TASK_MM));
	used = c->used;
	asm volatile("" : "+r"(used));
	if (used <= CONTEXT_LEN)
		events.perf_submit(ctx, c, offsetof(struct context, strings) + used);
	return 0;
}

int on_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	void *mm = read_ptr((void *)ctx->args[0], OFF_TASK_MM);
	struct exec_key key = exec_key(mm);
	struct exec_args exec = {};

	if (mm && read_exec_args(&exec, mm, key.arg_start))
		exec_cache.update(&key, &exec);
	return 0;
}

#ifdef WITH_EXIT
int on_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	s64 *when = pending_exit.lookup(&pid);
	struct exit exited;

	if (!when)
		return 0;
	fill_exit(&exited, pid, *when);
	if (is_last_thread() && !pending_exit.delete(&pid)) /* else another CPU was first */
		events.perf_submit(ctx, &exited, sizeof(exited));
	return 0;
}
#endif

BPF_PERF_OUTPUT(cgroup_changes);
BPF_PERCPU_ARRAY(cgroup_scratch, struct cgroup_change, 1);

inline_always int on_cgroup_change(struct bpf_raw_tracepoint_args *ctx, enum change change)
{
	u32 zero = 0;
	struct cgroup_change *e = cgroup_scratch.lookup(&zero);
	s64 hierarchy = read_s32(read_ptr((void *)ctx->args[0], OFF_CGROUP_ROOT), OFF_ROOT_HIERARCHY_ID);
	u64 used = fill_cgroup_change(e, change, hierarchy, (void *)ctx->args[1]);

	if (!used)
		return 0;
	asm volatile("" : "+r"(used)); /* or the compiler joins the checks, of which Linux 5.10 learns no lower bound */
	if (used <= CGROUP_PATH_LEN)
		cgroup_changes.perf_submit(ctx, e, offsetof(struct cgroup_change, path) + used);
	return 0;
}

int on_cgroup_mkdir(struct bpf_raw_tracepoint_args *ctx)
{
	return on_cgroup_change(ctx, CGROUP_MADE);
}

int on_cgroup_rmdir(struct bpf_raw_tracepoint_args *ctx)
{
	return on_cgroup_change(ctx, CGROUP_REMOVED);
}
