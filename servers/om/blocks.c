/* Disks and partitions as nodes: see blocks.h. */
#include "blocks.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PAGE        4096u
#define ROOT_INODE  FS_ID_INODE(OM_KEY_ID(FILE_BLOCKS_KEY))
#define NODE_INODE  (ROOT_INODE + 1)    /* of minor number 0 */

struct blocks {
    struct fs fs;
    unsigned count;
    struct block_disk disks[BLOCKS_DISKS_MAX];
};

static struct blocks *blocks_of(struct fs *fs)
{
    return (struct blocks *)fs;
}

static struct blocks *blocks_in(struct om *om)
{
    return (struct blocks *)om->systems[BLOCKS_NUMBER];
}

/* The minor number of an id of ours, also where no such disk is; negative: none. */
static int minor_of(fs_id id)
{
    uint32_t inode = FS_ID_INODE(id);

    return id != inode || inode < NODE_INODE || inode >= NODE_INODE + BLOCKS_DISKS_MAX * BLOCKS_NODES ? -1 : (int)(inode - NODE_INODE);
}

static struct block_disk *disk_at(struct blocks *blocks, int minor)
{
    return minor < 0 || (unsigned)minor / BLOCKS_NODES >= blocks->count ? NULL : &blocks->disks[minor / BLOCKS_NODES];
}

static struct block_node *node_at(struct blocks *blocks, int minor)
{
    struct block_disk *disk = disk_at(blocks, minor);
    struct block_node *node = disk != NULL ? &disk->nodes[minor % BLOCKS_NODES] : NULL;

    return node != NULL && node->present ? node : NULL;
}

/* Looking at disks -------------------------------------------------------------------------- */

static int disk_look(struct om *om, struct blocks *blocks, unsigned number)
{
    struct block_disk *disk = &blocks->disks[number];
    struct block_node nodes[BLOCKS_NODES] = { 0 };
    char name[16];
    int error = 0;

    snprintf(name, sizeof name, "disk%u", number);
    if (disk->device == NULL)
        error = om->world->device(om->world, name, &disk->device);
    if (error == 0)
        error = partitions_read(disk->device, nodes);
    if (disk->device == NULL)
        return error;
    nodes[0] = (struct block_node){ .present = true, .size = disk->device->size };
    pthread_mutex_lock(&blocks->fs.lock);
    for (unsigned i = 0; i < BLOCKS_NODES; i++) {
        nodes[i].holds = disk->nodes[i].holds;
        nodes[i].opens = disk->nodes[i].opens;
        nodes[i].writers = disk->nodes[i].writers;
    }
    memcpy(disk->nodes, nodes, sizeof nodes);
    pthread_mutex_unlock(&blocks->fs.lock);
    if (error != 0)
        fprintf(stderr, "%s: its partitions cannot be read\n", name);
    return error;
}

static void look_if_new(struct om *om, struct blocks *blocks, unsigned number)
{
    pthread_mutex_lock(&blocks->disks[number].looking);
    if (blocks->disks[number].device == NULL)
        disk_look(om, blocks, number);
    pthread_mutex_unlock(&blocks->disks[number].looking);
}

void blocks_prepare(struct om *om, const struct file_request *request)
{
    struct blocks *blocks = blocks_in(om);

    if (blocks == NULL || OM_KEY_SYSTEM(request->key) != BLOCKS_NUMBER)
        return;
    int minor = minor_of(OM_KEY_ID(request->key));
    if (disk_at(blocks, minor) != NULL)
        look_if_new(om, blocks, (unsigned)minor / BLOCKS_NODES);
    for (unsigned i = 0; request->operation == FILE_READDIR && minor < 0 && i < blocks->count; i++)
        look_if_new(om, blocks, i);
}

int blocks_rescan(struct om *om, uint64_t key)
{
    struct blocks *blocks = blocks_in(om);
    int minor = OM_KEY_SYSTEM(key) == BLOCKS_NUMBER && blocks != NULL ? minor_of(OM_KEY_ID(key)) : -1;
    struct block_disk *disk = blocks != NULL ? disk_at(blocks, minor) : NULL;
    int error = 0;

    if (disk == NULL || minor % BLOCKS_NODES != 0)
        return -EINVAL;
    pthread_rwlock_rdlock(&om->lock);
    pthread_mutex_lock(&blocks->fs.lock);
    for (int i = 1; i < BLOCKS_NODES; i++)
        if (disk->nodes[i].opens != 0)
            error = -EBUSY;
    pthread_mutex_unlock(&blocks->fs.lock);
    if (blocks_is_mounted(om, minor))
        error = -EBUSY;
    pthread_rwlock_unlock(&om->lock);
    if (error != 0)
        return error;
    pthread_mutex_lock(&disk->looking);
    error = disk_look(om, blocks, (unsigned)minor / BLOCKS_NODES);
    for (int i = 1; i < BLOCKS_NODES; i++)
        om_cut_end(om, key + (uint64_t)i, disk->nodes[i].size);     /* caches that are left know another size */
    pthread_mutex_unlock(&disk->looking);
    return error;
}

/* Mounting ---------------------------------------------------------------------------------- */

int blocks_minor(const char *source)
{
    unsigned disk, part = 0;
    char letter = '\0', end = '\0';

    if (sscanf(source, "disk%2u%c", &disk, &end) == 1)
        return disk < BLOCKS_DISKS_MAX ? (int)(disk * BLOCKS_NODES) : -ENODEV;
    int found = sscanf(source, "/dev/vd%c%2u%c", &letter, &part, &end);
    if (letter < 'a' || letter > 'z' || found > 2 || (found == 1 && source[8] != '\0') || (found == 2 && (part == 0 || source[8] == '0')) ||
        part >= BLOCKS_NODES)
        return -ENODEV;
    return (letter - 'a') * BLOCKS_NODES + (int)part;
}

static bool is_same_or_part(int one, int other)
{
    return one == other ||
           (one / BLOCKS_NODES == other / BLOCKS_NODES && (one % BLOCKS_NODES == 0 || other % BLOCKS_NODES == 0));
}

bool blocks_is_mounted(const struct om *om, int minor)
{
    for (unsigned i = 1; i < OM_SYSTEMS_MAX; i++) {
        const struct fs *fs = om->systems[i];

        if (fs != NULL && i != BLOCKS_NUMBER && !fs->in_memory && is_same_or_part(blocks_minor(fs->source), minor))
            return true;
    }
    for (unsigned i = 0; i < OM_CLAIMS_MAX; i++)
        if (om->claims[i] != 0 && is_same_or_part((int)om->claims[i] - 1, minor))
            return true;
    return false;
}

static bool is_written(struct blocks *blocks, int minor)
{
    bool written = false;

    pthread_mutex_lock(&blocks->fs.lock);
    for (int i = minor / BLOCKS_NODES * BLOCKS_NODES, end = i + BLOCKS_NODES; i < end; i++)
        written |= is_same_or_part(i, minor) && node_at(blocks, i) != NULL && node_at(blocks, i)->writers != 0;
    pthread_mutex_unlock(&blocks->fs.lock);
    return written;
}

int blocks_claim(struct om *om, int minor)
{
    if (blocks_is_mounted(om, minor) || (blocks_in(om) != NULL && is_written(blocks_in(om), minor)))
        return -EBUSY;
    for (unsigned i = 0; i < OM_CLAIMS_MAX; i++) {
        if (om->claims[i] != 0)
            continue;
        om->claims[i] = (uint16_t)(minor + 1);
        return 0;
    }
    return -EBUSY;
}

void blocks_claim_end(struct om *om, int minor)
{
    for (unsigned i = 0; i < OM_CLAIMS_MAX; i++)
        if (om->claims[i] == (uint16_t)(minor + 1))
            om->claims[i] = 0;
}

int blocks_device(struct om *om, const char *source, struct blockdev **ret)
{
    struct block_node nodes[BLOCKS_NODES];
    int minor = blocks_minor(source), part = minor % BLOCKS_NODES;
    char name[16];

    if (minor < 0)
        return minor;
    snprintf(name, sizeof name, "disk%d", minor / BLOCKS_NODES);
    int error = om->world->device(om->world, name, ret);
    if (error != 0 || part == 0)
        return error;
    error = partitions_read(*ret, nodes);
    if (error == 0 && !nodes[part].present)
        error = -ENXIO;
    if (error != 0) {
        blockdev_close(*ret);
        return error;
    }
    *ret = blockdev_part(*ret, nodes[part].start, nodes[part].size);
    return *ret != NULL ? 0 : -ENOMEM;
}

/* The file system: names -------------------------------------------------------------------- */

static int blocks_begin(struct fs *fs)
{
    (void)fs;
    return 0;
}

static int blocks_root(struct fs *fs, fs_id *ret)
{
    *ret = fs->root;
    return 0;
}

static int blocks_attributes(struct fs *fs, fs_id id, struct file_attributes *ret)
{
    int minor = minor_of(id);
    const struct block_node *node = node_at(blocks_of(fs), minor);
    struct file_time now;

    if (node == NULL && id != fs->root)
        return disk_at(blocks_of(fs), minor) != NULL ? -ENXIO : -ESTALE;
    fs->now(&now);
    *ret = (struct file_attributes){ .key = OM_KEY(BLOCKS_NUMBER, id), .inode = FS_ID_INODE(id), .links = 1, .block_size = PAGE,
                                     .device = BLOCKS_NUMBER, .mode = S_IFDIR | 0555,
                                     .atime = now.seconds, .mtime = now.seconds, .ctime = now.seconds };
    if (node != NULL) {
        ret->mode = S_IFBLK | 0666;     /* the node in /dev says who may */
        ret->size = node->size;
        ret->rdev = FILE_DEVICE(FILE_BLOCK_MAJOR, (uint32_t)minor);
    }
    return 0;
}

static int name_of(int minor, char name[16])
{
    int letter = 'a' + minor / BLOCKS_NODES;

    return minor % BLOCKS_NODES == 0 ? snprintf(name, 16, "vd%c", letter)
                                     : snprintf(name, 16, "vd%c%d", letter, minor % BLOCKS_NODES);
}

static int blocks_readdir(struct fs *fs, fs_id directory, uint64_t cookie, void *buffer, size_t room, size_t *ret_used)
{
    struct blocks *blocks = blocks_of(fs);

    *ret_used = 0;
    if (directory != fs->root)
        return -ENOTDIR;
    for (uint64_t minor = cookie; minor < (uint64_t)blocks->count * BLOCKS_NODES; minor++) {
        struct dirent64 *entry = (void *)((uint8_t *)buffer + *ret_used);
        char name[16];

        if (node_at(blocks, (int)minor) == NULL)
            continue;
        size_t size = (offsetof(struct dirent64, d_name) + (size_t)name_of((int)minor, name) + 1 + 7) & ~(size_t)7;
        if (size > room - *ret_used)
            return *ret_used == 0 ? -EINVAL : 0;
        memset(entry, 0, size);
        entry->d_ino = NODE_INODE + minor;
        entry->d_off = (int64_t)minor + 1;
        entry->d_reclen = (uint16_t)size;
        entry->d_type = DT_BLK;
        strcpy(entry->d_name, name);
        *ret_used += size;
    }
    return 0;
}

static int no_lookup(struct fs *fs, fs_id directory, const char *name, size_t length, fs_id *ret)
{
    (void)fs, (void)directory, (void)name, (void)length, (void)ret;
    return -ENOENT;
}

static int no_parent(struct fs *fs, fs_id directory, fs_id *ret)
{
    *ret = fs->root;
    return directory == fs->root ? 0 : -ENOTDIR;
}

static int no_readlink(struct fs *fs, fs_id id, char *buffer, size_t room, size_t *ret_length)
{
    (void)fs, (void)id, (void)buffer, (void)room, (void)ret_length;
    return -EINVAL;
}

/* Times are not kept, and nothing else can be changed. */
static int blocks_change(struct fs *fs, fs_id id, const struct fs_change *change)
{
    if (node_at(blocks_of(fs), minor_of(id)) == NULL)
        return -ESTALE;
    return (change->valid & ~(FILE_SET_ATIME | FILE_SET_MTIME)) == 0 ? 0 : -EINVAL;
}

static int no_create(struct fs *fs, fs_id directory, const char *name, size_t length, const struct fs_new *new_node, fs_id *ret)
{
    (void)fs, (void)directory, (void)name, (void)length, (void)new_node, (void)ret;
    return -EPERM;
}

static int no_link(struct fs *fs, fs_id id, fs_id directory, const char *name, size_t length)
{
    (void)fs, (void)id, (void)directory, (void)name, (void)length;
    return -EPERM;
}

static int no_unlink(struct fs *fs, fs_id directory, const char *name, size_t length)
{
    (void)fs, (void)directory, (void)name, (void)length;
    return -EPERM;
}

static int no_rename(struct fs *fs, fs_id from, const char *from_name, size_t from_length, fs_id to, const char *to_name,
                     size_t to_length, uint32_t flags)
{
    (void)fs, (void)from, (void)from_name, (void)from_length, (void)to, (void)to_name, (void)to_length, (void)flags;
    return -EPERM;
}

static int no_temporary(struct fs *fs, fs_id *ret)
{
    (void)fs, (void)ret;
    return -EPERM;
}

/* Who has it -------------------------------------------------------------------------------- */

static int blocks_hold(struct fs *fs, fs_id id)
{
    struct block_node *node = node_at(blocks_of(fs), minor_of(id));

    if (id == fs->root)
        return 0;
    if (node == NULL)
        return -ESTALE;
    node->holds++;
    return 0;
}

static void blocks_release(struct fs *fs, fs_id id)
{
    struct block_node *node = node_at(blocks_of(fs), minor_of(id));

    if (node != NULL && node->holds > 0)
        node->holds--;
}

static bool blocks_is_busy(struct fs *fs)
{
    (void)fs;
    return true;
}

static uint32_t blocks_holds(struct fs *fs, fs_id id)
{
    const struct block_node *node = node_at(blocks_of(fs), minor_of(id));

    return node != NULL ? node->holds : 0;
}

static int blocks_opened(struct fs *fs, const struct om *om, fs_id id, uint32_t access)
{
    int minor = minor_of(id);
    struct block_node *node = node_at(blocks_of(fs), minor);
    bool writes = (access & FILE_O_WRITE) != 0;

    if (node == NULL)
        return id == fs->root ? 0 : -ENXIO;
    if (writes && disk_at(blocks_of(fs), minor)->device->read_only)
        return -EROFS;
    if ((writes || (access & FILE_O_EXCLUSIVE) != 0) && blocks_is_mounted(om, minor))
        return -EBUSY;
    node->opens++;
    node->writers += writes;
    return 0;
}

static bool blocks_closed(struct fs *fs, fs_id id, uint32_t access)
{
    struct block_node *node = node_at(blocks_of(fs), minor_of(id));

    if (node == NULL || node->opens == 0)
        return false;
    node->opens--;
    if ((access & FILE_O_WRITE) != 0 && node->writers > 0)
        node->writers--;
    return node->opens == 0;
}

/* Contents ---------------------------------------------------------------------------------- */

/* What a transfer is about: taken down under the lock, since a table may be read anew. */
struct extent {
    struct block_disk *disk;
    uint64_t start, size;
};

static int extent_of(struct fs *fs, fs_id id, struct extent *ret)
{
    const struct block_node *node = node_at(blocks_of(fs), minor_of(id));

    if (node == NULL)
        return id == fs->root ? -EISDIR : -ESTALE;
    *ret = (struct extent){ disk_at(blocks_of(fs), minor_of(id)), node->start, node->size };
    return 0;
}

static int blocks_pull(struct fs *fs, fs_id id, uint64_t offset, void *data, size_t length, size_t *ret_length)
{
    struct extent extent;
    int error = extent_of(fs, id, &extent);

    *ret_length = 0;
    if (error != 0 || offset >= extent.size)
        return error;
    size_t wanted = extent.size - offset < length ? (size_t)(extent.size - offset) : length;
    pthread_mutex_unlock(&fs->lock);
    error = blockdev_read(extent.disk->device, extent.start + offset, data, wanted);
    pthread_mutex_lock(&fs->lock);
    memset((uint8_t *)data + wanted, 0, length - wanted);
    *ret_length = error == 0 ? wanted : 0;
    return error;
}

static bool blocks_is_direct(struct fs *fs, fs_id id)
{
    struct extent extent;

    return extent_of(fs, id, &extent) == 0 && extent.disk->device->read_pages != NULL && extent.disk->device->write_pages != NULL;
}

static int blocks_pull_pages(struct fs *fs, fs_id id, uint64_t offset, uint64_t pages, size_t length, size_t *ret_length)
{
    struct extent extent;
    int error = extent_of(fs, id, &extent);

    *ret_length = 0;
    if (error != 0 || offset >= extent.size)
        return error;
    if (length > extent.size - offset)
        length = (size_t)(extent.size - offset);
    pthread_mutex_unlock(&fs->lock);
    error = blockdev_read_pages(extent.disk->device, extent.start + offset, pages, length);
    pthread_mutex_lock(&fs->lock);
    *ret_length = error == 0 ? length : 0;
    return error;
}

/* There is place for everything, up to the end. */
static int blocks_prepare_write(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint64_t size, uint64_t *ret_end)
{
    struct extent extent;
    int error = extent_of(fs, id, &extent);

    if (error != 0)
        return error;
    *ret_end = (extent.size + PAGE - 1) / PAGE * PAGE;
    if (size > extent.size || offset > *ret_end || length > *ret_end - offset)
        return -ENOSPC;
    return extent.disk->device->read_only ? -EROFS : 0;
}

/* From memory, or with `data` NULL from pages. */
static int push_either(struct fs *fs, fs_id id, uint64_t offset, const void *data, uint64_t pages, size_t length)
{
    struct extent extent;
    int error = extent_of(fs, id, &extent);

    if (error != 0 || offset >= extent.size)
        return error;
    if (length > extent.size - offset)
        length = (size_t)(extent.size - offset);
    extent.disk->unflushed = true;
    pthread_mutex_unlock(&fs->lock);
    error = data != NULL ? blockdev_write(extent.disk->device, extent.start + offset, data, length)
                         : blockdev_write_pages(extent.disk->device, extent.start + offset, pages, length);
    pthread_mutex_lock(&fs->lock);
    return error;
}

static int blocks_push(struct fs *fs, fs_id id, uint64_t offset, const void *data, size_t length, uint64_t size)
{
    (void)size;
    return push_either(fs, id, offset, data, 0, length);
}

static int blocks_push_pages(struct fs *fs, fs_id id, uint64_t offset, uint64_t pages, size_t length, uint64_t size, bool is_cut)
{
    (void)size, (void)is_cut;
    return push_either(fs, id, offset, NULL, pages, length);
}

/* A hole is zeros, and the disk may forget what was there. */
static int blocks_allocate(struct fs *fs, fs_id id, uint64_t offset, uint64_t length, uint32_t mode)
{
    struct extent extent;
    int error = extent_of(fs, id, &extent);

    if (error != 0)
        return error;
    if (mode != (FILE_ALLOCATE_KEEP_SIZE | FILE_ALLOCATE_PUNCH_HOLE))
        return -EOPNOTSUPP;
    if (offset % BLOCKDEV_UNIT != 0 || length % BLOCKDEV_UNIT != 0 || offset > extent.size || length > extent.size - offset)
        return -EINVAL;
    extent.disk->unflushed = true;
    pthread_mutex_unlock(&fs->lock);
    error = blockdev_zero(extent.disk->device, extent.start + offset, length);
    pthread_mutex_lock(&fs->lock);
    return error;
}

static void blocks_settle(struct fs *fs, fs_id id)
{
    (void)fs, (void)id;
}

static int disk_sync(struct fs *fs, struct block_disk *disk)
{
    if (!disk->unflushed)
        return 0;
    disk->unflushed = false;
    pthread_mutex_unlock(&fs->lock);
    int error = blockdev_flush(disk->device);
    pthread_mutex_lock(&fs->lock);
    disk->unflushed |= error != 0;
    return error;
}

static int blocks_sync_node(struct fs *fs, fs_id id)
{
    struct extent extent;
    int error = extent_of(fs, id, &extent);

    return error != 0 ? error : disk_sync(fs, extent.disk);
}

static int blocks_sync(struct fs *fs)
{
    int first = 0;

    for (unsigned i = 0; i < blocks_of(fs)->count; i++) {
        int error = disk_sync(fs, &blocks_of(fs)->disks[i]);

        if (first == 0)
            first = error;
    }
    return first;
}

/* Nobody expects that a disk is flushed by itself. */
static bool blocks_is_changed(struct fs *fs)
{
    (void)fs;
    return false;
}

static int blocks_statfs(struct fs *fs, struct file_statfs *ret)
{
    (void)fs;
    *ret = (struct file_statfs){ .block_size = PAGE, .type = 0x62646576, .name_max = FILE_NAME_MAX };
    return 0;
}

/* Coming and going -------------------------------------------------------------------------- */

void blocks_hand_over(struct fs *fs, struct om_state *state)
{
    struct blocks *blocks = blocks_of(fs);

    for (unsigned i = 0; i < BLOCKS_DISKS_MAX; i++)
        STATE_PUT(state, blocks->disks[i].nodes);
}

/* What the disks are is found out anew, who has them open is not. */
int blocks_take_over(struct fs *fs, struct om_state *state)
{
    struct blocks *blocks = blocks_of(fs);

    for (unsigned i = 0; i < BLOCKS_DISKS_MAX; i++) {
        char name[16];

        STATE_GET(state, blocks->disks[i].nodes);
        snprintf(name, sizeof name, "disk%u", i);
        if (i >= blocks->count || !blocks->disks[i].nodes[0].present)
            memset(blocks->disks[i].nodes, 0, sizeof blocks->disks[i].nodes);
        else if (fs->om->world->device(fs->om->world, name, &blocks->disks[i].device) != 0)
            return -EIO;
        blocks->disks[i].unflushed = blocks->disks[i].device != NULL;
    }
    return state->failed ? -EINVAL : 0;
}

static int blocks_unmount(struct fs *fs)
{
    struct blocks *blocks = blocks_of(fs);

    pthread_mutex_lock(&fs->lock);
    int error = blocks_sync(fs);
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < BLOCKS_DISKS_MAX; i++) {
        blockdev_close(blocks->disks[i].device);
        pthread_mutex_destroy(&blocks->disks[i].looking);
    }
    pthread_mutex_destroy(&fs->lock);
    free(blocks);
    return error;
}

static const struct fs_operations blocks_operations = {
    .name = "bdev", .begin = blocks_begin, .root = blocks_root, .attributes = blocks_attributes, .lookup = no_lookup,
    .parent = no_parent, .readdir = blocks_readdir, .readlink = no_readlink, .change = blocks_change, .create = no_create,
    .link = no_link, .unlink = no_unlink, .rmdir = no_unlink, .rename = no_rename, .hold = blocks_hold,
    .release = blocks_release, .is_busy = blocks_is_busy, .holds = blocks_holds, .temporary = no_temporary,
    .opened = blocks_opened, .closed = blocks_closed, .pull = blocks_pull, .prepare = blocks_prepare_write, .push = blocks_push,
    .is_direct = blocks_is_direct, .pull_pages = blocks_pull_pages, .push_pages = blocks_push_pages,
    .allocate = blocks_allocate, .settle = blocks_settle, .sync = blocks_sync, .sync_node = blocks_sync_node,
    .is_changed = blocks_is_changed, .statfs = blocks_statfs, .rest = blocks_sync, .hand_over = blocks_hand_over,
    .unmount = blocks_unmount,
};

struct fs *blocks_new(struct om *om, unsigned count)
{
    struct blocks *blocks = calloc(1, sizeof *blocks);

    if (blocks == NULL)
        return NULL;
    blocks->fs.operations = &blocks_operations;
    blocks->fs.now = fs_clock;
    blocks->fs.om = om;
    blocks->fs.root = FS_ID(ROOT_INODE, 0);
    blocks->count = count < BLOCKS_DISKS_MAX ? count : BLOCKS_DISKS_MAX;
    pthread_mutex_init(&blocks->fs.lock, NULL);
    for (unsigned i = 0; i < BLOCKS_DISKS_MAX; i++)
        pthread_mutex_init(&blocks->disks[i].looking, NULL);
    return &blocks->fs;
}
