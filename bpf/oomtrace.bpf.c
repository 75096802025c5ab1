// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The probes of the levels `full` and `victim`.
 *
 * __oom_kill_process() sends SIGKILL (signal_generate), marks the victim (mark_victim), then sends SIGKILL to every
 * other process that shares its memory, all in one thread: the trigger, `current`. `rounds` keeps what that thread
 * has done so far. The kernel's oom_lock lets one OOM kill run at a time, so the scratch of one CPU is never shared.
 */
#include <linux/ptrace.h>
#include "count.h"
#include "decision.h"
#include "oom_round.h"
#include "ranking.h"
#include "sockets.h"
#include "task.h"

BPF_PERF_OUTPUT(sightings);
BPF_TABLE("lru_hash", u32, struct round, rounds, 256);
BPF_PERCPU_ARRAY(scratch, struct sighting, 1);
BPF_ARRAY(tally, struct tally, 1);

/* Processes that got SIGKILL from the OOM killer and have not noticed yet: when it was sent. */
BPF_TABLE("lru_hash", u32, s64, condemned, 8192);
#ifdef WITH_EXIT
BPF_TABLE("lru_hash", u32, s64, leaving, 8192); /* the same until they are gone */
#endif
BPF_PERCPU_ARRAY(contexts, struct context, 1);
BPF_PERCPU_ARRAY(walks, struct walk, 1);

/*
 * Arguments as they were at exec, for victims that cannot be read later. A child that has not called exec itself still
 * has the program and the place of the arguments of the process that did.
 */
struct exec_key {
	s64 arg_start;
	void *exe_file;
};
struct exec_args {
	s64 size;
	char args[EXEC_LEN];
};
BPF_TABLE("lru_hash", struct exec_key, struct exec_args, execs, 4096);

inline_always struct tally *the_tally(void)
{
	u32 zero = 0;

	return tally.lookup(&zero); /* here, for BCC looks for such calls in this file only */
}

inline_always struct round *current_round(void)
{
	u32 tid = bpf_get_current_pid_tgid();
	struct round *round = rounds.lookup(&tid);
	struct round fresh = {};

	if (round)
		return round;
	fresh.decision.ktime = UNKNOWN;
	rounds.update(&tid, &fresh);
	return rounds.lookup(&tid);
}

inline_always struct exec_key exec_key(void *mm)
{
	struct exec_key key = {read_s64(mm, OFF_MM_ARG_START), read_ptr(mm, OFF_MM_EXE_FILE)};

	return key;
}

inline_always void fill_exec(struct sighting *s, void *mm)
{
	struct exec_key key = exec_key(mm);
	struct exec_args *exec = execs.lookup(&key);

	s->exec_size = UNKNOWN;
	if (!exec)
		return;
	s->exec_size = exec->size;
	__builtin_memcpy(s->exec_args, exec->args, EXEC_LEN);
}

inline_always void report(void *ctx, enum kind kind, void *task, void *mm, struct round *round)
{
	void *current = (void *)bpf_get_current_task();
	u32 zero = 0;
	struct sighting *s = scratch.lookup(&zero);

	if (!s)
		return;
	s->kind = kind;
	s->ktime = bpf_ktime_get_ns();
	s->signalled_at = round && kind != KIND_DYING ? round->signalled_at : UNKNOWN;
	s->counted = round && kind == KIND_KILLED ? round->counted : UNKNOWN;
	fill_victim(&s->victim, task, mm);
	fill_exec(s, mm);
	fill_task(&s->trigger, current);
	fill_cgroups(s, task, current);
	s->decision.ktime = UNKNOWN;
	/* Whoever was already dying may have been marked without any decision: that of an earlier OOM is not its own.
	 */
	if (round && kind != KIND_DYING)
		s->decision = round->decision;
	__builtin_memset(s->stack, 0, sizeof(s->stack));
	if (s->decision.ktime == UNKNOWN) /* a third of the whole cost */
		bpf_get_stack(ctx, s->stack, sizeof(s->stack), 0);
	/* It fits anyway; the mask is what the verifier understands. */
	sightings.perf_submit(ctx, s, offsetof(struct sighting, strings) + (s->paths.used & (2 * STRINGS - 1)));
}

BPF_ARRAY(weighings, struct weighing, 1);

inline_always struct weighing *current_weighing(void)
{
	u32 zero = 0;
	struct weighing *w = weighings.lookup(&zero);

	return w && w->tid == (u32)bpf_get_current_pid_tgid() ? w : 0;
}

inline_always int begin_ranking(void)
{
	u32 zero = 0;
	struct weighing *w = weighings.lookup(&zero);

	if (!w)
		return 0;
	w->tid = bpf_get_current_pid_tgid();
	w->task = 0;
	w->ranking.weighed = 0;
	w->ranking.told = 0;
	return 0;
}

inline_always int weigh(void *task)
{
	struct weighing *w = current_weighing();

	if (w)
		w->task = task;
	return 0;
}

inline_always int weighed(s64 points)
{
	struct weighing *w = current_weighing();

	return w ? keep_candidate(w, points) : 0;
}

inline_always void tell_ranking(void *ctx, s64 ktime)
{
	struct weighing *w = current_weighing();

	if (!w || !w->ranking.weighed)
		return;
	finish_ranking(w, ktime);
	w->tid = 0;
	sightings.perf_submit(ctx, &w->ranking,
			      offsetof(struct ranking, strings) + (w->ranking.used & (2 * STRINGS - 1)));
}

inline_always int decided(void *ctx, void *oc, const void *message)
{
	struct round *round = current_round();
	struct decision *d;

	if (!round)
		return 0;
	d = &round->decision;
	fill_decision(d, oc, message);
	tell_ranking(ctx, d->ktime);
	return 0;
}

#ifdef WITH_KPROBE
int on_out_of_memory(struct pt_regs *ctx)
{
	return begin_ranking();
}

int on_oom_badness(struct pt_regs *ctx)
{
	return weigh((void *)PT_REGS_PARM1(ctx));
}

int on_oom_badness_return(struct pt_regs *ctx)
{
	return weighed(PT_REGS_RC(ctx));
}

int on_oom_kill_process(struct pt_regs *ctx)
{
	return decided(ctx, (void *)PT_REGS_PARM1(ctx), (void *)PT_REGS_PARM2(ctx));
}
#endif

#ifdef WITH_FENTRY
KFUNC_PROBE(out_of_memory, void *oc)
{
	return begin_ranking();
}

KRETFUNC_PROBE(oom_badness, void *task, unsigned long totalpages, long points)
{
	weigh(task);
	return weighed(points);
}

KFUNC_PROBE(oom_kill_process, void *oc, void *message)
{
	return decided(ctx, oc, message);
}
#endif

/* The first member of a group kill gets the signal twice: the first time counts. */
inline_always void condemn(s64 pid, s64 when)
{
	u32 key = pid;
	s64 *before = condemned.lookup(&key);

	if (!before || when - *before > SHARERS_WITHIN)
		condemned.update(&key, &when);
#ifdef WITH_EXIT
	before = leaving.lookup(&key);
	if (!before || when - *before > SHARERS_WITHIN)
		leaving.update(&key, &when);
#endif
}

inline_always void tell_again(void *ctx, void *task, struct round *round)
{
	struct again again = {KIND_AGAIN, round->signalled_at, read_s32(task, OFF_TASK_PID), round->counted};

	sightings.perf_submit(ctx, &again, sizeof(again));
}

int on_signal_generate(struct bpf_raw_tracepoint_args *ctx)
{
	void *task = (void *)ctx->args[2];
	struct sender sender;
	struct round *round;
	s64 pid;

	if ((int)ctx->args[0] != SIGKILL || ctx->args[1] != SEND_SIG_PRIV)
		return 0;
	round = current_round();
	if (!round)
		return 0;
	pid = read_s32(task, OFF_TASK_TGID);
	round->signalled_at = bpf_ktime_get_ns();
	sender = signal_sender(ctx);
	/*
	 * To be known now, for when the process is marked it may have noticed already; it cannot before we return, its
	 * siglock is held.
	 */
	if (sender.oom_killer)
		condemn(pid, round->signalled_at);
	round->site = sender.site;
	round->counted = count_signal(the_tally(), sender.site);
	if (round->counted && read_ptr(read_ptr(task, OFF_TASK_SIGNAL), OFF_SIGNAL_OOM_MM))
		tell_again(ctx, task, round);
	/*
	 * A thread that has marked a victim may later send such signals of its own, as the first process of a pid
	 * namespace does when it exits, and the victim's mm may by then be the address of somebody else's.
	 */
	if (!round->counted && round->marked_mm && pid != round->marked_pid &&
	    round->signalled_at - round->marked_at < SHARERS_WITHIN && process_mm(task) == round->marked_mm)
		report(ctx, KIND_SHARER, task, round->marked_mm, round);
	round->signalled_pid = pid;
	round->signalled_task = task;
	return 0;
}

int on_mark_victim(struct bpf_raw_tracepoint_args *ctx)
{
	struct round *round = current_round();
	void *task = marked_task(ctx, round);
	void *mm = process_mm(task);
	s64 pid = read_s32(task, OFF_TASK_TGID);
	enum kind kind = KIND_DYING;

	if (!round)
		return 0;
	if (round->signalled_pid == pid) {
		kind = KIND_KILLED;
		round->counted = count_mark(the_tally(), round->site, round->counted);
		round->marked_pid = pid;
		round->marked_mm = mm;
		round->marked_at = bpf_ktime_get_ns();
		if (!OOM_KILL_PROCESS) /* better late than never */
			condemn(pid, round->signalled_at);
	}
	round->signalled_pid = 0;
	report(ctx, kind, task, mm, round);
	return 0;
}

enum stage { WALK, DESCRIBE };
BPF_PROG_ARRAY(stages, 2);

/* Every thread of a process gets here, also those that only hear that the process is to end: the first one counts. */
int on_signal_deliver(struct bpf_raw_tracepoint_args *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32, zero = 0;
	struct context *c;
	struct walk *w;
	void *task;
	s64 *when;

	if ((int)ctx->args[0] != SIGKILL)
		return 0;
	when = condemned.lookup(&pid);
	if (!when)
		return 0;
	c = contexts.lookup(&zero);
	w = walks.lookup(&zero);
	if (!c || !w)
		return 0;
	c->pid = pid;
	c->signalled_at = *when;
	if (condemned.delete(&pid))
		return 0;
	task = (void *)bpf_get_current_task();
	begin_context(c, task);
	begin_walk(c, w, task);
	stages.call(ctx, WALK);
	return 0;
}

int stage_walk(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct context *c = contexts.lookup(&zero);
	struct walk *w = walks.lookup(&zero);

	if (!c || !w)
		return 0;
	if (walk_chunk(c, w))
		stages.call(ctx, WALK);
	stages.call(ctx, DESCRIBE);
	return 0;
}

int stage_describe(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct context *c = contexts.lookup(&zero);
	struct walk *w = walks.lookup(&zero);
	u64 used;

	if (!c || !w)
		return 0;
	fill_sockets(c, w);
	fill_arguments(c, read_ptr((void *)bpf_get_current_task(), OFF_TASK_MM));
	used = c->used;
	asm volatile("" : "+r"(used));
	if (used <= CONTEXT_STRINGS)
		sightings.perf_submit(ctx, c, offsetof(struct context, strings) + used);
	return 0;
}

int on_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	void *mm = read_ptr((void *)ctx->args[0], OFF_TASK_MM);
	struct exec_key key = exec_key(mm);
	struct exec_args exec = {};
	u64 size;

	if (!mm || OFF_MM_ARG_START < 0 || OFF_MM_ARG_END < 0)
		return 0;
	exec.size = read_s64(mm, OFF_MM_ARG_END) - key.arg_start;
	size = exec.size;
	if (size > EXEC_LEN)
		size = EXEC_LEN;
	asm volatile("" : "+r"(size));
	if (size <= EXEC_LEN && !bpf_probe_read_user(exec.args, size, (void *)key.arg_start))
		execs.update(&key, &exec);
	return 0;
}

#ifdef WITH_EXIT
int on_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	s64 *when = leaving.lookup(&pid);
	void *signal;
	struct exit gone = {KIND_EXIT, bpf_ktime_get_ns(), pid};

	if (!when)
		return 0;
	signal = read_ptr((void *)bpf_get_current_task(), OFF_TASK_SIGNAL);
	gone.signalled_at = *when;
	gone.maxrss = read_s64(signal, OFF_SIGNAL_MAXRSS);
	if (read_s32(signal, OFF_SIGNAL_LIVE) != 0 ||
	    leaving.delete(&pid)) /* not the last thread, or not the first of two */
		return 0;
	sightings.perf_submit(ctx, &gone, sizeof(gone));
	return 0;
}
#endif
