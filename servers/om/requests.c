/* The operations of the file protocol: one handler for each.
 *
 * om_serve finds the file system, takes its lock, and calls the handler; what has to be told to the
 * world (a truncated file) is told after the lock was let go. Handlers first check everything, then
 * change. A walk that has to go on elsewhere is an answer, not an error.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blocks.h"
#include "requests.h"

/* Helpers ------------------------------------------------------------------------- */

void outcome_reply(struct serving *serving, const struct walk *walk)
{
    struct file_reply *reply = serving->reply;
    size_t text = walk->outcome == FILE_AT_SYMLINK ? walk->text_length : 0;

    memset(reply, 0, sizeof *reply);
    reply->outcome = (uint16_t)walk->outcome;
    reply->at = walk->next;
    reply->length = (uint32_t)text;
    reply->rest_length = (uint32_t)walk->rest_length;
    reply->links_followed = walk->links;
    memcpy(serving->call->reply_body, walk->text, text);
    memcpy(serving->call->reply_body + text, walk->rest, walk->rest_length);
    serving->call->reply_size = text + walk->rest_length;
}

int path_walk(struct serving *serving, struct walk *walk, uint64_t key, const char *path,
              size_t length, unsigned flags)
{
    const struct file_request *request = serving->request;
    int error;

    walk->om = serving->om;
    walk->looked.count = 0;
    walk->fs = serving->fs;
    walk->number = serving->number;
    walk->credentials = &request->credentials;
    walk->root = request->root != 0 && OM_KEY_SYSTEM(request->root) == serving->number
                     ? OM_KEY_ID(request->root) : 0;
    walk->flags = flags;
    walk->follow_inside = (request->flags & FILE_FOLLOW_INSIDE) != 0;
    walk->links = request->links_followed;
    error = walk_run(walk, key == FILE_ROOT_KEY ? serving->fs->root : OM_KEY_ID(key), path, length);
    if (error == 0 && walk->outcome != FILE_DONE)
        outcome_reply(serving, walk);
    return error;
}

/* The first path. The caller looks at walk.outcome. */
int first_walk(struct serving *serving, unsigned flags)
{
    if ((serving->request->flags & FILE_FOLLOW) != 0 && (flags & WALK_PARENT) == 0)
        flags |= WALK_FOLLOW;
    return path_walk(serving, &serving->walk, serving->request->key, serving->call->body,
                     serving->request->path_length, flags);
}

void attributes_reply(struct serving *serving, const struct file_attributes *attributes)
{
    fs_id id = OM_KEY_ID(attributes->key);

    serving->reply->attributes = *attributes;
    serving->reply->attributes.key = OM_KEY(serving->number, id);
    serving->reply->node = (struct file_node){ serving->om->port, OM_KEY(serving->number, id) };
}

int node_reply(struct serving *serving, fs_id id)
{
    struct file_attributes attributes;
    int error = serving->fs->operations->attributes(serving->fs, id, &attributes);

    if (error == 0)
        attributes_reply(serving, &attributes);
    return error;
}

/* The directory of the first path's last component may be changed by the caller. */
int change_check(const struct walk *walk)
{
    return permission_check(&walk->attributes, walk->credentials, MAY_WRITE | MAY_EXECUTE);
}

int name_lookup(const struct walk *walk, fs_id *ret, struct file_attributes *ret_attributes)
{
    int error = walk->fs->operations->lookup(walk->fs, walk->at, walk->rest, walk->rest_length, ret);

    return error != 0 ? error : walk->fs->operations->attributes(walk->fs, *ret, ret_attributes);
}

bool is_mounted(struct serving *serving, fs_id id)
{
    for (unsigned i = 0; i < OM_MOUNTS_MAX; i++)
        if (serving->om->mounts[i].at == OM_KEY(serving->number, id))
            return true;
    return false;
}

void cut_begin(struct serving *serving, fs_id id)
{
    serving->cut_key = OM_KEY(serving->number, id);
    serving->cut_size = UINT64_MAX;
    om_cut_begin(serving->om, serving->cut_key);
}

/* What a new node gets from the caller, and its group from a set-gid directory. */
struct fs_new new_node(const struct walk *walk, uint32_t mode)
{
    struct fs_new ret = { .mode = mode, .uid = walk->credentials->uid,
                          .gid = walk->credentials->gid };

    if ((walk->attributes.mode & S_ISGID) != 0) {
        ret.gid = walk->attributes.gid;
        if (S_ISDIR(mode))
            ret.mode |= S_ISGID;
    }
    return ret;
}

/* Make the first path's last component. The walk stands at its directory. */
int node_make(struct serving *serving, const struct fs_new *made, fs_id *ret)
{
    struct walk *walk = &serving->walk;
    int error = change_check(walk);

    if (error != 0)
        return error;
    return serving->fs->operations->create(serving->fs, walk->at, walk->rest, walk->rest_length,
                                           made, ret);
}

/* The second path, of link and rename. NULL when the walk ended elsewhere (answered), or failed. */
struct walk *second_walk(struct serving *serving, int *ret_error)
{
    struct walk *walk = calloc(1, sizeof *walk);
    uint64_t key = serving->request->rename.second_key;
    uint32_t number = key == FILE_ROOT_KEY ? 1 : OM_KEY_SYSTEM(key);

    *ret_error = walk == NULL ? -ENOMEM : number != serving->number ? -EXDEV : 0;
    if (*ret_error == 0)
        *ret_error = path_walk(serving, walk, key, second_of(serving),
                               serving->request->second_length, WALK_PARENT);
    if (*ret_error == 0 && walk->outcome == FILE_DONE)
        return walk;
    if (*ret_error == 0)
        serving->reply->flags |= FILE_SECOND;
    free(walk);
    return NULL;
}

/* Serving ------------------------------------------------------------------------- */

static handler *const handlers[FILE_OPERATION_END - FILE_STATFS] = {
    [FILE_STATFS - FILE_STATFS] = serve_statfs,
    [FILE_WALK - FILE_STATFS] = serve_walk,
    [FILE_GETATTR - FILE_STATFS] = serve_getattr,
    [FILE_SETATTR - FILE_STATFS] = serve_setattr,
    [FILE_OPEN - FILE_STATFS] = serve_open,
    [FILE_CREATE - FILE_STATFS] = serve_create,
    [FILE_CLOSE - FILE_STATFS] = serve_close,
    [FILE_MKDIR - FILE_STATFS] = serve_mkdir,
    [FILE_MKNOD - FILE_STATFS] = serve_mknod,
    [FILE_SYMLINK - FILE_STATFS] = serve_symlink,
    [FILE_READLINK - FILE_STATFS] = serve_readlink,
    [FILE_LINK - FILE_STATFS] = serve_link,
    [FILE_UNLINK - FILE_STATFS] = serve_unlink,
    [FILE_RMDIR - FILE_STATFS] = serve_rmdir,
    [FILE_RENAME - FILE_STATFS] = serve_rename,
    [FILE_READDIR - FILE_STATFS] = serve_readdir,
    [FILE_READ - FILE_STATFS] = serve_transfer,
    [FILE_WRITE - FILE_STATFS] = serve_transfer,
    [FILE_ALLOCATE - FILE_STATFS] = serve_allocate,
    [FILE_FSYNC - FILE_STATFS] = serve_fsync,
    [FILE_MOUNT - FILE_STATFS] = serve_mount,
    [FILE_UNMOUNT - FILE_STATFS] = serve_unmount,
    [FILE_ATTACH - FILE_STATFS] = serve_attach,
    [FILE_DETACH - FILE_STATFS] = serve_detach,
};

static int request_check(const struct om_call *call)
{
    const struct file_request *request = call->request;

    if ((size_t)request->path_length + request->second_length > call->body_size)
        return -EINVAL;
    if (request->credentials.group_count > FILE_GROUPS_MAX)
        return -EINVAL;
    if (request->path_length > FILE_PATH_MAX)
        return -ENAMETOOLONG;
    return 0;
}

bool om_only_looks(const struct file_request *request)
{
    switch (request->operation) {
    case FILE_STATFS:
    case FILE_WALK:
    case FILE_GETATTR:
    case FILE_READLINK:
    case FILE_READDIR:
        return true;
    case FILE_OPEN:
        return (request->open.access & (FILE_O_WRITE | FILE_O_TRUNCATE)) == 0;
    default:
        return false;
    }
}

/* What an operation that changes something will look at first: its names. */
static int names_look(struct serving *serving)
{
    struct file_attributes attributes;
    struct walk *second;
    fs_id id;
    int error = first_walk(serving, WALK_PARENT);

    if (error == 0 && !left(serving))
        error = name_lookup(&serving->walk, &id, &attributes);
    if (serving->request->operation != FILE_RENAME && serving->request->operation != FILE_LINK)
        return error;
    second = second_walk(serving, &error);
    if (second != NULL)
        error = name_lookup(second, &id, &attributes);
    free(second);
    return error;
}

static void reply_reset(struct serving *serving)
{
    memset(serving->reply, 0, sizeof *serving->reply);
    serving->call->reply_size = 0;
}

/* Looking does not wait for the disk with the lock held. One that changes something looks first,
 * and then finds what it needs in memory. */
static int handle_locked(struct serving *serving, handler *handle)
{
    const struct fs_operations *operations = serving->fs->operations;
    bool looks = om_only_looks(serving->request);
    int error = -EAGAIN;

    for (int tries = 0; operations->look != NULL && tries < 1000; tries++) {
        operations->look(serving->fs, true);
        error = looks ? handle(serving) : names_look(serving);
        operations->look(serving->fs, false);
        if (!operations->fetch(serving->fs))
            break;
        if (looks && error == 0)
            return 0;
        reply_reset(serving);
        error = -EAGAIN;
    }
    if (operations->look != NULL && looks && error != -EAGAIN)
        return error;
    reply_reset(serving);
    return handle(serving);
}

/* What the answer depends on goes along with it. The file system is still locked. */
static void leases_put(struct serving *serving)
{
    struct file_lease leases[FILE_LEASES_MAX];
    unsigned count = 0;

    if (serving->request->operation == FILE_GETATTR)
        lease_look(&serving->walk.looked, serving->number, FS_ID_INODE(id_given(serving)));
    if (serving->walk.looked.count > 0)
        count = lease_tell(serving->om, &serving->walk.looked, leases);
    if (count == 0)
        return;
    memcpy(serving->call->reply_body + serving->call->reply_size, leases, count * sizeof *leases);
    serving->call->reply_size += count * sizeof *leases;
    serving->reply->flags |= FILE_LEASED;
}

/* On one file system, under its lock. */
static int serve_node(struct serving *serving, handler *handle)
{
    uint64_t key = serving->request->key;
    int error;

    serving->number = key == FILE_ROOT_KEY ? 1 : OM_KEY_SYSTEM(key);
    serving->fs = serving->om->systems[serving->number];
    if (serving->fs == NULL)
        return serving->om->stopped ? -EIO : serving->number == 1 ? -ENODEV : -ESTALE;
    pthread_mutex_lock(&serving->fs->lock);
    error = handle_locked(serving, handle);
    if (!om_only_looks(serving->request) && serving->walk.fs != NULL)
        lease_change(serving->om, serving->number, FS_ID_INODE(serving->walk.at));
    else if (error == 0 && (serving->request->flags & FILE_LEASE) != 0)
        leases_put(serving);
    pthread_mutex_unlock(&serving->fs->lock);
    return error;
}

static bool changes_systems(uint32_t operation)
{
    return operation == FILE_MOUNT || operation == FILE_UNMOUNT;
}

static int serve_watch(struct serving *serving)
{
    struct file_watch watch;

    if (serving->call->body_size < sizeof watch)
        return -EINVAL;
    memcpy(&watch, serving->call->body, sizeof watch);
    return lease_watch(serving->om, &watch);
}

static int serve_locked(struct serving *serving)
{
    uint32_t operation = serving->request->operation;
    handler *handle = operation >= FILE_STATFS && operation < FILE_OPERATION_END
                          ? handlers[operation - FILE_STATFS] : NULL;
    int error;

    if (operation == FILE_RESCAN)
        return serving->request->credentials.uid != 0 ? -EPERM : blocks_rescan(serving->om, serving->request->key);
    if (operation == FILE_WATCH)
        return serve_watch(serving);
    if (handle == NULL)
        return -ENOSYS;
    if (operation == FILE_ATTACH || operation == FILE_DETACH)
        return handle(serving);         /* they wait for disks, and take the lock where they must */
    if (changes_systems(operation))
        pthread_rwlock_wrlock(&serving->om->lock);
    else
        pthread_rwlock_rdlock(&serving->om->lock);
    error = serve_node(serving, handle);
    if (changes_systems(operation))
        lease_change_all(serving->om);
    pthread_rwlock_unlock(&serving->om->lock);
    return error;
}

static int serve_all(struct serving *serving)
{
    struct om *om = serving->om;
    int error, flushed;

    if (serving->request->operation == FILE_SHUTDOWN && serving->request->credentials.uid != 0)
        return -EPERM;
    flushed = om_segments_flush(om);
    error = serving->request->operation == FILE_SYNC ? om_sync(om) : om_stop(om);
    return error != 0 ? error : flushed;
}

/* What the Nucleus' caches have to know of a change. Without locks. */
static void caches_tell(struct serving *serving, int error)
{
    const struct file_request *request = serving->request;

    if (serving->cut_key != 0)
        om_cut_end(serving->om, serving->cut_key, error == 0 ? serving->cut_size : UINT64_MAX);
    if (serving->punched_key != 0)
        om_segment_zero(serving->om, serving->punched_key, request->io.offset, request->io.length);
    if (serving->idle_key != 0)
        om_segment_invalidate(serving->om, serving->idle_key);
    if (serving->om->lingering != 0)
        om_linger_end(serving->om);
}

/* A hole is punched where nobody writes meanwhile: blocks granted for writing are called back. */
static void hole_prepare(struct serving *serving)
{
    const struct file_request *request = serving->request;

    if (request->operation == FILE_ALLOCATE && (request->io.mode & FILE_ALLOCATE_PUNCH_HOLE) != 0)
        om_segment_recall(serving->om, request->key);
}

/* Zero, but for the texts of the walk at its end, which are longer than all the rest. NULL: no memory. */
static struct serving *serving_new(struct om *om, struct om_call *call)
{
    struct serving *serving = malloc(sizeof *serving);

    if (serving == NULL)
        return NULL;
    memset(serving, 0, offsetof(struct serving, walk) + offsetof(struct walk, text));
    serving->om = om;
    serving->call = call;
    serving->request = call->request;
    serving->reply = call->reply;
    return serving;
}

void om_serve(struct om *om, struct om_call *call)
{
    struct serving *serving = serving_new(om, call);
    int error = serving == NULL ? -ENOMEM : request_check(call);

    memset(call->reply, 0, sizeof *call->reply);
    call->reply_size = 0;
    if (error == 0) {
        hole_prepare(serving);
        blocks_prepare(om, call->request);
        if (call->request->operation == FILE_SYNC || call->request->operation == FILE_SHUTDOWN)
            error = serve_all(serving);
        else
            error = serve_locked(serving);
        if (error == -ENOSPC && om_settle_for_room(om)) {
            reply_reset(serving);
            error = serve_locked(serving);
        }
        caches_tell(serving, error);
    }
    free(serving);
    if (error != 0) {
        memset(call->reply, 0, sizeof *call->reply);
        call->reply->error = error;
        call->reply_size = 0;
    }
}

/* om ------------------------------------------------------------------------------ */

void om_init(struct om *om, struct om_world *world)
{
    memset(om, 0, sizeof *om);
    pthread_rwlock_init(&om->lock, NULL);
    pthread_mutex_init(&om->segments_lock, NULL);
    pthread_mutex_init(&om->settle_lock, NULL);
    leases_init(&om->leases);
    om->world = world;
    om->cache_memory = 8u << 20;
}

int om_add(struct om *om, struct fs *fs, uint32_t number)
{
    if (number == 0)
        for (number = 2; number < OM_SYSTEMS_MAX && om->systems[number] != NULL; number++)
            ;
    if (number >= OM_SYSTEMS_MAX || om->systems[number] != NULL) {
        struct blockdev *device = fs->device;
        fs->operations->unmount(fs);
        blockdev_close(device);
        return -ENOSPC;
    }
    fs->number = number;
    fs->om = om;
    om->systems[number] = fs;
    return 0;
}

int om_add_blocks(struct om *om)
{
    struct fs *fs = blocks_new(om, om->world->disks(om->world));

    return fs != NULL ? om_add(om, fs, BLOCKS_NUMBER) : -ENOMEM;
}

int om_sync(struct om *om)
{
    int first = 0;

    pthread_rwlock_rdlock(&om->lock);
    for (unsigned i = 0; i < OM_SYSTEMS_MAX; i++) {
        struct fs *fs = om->systems[i];
        int error;

        if (fs == NULL)
            continue;
        pthread_mutex_lock(&fs->lock);
        error = fs->operations->sync(fs);
        pthread_mutex_unlock(&fs->lock);
        if (first == 0)
            first = error;
    }
    pthread_rwlock_unlock(&om->lock);
    return first;
}

bool om_is_changed(struct om *om)
{
    bool changed = false;

    pthread_rwlock_rdlock(&om->lock);
    for (unsigned i = 0; i < OM_SYSTEMS_MAX && !changed; i++) {
        struct fs *fs = om->systems[i];

        if (fs == NULL)
            continue;
        pthread_mutex_lock(&fs->lock);
        changed = fs->operations->is_changed(fs);
        pthread_mutex_unlock(&fs->lock);
    }
    pthread_rwlock_unlock(&om->lock);
    return changed;
}

int om_stop(struct om *om)
{
    int first = 0;

    pthread_rwlock_wrlock(&om->lock);
    lease_end(om);
    om->stopped = true;
    for (unsigned i = OM_SYSTEMS_MAX - 1; i > 0; i--) {
        int error;

        if (i == 1)
            store_close(om->store);
        struct blockdev *device = om->systems[i] != NULL ? om->systems[i]->device : NULL;
        error = om->systems[i] != NULL ? om->systems[i]->operations->unmount(om->systems[i]) : 0;
        blockdev_close(device);

        om->systems[i] = NULL;
        if (first == 0)
            first = error;
    }
    om->store = NULL;
    memset(om->mounts, 0, sizeof om->mounts);
    pthread_rwlock_unlock(&om->lock);
    return first;
}
