/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The walk over a process's file descriptors.
 *
 * The verifier follows every iteration of a loop, so state that differs between iterations is kept in a map, whose
 * values it does not track. The walk is one program that tail-calls itself for each chunk of descriptors.
 */
#ifndef OOMTRACE_FD_WALK_H
#define OOMTRACE_FD_WALK_H

#include "kernel.h"

#define FDS_PER_CHUNK 64      /* size of the smallest table (NR_OPEN_DEFAULT); all others are multiples of it */
#define TYPE_REGULAR  8	      /* S_IFREG >> 12 */
#define TYPE_SOCKET   12      /* S_IFSOCK >> 12 */
#define ANON_INODE    0x80000 /* S_ANON_INODE: since 6.16 anonymous inodes are regular files by their mode */
#define AF_UNIX	      1
#define AF_INET	      2
#define AF_INET6      10
#define SOCK_STREAM   1
#define SOCK_DGRAM    2

/* A socket found by the walk, described afterwards (sockets.h). */
struct found_socket {
	void *sk;
	s64 fd;
};

struct fd_walk {
	s64 base;  /* descriptors walked */
	void *fds; /* fdtable.fd */
	u64 inet;  /* lengths of the two lists */
	u64 unix_domain;
	u64 described; /* of the first list */
	u64 searched;  /* of the second */
	void *files[FDS_PER_CHUNK];
	struct found_socket inet_sockets[MAX_INET_SOCKETS];
	struct found_socket unix_sockets[MAX_UNIX_WALKED];
};

inline_always void begin_walk(struct context *c, struct fd_walk *w, void *task)
{
	void *fdt = read_ptr(read_ptr(task, OFF_TASK_FILES), OFF_FILES_FDT);

	__builtin_memset(c->file_types, 0, sizeof(c->file_types));
	c->tcp = c->udp = c->unix_domain = 0;
	c->slots = read_u32(fdt, OFF_FDT_MAX_FDS);
	w->base = 0;
	w->inet = w->unix_domain = 0;
	w->described = w->searched = 0;
	c->sockets = 0;
	w->fds = read_ptr(fdt, OFF_FDT_FD);
	c->walked = w->fds ? 0 : UNKNOWN;
}

inline_always void add_socket(struct found_socket *list, u64 *length, u64 most, void *file, s64 fd)
{
	u64 index = *length;

	asm volatile("" : "+r"(index));
	if (index >= most)
		return;
	list[index].sk = read_ptr(read_ptr(file, OFF_FILE_PRIVATE), OFF_SOCKET_SK);
	list[index].fd = fd;
	*length = index + 1;
}

/*
 * The kind of a socket follows from its operations and type, which are next to the inode (SOCKET_I(),
 * include/net/sock.h). Reading each struct sock, elsewhere in memory, would double the cost.
 */
inline_always void count_socket(struct context *c, struct fd_walk *w, void *file, void *inode, s64 fd)
{
	void *socket = inode - OFF_SOCKET_ALLOC_INODE;
	s64 family = read_s32(read_ptr(socket, OFF_SOCKET_OPS), OFF_PROTO_OPS_FAMILY);

	if (family == AF_UNIX) {
		c->unix_domain++;
		add_socket(w->unix_sockets, &w->unix_domain, MAX_UNIX_WALKED, file, fd);
	} else if (family == AF_INET || family == AF_INET6) {
		s64 type = read_u16(socket, OFF_SOCKET_TYPE);

		if (type == SOCK_STREAM)
			c->tcp++;
		else if (type == SOCK_DGRAM)
			c->udp++;
		else
			return;
		add_socket(w->inet_sockets, &w->inet, MAX_INET_SOCKETS, file, fd);
	}
}

/* Walks one chunk of the table; returns whether there are more. */
inline_always int walk_chunk(struct context *c, struct fd_walk *w)
{
	s64 base = w->base;
	int i;

	if (base >= c->slots || bpf_probe_read_kernel(w->files, sizeof(w->files), w->fds + base * sizeof(void *)))
		return 0;
	for (i = 0; i < FDS_PER_CHUNK; i++) {
		void *file = w->files[i], *inode;
		u64 kind;

		if (!file)
			continue;
		inode = read_ptr(file, OFF_FILE_INODE);
		kind = (u64)read_u16(inode, OFF_INODE_MODE) >> 12;
		if (kind == TYPE_REGULAR && read_u32(inode, OFF_INODE_FLAGS) & ANON_INODE)
			kind = 0;
		asm volatile("" : "+r"(kind));
		c->file_types[kind & (MAX_FILE_TYPES - 1)]++;
		if (kind == TYPE_SOCKET)
			count_socket(c, w, file, inode, base + i);
	}
	c->walked = w->base = base + FDS_PER_CHUNK;
	return w->base < MAX_DESCRIPTORS && w->base < c->slots;
}

#endif
