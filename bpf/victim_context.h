/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Reading a process in its own context: arguments, environment, executable and working directory.
 */
#ifndef OOMTRACE_VICTIM_CONTEXT_H
#define OOMTRACE_VICTIM_CONTEXT_H

#include "kernel.h"

#define PAGE	    4096		 /* or part of a page, where pages are larger */
#define LAST_OFFSET (CONTEXT_LEN - PAGE) /* up to here another PAGE bytes fit */

/* Appends `length` bytes of kernel memory by reading `size` bytes; returns `length`, or UNKNOWN. */
inline_always s64 append_bytes(struct context *c, void *from, u32 size, s64 length)
{
	u64 at = c->used;

	asm volatile("" : "+r"(at));
	if (length <= 0 || length > size || at > LAST_OFFSET || bpf_probe_read_kernel(&c->strings[at], size, from))
		return UNKNOWN;
	c->used += length;
	return length;
}

/* Appends user memory of the current process, page by page up to the first not resident; returns the bytes. */
inline_always s64 append_user(struct context *c, u64 from, u64 to, int pages)
{
	s64 start = c->used;
	int i;

	for (i = 0; i < pages && from < to; i++) {
		u64 at = c->used;
		u64 n = PAGE - (from & (PAGE - 1));

		if (n > to - from)
			n = to - from;
		asm volatile("" : "+r"(at), "+r"(n));
		if (at > LAST_OFFSET || n > PAGE || bpf_probe_read_user(&c->strings[at], n, (void *)from))
			break;
		c->used += n;
		from += n;
	}
	return i ? (s64)c->used - start : UNKNOWN;
}

inline_always void fill_arguments(struct context *c, void *mm)
{
	u64 start = read_s64(mm, OFF_MM_ARG_START), end = read_s64(mm, OFF_MM_ARG_END);
	u64 env_start = read_s64(mm, OFF_MM_ENV_START), env_end = read_s64(mm, OFF_MM_ENV_END);

	c->arguments_size = UNKNOWN;
	c->arguments_end = UNKNOWN;
	c->arguments = UNKNOWN;
	c->environment_size = UNKNOWN;
	c->environment = UNKNOWN;
	if (!mm || OFF_MM_ARG_START < 0 || OFF_MM_ARG_END < 0)
		return;
#ifndef NO_ARGUMENTS
	u64 stop;
	u8 last;

	c->arguments_size = end - start;
	if (!bpf_probe_read_user(&last, sizeof(last), (void *)end - 1))
		c->arguments_end = last;
	/* A title may extend into the environment (get_mm_cmdline(), fs/proc/base.c). */
	stop = env_start == end && env_end > end ? env_end : end;
	if (stop > start + ARGUMENTS_LEN)
		stop = start + ARGUMENTS_LEN;
	c->arguments = append_user(c, start, stop, ARGUMENTS_LEN / PAGE + 1);
#endif
#ifdef ENVIRONMENT
	c->environment_size = env_end - env_start;
	c->environment = append_user(c, env_start, env_end, 6);
#endif
}

/* As d_path() does: up to the root of the process, across mounts. Names are leaf first. */
inline_always s64 append_file_path(struct context *c, void *dentry, void *mnt, void *root_dentry, void *root_mnt)
{
	s64 start = c->used;
	int i;

	if (!dentry || !mnt || !root_dentry)
		return UNKNOWN;
	for (i = 0; i < MAX_DEPTH; i++) {
		void *parent;
		u64 at;
		s64 n;

		if (dentry == root_dentry && mnt == root_mnt)
			return c->used - start;
		if (dentry == read_ptr(mnt, OFF_VFSMOUNT_ROOT)) {
			char *mount = (char *)mnt - OFF_MOUNT_MNT;

			parent = read_ptr(mount, OFF_MOUNT_PARENT);
			if (parent == mount || !parent) /* outside the process's root: a path from the topmost mount */
				return c->used - start;
			dentry = read_ptr(mount, OFF_MOUNT_MOUNTPOINT);
			mnt = (char *)parent + OFF_MOUNT_MNT;
			continue;
		}
		at = c->used;
		asm volatile("" : "+r"(at));
		if (at > LAST_OFFSET)
			break;
		n = bpf_probe_read_kernel_str(&c->strings[at], NAME_LEN, read_ptr(dentry, OFF_DENTRY_NAME));
		if (n <= 0)
			break;
		c->used += n;
		parent = read_ptr(dentry, OFF_DENTRY_PARENT);
		if (parent == dentry) /* a file without a directory, such as a memfd */
			return c->used - start;
		dentry = parent;
	}
	c->used = start;
	return UNKNOWN;
}

inline_always void fill_paths(struct context *c, void *task, void *mm)
{
	void *fs = read_ptr(task, OFF_TASK_FS);
	void *exe = read_ptr(mm, OFF_MM_EXE_FILE);
	void *root_dentry = read_ptr(fs, OFF_FS_ROOT_DENTRY), *root_mnt = read_ptr(fs, OFF_FS_ROOT_MNT);

	c->executable = append_file_path(c, read_ptr(exe, OFF_FILE_PATH_DENTRY), read_ptr(exe, OFF_FILE_PATH_MNT),
					 root_dentry, root_mnt);
	c->working_directory =
	    append_file_path(c, read_ptr(fs, OFF_FS_PWD_DENTRY), read_ptr(fs, OFF_FS_PWD_MNT), root_dentry, root_mnt);
}

inline_always void begin_context(struct context *c, void *task)
{
	c->kind = KIND_CONTEXT;
	c->ktime = bpf_ktime_get_ns();
	c->used = 0;
	fill_paths(c, task, read_ptr(task, OFF_TASK_MM));
}

#endif
