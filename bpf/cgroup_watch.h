/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Cgroups that are made and removed, so that user space can read the names of a container while its files exist.
 *
 * Only what may be a container of the host's own runtime is sent:
 * - A cgroup of the hierarchy that the memory controller is on; MEMORY_HIERARCHY is its id.
 * - With a name that has room for an id of 64 hexadecimal digits. Containers of LXC, systemd-nspawn, `ctr` and BuildKit
 *   have shorter names, but no files in which their names could be read.
 * - Not below /user.slice: there a user chooses the names, and may make cgroups as fast as he can.
 * - With a path of less than CGROUP_PATH_LEN bytes: a container in a pod of a node has about 200.
 */
#ifndef OOMTRACE_CGROUP_WATCH_H
#define OOMTRACE_CGROUP_WATCH_H

#include "read.h"

#define ID_LEN 64

#ifdef __clang__
#define UNROLL _Pragma("unroll") /* kernels before 5.3 (2589726d12a1) accept no loops */
#else
#define UNROLL
#endif

inline_always int is_below_user_slice(const char *path)
{
	const char name[] = "/user.slice/";
	int i;

	UNROLL
	for (i = 0; i < (int)sizeof(name) - 1; i++)
		if (path[i] != name[i])
			return 0;
	return 1;
}

/*
 * Returns how many bytes of the path to send, with NUL; 0: the event is not to be sent. The tracepoints disable
 * preemption, so nothing else uses this CPU's event meanwhile.
 */
inline_always u64 fill_cgroup_change(struct cgroup_change *e, enum change change, s64 hierarchy, const void *path)
{
	u32 start, i;
	long n;

	if (!e || hierarchy != MEMORY_HIERARCHY)
		return 0;
	n = bpf_probe_read_kernel_str(e->path, CGROUP_PATH_LEN, path);
	if (n <= ID_LEN + 1 || n >= CGROUP_PATH_LEN) /* with NUL; a longer path was cut */
		return 0;
	start = n - 1 - ID_LEN;
	/* Else the compiler drops the mask, since it knows the range of `n`, but the verifier does not. */
	asm volatile("" : "+r"(start));
	UNROLL
	for (i = 0; i < ID_LEN; i++)
		if (e->path[(start + i) & (CGROUP_PATH_LEN - 1)] == '/')
			return 0;
	if (is_below_user_slice(e->path))
		return 0;
	e->change = change;
	e->ktime = bpf_ktime_get_ns();
	e->size = n - 1;
	return n;
}

#endif
