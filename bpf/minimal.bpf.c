// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The probes of the level `record`: a kernel without type information. All that is known is what the tracepoints'
 * own records say, at the offsets that their format files give (MARK_VICTIM_*, SIGNAL_GENERATE_*; -1: not there).
 */
#include "count.h"

#define SIGKILL	  9
#define SI_KERNEL 0x80

BPF_PERF_OUTPUT(sightings);
struct target {
	u32 tid;
	char comm[COMM_LEN];
	u64 site;
	s64 counted;
};

BPF_TABLE("lru_hash", u32, struct target, signalled, 256); /* trigger's thread -> thread that got SIGKILL from it */
BPF_PERCPU_ARRAY(scratch, struct sighting, 1);
BPF_ARRAY(tally, struct tally, 1);

inline_always struct tally *the_tally(void)
{
	u32 zero = 0;

	return tally.lookup(&zero); /* here, for BCC looks for such calls in this file only */
}

int on_signal_generate(void *ctx)
{
	u32 trigger = bpf_get_current_pid_tgid();
	struct target target = {};

	if (read_s32(ctx, SIGNAL_GENERATE_SIG) != SIGKILL || read_s32(ctx, SIGNAL_GENERATE_CODE) != SI_KERNEL)
		return 0;
	target.tid = read_s32(ctx, SIGNAL_GENERATE_PID);
	if (SIGNAL_GENERATE_COMM >= 0) /* an array of its own, not a __data_loc */
		bpf_probe_read_kernel(target.comm, COMM_LEN, (char *)ctx + SIGNAL_GENERATE_COMM);
	target.site = signal_sender(ctx).site;
	target.counted = count_signal(the_tally(), target.site);
	signalled.update(&trigger, &target);
	return 0;
}

inline_always s64 pages(s64 kilobytes)
{
	return kilobytes == UNKNOWN ? UNKNOWN : (u64)kilobytes * 1024 / PAGE_SIZE; /* BPF has no signed division */
}

inline_always void fill_victim(struct victim *to, void *ctx, u32 tid)
{
	s64 comm = read_u32(ctx, MARK_VICTIM_COMM);
	s64 pgtables = read_s64(ctx, MARK_VICTIM_PGTABLES);

	to->task.tid = tid;
	/* __data_loc: the low half is where the string begins in the record */
	if (comm != UNKNOWN)
		read_str(to->task.comm, ctx, comm & 0xffff);
	to->uid = read_u32(ctx, MARK_VICTIM_UID);
	to->oom_score_adj = read_s16(ctx, MARK_VICTIM_OOM_SCORE_ADJ);
	to->rss[0] = pages(read_s64(ctx, MARK_VICTIM_FILE_RSS));
	to->rss[1] = pages(read_s64(ctx, MARK_VICTIM_ANON_RSS));
	to->rss[3] = pages(read_s64(ctx, MARK_VICTIM_SHMEM_RSS));
	to->total_vm = pages(read_s64(ctx, MARK_VICTIM_TOTAL_VM));
	to->pgtables_bytes = pgtables == UNKNOWN ? UNKNOWN : pgtables * 1024;
}

inline_always void clear(struct sighting *s)
{
	s64 *word = (s64 *)s;
	int i;

	for (i = 0; i < offsetof(struct sighting, strings) / 8; i++)
		word[i] = UNKNOWN;
	__builtin_memset(s->victim.task.comm, 0, COMM_LEN);
	__builtin_memset(s->victim.parent.comm, 0, COMM_LEN);
	__builtin_memset(s->victim.nodename, 0, NODENAME_LEN);
	__builtin_memset(s->trigger.comm, 0, COMM_LEN);
	__builtin_memset(s->decision.message, 0, MESSAGE_LEN);
	__builtin_memset(&s->paths, 0, sizeof(s->paths));
	__builtin_memset(s->stack, 0, sizeof(s->stack));
}

int on_mark_victim(void *ctx)
{
	u64 current = bpf_get_current_pid_tgid();
	u32 trigger = current, tid = read_s32(ctx, MARK_VICTIM_PID), zero = 0;
	struct target *killed = signalled.lookup(&trigger);
	struct sighting *s = scratch.lookup(&zero);

	if (!s)
		return 0;
	clear(s);
	s->kind = KIND_DYING;
	s->ktime = bpf_ktime_get_ns();
	fill_victim(&s->victim, ctx, tid);
	if (killed && killed->tid == tid) {
		s->kind = KIND_KILLED;
		s->counted = count_mark(the_tally(), killed->site, killed->counted);
		/* Before 72ba14deb40a (6.9, and in stable series) the mark had a number and no name. */
		if (MARK_VICTIM_COMM < 0)
			__builtin_memcpy(s->victim.task.comm, killed->comm, COMM_LEN);
	}
	s->trigger.pid = current >> 32;
	s->trigger.tid = trigger;
	bpf_get_current_comm(s->trigger.comm, COMM_LEN);
	bpf_get_stack(ctx, s->stack, sizeof(s->stack), 0);
	signalled.delete(&trigger);
	sightings.perf_submit(ctx, s, offsetof(struct sighting, strings));
	return 0;
}
