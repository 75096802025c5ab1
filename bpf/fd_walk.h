/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The walk over a process's descriptors.
 *
 * The verifier follows every round of a loop, so whatever differs from round to round is kept in a map, where it does
 * not look, and the walk over the descriptors is one program that calls itself for each chunk of them.
 */
#ifndef OOMTRACE_FD_WALK_H
#define OOMTRACE_FD_WALK_H

#include "kernel.h"

#define CHUNK	     64 /* the size of the smallest table of descriptors (NR_OPEN_DEFAULT), all others are multiples */
#define UNIX_WALKED  64 /* Unix domain sockets looked at for one with a name */
#define KIND_REGULAR 8	/* S_IFREG >> 12 */
#define KIND_SOCKET  12 /* S_IFSOCK >> 12 */
#define ANON_INODE   0x80000 /* S_ANON_INODE: since 6.16 anonymous inodes are regular files by their mode */
#define AF_UNIX	     1
#define AF_INET	     2
#define AF_INET6     10
#define SOCK_STREAM  1
#define SOCK_DGRAM   2

/* What the walk over the descriptors has found, to be described afterwards. */
struct found {
	void *sk;
	s64 fd;
};

struct walk {
	s64 base;  /* descriptors done */
	void *fds; /* the table */
	u64 inet;  /* lengths of the lists */
	u64 unix_domain;
	void *files[CHUNK];
	struct found inet_sockets[SOCKETS];
	struct found unix_sockets[UNIX_WALKED];
};

inline_always void begin_walk(struct context *c, struct walk *w, void *task)
{
	void *fdt = read_ptr(read_ptr(task, OFF_TASK_FILES), OFF_FILES_FDT);

	__builtin_memset(c->kinds, 0, sizeof(c->kinds));
	c->tcp = c->udp = c->unix_domain = 0;
	c->slots = read_u32(fdt, OFF_FDT_MAX_FDS);
	w->base = 0;
	w->inet = w->unix_domain = 0;
	w->fds = read_ptr(fdt, OFF_FDT_FD);
	c->walked = w->fds ? 0 : UNKNOWN;
}

inline_always void note(struct found *list, u64 *length, u64 most, void *file, s64 fd)
{
	u64 place = *length;

	asm volatile("" : "+r"(place));
	if (place >= most)
		return;
	list[place].sk = read_ptr(read_ptr(file, OFF_FILE_PRIVATE), OFF_SOCKET_SK);
	list[place].fd = fd;
	*length = place + 1;
}

/*
 * The kind of socket is told by its operations and type, which lie beside the inode (SOCKET_I(), include/net/sock.h):
 * a look into each struct sock, somewhere else in memory, would double the cost.
 */
inline_always void note_socket(struct context *c, struct walk *w, void *file, void *inode, s64 fd)
{
	void *socket = inode - OFF_SOCKET_ALLOC_INODE;
	s64 family = read_s32(read_ptr(socket, OFF_SOCKET_OPS), OFF_PROTO_OPS_FAMILY);

	if (family == AF_UNIX) {
		c->unix_domain++;
		note(w->unix_sockets, &w->unix_domain, UNIX_WALKED, file, fd);
	} else if (family == AF_INET || family == AF_INET6) {
		s64 type = read_u16(socket, OFF_SOCKET_TYPE);

		if (type == SOCK_STREAM)
			c->tcp++;
		else if (type == SOCK_DGRAM)
			c->udp++;
		else
			return;
		note(w->inet_sockets, &w->inet, SOCKETS, file, fd);
	}
}

/* One chunk of the table; returns whether there is more. */
inline_always int walk_chunk(struct context *c, struct walk *w)
{
	s64 base = w->base;
	int i;

	if (base >= c->slots || bpf_probe_read_kernel(w->files, sizeof(w->files), w->fds + base * sizeof(void *)))
		return 0;
	for (i = 0; i < CHUNK; i++) {
		void *file = w->files[i], *inode;
		u64 kind;

		if (!file)
			continue;
		inode = read_ptr(file, OFF_FILE_INODE);
		kind = (u64)read_u16(inode, OFF_INODE_MODE) >> 12;
		if (kind == KIND_REGULAR && read_u32(inode, OFF_INODE_FLAGS) & ANON_INODE)
			kind = 0;
		asm volatile("" : "+r"(kind));
		c->kinds[kind & (KINDS - 1)]++;
		if (kind == KIND_SOCKET)
			note_socket(c, w, file, inode, base + i);
	}
	c->walked = w->base = base + CHUNK;
	return w->base < DESCRIPTORS && w->base < c->slots;
}

#endif
