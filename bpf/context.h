/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Reading a process in its own context: its memory, its files. Part of oomtrace.bpf.c.
 *
 * The verifier follows every round of a loop, so whatever differs from round to round is kept in a map, where it does
 * not look, and the walk over the descriptors is one program that calls itself for each chunk of them.
 */
#ifndef OOMTRACE_CONTEXT_H
#define OOMTRACE_CONTEXT_H

#include "kernel.h"

#define CHUNK	     64 /* the size of the smallest table of descriptors (NR_OPEN_DEFAULT), all others are multiples */
#define PAGE	     4096    /* or a part of a page, where those are larger */
#define UNIX_WALKED  64	     /* Unix domain sockets looked at for one with a name */
#define SUN_PATH     109     /* sizeof(sockaddr_un.sun_path), and the zero that the kernel puts behind it */
#define KIND_REGULAR 8	     /* S_IFREG >> 12 */
#define KIND_SOCKET  12	     /* S_IFSOCK >> 12 */
#define ANON_INODE   0x80000 /* S_ANON_INODE: since 6.16 anonymous inodes are regular files by their mode */
#define AF_UNIX	     1
#define AF_INET	     2
#define AF_INET6     10
#define SOCK_STREAM  1
#define SOCK_DGRAM   2
#define ROOM	     (CONTEXT_STRINGS - PAGE) /* one more piece of a page fits from here */

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

/* Appends `size` bytes of kernel memory, of which `length` count; returns `length`, or UNKNOWN. */
inline_always s64 append_bytes(struct context *c, void *from, u32 size, s64 length)
{
	u64 at = c->used;

	asm volatile("" : "+r"(at));
	if (length <= 0 || length > size || at > ROOM || bpf_probe_read_kernel(&c->strings[at], size, from))
		return UNKNOWN;
	c->used += length;
	return length;
}

/* Appends memory of the process itself, page by page, for one that is not resident ends it; returns the bytes. */
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
		if (at > ROOM || n > PAGE || bpf_probe_read_user(&c->strings[at], n, (void *)from))
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
	u64 stop;
	u8 last;

	c->arguments_size = UNKNOWN;
	c->arguments_end = UNKNOWN;
	c->arguments = UNKNOWN;
	c->environment_size = UNKNOWN;
	c->environment = UNKNOWN;
	if (!mm || OFF_MM_ARG_START < 0 || OFF_MM_ARG_END < 0)
		return;
	c->arguments_size = end - start;
	if (!bpf_probe_read_user(&last, sizeof(last), (void *)end - 1))
		c->arguments_end = last;
	/* A title may run on into the environment (get_mm_cmdline(), fs/proc/base.c). */
	stop = env_start == end && env_end > end ? env_end : end;
	if (stop > start + ARGUMENTS)
		stop = start + ARGUMENTS;
	c->arguments = append_user(c, start, stop, ARGUMENTS / PAGE + 1);
#ifdef ENVIRONMENT
	c->environment_size = env_end - env_start;
	c->environment = append_user(c, env_start, env_end, 6);
#endif
}

/* As d_path() does: up to the root of the process, across mounts; names leaf first. */
inline_always s64 append_file_path(struct context *c, void *dentry, void *mnt, void *root_dentry, void *root_mnt)
{
	s64 start = c->used;
	int i;

	if (!dentry || !mnt || !root_dentry)
		return UNKNOWN;
	for (i = 0; i < DEPTH; i++) {
		void *parent;
		u64 at;
		s64 n;

		if (dentry == root_dentry && mnt == root_mnt)
			return c->used - start;
		if (dentry == read_ptr(mnt, OFF_VFSMOUNT_ROOT)) {
			char *mount = (char *)mnt - OFF_MOUNT_MNT;

			parent = read_ptr(mount, OFF_MOUNT_PARENT);
			if (parent == mount || !parent) /* outside the root: a path from the top of all mounts */
				return c->used - start;
			dentry = read_ptr(mount, OFF_MOUNT_MOUNTPOINT);
			mnt = (char *)parent + OFF_MOUNT_MNT;
			continue;
		}
		at = c->used;
		asm volatile("" : "+r"(at));
		if (at > ROOM)
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

inline_always void fill_inet(struct context *c, struct socket *s, void *sk)
{
	s64 port = read_u16(sk, OFF_SK_DPORT);

	s->family = read_u16(sk, OFF_SK_FAMILY);
	s->protocol = read_u16(sk, OFF_SK_PROTOCOL);
	s->state = read_u8(sk, OFF_SK_STATE);
	s->local_port = read_u16(sk, OFF_SK_NUM);
	s->remote_port = port == UNKNOWN ? UNKNOWN : bpf_ntohs(port);
	s->local = s->remote = UNKNOWN;
	if (s->family == AF_INET && OFF_SK_DADDR >= 0) {
		s->local = append_bytes(c, sk + OFF_SK_RCV_SADDR, 4, 4);
		s->remote = append_bytes(c, sk + OFF_SK_DADDR, 4, 4);
	} else if (OFF_SK_V6_DADDR >= 0) {
		s->local = append_bytes(c, sk + OFF_SK_V6_RCV_SADDR, 16, 16);
		s->remote = append_bytes(c, sk + OFF_SK_V6_DADDR, 16, 16);
	}
}

/* The name that a Unix domain socket is bound to; behind the sun_family of its struct unix_address. */
inline_always s64 append_unix_name(struct context *c, void *sk)
{
	char *address = read_ptr(sk, OFF_UNIX_ADDR);

	if (!address)
		return UNKNOWN;
	return append_bytes(c, address + OFF_UNIX_ADDRESS_NAME + 2, SUN_PATH,
			    read_s32(address, OFF_UNIX_ADDRESS_LEN) - 2);
}

inline_always void fill_unix(struct context *c, struct socket *s, void *sk)
{
	s->family = AF_UNIX;
	s->protocol = UNKNOWN;
	s->state = read_u8(sk, OFF_SK_STATE);
	s->local_port = s->remote_port = UNKNOWN;
	s->local = append_unix_name(c, sk);
	s->remote = append_unix_name(c, read_ptr(sk, OFF_UNIX_PEER));
}

inline_always void fill_sockets(struct context *c, struct walk *w)
{
	u32 i;

	c->sockets = 0;
	for (i = 0; i < SOCKETS && i < w->inet; i++) {
		c->socket[i].fd = w->inet_sockets[i].fd;
		fill_inet(c, &c->socket[i], w->inet_sockets[i].sk);
		c->sockets = i + 1;
	}
	for (i = 0; i < UNIX_WALKED && i < w->unix_domain; i++) {
		u64 place = c->sockets;
		struct socket *s;

		asm volatile("" : "+r"(place));
		if (place >= SOCKETS + UNIX_SOCKETS || place >= w->inet + UNIX_SOCKETS)
			break;
		s = &c->socket[place];
		s->fd = w->unix_sockets[i].fd;
		fill_unix(c, s, w->unix_sockets[i].sk);
		if (s->local != UNKNOWN || s->remote != UNKNOWN)
			c->sockets = place + 1;
	}
}

inline_always void begin_context(struct context *c, struct walk *w, void *task)
{
	c->kind = KIND_CONTEXT;
	c->ktime = bpf_ktime_get_ns();
	c->used = 0;
	fill_paths(c, task, read_ptr(task, OFF_TASK_MM));
	begin_walk(c, w, task);
}

#endif
