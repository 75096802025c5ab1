/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * BCC's maps in user space, so that whole programs of bpf/ can be called: include it after harness.h and before the
 * program. Values keep what was written to them, as in the kernel. What a program sends is kept in `sent`.
 */
#ifndef OOMTRACE_MAPS_H
#define OOMTRACE_MAPS_H

#define ENTRIES	  16
#define MAX_SENT  16
#define SENT_SIZE 40960

static struct {
	u32 size;
	char data[SENT_SIZE] __attribute__((aligned(8)));
} sent[MAX_SENT];
static int sent_count;
static int tail_call = -1; /* the last one; it does not run */

static inline int keep_sent(void *ctx, void *data, u32 size)
{
	(void)ctx;
	CHECK(sent_count < MAX_SENT && size <= SENT_SIZE);
	sent[sent_count].size = size;
	memcpy(sent[sent_count++].data, data, size);
	return 0;
}

static inline void keep_tail_call(void *ctx, int index)
{
	(void)ctx;
	tail_call = index;
}

static inline void bpf_get_current_comm(void *to, u32 size)
{
	strncpy(to, "trigger", size);
}

#define BPF_PERF_OUTPUT(name)                            \
	static struct {                                  \
		int (*perf_submit)(void *, void *, u32); \
	} name = {keep_sent}

#define BPF_PROG_ARRAY(name, length)       \
	static struct {                    \
		void (*call)(void *, int); \
	} name = {keep_tail_call}

#define BPF_ARRAY(name, type, length)                                \
	static type name##_values[length];                           \
	static type *name##_lookup(u32 *index)                       \
	{                                                            \
		return *index < length ? &name##_values[*index] : 0; \
	}                                                            \
	static struct {                                              \
		type *(*lookup)(u32 *);                              \
	} name = {name##_lookup}

#define BPF_PERCPU_ARRAY BPF_ARRAY

#define BPF_TABLE(kind, key_type, value_type, name, length)                                               \
	static struct {                                                                                   \
		int used;                                                                                 \
		key_type key;                                                                             \
		value_type value;                                                                         \
	} name##_entries[ENTRIES];                                                                        \
	static int name##_find(key_type *key)                                                             \
	{                                                                                                 \
		int i;                                                                                    \
                                                                                                          \
		for (i = 0; i < ENTRIES; i++)                                                             \
			if (name##_entries[i].used && !memcmp(&name##_entries[i].key, key, sizeof(*key))) \
				return i;                                                                 \
		return -1;                                                                                \
	}                                                                                                 \
	static value_type *name##_lookup(key_type *key)                                                   \
	{                                                                                                 \
		int i = name##_find(key);                                                                 \
                                                                                                          \
		return i < 0 ? 0 : &name##_entries[i].value;                                              \
	}                                                                                                 \
	static int name##_update(key_type *key, value_type *value)                                        \
	{                                                                                                 \
		int i = name##_find(key);                                                                 \
                                                                                                          \
		if (i < 0)                                                                                \
			for (i = 0; i < ENTRIES && name##_entries[i].used; i++)                           \
				;                                                                         \
		CHECK(i < ENTRIES);                                                                       \
		name##_entries[i].used = 1;                                                               \
		name##_entries[i].key = *key;                                                             \
		name##_entries[i].value = *value;                                                         \
		return 0;                                                                                 \
	}                                                                                                 \
	static int name##_delete(key_type *key)                                                           \
	{                                                                                                 \
		int i = name##_find(key);                                                                 \
                                                                                                          \
		if (i < 0)                                                                                \
			return -2;                                                                        \
		name##_entries[i].used = 0;                                                               \
		return 0;                                                                                 \
	}                                                                                                 \
	static struct {                                                                                   \
		value_type *(*lookup)(key_type *);                                                        \
		int (*update)(key_type *, value_type *);                                                  \
		int (*delete)(key_type *);                                                                \
	} name = {name##_lookup, name##_update, name##_delete}

#endif
