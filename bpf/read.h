/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Reading kernel memory: a failed read yields UNKNOWN or NULL.
 */
#ifndef OOMTRACE_READ_H
#define OOMTRACE_READ_H

#include "events.h"

#define inline_always static __attribute__((always_inline)) inline

#define DEFINE_READ(name, type)                                                             \
	inline_always s64 name(const void *base, int off)                                   \
	{                                                                                   \
		type value;                                                                 \
		if (off < 0)                                                                \
			return UNKNOWN;                                                     \
		if (bpf_probe_read_kernel(&value, sizeof(value), (const char *)base + off)) \
			return UNKNOWN;                                                     \
		return value;                                                               \
	}

DEFINE_READ(read_s64, s64)
DEFINE_READ(read_s32, s32)
DEFINE_READ(read_u32, u32)
DEFINE_READ(read_s16, s16)
DEFINE_READ(read_u16, u16)
DEFINE_READ(read_u8, u8)

/* NULL if the read fails, for example from a NULL base: the helper zeroes the destination on failure. */
inline_always void *read_ptr(const void *base, int off)
{
	void *value = 0;

	if (off >= 0)
		bpf_probe_read_kernel(&value, sizeof(value), (const char *)base + off);
	return value;
}

#define read_str(dst, base, off)                                                                   \
	do {                                                                                       \
		if ((off) >= 0 && (base))                                                          \
			bpf_probe_read_kernel_str(dst, sizeof(dst), (const char *)(base) + (off)); \
	} while (0)

#endif
