/* Disks and their partitions. Om has their contents, as segments; here are what programs ask of a disk by ioctl, and
 * their nodes in /dev. */

#include "block.h"

#include <dirent.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "call.h"
#include "deferred.h"
#include "file_server.h"
#include "mount.h"
#include "process.h"
#include "regular.h"

#define SECTOR 512u
#define DISK_GROUP 6u /* as in Debian's /etc/group */
#define LIST_SIZE 16384u

/* ---- reading and writing ---- */

/* Nothing is written behind the end; at the end there is no space. */
static int64_t block_write(struct call *call, struct file *file, struct user_io *io, int64_t *offset)
{
    int64_t size = segment_size(&file->segment);
    if (size < 0)
        return size;
    if (io->total > 0 && *offset >= size)
        return -ENOSPC;
    if (io->total > (uint64_t)(size - *offset))
        io->total = (size_t)(size - *offset);
    return regular_write(call, file, io, offset);
}

/* ---- ioctl ---- */

static int64_t answer(struct call *call, uint64_t to, const void *value, size_t size)
{
    return copy_out(call, to, value, size);
}

static int64_t tell_geometry(struct call *call, uint64_t to, uint64_t size)
{
    uint64_t cylinders = size / SECTOR / (255 * 63);
    struct hd_geometry geometry = { .heads = 255, .sectors = 63,
                                    .cylinders = cylinders > UINT16_MAX ? UINT16_MAX : (unsigned short)cylinders,
                                    .start = 0 };
    return answer(call, to, &geometry, sizeof geometry);
}

/* The range of BLKDISCARD, BLKZEROOUT. */
static int64_t forget_range(struct call *call, struct file *file, uint64_t from)
{
    uint64_t range[2];
    if (copy_in(call, range, from, sizeof range) != 0)
        return -EFAULT;
    if (!file_may_write(file))
        return -EBADF;
    struct file_exchange exchange = { .node = file->opened };
    exchange.request.operation = FILE_ALLOCATE;
    exchange.request.io.offset = range[0];
    exchange.request.io.length = range[1];
    exchange.request.io.mode = FILE_ALLOCATE_KEEP_SIZE | FILE_ALLOCATE_PUNCH_HOLE;
    return file_exchange(&exchange);
}

static int64_t read_table(struct call *call, struct file *file)
{
    struct file_exchange exchange = { .node = file->opened };
    if (call_process(call)->credentials.euid != 0)
        return -EACCES;
    int error = regular_sync(file, false);
    if (error != 0)
        return error;
    deferred_settle(); /* partitions that were just closed */
    exchange.request.operation = FILE_RESCAN;
    error = file_exchange(&exchange);
    if (error == 0)
        mount_fill_blocks();
    return error;
}

static int64_t block_ioctl(struct call *call, struct file *file, uint32_t command, uint64_t argument)
{
    int64_t size = segment_size(&file->segment);
    if (size < 0)
        return size;
    const uint64_t bytes = (uint64_t)size;
    const unsigned long sectors = bytes / SECTOR;
    const int sector = SECTOR, none = 0, block = K_PAGESIZE, read_only = !(file_may_write(file));
    const unsigned page = K_PAGESIZE, most = 128;
    switch (command) {
    case BLKGETSIZE: return answer(call, argument, &sectors, sizeof sectors);
    case BLKGETSIZE64: return answer(call, argument, &bytes, sizeof bytes);
    case BLKSSZGET: return answer(call, argument, &sector, sizeof sector);
    case BLKBSZGET: return answer(call, argument, &block, sizeof block);
    case BLKPBSZGET:
    case BLKIOMIN:
    case BLKIOOPT: return answer(call, argument, &page, sizeof page);
    case BLKALIGNOFF: return answer(call, argument, &none, sizeof none);
    case BLKROGET: return file_may_write(file) ? answer(call, argument, &none, sizeof none)
                                               : answer(call, argument, &read_only, sizeof read_only);
    case BLKSECTGET: return answer(call, argument, &most, sizeof(unsigned short));
    case BLKROTATIONAL:
    case BLKDISCARDZEROES: return answer(call, argument, &none, sizeof(unsigned short));
    case HDIO_GETGEO: return tell_geometry(call, argument, bytes);
    case BLKFLSBUF: return regular_sync(file, true);
    case BLKDISCARD:
    case BLKZEROOUT: return forget_range(call, file, argument);
    case BLKRRPART: return read_table(call, file);
    default: return -ENOTTY;
    }
}

const struct file_operations block_operations = {
    .seekable = true, .read = regular_read, .write = block_write, .release = regular_closed, .seek = regular_seek,
    .ioctl = block_ioctl,
};

/* ---- their nodes ---- */

/* Call <each> with every disk and partition that there is. */
static int blocks_each(void (*each)(void *cookie, const char *name, uint32_t minor), void *cookie)
{
    char *list = malloc(LIST_SIZE);
    uint64_t at = 0;
    int error = list == NULL ? -ENOMEM : 0;
    while (error == 0) {
        struct file_exchange exchange = { .node = file_server_block(0), .body = list, .body_room = LIST_SIZE };
        exchange.node.key = FILE_BLOCKS_KEY;
        exchange.request.operation = FILE_READDIR;
        exchange.request.io.offset = at;
        exchange.request.io.length = LIST_SIZE;
        error = file_exchange(&exchange);
        if (error != 0 || exchange.body_size == 0)
            break;
        for (uint32_t done = 0; done < exchange.body_size;) {
            const struct dirent64 *entry = (const void *)(list + done);
            each(cookie, entry->d_name, FILE_BLOCK_MINOR(255ull << 56 | entry->d_ino));
            at = (uint64_t)entry->d_off;
            done += entry->d_reclen;
        }
    }
    free(list);
    return error;
}

static void note_present(void *cookie, const char *name, uint32_t minor)
{
    uint16_t *present = cookie;
    (void)name;
    if (minor / 16 < 26)
        present[minor / 16] |= (uint16_t)(1u << minor % 16);
}

static void node_make(struct file_node dev, const char *name, uint32_t minor)
{
    struct file_exchange exchange = { .node = dev, .send = name, .send_size = (uint32_t)strlen(name) };
    exchange.request.operation = FILE_MKNOD;
    exchange.request.path_length = (uint16_t)exchange.send_size;
    exchange.request.mknod.mode = S_IFBLK | 0660;
    exchange.request.mknod.device = FILE_DEVICE(FILE_BLOCK_MAJOR, minor);
    exchange.request.credentials.gid = DISK_GROUP;
    file_exchange(&exchange);
}

static void node_remove(struct file_node dev, const char *name)
{
    struct file_exchange exchange = { .node = dev, .send = name, .send_size = (uint32_t)strlen(name) };
    exchange.request.operation = FILE_UNLINK;
    exchange.request.path_length = (uint16_t)exchange.send_size;
    file_exchange(&exchange);
}

void block_fill_dev(struct file_node dev)
{
    static uint16_t known[26];
    uint16_t present[26] = { 0 };
    if (blocks_each(note_present, present) != 0)
        return;
    for (uint32_t minor = 0; minor < 26 * 16; minor++) {
        char name[16];
        uint16_t bit = (uint16_t)(1u << minor % 16);
        snprintf(name, sizeof name, minor % 16 == 0 ? "vd%c" : "vd%c%u", 'a' + minor / 16, minor % 16);
        if (present[minor / 16] & bit && !(known[minor / 16] & bit))
            node_make(dev, name, minor);
        else if (!(present[minor / 16] & bit) && known[minor / 16] & bit)
            node_remove(dev, name);
    }
    memcpy(known, present, sizeof known);
}

static void print_one(void *cookie, const char *name, uint32_t minor)
{
    struct file_exchange exchange = { .node = file_server_block(minor) };
    exchange.request.operation = FILE_GETATTR;
    if (file_exchange(&exchange) == 0)
        fprintf(cookie, "%4u  %7u %10llu %s\n", FILE_BLOCK_MAJOR, minor,
                (unsigned long long)exchange.reply.attributes.size / 1024, name);
}

int block_print_partitions(FILE *out)
{
    fprintf(out, "major minor  #blocks  name\n\n");
    return blocks_each(print_one, out);
}
