/* Mounts: proc and devpts are ours, the file systems of disks and memory om's. */

#include "mount.h"

#include <limits.h>
#include <protocol/share.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "block.h"
#include "call.h"
#include "deferred.h"
#include "descriptor.h"
#include "device.h"
#include "own_files.h"
#include "process.h"

struct list mounts = { &mounts, &mounts };
static int last_id;

bool mount_covered(const struct file_node *root, struct place *ret_covered)
{
    LIST_EACH(&mounts, at) {
        struct mount *mount = LIST_ENTRY(at, struct mount, link);
        if (mount->covered.node.port != 0 && file_node_equal(&mount->root, root)) {
            *ret_covered = mount->covered;
            return true;
        }
    }
    return false;
}

static struct mount *note(struct place covered, struct file_node root, const char *source,
                          const char *type, const char *options)
{
    struct mount *mount = calloc(1, sizeof *mount);
    if (mount == NULL)
        return NULL;
    mount->id = ++last_id;
    mount->covered = covered;
    mount->root = root;
    snprintf(mount->source, sizeof mount->source, "%s", source);
    snprintf(mount->type, sizeof mount->type, "%s", type);
    snprintf(mount->options, sizeof mount->options, "%s", options);
    list_append(&mounts, &mount->link);
    return mount;
}

int mount_root(struct file_node root)
{
    struct place nothing = { .path = strdup("/") };
    return note(nothing, root, "/dev/root", "ext4", "rw") == NULL ? -ENOMEM : 0;
}

int mount_add(struct place *covered, struct file_node root, const char *source, const char *type,
              const char *options)
{
    struct mount *mount = note(*covered, root, source, type, options);
    struct file_exchange exchange = { .node = covered->node };
    if (mount == NULL)
        return -ENOMEM;
    exchange.request.operation = FILE_MOUNT;
    exchange.request.mount.node = root;
    int error = file_exchange(&exchange);
    if (error == 0)
        return 0;
    list_remove(&mount->link);
    free(mount);
    return error;
}

/* A new file system of om's. */
static int attach(struct file_node server, const char *source, const char *type,
                  const char *options, struct file_node *ret_root)
{
    char message[PATH_MAX + 256];
    size_t source_length = strlen(source);
    int text_length = snprintf(message, sizeof message, "%s%s%s%s", source, type,
                               *options ? "," : "", options);
    struct file_exchange exchange = { .node = server, .send = message,
                                      .send_size = (uint32_t)text_length };
    exchange.node.key = FILE_ROOT_KEY;
    exchange.request.operation = FILE_ATTACH;
    exchange.request.path_length = (uint16_t)source_length;
    exchange.request.second_length = (uint16_t)((size_t)text_length - source_length);
    int error = file_exchange(&exchange);
    *ret_root = exchange.reply.node;
    return error;
}

static int new_file_system(const char *source, const char *type, const char *options,
                           struct file_node *ret_root)
{
    struct mount *first = LIST_ENTRY(mounts.next, struct mount, link);
    if (own_files_root(type, ret_root))
        return 0;
    if (strcmp(type, "devtmpfs") == 0)
        type = "tmpfs";
    return attach(first->root, strcmp(type, "tmpfs") == 0 ? "" : source, type, options, ret_root);
}

int mount_nowhere(struct file_node *ret_root)
{
    return new_file_system("", "tmpfs", "mode=700", ret_root);
}

/* A directory by its name from the root, at boot: its server, and the way inside that. */
static struct file_node boot_server(const char *path, const char **ret_inside)
{
    struct mount *first = LIST_ENTRY(mounts.next, struct mount, link);
    for (struct list *at = mounts.next; at != &mounts; at = at->next) {
        struct mount *mount = LIST_ENTRY(at, struct mount, link);
        size_t length = strlen(mount->covered.path);
        if (length > 1 && strncmp(path, mount->covered.path, length) == 0 && path[length] == '/')
            first = mount;
    }
    *ret_inside = path + (strcmp(first->covered.path, "/") == 0 ? 1 : strlen(first->covered.path) + 1);
    return first->root;
}

static int boot_walk(const char *path, struct file_node *ret_node)
{
    const char *inside;
    struct file_exchange exchange = { .node = boot_server(path, &inside) };
    exchange.request.operation = FILE_WALK;
    exchange.request.path_length = (uint16_t)strlen(inside);
    exchange.send = inside;
    exchange.send_size = exchange.request.path_length;
    int error = file_exchange(&exchange);
    if (error == 0 && exchange.reply.outcome != FILE_DONE)
        error = -EBUSY;
    *ret_node = (struct file_node){ .port = exchange.node.port, .key = exchange.reply.attributes.key };
    return error;
}

static int boot_mount(const char *path, struct file_node covered_node, struct file_node root, const char *type, const char *source,
                      const char *options)
{
    struct place covered = { .node = covered_node, .path = strdup(path) };
    int error = covered.path == NULL ? -ENOMEM : mount_add(&covered, root, source, type, options);
    if (error != 0)
        free(covered.path);
    return error;
}

int mount_at_boot(const char *path, const char *type, const char *source)
{
    struct file_node covered, root;
    int error = boot_walk(path, &covered);
    if (error == 0)
        error = new_file_system(source, type, strcmp(type, "devtmpfs") == 0 ? "mode=755" : "", &root);
    return error != 0 ? error : boot_mount(path, covered, root, type, source, "rw");
}

/* All of a path's directories. */
static void make_way(const char *path)
{
    char part[PATH_MAX];
    for (const char *end = strchr(path + 1, '/');; end = strchr(end + 1, '/')) {
        const char *inside;
        snprintf(part, sizeof part, "%.*s", end != NULL ? (int)(end - path) : (int)strlen(path), path);
        struct file_exchange exchange = { .node = boot_server(part, &inside), .send = inside, .send_size = (uint32_t)strlen(inside) };
        exchange.request.operation = FILE_MKDIR;
        exchange.request.path_length = (uint16_t)exchange.send_size;
        exchange.request.mknod.mode = S_IFDIR | 0755;
        file_exchange(&exchange);
        if (end == NULL)
            return;
    }
}

#define SHARE_TRIES 500
#define SHARE_PAUSE (NANOSECONDS / 100)

static unsigned shares_known, shares_read_only; /* how many were given to the site; one bit for each */

/* The root of a folder. Its server may not be up yet, or be started again. */
static int share_root(unsigned number, struct file_node *ret_root)
{
    KnUniqueId group;
    struct file_node root = { .key = FILE_ROOT_KEY };
    int error = -EIO;
    uiBuild(&group, K_UISTATGROUP, 0, SHARE_GROUP_STAMP + 16 * number);
    memcpy(&root.port, &group, sizeof root.port);
    for (int tries = 0; error == -EIO && tries < SHARE_TRIES; tries++) {
        struct file_exchange exchange = { .node = root };
        exchange.request.operation = FILE_WALK;
        error = file_exchange_quietly(&exchange);
        if (error == 0)
            root.key = exchange.reply.attributes.key;
        if (error == -EIO) {
            pm_unlock();
            threadDelay(SHARE_PAUSE);
            pm_lock();
        }
    }
    *ret_root = root;
    return error;
}

int mount_share(unsigned number, const char *path, bool read_only)
{
    char source[16];
    struct file_node covered, root;
    int error = share_root(number, &root);
    shares_known = number + 1;
    shares_read_only |= (unsigned)read_only << number;
    if (error == 0 && boot_walk(path, &covered) == -ENOENT)
        make_way(path);
    if (error == 0)
        error = boot_walk(path, &covered);
    snprintf(source, sizeof source, "share%u", number);
    return error != 0 ? error : boot_mount(path, covered, root, "share", source, read_only ? "ro" : "rw");
}

/* ---- /dev ---- */

static int make(struct file_node directory, uint16_t operation, const char *name, const char *text,
                uint32_t mode, uint32_t device)
{
    char message[512];
    int length = snprintf(message, sizeof message, "%s%s", name, text != NULL ? text : "");
    struct file_exchange exchange = { .node = directory, .send = message,
                                      .send_size = (uint32_t)length };
    exchange.request.operation = operation;
    exchange.request.path_length = (uint16_t)strlen(name);
    exchange.request.second_length = text != NULL ? (uint16_t)strlen(text) : 0;
    if (operation != FILE_SYMLINK) {
        exchange.request.mknod.mode = mode;
        exchange.request.mknod.device = device;
    }
    return file_exchange(&exchange);
}

static int make_device(struct file_node dev, const struct tty_node *node)
{
    int error = make(dev, FILE_MKNOD, node->name, NULL, node->mode | S_IFCHR, node->device);
    if (error != 0)
        return error;
    struct file_exchange exchange = { .node = dev, .send = node->name,
                                      .send_size = (uint32_t)strlen(node->name) };
    exchange.request.operation = FILE_SETATTR;
    exchange.request.path_length = (uint16_t)exchange.send_size;
    exchange.request.setattr.valid = FILE_SET_UID | FILE_SET_GID | FILE_SET_MODE;
    exchange.request.setattr.uid = node->uid;
    exchange.request.setattr.gid = node->gid;
    exchange.request.setattr.mode = node->mode;
    return file_exchange(&exchange);
}

static struct file_node dev_root; /* port 0: /dev is not ours */

void mount_fill_blocks(void)
{
    if (dev_root.port != 0)
        block_fill_dev(dev_root);
}

void mount_fill_dev(void)
{
    struct tty_node nodes[64];
    struct mount *dev = LIST_ENTRY(mounts.previous, struct mount, link);
    int count = device_list(0, nodes, 64);
    if (strcmp(dev->covered.path, "/dev") != 0)
        return;
    for (int i = 0; i < count; i++) {
        nodes[i].name[TTY_NODE_NAME_MAX] = '\0';
        bool of_input = strncmp(nodes[i].name, "input/", 6) == 0;
        if (of_input)
            make(dev->root, FILE_MKDIR, "input", NULL, S_IFDIR | 0755, 0);
        if (of_input || strchr(nodes[i].name, '/') == NULL)
            make_device(dev->root, &nodes[i]);
    }
    dev_root = dev->root;
    mount_fill_blocks();
    make(dev->root, FILE_SYMLINK, "fd", "/proc/self/fd", 0, 0);
    make(dev->root, FILE_SYMLINK, "rtc", "rtc0", 0, 0);
    make(dev->root, FILE_SYMLINK, "stdin", "/proc/self/fd/0", 0, 0);
    make(dev->root, FILE_SYMLINK, "stdout", "/proc/self/fd/1", 0, 0);
    make(dev->root, FILE_SYMLINK, "stderr", "/proc/self/fd/2", 0, 0);
    make(dev->root, FILE_MKDIR, "pts", NULL, S_IFDIR | 0755, 0);
    make(dev->root, FILE_MKDIR, "shm", NULL, S_IFDIR | 01777, 0);
}

/* ---- mount(2) ---- */

static int fetch_text(struct call *call, VmAddr at, char *text, size_t size)
{
    *text = '\0';
    if (at == 0)
        return 0;
    int length = copy_in_string(call, text, at, size);
    return length < 0 ? length == -ENAMETOOLONG ? -EINVAL : length : 0;
}

static bool is_on_disk(const char *type)
{
    return strcmp(type, "ext4") == 0 || strcmp(type, "ext3") == 0 || strcmp(type, "ext2") == 0;
}

/* What the source leads to, as om calls it. */
static int disk_find(struct call *call, VmAddr source, char *name, size_t size)
{
    struct place place = { 0 };
    struct file_exchange exchange = { 0 };
    int error = place_find(call, source, PLACE_ANY, &place);
    if (error != 0)
        return error;
    exchange.node = place.node;
    place_clear(&place);
    exchange.request.operation = FILE_GETATTR;
    error = file_exchange(&exchange);
    if (error != 0)
        return error;
    const struct file_attributes *node = &exchange.reply.attributes;
    uint32_t minor = node->rdev & 0xfffff;
    if (!S_ISBLK(node->mode))
        return -ENOTBLK;
    if (node->rdev >> 20 != FILE_BLOCK_MAJOR || minor / 16 >= 26)
        return -ENXIO;
    snprintf(name, size, minor % 16 == 0 ? "/dev/vd%c" : "/dev/vd%c%u", 'a' + minor / 16, minor % 16);
    deferred_settle(); /* who has just closed the disk must not be in the way */
    return 0;
}

/* "share0": a folder of the host that is mounted nowhere now. Only who gave it to the site can make it one that is only read. */
static int share_find(const char *source, bool read_only, struct file_node *ret_root, const char **ret_options)
{
    char *end = "";
    unsigned long number = strncmp(source, "share", 5) == 0 && source[5] >= '0' && source[5] <= '9' ? strtoul(source + 5, &end, 10) : SHARES_MAX;
    if (*end != '\0' || number >= shares_known)
        return -ENXIO;
    bool is_read_only = shares_read_only >> number & 1;
    *ret_options = is_read_only ? "ro" : "rw";
    if (read_only && !is_read_only)
        return -EINVAL;
    int error = share_root((unsigned)number, ret_root);
    LIST_EACH(&mounts, at)
        if (error == 0 && file_node_equal(&LIST_ENTRY(at, struct mount, link)->root, ret_root))
            error = -EBUSY;
    return error;
}

int64_t linux_mount(struct call *call)
{
    char source[PATH_MAX], type[16], data[128];
    uint64_t flags = call->arg[3];
    const char *options = flags & MS_RDONLY ? "ro" : "rw";
    struct place target = { 0 }, from = { 0 };
    struct file_node root;
    if (call_process(call)->credentials.euid != 0)
        return -EPERM;
    int error = fetch_text(call, call->arg[0], source, sizeof source);
    if (error == 0)
        error = fetch_text(call, call->arg[2], type, sizeof type);
    if (error == 0)
        error = fetch_text(call, call->arg[4], data, sizeof data);
    if (error == 0)
        error = place_find(call, call->arg[1], PLACE_ANY, &target);
    if (error != 0)
        return error;
    if (flags & (MS_REMOUNT | MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE | MS_MOVE)) {
        error = flags & (MS_PRIVATE | MS_REMOUNT) ? 0 : -EINVAL;
        place_clear(&target);
        return error;
    }
    if (flags & MS_BIND) {
        error = place_find(call, call->arg[0], PLACE_ANY, &from);
        root = from.node;
        place_clear(&from);
        strcpy(type, "none");
    } else if (strcmp(type, "share") == 0) {
        error = share_find(source, flags & MS_RDONLY, &root, &options);
    } else {
        if (flags & MS_RDONLY)
            strncat(data, *data ? ",ro" : "ro", sizeof data - strlen(data) - 1);
        char disk[16];
        if (is_on_disk(type))
            error = disk_find(call, call->arg[0], disk, sizeof disk);
        if (error == 0)
            error = new_file_system(is_on_disk(type) ? disk : source, type, data, &root);
    }
    if (error == 0)
        error = mount_add(&target, root, source, type, options);
    else
        flags |= MS_BIND; /* there is nothing to detach */
    if (error != 0 && !(flags & MS_BIND) && !file_node_is_own(&root)) {
        struct file_exchange exchange = { .node = root };
        exchange.request.operation = FILE_DETACH;
        file_exchange(&exchange);
    }
    if (error != 0)
        place_clear(&target);
    return error;
}

static bool is_below(const char *path, const char *top)
{
    size_t length = strlen(top);
    return path != NULL && strncmp(path, top, length) == 0 &&
           (path[length] == '/' || path[length] == '\0');
}

static bool is_in_use(const struct mount *mount)
{
    const char *top = mount->covered.path;
    LIST_EACH(&mounts, at) {
        struct mount *other = LIST_ENTRY(at, struct mount, link);
        if (other != mount && is_below(other->covered.path, top))
            return true;
    }
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (process->fs != NULL && (is_below(process->fs->cwd.path, top) ||
                                    is_below(process->fs->root.path, top)))
            return true;
        for (int fd = 0; process->descriptors != NULL && fd < process->descriptors->size; fd++) {
            struct file *file = process->descriptors->slots[fd].file;
            if (file != NULL && is_below(file->place.path, top))
                return true;
        }
    }
    return false;
}

static struct mount *find_mount(const struct place *place)
{
    for (struct list *at = mounts.previous; at != &mounts; at = at->previous) {
        struct mount *mount = LIST_ENTRY(at, struct mount, link);
        if (strcmp(mount->covered.path, place->path) == 0 && mount->covered.node.port != 0)
            return mount;
    }
    return NULL;
}

/* The file system goes. If somebody still uses it after all, it is where it was: -EBUSY. */
static int detach(struct mount *mount)
{
    struct file_exchange detach = { .node = mount->root };
    deferred_settle();
    detach.request.operation = FILE_DETACH;
    int error = file_exchange(&detach);
    if (error != -EBUSY)
        return error;
    struct file_exchange again = { .node = mount->covered.node };
    again.request.operation = FILE_MOUNT;
    again.request.mount.node = mount->root;
    list_append(&mounts, &mount->link);
    file_exchange(&again);
    return -EBUSY;
}

int64_t linux_umount2(struct call *call)
{
    struct place place;
    if (call_process(call)->credentials.euid != 0)
        return -EPERM;
    int error = place_find(call, call->arg[0], PLACE_ANY, &place);
    if (error != 0)
        return error;
    struct mount *mount = find_mount(&place);
    place_clear(&place);
    if (mount == NULL)
        return -EINVAL;
    if (is_in_use(mount) && !(call->arg[1] & MNT_DETACH))
        return -EBUSY;
    struct file_exchange exchange = { .node = mount->covered.node };
    exchange.request.operation = FILE_UNMOUNT;
    list_remove(&mount->link);
    error = file_exchange(&exchange);
    if (error == 0 && strcmp(mount->type, "none") != 0 && !file_node_is_own(&mount->root))
        error = detach(mount);
    if (error == -EBUSY)
        return error;
    place_clear(&mount->covered);
    free(mount);
    return error;
}
