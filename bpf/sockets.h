/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Describing the sockets that the walk over the file descriptors has found.
 */
#ifndef OOMTRACE_SOCKETS_H
#define OOMTRACE_SOCKETS_H

#include "fd_walk.h"
#include "victim_context.h"

#define SOCKETS_PER_CHUNK 8
#define SUN_PATH	  109 /* sizeof(sockaddr_un.sun_path), plus the NUL that the kernel appends */

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

/* The name that a Unix domain socket is bound to; it follows sun_family in its struct unix_address. */
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

/* Describes one chunk of each kind, first all of the first; returns whether there is more (as in fd_walk.h). */
inline_always int fill_sockets(struct context *c, struct fd_walk *w)
{
	u32 i;

	for (i = 0; i < SOCKETS_PER_CHUNK && w->described < w->inet; i++) {
		u64 index = w->described;

		asm volatile("" : "+r"(index));
		if (index >= MAX_INET_SOCKETS)
			break;
		c->socket[index].fd = w->inet_sockets[index].fd;
		fill_inet(c, &c->socket[index], w->inet_sockets[index].sk);
		w->described = c->sockets = index + 1;
	}
	if (w->described < w->inet)
		return 1;
	for (i = 0; i < SOCKETS_PER_CHUNK && w->searched < w->unix_domain; i++) {
		u64 index = c->sockets, from = w->searched;
		struct socket *s;

		asm volatile("" : "+r"(index), "+r"(from));
		if (index >= MAX_INET_SOCKETS + MAX_UNIX_SOCKETS || index >= w->inet + MAX_UNIX_SOCKETS ||
		    from >= MAX_UNIX_WALKED)
			return 0;
		s = &c->socket[index];
		s->fd = w->unix_sockets[from].fd;
		fill_unix(c, s, w->unix_sockets[from].sk);
		if (s->local != UNKNOWN || s->remote != UNKNOWN)
			c->sockets = index + 1;
		w->searched = from + 1;
	}
	return w->searched < w->unix_domain;
}

#endif
