/* The file protocol: blocks and the disk, mounts, file systems that come and go. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blocks.h"
#include "requests.h"

/* Contents and the disk ----------------------------------------------------------- */

/* Regular files are segments, and nothing else of ours has contents. */
int serve_transfer(struct serving *serving)
{
    struct file_attributes attributes;
    int error = serving->fs->operations->attributes(serving->fs, id_given(serving), &attributes);

    if (error != 0)
        return error;
    return S_ISDIR(attributes.mode) ? -EISDIR : -EINVAL;
}

int serve_allocate(struct serving *serving)
{
    const struct file_request *request = serving->request;
    bool hole = (request->io.mode & FILE_ALLOCATE_PUNCH_HOLE) != 0;
    fs_id id = id_given(serving);
    int error = serving->fs->operations->begin(serving->fs);

    if (error == 0)
        error = serving->fs->operations->allocate(serving->fs, id, request->io.offset,
                                                  request->io.length, request->io.mode);
    if (error == 0)
        error = node_reply(serving, id);
    if (error == 0 && hole)
        serving->punched_key = OM_KEY(serving->number, id);
    if (error == 0 && request->io.mode == 0) {
        cut_begin(serving, id);
        serving->cut_size = serving->reply->attributes.size;
    }
    return error;
}

int serve_fsync(struct serving *serving)
{
    const struct fs_operations *operations = serving->fs->operations;

    return operations->sync_node != NULL ? operations->sync_node(serving->fs, id_given(serving)) : operations->sync(serving->fs);
}

/* Mounting ------------------------------------------------------------------------ */

int serve_mount(struct serving *serving)
{
    struct om_mount *place = NULL;
    int error;

    if (serving->request->credentials.uid != 0)
        return -EPERM;
    error = first_walk(serving, WALK_FOLLOW);
    if (error != 0 || left(serving))
        return error;
    if (!S_ISDIR(serving->walk.attributes.mode))
        return -ENOTDIR;
    for (unsigned i = 0; i < OM_MOUNTS_MAX && place == NULL; i++)
        if (serving->om->mounts[i].at == 0)
            place = &serving->om->mounts[i];
    if (place == NULL)
        return -ENOSPC;
    error = serving->fs->operations->hold(serving->fs, serving->walk.at);
    if (error != 0)
        return error;
    place->at = OM_KEY(serving->number, serving->walk.at);
    place->node = serving->request->mount.node;
    return node_reply(serving, serving->walk.at);
}

int serve_unmount(struct serving *serving)
{
    int error;

    if (serving->request->credentials.uid != 0)
        return -EPERM;
    error = first_walk(serving, WALK_FOLLOW | WALK_UNCROSSED);
    if (error != 0 || left(serving))
        return error;
    for (unsigned i = 0; i < OM_MOUNTS_MAX; i++) {
        struct om_mount *mount = &serving->om->mounts[i];

        if (mount->at != OM_KEY(serving->number, serving->walk.at))
            continue;
        serving->reply->node = mount->node;
        mount->at = 0;
        serving->fs->operations->release(serving->fs, serving->walk.at);
        return 0;
    }
    return -EINVAL;
}

/* "tmpfs,size=1048576,mode=1777" */
struct attach_options {
    char     type[16];
    bool     read_only;
    uint64_t size;
    uint32_t mode;
};

static int options_parse(const char *text, size_t length, struct attach_options *ret)
{
    char copy[256], *next = copy, *option;

    *ret = (struct attach_options){ .mode = 01777 };
    if (length >= sizeof copy)
        return -EINVAL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    option = strsep(&next, ",");
    if (strlen(option) >= sizeof ret->type)
        return -ENODEV;
    strcpy(ret->type, option);
    while ((option = strsep(&next, ",")) != NULL) {
        char *end = "";

        if (strcmp(option, "ro") == 0)
            ret->read_only = true;
        else if (strncmp(option, "size=", 5) == 0)
            ret->size = strtoull(option + 5, &end, 10);
        else if (strncmp(option, "mode=", 5) == 0)
            ret->mode = (uint32_t)strtoul(option + 5, &end, 8);
        else if (*option != '\0' && strcmp(option, "rw") != 0)
            return -EINVAL;
        if (*end != '\0')
            return -EINVAL;
    }
    return 0;
}

static int ext4_attach(struct om *om, const char *source, const struct attach_options *options,
                       struct fs **ret)
{
    struct blockdev *device = NULL;
    char why[256] = "";
    int error = blocks_device(om, source, &device);

    if (error == 0 && device->read_only && !options->read_only) {
        blockdev_close(device);
        return -EROFS;
    }
    if (error != 0)
        return error;
    error = ext4_mount(device, options->read_only, om->cache_memory, ret, why, sizeof why);
    if (error == 0) {
        (*ret)->device = device;
        return 0;
    }
    fprintf(stderr, "%s cannot be mounted: %s\n", source, why);
    blockdev_close(device);
    return error == -EUCLEAN || error == -EOPNOTSUPP ? -EINVAL : error;     /* what mount(2) says of it */
}

/* Without a store a tmpfs has half of the memory. */
static int tmpfs_attach(struct om *om, const struct attach_options *options, struct fs **ret)
{
    uint64_t size = options->size;
    int error;

    if (om->store == NULL && om->systems[1] != NULL && !om->systems[1]->read_only &&
        om->tmpfs_keep != 0)
        om->store = store_open(om->systems[1]);
    if (size == 0)
        size = om->store != NULL ? om->tmpfs_size : om->tmpfs_size / 2;
    error = tmpfs_mount(size, options->mode, ret);
    if (error == 0 && om->store != NULL)
        tmpfs_use_store(*ret, om->store, om->tmpfs_keep);
    return error;
}

/* Without the lock of any file system, and with om's own for writing. */
/* A disk is opened and recovered without locks, since that waits for it; it is claimed meanwhile. */
static int disk_attach(struct om *om, const char *source, const struct attach_options *options, struct fs **ret)
{
    int minor = blocks_minor(source), error = minor < 0 ? -ENOTBLK : 0;

    if (error == 0) {
        pthread_rwlock_wrlock(&om->lock);
        error = om->stopped ? -EIO : blocks_claim(om, minor);
        pthread_rwlock_unlock(&om->lock);
    }
    if (error != 0)
        return error;
    om_segment_invalidate(om, FILE_BLOCK_KEY((uint64_t)minor));
    error = ext4_attach(om, source, options, ret);
    pthread_rwlock_wrlock(&om->lock);
    if (error == 0) {
        snprintf((*ret)->source, sizeof (*ret)->source, "%s", source);
        error = om_add(om, *ret, 0);
    }
    blocks_claim_end(om, minor);
    pthread_rwlock_unlock(&om->lock);
    return error;
}

static int memory_attach(struct om *om, const char *source, const struct attach_options *options, struct fs **ret)
{
    pthread_rwlock_wrlock(&om->lock);
    int error = om->stopped ? -EIO : tmpfs_attach(om, options, ret);
    if (error == 0) {
        snprintf((*ret)->source, sizeof (*ret)->source, "%s", source);
        error = om_add(om, *ret, 0);
    }
    pthread_rwlock_unlock(&om->lock);
    return error;
}

static bool is_on_disk(const char *type)
{
    return strcmp(type, "ext4") == 0 || strcmp(type, "ext3") == 0 || strcmp(type, "ext2") == 0;
}

int serve_attach(struct serving *serving)
{
    const struct file_request *request = serving->request;
    struct attach_options options;
    char source[FILE_NAME_MAX + 1];
    struct fs *fs = NULL;
    int error;

    if (request->credentials.uid != 0)
        return -EPERM;
    if (request->path_length > FILE_NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(source, serving->call->body, request->path_length);
    source[request->path_length] = '\0';
    error = options_parse(second_of(serving), request->second_length, &options);
    if (error != 0)
        return error;
    if (strcmp(options.type, "tmpfs") == 0)
        error = memory_attach(serving->om, source, &options, &fs);
    else if (is_on_disk(options.type))
        error = disk_attach(serving->om, source, &options, &fs);
    else
        error = -ENODEV;
    if (error != 0)
        return error;
    serving->reply->node = (struct file_node){ serving->om->port, OM_KEY(fs->number, fs->root) };
    return 0;
}

/* Nobody finds it any more from now on; its disk is claimed until it has been closed. */
static int system_take(struct om *om, uint32_t number, struct fs **ret, int *ret_minor)
{
    struct fs *fs = om->systems[number];
    bool busy;

    if (fs == NULL || number == 1 || number == BLOCKS_NUMBER)
        return -EINVAL;
    for (unsigned i = 0; i < OM_MOUNTS_MAX; i++)
        if (om->mounts[i].at != 0 && OM_KEY_SYSTEM(om->mounts[i].at) == number)
            return -EBUSY;
    pthread_mutex_lock(&fs->lock);
    busy = fs->operations->is_busy(fs);
    pthread_mutex_unlock(&fs->lock);
    if (busy)
        return -EBUSY;
    *ret_minor = fs->in_memory ? -ENODEV : blocks_minor(fs->source);
    om->systems[number] = NULL;
    if (*ret_minor >= 0 && blocks_claim(om, *ret_minor) != 0) {
        om->systems[number] = fs;
        return -EBUSY;
    }
    *ret = fs;
    return 0;
}

int serve_detach(struct serving *serving)
{
    struct om *om = serving->om;
    uint32_t number = OM_KEY_SYSTEM(serving->request->key);
    struct blockdev *device;
    struct fs *fs = NULL;
    int minor = -1, error, flushed;

    if (serving->request->credentials.uid != 0)
        return -EPERM;
    flushed = om_segments_drop(om, number);
    pthread_rwlock_wrlock(&om->lock);
    error = om->stopped ? -EIO : system_take(om, number, &fs, &minor);
    pthread_rwlock_unlock(&om->lock);
    if (error != 0)
        return error;
    device = fs->device;
    error = fs->operations->unmount(fs);
    blockdev_close(device);
    pthread_rwlock_wrlock(&om->lock);
    if (minor >= 0)
        blocks_claim_end(om, minor);
    pthread_rwlock_unlock(&om->lock);
    if (minor >= 0)
        om_segment_invalidate(om, FILE_BLOCK_KEY((uint64_t)minor));
    return error != 0 ? error : flushed;
}
