/* own_files.h: file systems that pm serves itself: /proc and /dev/pts.
 *
 * They speak the file protocol without messages. A file system is a few functions on keys; walking,
 * attributes and reading are done here for both.
 */
#ifndef PM_OWN_FILES_H
#define PM_OWN_FILES_H

#include <stdio.h>

#include "file_server.h"

#define OWN_NAME_MAX 64

struct own_entry {
    uint64_t key;
    char name[OWN_NAME_MAX];
};

struct own_file_system {
    const char *type;
    uint64_t root;     /* its high byte is that of all its keys */
    uint32_t magic;    /* f_type */
    /* -ENOENT. */
    int (*lookup)(uint64_t directory, const char *name, struct thread *thread, uint64_t *ret_key);
    uint64_t (*parent)(uint64_t key);
    /* Type, mode, owner; size and times are filled in. -ENOENT: it has gone. */
    int (*describe)(uint64_t key, struct file_attributes *attributes);
    /* The <index>th entry, after "." and "..". False: past the last. */
    bool (*list)(uint64_t directory, uint64_t index, struct own_entry *entry);
    /* The text of a file, printed. Gives up the lock perhaps. */
    int (*text)(uint64_t key, FILE *out);
    int (*write)(uint64_t key, const char *text, struct thread *thread);
    /* The text of a link; and what is open behind it, if it is a magic one: a reference. */
    int (*link)(uint64_t key, struct thread *thread, char *text, size_t size);
    struct file *(*magic_file)(uint64_t key, struct thread *thread);
};

extern const struct own_file_system proc_files, pts_files;

int own_files_serve(struct file_exchange *exchange);
/* The root of a file system of that type; false: there is none. */
bool own_files_root(const char *type, struct file_node *ret_root);

#endif
