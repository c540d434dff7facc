/* A disk in memory that can lose power.
 *
 * It remembers every write and every flush in order. fake_disk_crash makes the disk that would be
 * found after a loss of power at a given moment: what was flushed before is there; of the writes
 * since the last flush each one is there or not, as the seed decides. So one run of a test gives as
 * many crashes as it has writes.
 */
#ifndef TESTS_OM_FAKE_DISK_H
#define TESTS_OM_FAKE_DISK_H

#include <pthread.h>

#include "blockdev.h"

struct fake_write {
    uint64_t offset;
    size_t   length;            /* 0: a flush */
    uint8_t *data;
};

struct fake_disk {
    struct blockdev device;
    pthread_mutex_t lock;
    uint8_t *bytes;
    uint8_t *first;             /* as it was when recording began; NULL: not recording */
    struct fake_write *writes;
    size_t   write_count, write_room;
    uint64_t written;           /* writes done, recorded or not */
    uint64_t fail_after;        /* the writes after that many fail with -EIO; 0: never */
    bool     fail_reads;
    bool     stopped;           /* reads wait until it is not any more */
    unsigned waiting;           /* that do */
    pthread_cond_t changed;
};

/* From a file of the host. */
struct fake_disk *fake_disk_load(const char *path);
void fake_disk_store(const struct fake_disk *disk, const char *path);
struct fake_disk *fake_disk_copy(const struct fake_disk *disk);
void fake_disk_free(struct fake_disk *disk);

void fake_disk_stop(struct fake_disk *disk, bool stopped);
/* Until a read waits for the stopped disk. */
void fake_disk_await_reader(struct fake_disk *disk);

void fake_disk_record(struct fake_disk *disk);
/* The disk after a loss of power behind the first `moment` writes and flushes. */
struct fake_disk *fake_disk_crash(const struct fake_disk *disk, size_t moment, unsigned seed);

#endif
