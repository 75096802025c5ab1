// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#include "sockets.h"

#define S_IFREG	 0100000
#define S_IFSOCK 0140000
#define TABLE	 2048

static struct context context;
static struct fd_walk walk;
static void *table[TABLE];
static struct model_fdtable fdt = {TABLE, table};
static struct model_files files = {&fdt};
static struct model_task task = {.files = &files};
static struct model_inode regular = {S_IFREG | 0644, 0}, anonymous = {S_IFREG, ANON_INODE};
static struct model_file regular_file = {&regular, 0}, anonymous_file = {&anonymous, 0};
static struct model_proto_ops inet = {AF_INET}, inet6 = {AF_INET6}, unix_ops = {AF_UNIX}, netlink = {16};
static struct model_socket sockets[TABLE];
static struct model_file socket_files[TABLE];
static struct model_sock socks[TABLE];

static void open_socket(int fd, struct model_proto_ops *ops, u16 type)
{
	socks[fd].family = ops->family;
	sockets[fd] = (struct model_socket){ops, type, &socks[fd], {S_IFSOCK, 0}};
	socket_files[fd] = (struct model_file){&sockets[fd].inode, &sockets[fd]};
	table[fd] = &socket_files[fd];
}

/* Walks the whole table; returns the number of chunks. */
static int walk_all(void)
{
	int chunks = 1;

	begin_walk(&context, &walk, &task);
	while (walk_chunk(&context, &walk))
		chunks++;
	return chunks;
}

static void describe(void)
{
	context.sockets = walk.described = walk.searched = 0;
	while (fill_sockets(&context, &walk))
		;
}

TEST(descriptors_are_counted_by_type)
{
	table[0] = table[70] = &regular_file;
	table[3] = &anonymous_file;
	open_socket(64, &inet, SOCK_STREAM);
	fdt.max_fds = 128;
	CHECK_EQUAL(walk_all(), 2);
	CHECK_EQUAL(context.walked, 128);
	CHECK_EQUAL(context.slots, 128);
	CHECK_EQUAL(context.file_types[TYPE_REGULAR], 2);
	CHECK_EQUAL(context.file_types[TYPE_SOCKET], 1);
	CHECK_EQUAL(context.file_types[0], 1);
	CHECK_EQUAL(walk.inet_sockets[0].fd, 64);
}

TEST(the_walk_ends_after_1024_descriptors)
{
	table[MAX_DESCRIPTORS - 1] = table[MAX_DESCRIPTORS] = &regular_file;
	CHECK_EQUAL(walk_all(), MAX_DESCRIPTORS / FDS_PER_CHUNK);
	CHECK_EQUAL(context.walked, MAX_DESCRIPTORS);
	CHECK_EQUAL(context.file_types[TYPE_REGULAR], 1);
}

TEST(a_table_that_cannot_be_read_is_unknown)
{
	fdt.fd = 0;
	walk_all();
	CHECK_EQUAL(context.walked, UNKNOWN);
}

TEST(sockets_are_counted_by_protocol)
{
	open_socket(1, &inet, SOCK_STREAM);
	open_socket(2, &inet6, SOCK_DGRAM);
	open_socket(3, &inet, 3); /* SOCK_RAW */
	open_socket(4, &unix_ops, SOCK_DGRAM);
	open_socket(5, &netlink, SOCK_DGRAM);
	walk_all();
	CHECK_EQUAL(context.tcp, 1);
	CHECK_EQUAL(context.udp, 1);
	CHECK_EQUAL(context.unix_domain, 1);
	CHECK_EQUAL(walk.inet, 2);
	CHECK_EQUAL(walk.inet_sockets[1].fd, 2);
	CHECK(walk.inet_sockets[1].sk == &socks[2]);
	CHECK_EQUAL(walk.unix_sockets[0].fd, 4);
}

TEST(all_sockets_are_counted_and_the_first_described)
{
	int fd;

	for (fd = 0; fd < 100; fd++)
		open_socket(fd, &inet, SOCK_STREAM);
	for (; fd < 200; fd++)
		open_socket(fd, &unix_ops, SOCK_STREAM);
	walk_all();
	CHECK_EQUAL(context.tcp, 100);
	CHECK_EQUAL(context.unix_domain, 100);
	CHECK_EQUAL(walk.inet, MAX_INET_SOCKETS);
	CHECK_EQUAL(walk.unix_domain, MAX_UNIX_WALKED);
	CHECK_EQUAL(walk.inet_sockets[MAX_INET_SOCKETS - 1].fd, MAX_INET_SOCKETS - 1);
	describe();
	CHECK_EQUAL(context.sockets, MAX_INET_SOCKETS);
}

TEST(inet_sockets_are_described)
{
	open_socket(6, &inet, SOCK_STREAM);
	socks[6] = (struct model_sock){AF_INET, 6, 1, 80, 0x3412, {1, 2, 3, 4}, {5, 6, 7, 8}, {}, {}, 0, 0};
	open_socket(7, &inet6, SOCK_DGRAM);
	walk_all();
	describe();
	CHECK_EQUAL(context.sockets, 2);
	CHECK_EQUAL(context.socket[0].fd, 6);
	CHECK_EQUAL(context.socket[0].protocol, 6);
	CHECK_EQUAL(context.socket[0].state, 1);
	CHECK_EQUAL(context.socket[0].local_port, 80);
	CHECK_EQUAL(context.socket[0].remote_port, 0x1234);
	CHECK_EQUAL(context.socket[0].remote, 4);
	CHECK_EQUAL(context.socket[1].local, 16);
	CHECK_EQUAL(context.used, 4 + 4 + 16 + 16);
	CHECK(!memcmp(context.strings, "\1\2\3\4\5\6\7\10", 8));
}

static struct model_unix_address bound = {2 + 4, "\1\0/run"};

TEST(unix_sockets_are_described_if_they_or_their_peer_have_a_name)
{
	open_socket(1, &unix_ops, SOCK_STREAM);
	open_socket(2, &unix_ops, SOCK_STREAM);
	open_socket(3, &unix_ops, SOCK_STREAM);
	socks[2].addr = &bound;
	socks[3].peer = &socks[2];
	walk_all();
	describe();
	CHECK_EQUAL(context.sockets, 2);
	CHECK_EQUAL(context.socket[0].fd, 2);
	CHECK_EQUAL(context.socket[0].local, 4);
	CHECK_EQUAL(context.socket[0].remote, UNKNOWN);
	CHECK_EQUAL(context.socket[0].local_port, UNKNOWN);
	CHECK_EQUAL(context.socket[1].local, UNKNOWN);
	CHECK_EQUAL(context.socket[1].remote, 4);
	CHECK(!memcmp(context.strings, "/run/run", 8));
}

TEST(at_most_16_unix_sockets_are_described_after_the_inet_sockets)
{
	int fd;

	open_socket(0, &inet, SOCK_STREAM);
	for (fd = 1; fd < 40; fd++) {
		open_socket(fd, &unix_ops, SOCK_STREAM);
		socks[fd].addr = &bound;
	}
	walk_all();
	describe();
	CHECK_EQUAL(context.sockets, 1 + MAX_UNIX_SOCKETS);
	CHECK_EQUAL(context.socket[MAX_UNIX_SOCKETS].fd, MAX_UNIX_SOCKETS);
}

TEST(a_named_unix_socket_beyond_the_64th_is_not_found)
{
	int fd;

	for (fd = 0; fd <= MAX_UNIX_WALKED; fd++)
		open_socket(fd, &unix_ops, SOCK_STREAM);
	socks[MAX_UNIX_WALKED].addr = &bound;
	walk_all();
	describe();
	CHECK_EQUAL(context.sockets, 0);
	socks[MAX_UNIX_WALKED - 1].addr = &bound;
	describe();
	CHECK_EQUAL(context.sockets, 1);
}
