/* Images for tests, made and checked by the host's own tools. */
#ifndef TESTS_OM_IMAGE_H
#define TESTS_OM_IMAGE_H

#include <stddef.h>

#include "fake_disk.h"
#include "fs.h"

/* Run mke2fs with these options (a printf format); the disk is `size` ("16M"). */
__attribute__((format(printf, 2, 3)))
struct fake_disk *image_make(const char *size, const char *format, ...);
/* A shell command in which %s is the image's path; its output, at most `room` bytes. The exit
 * status. */
int image_run(struct fake_disk *disk, const char *format, char *output, size_t room);
/* e2fsck -fn finds nothing; otherwise the test fails with what it says. */
void image_expect_clean(const struct fake_disk *disk);
/* e2fsck -fy repairs the journal and nothing else, and then the image is clean. */
void image_expect_recoverable(struct fake_disk *disk);

/* Mount, or fail the test. */
struct fs *image_mount(struct fake_disk *disk);
void image_unmount(struct fs *fs);

/* Short forms for tests; each begins and takes the lock. Paths have one or more components. */
int file_make(struct fs *fs, const char *path, uint32_t mode, fs_id *ret);
int file_find(struct fs *fs, const char *path, fs_id *ret);
int file_write(struct fs *fs, fs_id id, uint64_t offset, const void *data, size_t length);
int file_read(struct fs *fs, fs_id id, uint64_t offset, void *data, size_t length);
int file_remove(struct fs *fs, const char *path);
int file_rename(struct fs *fs, const char *from, const char *to, uint32_t flags);
int file_link(struct fs *fs, const char *from, const char *to);
int file_truncate(struct fs *fs, fs_id id, uint64_t size);
int file_symlink(struct fs *fs, const char *text, const char *path);
int file_sync(struct fs *fs);
struct file_attributes file_stat(struct fs *fs, fs_id id);

#endif
