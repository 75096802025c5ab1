/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Arguments as they were at exec, for victims whose memory cannot be read later. A child that has not called exec
 * itself still has the executable and the arg_start of the process that did.
 */
#ifndef OOMTRACE_EXEC_ARGS_H
#define OOMTRACE_EXEC_ARGS_H

#include "kernel.h"

struct exec_key {
	s64 arg_start;
	void *exe_file;
};
struct exec_args {
	s64 size;
	char args[EXEC_LEN];
};

inline_always struct exec_key exec_key(void *mm)
{
	struct exec_key key = {read_s64(mm, OFF_MM_ARG_START), read_ptr(mm, OFF_MM_EXE_FILE)};

	return key;
}

/* Returns whether they could be read. */
inline_always int read_exec_args(struct exec_args *exec, void *mm, s64 arg_start)
{
	u64 size;

	if (OFF_MM_ARG_START < 0 || OFF_MM_ARG_END < 0)
		return 0;
	exec->size = read_s64(mm, OFF_MM_ARG_END) - arg_start;
	size = exec->size;
	if (size > EXEC_LEN)
		size = EXEC_LEN;
	asm volatile("" : "+r"(size));
	return size <= EXEC_LEN && !bpf_probe_read_user(exec->args, size, (void *)arg_start);
}

#endif
