/* Images for tests, and short forms of what tests do with them. */
#include "image.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void temporary_name(char *path, size_t room)
{
    int fd;

    snprintf(path, room, "%s/om-test-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    fd = mkstemp(path);
    cr_assert(fd >= 0, "no temporary file");
    close(fd);
}

struct fake_disk *image_make(const char *size, const char *format, ...)
{
    char path[64], options[512], command[1024];
    struct fake_disk *disk;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(options, sizeof options, format, arguments);
    va_end(arguments);
    temporary_name(path, sizeof path);
    snprintf(command, sizeof command, "PATH=$PATH:/sbin:/usr/sbin; mke2fs -q -F %s %s %s", options,
             path, size);
    cr_assert_eq(system(command), 0, "%s", command);
    disk = fake_disk_load(path);
    unlink(path);
    return disk;
}

int image_run(struct fake_disk *disk, const char *format, char *output, size_t room)
{
    char path[64], command[1024], line[1024] = "PATH=$PATH:/sbin:/usr/sbin; exec 2>&1; ";
    struct fake_disk *changed;
    FILE *pipe;
    size_t length;
    int status;

    temporary_name(path, sizeof path);
    fake_disk_store(disk, path);
    snprintf(command, sizeof command, format, path);
    strncat(line, command, sizeof line - strlen(line) - 1);
    pipe = popen(line, "r");
    cr_assert_not_null(pipe);
    length = fread(output, 1, room - 1, pipe);
    output[length] = '\0';
    while (fgetc(pipe) != EOF)
        ;
    status = pclose(pipe);
    changed = fake_disk_load(path);
    memcpy(disk->bytes, changed->bytes, disk->device.size);
    fake_disk_free(changed);
    unlink(path);
    return status;
}

void image_expect_clean(const struct fake_disk *disk)
{
    static char output[8192];
    struct fake_disk *copy = fake_disk_copy(disk);
    int status = image_run(copy, "e2fsck -fn %s", output, sizeof output);

    fake_disk_free(copy);
    cr_assert_eq(status, 0, "e2fsck -fn says:\n%s", output);
}

void image_expect_recoverable(struct fake_disk *disk)
{
    static char output[8192];
    int status = image_run(disk, "e2fsck -fy %s", output, sizeof output);

    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) <= 1, "e2fsck -fy says:\n%s", output);
    cr_assert(strstr(output, "FIXED") == NULL && strstr(output, "Fix? yes") == NULL,
              "e2fsck had to repair more than the journal:\n%s", output);
    image_expect_clean(disk);
}

struct fs *image_mount(struct fake_disk *disk)
{
    char why[256] = "";
    struct fs *fs = NULL;
    int error = ext4_mount(&disk->device, false, 1 << 20, &fs, why, sizeof why);

    cr_assert_eq(error, 0, "cannot mount: %s", why);
    fs->number = 1;
    return fs;
}

void image_unmount(struct fs *fs)
{
    cr_assert_eq(fs->operations->unmount(fs), 0);
}

/* The directory of the last component, which begins at *ret_name. Lock held. */
static int parent_find(struct fs *fs, const char *path, fs_id *ret, const char **ret_name)
{
    *ret = fs->root;
    for (;;) {
        const char *slash = strchr(path, '/');
        int error;

        *ret_name = path;
        if (slash == NULL)
            return 0;
        error = fs->operations->lookup(fs, *ret, path, (size_t)(slash - path), ret);
        if (error != 0)
            return error;
        path = slash + 1;
    }
}

static int node_create(struct fs *fs, const char *path, const struct fs_new *new_node, fs_id *ret)
{
    const char *name;
    fs_id directory, id;
    int error;

    pthread_mutex_lock(&fs->lock);
    error = fs->operations->begin(fs);
    if (error == 0)
        error = parent_find(fs, path, &directory, &name);
    if (error == 0)
        error = fs->operations->create(fs, directory, name, strlen(name), new_node,
                                       ret != NULL ? ret : &id);
    pthread_mutex_unlock(&fs->lock);
    return error;
}

int file_make(struct fs *fs, const char *path, uint32_t mode, fs_id *ret)
{
    return node_create(fs, path, &(struct fs_new){ .mode = mode, .uid = 1000, .gid = 100,
                                                   .rdev = FILE_DEVICE(5, 300) }, ret);
}

int file_symlink(struct fs *fs, const char *text, const char *path)
{
    return node_create(fs, path, &(struct fs_new){ .mode = S_IFLNK | 0777, .link = text,
                                                   .link_length = strlen(text) }, NULL);
}

int file_find(struct fs *fs, const char *path, fs_id *ret)
{
    const char *name;
    fs_id directory;
    int error;

    pthread_mutex_lock(&fs->lock);
    error = parent_find(fs, path, &directory, &name);
    if (error == 0)
        error = fs->operations->lookup(fs, directory, name, strlen(name), ret);
    pthread_mutex_unlock(&fs->lock);
    return error;
}

int file_write(struct fs *fs, fs_id id, uint64_t offset, const void *data, size_t length)
{
    struct file_attributes attributes;
    uint64_t end, size;
    int error;

    pthread_mutex_lock(&fs->lock);
    error = fs->operations->begin(fs);
    if (error == 0)
        error = fs->operations->attributes(fs, id, &attributes);
    size = attributes.size > offset + length ? attributes.size : offset + length;
    if (error == 0)
        error = fs->operations->prepare(fs, id, offset, length, size, &end);
    for (size_t done = 0, step; error == 0 && done < length; done += step) {
        step = length - done < 65536 ? length - done : 65536;
        error = fs->operations->push(fs, id, offset + done, (const uint8_t *)data + done, step,
                                     size);
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

int file_read(struct fs *fs, fs_id id, uint64_t offset, void *data, size_t length)
{
    size_t got = 0;
    int error;

    pthread_mutex_lock(&fs->lock);
    error = fs->operations->pull(fs, id, offset, data, length, &got);
    pthread_mutex_unlock(&fs->lock);
    return error != 0 ? error : (int)got;
}

int file_remove(struct fs *fs, const char *path)
{
    struct file_attributes attributes;
    const char *name;
    fs_id directory, id;
    int error;

    pthread_mutex_lock(&fs->lock);
    error = fs->operations->begin(fs);
    if (error == 0)
        error = parent_find(fs, path, &directory, &name);
    if (error == 0)
        error = fs->operations->lookup(fs, directory, name, strlen(name), &id);
    if (error == 0)
        error = fs->operations->attributes(fs, id, &attributes);
    if (error == 0)
        error = S_ISDIR(attributes.mode)
                    ? fs->operations->rmdir(fs, directory, name, strlen(name))
                    : fs->operations->unlink(fs, directory, name, strlen(name));
    pthread_mutex_unlock(&fs->lock);
    return error;
}

int file_rename(struct fs *fs, const char *from, const char *to, uint32_t flags)
{
    const char *from_name, *to_name;
    fs_id from_directory, to_directory;
    int error;

    pthread_mutex_lock(&fs->lock);
    error = fs->operations->begin(fs);
    if (error == 0)
        error = parent_find(fs, from, &from_directory, &from_name);
    if (error == 0)
        error = parent_find(fs, to, &to_directory, &to_name);
    if (error == 0)
        error = fs->operations->rename(fs, from_directory, from_name, strlen(from_name),
                                       to_directory, to_name, strlen(to_name), flags);
    pthread_mutex_unlock(&fs->lock);
    return error;
}

int file_link(struct fs *fs, const char *from, const char *to)
{
    const char *name;
    fs_id directory, id;
    int error = file_find(fs, from, &id);

    pthread_mutex_lock(&fs->lock);
    if (error == 0)
        error = fs->operations->begin(fs);
    if (error == 0)
        error = parent_find(fs, to, &directory, &name);
    if (error == 0)
        error = fs->operations->link(fs, id, directory, name, strlen(name));
    pthread_mutex_unlock(&fs->lock);
    return error;
}

int file_truncate(struct fs *fs, fs_id id, uint64_t size)
{
    const struct fs_change change = { .valid = FILE_SET_SIZE, .size = size };
    int error;

    pthread_mutex_lock(&fs->lock);
    error = fs->operations->begin(fs);
    if (error == 0)
        error = fs->operations->change(fs, id, &change);
    pthread_mutex_unlock(&fs->lock);
    return error;
}

int file_sync(struct fs *fs)
{
    int error;

    pthread_mutex_lock(&fs->lock);
    error = fs->operations->sync(fs);
    pthread_mutex_unlock(&fs->lock);
    return error;
}

struct file_attributes file_stat(struct fs *fs, fs_id id)
{
    struct file_attributes attributes = { 0 };

    pthread_mutex_lock(&fs->lock);
    cr_assert_eq(fs->operations->attributes(fs, id, &attributes), 0);
    pthread_mutex_unlock(&fs->lock);
    return attributes;
}
