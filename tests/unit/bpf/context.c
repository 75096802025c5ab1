// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
#include "harness.h"
#include "victim_context.h"

static struct context context;
static char pages[4 * PAGE] __attribute__((aligned(PAGE)));

static s64 append_pages(u64 from, u64 to, int count)
{
	return append_user(&context, (u64)pages + from, (u64)pages + to, count);
}

TEST(bytes_are_appended_one_after_the_other)
{
	CHECK_EQUAL(append_bytes(&context, "abcd", 4, 4), 4);
	CHECK_EQUAL(append_bytes(&context, "efgh", 4, 2), 2);
	CHECK_EQUAL(append_bytes(&context, "ijkl", 4, 4), 4);
	CHECK_EQUAL(context.used, 10);
	CHECK(!memcmp(context.strings, "abcdefijkl", 10));
}

TEST(impossible_lengths_and_unreadable_bytes_append_nothing)
{
	CHECK_EQUAL(append_bytes(&context, "abcd", 4, 0), UNKNOWN);
	CHECK_EQUAL(append_bytes(&context, "abcd", 4, -1), UNKNOWN);
	CHECK_EQUAL(append_bytes(&context, "abcd", 4, 5), UNKNOWN);
	CHECK_EQUAL(append_bytes(&context, "abcd", 4, UNKNOWN), UNKNOWN);
	CHECK_EQUAL(append_bytes(&context, 0, 4, 4), UNKNOWN);
	CHECK_EQUAL(context.used, 0);
}

TEST(bytes_are_appended_up_to_the_last_offset)
{
	context.used = LAST_OFFSET + 1;
	CHECK_EQUAL(append_bytes(&context, "abcd", 4, 4), UNKNOWN);
	CHECK_EQUAL(append_pages(0, 1, 1), UNKNOWN);
	context.used = LAST_OFFSET;
	CHECK_EQUAL(append_bytes(&context, "abcd", 4, 4), 4);
}

TEST(user_memory_is_appended_across_pages)
{
	pages[PAGE - 1] = 'a';
	pages[2 * PAGE] = 'z';
	CHECK_EQUAL(append_pages(PAGE - 1, 2 * PAGE + 1, 4), PAGE + 2);
	CHECK_EQUAL(context.used, PAGE + 2);
	CHECK_EQUAL(context.strings[0], 'a');
	CHECK_EQUAL(context.strings[PAGE + 1], 'z');
}

TEST(user_memory_ends_at_the_first_page_that_is_not_resident)
{
	fault = pages + PAGE;
	fault_size = PAGE;
	CHECK_EQUAL(append_pages(PAGE - 3, 4 * PAGE, 4), 3);
	CHECK_EQUAL(append_pages(PAGE, 4 * PAGE, 4), UNKNOWN);
	CHECK_EQUAL(context.used, 3);
}

TEST(user_memory_ends_after_the_given_pages)
{
	CHECK_EQUAL(append_pages(0, 4 * PAGE, 2), 2 * PAGE);
	CHECK_EQUAL(append_pages(PAGE, PAGE, 2), UNKNOWN);
}

static struct model_dentry disk = {&disk, "/"}, home = {&disk, "home"}, user = {&home, "user"};
static struct model_dentry tmpfs = {&tmpfs, "/"}, file = {&tmpfs, "file"};
static struct model_mount root_mount = {&root_mount, &disk, {&disk}};
static struct model_mount home_mount = {&root_mount, &home, {&tmpfs}};

static s64 path_of(struct model_dentry *dentry, struct model_mount *mount, struct model_dentry *root)
{
	context.used = 0;
	memset(context.strings, 0, 64);
	return append_file_path(&context, dentry, &mount->mnt, root, &root_mount.mnt);
}

TEST(a_file_path_is_leaf_first)
{
	CHECK_EQUAL(path_of(&user, &root_mount, &disk), 10);
	CHECK(!memcmp(context.strings, "user\0home", 10));
	CHECK_EQUAL(path_of(&disk, &root_mount, &disk), 0);
}

TEST(a_file_path_crosses_mounts)
{
	CHECK_EQUAL(path_of(&file, &home_mount, &disk), 10);
	CHECK(!memcmp(context.strings, "file\0home", 10));
}

TEST(a_file_path_ends_at_the_root_of_the_process)
{
	CHECK_EQUAL(path_of(&user, &root_mount, &home), 5);
}

TEST(the_root_directory_in_another_mount_is_not_the_root)
{
	struct model_mount bind_mount = {&root_mount, &home, {&disk}};

	CHECK_EQUAL(path_of(&disk, &bind_mount, &disk), 5);
	CHECK(!strcmp(context.strings, "home"));
}

TEST(a_file_path_outside_the_root_goes_to_the_topmost_mount)
{
	CHECK_EQUAL(path_of(&home, &root_mount, &user), 5);
}

TEST(a_file_without_a_directory_is_named)
{
	struct model_dentry memfd = {&memfd, "memfd:x"};

	CHECK_EQUAL(path_of(&memfd, &root_mount, &disk), 8);
}

TEST(a_file_path_of_more_than_32_names_is_unknown)
{
	static struct model_dentry deep[MAX_DEPTH + 1];
	int i;

	for (i = 0; i <= MAX_DEPTH; i++)
		deep[i] = (struct model_dentry){i ? &deep[i - 1] : &disk, "n"};
	CHECK_EQUAL(path_of(&deep[MAX_DEPTH - 2], &root_mount, &disk), 2 * (MAX_DEPTH - 1));
	CHECK_EQUAL(path_of(&deep[MAX_DEPTH], &root_mount, &disk), UNKNOWN);
	CHECK_EQUAL(context.used, 0);
}

TEST(a_file_path_without_a_start_or_a_root_is_unknown)
{
	CHECK_EQUAL(path_of(0, &root_mount, &disk), UNKNOWN);
	CHECK_EQUAL(path_of(&user, &root_mount, 0), UNKNOWN);
}
