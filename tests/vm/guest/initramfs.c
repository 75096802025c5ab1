// SPDX-License-Identifier: Apache-2.0
/*
 * PID 1 of an initramfs, for kernels that have the root disk's drivers as modules: load /modules/*.ko in the order of
 * their names, mount the root and go on with /sbin/vm-init there. What fails is on the console.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int check(const char *what, int status)
{
	if (status)
		perror(what);
	return status;
}

static void load_modules(void)
{
	glob_t files = {};

	glob("/modules/*.ko", 0, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		int fd = open(files.gl_pathv[i], O_RDONLY | O_CLOEXEC);

		check(files.gl_pathv[i], syscall(SYS_finit_module, fd, "", 0));
		close(fd);
	}
}

/* The root disk is the only one that has a partition. Probing is asynchronous, so wait for it for up to a minute. */
static int mount_root(void)
{
	glob_t found = {};

	for (int i = 0; i < 600 && glob("/dev/nvme*n1p1", 0, NULL, &found); i++)
		usleep(100000);
	return check("root", found.gl_pathc ? mount(found.gl_pathv[0], "/root", "ext4", 0, "") : -1);
}

int main(void)
{
	mkdir("/dev", 0755);
	mkdir("/root", 0755);
	check("/dev", mount("dev", "/dev", "devtmpfs", 0, ""));
	load_modules();
	if (mount_root() || check("move /dev", mount("/dev", "/root/dev", NULL, MS_MOVE, NULL)) ||
	    check("/root", chdir("/root")) || check("move /", mount(".", "/", NULL, MS_MOVE, NULL)) ||
	    check("chroot", chroot(".")))
		return 1;
	return check("/sbin/vm-init", execl("/sbin/vm-init", "/sbin/vm-init", NULL));
}
