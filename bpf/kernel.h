/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Reading kernel structures without kernel headers.
 *
 * Every OFF_* macro is the offset of one member, looked up in the running kernel's BTF by ooMtrace/kernel/offsets.py
 * and given on the compiler's command line; -1 means that this kernel has no such member. The value is a
 * constant, so a read of an absent member compiles to UNKNOWN.
 */
#ifndef OOMTRACE_KERNEL_H
#define OOMTRACE_KERNEL_H

#include "read.h"

/* The mm of a process, even if its leader has already exited and has no mm: then that of another thread. */
inline_always void *process_mm(void *task)
{
	void *mm = read_ptr(task, OFF_TASK_MM);
	void *signal = read_ptr(task, OFF_TASK_SIGNAL);
	char *node = read_ptr(signal, OFF_SIGNAL_THREAD_HEAD);
	int i;

	for (i = 0; i < 64 && !mm && node; i++) {
		mm = read_ptr(node - OFF_TASK_THREAD_NODE, OFF_TASK_MM);
		node = read_ptr(node, 0);
		if (node == (char *)signal + OFF_SIGNAL_THREAD_HEAD)
			break;
	}
	return mm;
}

inline_always void *task_css_memory(void *task)
{
	return read_ptr(read_ptr(task, OFF_TASK_CGROUPS), OFF_CSS_SET_SUBSYS_MEMORY);
}

inline_always void *css_kernfs(void *css)
{
	return read_ptr(read_ptr(css, OFF_CSS_CGROUP), OFF_CGROUP_KN);
}

/* The innermost struct upid of a process: its pid in its own pid namespace, and that namespace. */
inline_always void *innermost_upid(void *task)
{
	void *pid = read_ptr(read_ptr(task, OFF_TASK_GROUP_LEADER), OFF_TASK_THREAD_PID);
	s64 level = read_u32(pid, OFF_PID_LEVEL);

	if (level < 0 || level > 32) /* MAX_PID_NS_LEVEL */
		return 0;
	return (char *)pid + OFF_PID_NUMBERS + level * SIZE_UPID;
}

#endif
