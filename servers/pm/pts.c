/* /dev/pts: the pseudo-terminals that dm has now. */

#include <sys/stat.h>

#include "device.h"
#include "own_files.h"

#define ROOT (UINT64_C(2) << 56)
#define PTS_MOST 256
#define PTMX 0xffffu

static uint64_t key_of(uint32_t number)
{
    return ROOT | (number + 1);
}

/* The nodes below pts/. dm is asked each time: ptys come and go. */
static int find(uint32_t number, struct tty_node *ret_node)
{
    struct tty_node nodes[PTS_MOST + 64];
    int count = device_list(0, nodes, PTS_MOST + 64);
    for (int i = 0; i < count; i++) {
        if (nodes[i].device != TTY_PTS(number) || strncmp(nodes[i].name, "pts/", 4) != 0)
            continue;
        *ret_node = nodes[i];
        return 0;
    }
    return -ENOENT;
}

static int lookup(uint64_t directory, const char *name, struct thread *thread, uint64_t *ret_key)
{
    struct tty_node node;
    char *end;
    (void)directory, (void)thread;
    if (strcmp(name, "ptmx") == 0) {
        *ret_key = key_of(PTMX);
        return 0;
    }
    unsigned long number = strtoul(name, &end, 10);
    if (*end != '\0' || end == name || (name[0] == '0' && name[1] != '\0') || number >= PTMX)
        return -ENOENT;
    *ret_key = key_of((uint32_t)number);
    return find((uint32_t)number, &node);
}

static uint64_t parent(uint64_t key)
{
    (void)key;
    return ROOT;
}

static int describe(uint64_t key, struct file_attributes *attributes)
{
    struct tty_node node;
    uint32_t number = (uint32_t)(key & 0xffffffff) - 1;
    if (key == ROOT) {
        attributes->mode = S_IFDIR | 0755;
        return 0;
    }
    if (number == PTMX) {
        attributes->mode = S_IFCHR | 0666;
        attributes->rdev = TTY_PTMX;
        return 0;
    }
    int error = find(number, &node);
    if (error != 0)
        return error;
    attributes->mode = S_IFCHR | node.mode;
    attributes->uid = node.uid;
    attributes->gid = node.gid;
    attributes->rdev = node.device;
    return 0;
}

static bool list(uint64_t directory, uint64_t index, struct own_entry *entry)
{
    struct tty_node nodes[PTS_MOST + 64];
    (void)directory;
    if (index == 0) {
        strcpy(entry->name, "ptmx");
        entry->key = key_of(PTMX);
        return true;
    }
    int count = device_list(0, nodes, PTS_MOST + 64);
    for (int i = 0; i < count; i++) {
        if (strncmp(nodes[i].name, "pts/", 4) != 0 || --index != 0)
            continue;
        nodes[i].name[TTY_NODE_NAME_MAX] = '\0';
        strcpy(entry->name, nodes[i].name + 4);
        entry->key = key_of(TTY_MINOR(nodes[i].device));
        return true;
    }
    return false;
}

const struct own_file_system pts_files = {
    .type = "devpts", .root = ROOT, .magic = 0x1cd1, .lookup = lookup, .parent = parent,
    .describe = describe, .list = list,
};
