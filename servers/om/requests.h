/* What the handlers of the file protocol share. */
#ifndef OM_REQUESTS_H
#define OM_REQUESTS_H

#include <string.h>

#include "om.h"

/* A request being served. */
struct serving {
    struct om *om;
    struct om_call *call;
    const struct file_request *request;
    struct file_reply *reply;
    struct fs *fs;
    uint32_t number;
    uint64_t cut_key;           /* a file whose size changes: tell the caches after the lock */
    uint64_t cut_size;
    uint64_t idle_key;          /* a disk that the last one has closed: its pages go */
    uint64_t punched_key;       /* a file that gets a hole: the same */
    struct walk walk;           /* of the first path. Last: its texts are not zero, see serving_new */
};

/* One operation: the file system is locked (but for attach and detach). 0, or an error of Linux
 * made negative. A walk that has to go on elsewhere has filled the reply, and is 0. */
typedef int handler(struct serving *serving);

/* requests_open.c */
handler serve_statfs, serve_walk, serve_getattr, serve_readlink, serve_readdir, serve_setattr;
handler serve_open, serve_create, serve_close;
/* requests_names.c */
handler serve_mkdir, serve_mknod, serve_symlink, serve_link, serve_unlink, serve_rmdir, serve_rename;
/* requests_mount.c */
handler serve_transfer, serve_allocate, serve_fsync, serve_mount, serve_unmount, serve_attach;
handler serve_detach;

/* requests.c ---------------------------------------------------------------------- */

/* The second path, or the text. */
static inline const char *second_of(const struct serving *serving)
{
    return serving->call->body + serving->request->path_length;
}

/* The first walk ended elsewhere. */
static inline bool left(const struct serving *serving)
{
    return serving->walk.outcome != FILE_DONE;
}

static inline bool is_dots(const char *name, size_t length)
{
    return (length == 1 || length == 2) && memcmp(name, "..", length) == 0;
}

/* The node that the request names without a path. */
static inline fs_id id_given(const struct serving *serving)
{
    return serving->request->key == FILE_ROOT_KEY ? serving->fs->root
                                                  : OM_KEY_ID(serving->request->key);
}

/* The walk ended elsewhere: where the caller goes on. */
void outcome_reply(struct serving *serving, const struct walk *walk);
/* A path from the node `key` on; an outcome is answered. */
int path_walk(struct serving *serving, struct walk *walk, uint64_t key, const char *path,
              size_t length, unsigned flags);
/* The first path. The caller looks at walk.outcome. */
int first_walk(struct serving *serving, unsigned flags);
/* The reply is about this node. */
void attributes_reply(struct serving *serving, const struct file_attributes *attributes);
int node_reply(struct serving *serving, fs_id id);
/* The directory of the first path's last component may be changed by the caller. */
int change_check(const struct walk *walk);
/* The walk's last component, in its directory. */
int name_lookup(const struct walk *walk, fs_id *ret, struct file_attributes *ret_attributes);
bool is_mounted(struct serving *serving, fs_id id);
/* The size of the file is going to change: serving->cut_size says how it went. */
void cut_begin(struct serving *serving, fs_id id);
/* What a new node gets from the caller, and its group from a set-gid directory. */
struct fs_new new_node(const struct walk *walk, uint32_t mode);
/* Make the first path's last component. The walk stands at its directory. */
int node_make(struct serving *serving, const struct fs_new *made, fs_id *ret);
/* The second path, of link and rename. NULL when the walk ended elsewhere (answered), or failed. */
struct walk *second_walk(struct serving *serving, int *ret_error);

#endif
