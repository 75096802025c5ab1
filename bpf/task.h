/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Reading a task: its ids, memory counters and namespaces.
 */
#ifndef OOMTRACE_TASK_H
#define OOMTRACE_TASK_H

#include "kernel.h"

inline_always void fill_task(struct task *to, void *task)
{
	to->pid = read_s32(task, OFF_TASK_TGID);
	to->tid = read_s32(task, OFF_TASK_PID);
	to->vpid = read_s32(innermost_upid(task), OFF_UPID_NR);
	__builtin_memset(to->comm, 0, sizeof(to->comm));
	read_str(to->comm, task, OFF_TASK_COMM);
}

/* As percpu_counter_sum() does: the shared count plus the delta of every CPU. */
inline_always s64 counter_sum(void *counter)
{
	s64 sum = read_s64(counter, OFF_PERCPU_COUNT);
	char *parts = read_ptr(counter, OFF_PERCPU_COUNTERS);
	int cpu;

	if (!PER_CPU_OFFSET || sum == UNKNOWN || !parts)
		return UNKNOWN;
	for (cpu = 0; cpu < NR_CPUS; cpu++) {
		char *offset = read_ptr((void *)PER_CPU_OFFSET, cpu * 8);
		s32 part = 0;

		/* Every possible CPU has a delta. A check here would multiply the number of paths to verify. */
		bpf_probe_read_kernel(&part, sizeof(part), parts + (u64)offset);
		sum += part;
	}
	return sum;
}

inline_always void fill_memory(struct victim *to, void *mm)
{
	int i;

	for (i = 0; i < 4; i++) {
		int off = OFF_MM_RSS_STAT + i * SIZE_RSS_COUNTER;

		to->rss[i] = read_s64(mm, off + OFF_RSS_COUNT);
		to->rss_sum[i] = UNKNOWN;
		if (OFF_PERCPU_COUNTERS >= 0 && mm)
			to->rss_sum[i] = counter_sum((char *)mm + off);
	}
	to->pgtables_bytes = read_s64(mm, OFF_MM_PGTABLES_BYTES);
	to->total_vm = read_s64(mm, OFF_MM_TOTAL_VM);
	to->hiwater_rss = read_s64(mm, OFF_MM_HIWATER_RSS);
}

inline_always void fill_namespaces(struct victim *to, void *task)
{
	void *nsproxy = read_ptr(task, OFF_TASK_NSPROXY);
	void *uts = read_ptr(nsproxy, OFF_NSPROXY_UTS_NS);

	to->pid_ns = read_u32(read_ptr(innermost_upid(task), OFF_UPID_NS), OFF_PID_NS_INUM);
	to->net_ns = read_u32(read_ptr(nsproxy, OFF_NSPROXY_NET_NS), OFF_NET_INUM);
	to->uts_ns = read_u32(uts, OFF_UTS_INUM);
	__builtin_memset(to->nodename, 0, sizeof(to->nodename));
	read_str(to->nodename, uts, OFF_UTS_NODENAME);
}

inline_always s64 count_threads(void *task)
{
	return read_s32(read_ptr(task, OFF_TASK_SIGNAL), OFF_SIGNAL_NR_THREADS);
}

inline_always void *current_signal(void)
{
	return read_ptr((void *)bpf_get_current_task(), OFF_TASK_SIGNAL);
}

inline_always int is_last_thread(void)
{
	return read_s32(current_signal(), OFF_SIGNAL_LIVE) == 0;
}

/* To be called in the thread that exits. */
inline_always void fill_exit(struct exit *to, u32 pid, s64 signalled_at)
{
	to->kind = KIND_EXIT;
	to->ktime = bpf_ktime_get_ns();
	to->pid = pid;
	to->signalled_at = signalled_at;
	to->maxrss = read_s64(current_signal(), OFF_SIGNAL_MAXRSS);
}

inline_always void fill_victim(struct victim *to, void *task, void *mm)
{
	void *signal = read_ptr(task, OFF_TASK_SIGNAL);

	fill_task(&to->task, task);
	fill_task(&to->parent, read_ptr(read_ptr(task, OFF_TASK_REAL_PARENT), OFF_TASK_GROUP_LEADER));
	to->uid = read_u32(read_ptr(task, OFF_TASK_REAL_CRED), OFF_CRED_UID);
	to->start_boottime = read_s64(read_ptr(task, OFF_TASK_GROUP_LEADER), OFF_TASK_START_BOOTTIME);
	to->oom_score_adj = read_s16(signal, OFF_SIGNAL_OOM_SCORE_ADJ);
	fill_memory(to, mm);
	fill_namespaces(to, task);
}

#endif
