/* A disk in memory that can lose power; see fake_disk.h. */
#include "fake_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what)
{
    perror(what);
    abort();
}

static struct fake_disk *disk_of(struct blockdev *device)
{
    return (struct fake_disk *)device;
}

static void remember(struct fake_disk *disk, uint64_t offset, const void *data, size_t length)
{
    struct fake_write *write;

    if (disk->first == NULL)
        return;
    if (disk->write_count == disk->write_room) {
        disk->write_room = disk->write_room * 2 + 256;
        disk->writes = realloc(disk->writes, disk->write_room * sizeof *disk->writes);
        if (disk->writes == NULL)
            die("realloc");
    }
    write = &disk->writes[disk->write_count++];
    *write = (struct fake_write){ .offset = offset, .length = length };
    if (length != 0) {
        write->data = malloc(length);
        if (write->data == NULL)
            die("malloc");
        memcpy(write->data, data, length);
    }
}

static int fake_read(struct blockdev *device, uint64_t offset, void *data, size_t length)
{
    struct fake_disk *disk = disk_of(device);

    pthread_mutex_lock(&disk->lock);
    disk->waiting++;
    pthread_cond_broadcast(&disk->changed);
    while (disk->stopped)
        pthread_cond_wait(&disk->changed, &disk->lock);
    disk->waiting--;
    memcpy(data, disk->bytes + offset, length);
    pthread_mutex_unlock(&disk->lock);
    return disk->fail_reads ? -EIO : 0;
}

static int fake_write(struct blockdev *device, uint64_t offset, const void *data, size_t length)
{
    struct fake_disk *disk = disk_of(device);
    int error = 0;

    pthread_mutex_lock(&disk->lock);
    if (disk->fail_after != 0 && disk->written >= disk->fail_after) {
        error = -EIO;
    } else {
        memcpy(disk->bytes + offset, data, length);
        remember(disk, offset, data, length);
        disk->written++;
    }
    pthread_mutex_unlock(&disk->lock);
    return error;
}

static int fake_flush(struct blockdev *device)
{
    struct fake_disk *disk = disk_of(device);
    int error;

    pthread_mutex_lock(&disk->lock);
    error = disk->fail_after != 0 && disk->written >= disk->fail_after ? -EIO : 0;
    if (error == 0)
        remember(disk, 0, NULL, 0);
    pthread_mutex_unlock(&disk->lock);
    return error;
}

static struct fake_disk *disk_new(uint64_t size)
{
    struct fake_disk *disk = calloc(1, sizeof *disk);

    if (disk == NULL)
        die("calloc");
    disk->device = (struct blockdev){ .size = size, .read = fake_read, .write = fake_write,
                                      .flush = fake_flush };
    pthread_mutex_init(&disk->lock, NULL);
    pthread_cond_init(&disk->changed, NULL);
    disk->bytes = malloc(size);
    if (disk->bytes == NULL)
        die("malloc");
    return disk;
}

struct fake_disk *fake_disk_load(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct fake_disk *disk;
    long size;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        die(path);
    size = ftell(file);
    rewind(file);
    disk = disk_new((uint64_t)size);
    if (fread(disk->bytes, 1, (size_t)size, file) != (size_t)size)
        die(path);
    fclose(file);
    return disk;
}

void fake_disk_store(const struct fake_disk *disk, const char *path)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(disk->bytes, 1, disk->device.size, file) != disk->device.size ||
        fclose(file) != 0)
        die(path);
}

struct fake_disk *fake_disk_copy(const struct fake_disk *disk)
{
    struct fake_disk *copy = disk_new(disk->device.size);

    memcpy(copy->bytes, disk->bytes, disk->device.size);
    return copy;
}

static void recording_free(struct fake_disk *disk)
{
    for (size_t i = 0; i < disk->write_count; i++)
        free(disk->writes[i].data);
    free(disk->writes);
    free(disk->first);
    disk->writes = NULL;
    disk->write_count = disk->write_room = 0;
}

void fake_disk_free(struct fake_disk *disk)
{
    recording_free(disk);
    pthread_cond_destroy(&disk->changed);
    pthread_mutex_destroy(&disk->lock);
    free(disk->bytes);
    free(disk);
}

void fake_disk_stop(struct fake_disk *disk, bool stopped)
{
    pthread_mutex_lock(&disk->lock);
    disk->stopped = stopped;
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->lock);
}

void fake_disk_await_reader(struct fake_disk *disk)
{
    pthread_mutex_lock(&disk->lock);
    while (disk->waiting == 0)
        pthread_cond_wait(&disk->changed, &disk->lock);
    pthread_mutex_unlock(&disk->lock);
}

void fake_disk_record(struct fake_disk *disk)
{
    recording_free(disk);
    disk->first = malloc(disk->device.size);
    if (disk->first == NULL)
        die("malloc");
    memcpy(disk->first, disk->bytes, disk->device.size);
}

struct fake_disk *fake_disk_crash(const struct fake_disk *disk, size_t moment, unsigned seed)
{
    struct fake_disk *after = disk_new(disk->device.size);
    size_t flushed = 0;

    memcpy(after->bytes, disk->first, disk->device.size);
    for (size_t i = 0; i < moment; i++)
        if (disk->writes[i].length == 0)
            flushed = i;
    for (size_t i = 0; i < moment; i++) {
        const struct fake_write *write = &disk->writes[i];

        if (i >= flushed && rand_r(&seed) % 3 == 0)
            continue;
        if (write->length != 0)
            memcpy(after->bytes + write->offset, write->data, write->length);
    }
    return after;
}
