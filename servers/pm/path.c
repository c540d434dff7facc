/* Walking paths.
 *
 * A server walks as far as it can and hands back the rest at mount points, at its own root's "..", and at
 * symbolic links. We do not let it follow links inside by itself, so that what it has walked has no links
 * in it, and the path from the root is known without asking: getcwd and /proc need it.
 */

#include "path.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "call.h"
#include "descriptor.h"
#include "remember.h"

#define ROUNDS_MAX 256 /* answers in one walk; links alone are counted by the servers */
#define REST_ROOM (2 * PATH_MAX)

int place_copy(struct place *to, const struct place *from)
{
    char *path = strdup(from->path != NULL ? from->path : "/");
    if (path == NULL)
        return -ENOMEM;
    *to = (struct place){ .node = from->node, .path = path };
    return 0;
}

void place_clear(struct place *place)
{
    free(place->path);
    place->path = NULL;
}

struct progress {
    struct file_node node;
    struct place root; /* of the process */
    char path[PATH_MAX]; /* of <node>, from the system's root */
    char rest[REST_ROOM];
    bool wants_directory; /* the path ended in a slash */
    struct memory *memory; /* of the answer; NULL: it is not remembered */
};

static int path_append(char *path, const char *name, size_t length)
{
    size_t have = strcmp(path, "/") == 0 ? 0 : strlen(path);
    if (length == 0 || (length == 1 && name[0] == '.'))
        return 0;
    if (length == 2 && name[0] == '.' && name[1] == '.') {
        while (have > 0 && path[have - 1] != '/')
            have--;
        path[have > 1 ? have - 1 : 1] = '\0';
        path[0] = '/';
        return 0;
    }
    if (have + 1 + length >= PATH_MAX)
        return -ENAMETOOLONG;
    path[have] = '/';
    memcpy(path + have + 1, name, length);
    path[have + 1 + length] = '\0';
    return 0;
}

/* What has been walked, <length> bytes of <walked>, becomes part of the path. */
static int note_walked(struct progress *progress, const char *walked, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t end = at;
        while (end < length && walked[end] != '/')
            end++;
        int error = path_append(progress->path, walked + at, end - at);
        if (error != 0)
            return error;
        at = end + 1;
    }
    return 0;
}

static int begin_at(struct progress *progress, const struct place *place)
{
    progress->node = place->node;
    if (strlen(place->path) >= sizeof progress->path)
        return -ENAMETOOLONG;
    strcpy(progress->path, place->path);
    return 0;
}

static int set_rest(struct progress *progress, const char *rest)
{
    while (*rest == '/')
        rest++;
    size_t length = strlen(rest);
    if (length >= sizeof progress->rest)
        return -ENAMETOOLONG;
    memmove(progress->rest, rest, length + 1);
    return 0;
}

/* Where a path begins; NULL and an error. */
static const struct place *start_of(struct call *call, int dirfd, const char *path, int *ret_error)
{
    const struct fs_view *fs = call_process(call)->fs;
    if (path[0] == '/')
        return &fs->root;
    if (dirfd == AT_FDCWD)
        return &fs->cwd;
    struct file *file = descriptor_file(call_process(call), dirfd);
    *ret_error = file == NULL ? -EBADF : -ENOTDIR;
    return file != NULL && file->place.path != NULL && (S_ISDIR(file->attributes.mode) || *path == '\0') ? &file->place : NULL;
}

static int begin(struct call *call, const struct place *start, const char *path, struct progress *progress)
{
    size_t length = strlen(path);
    int error = place_copy(&progress->root, &call_process(call)->fs->root);
    if (error != 0)
        return error;
    progress->wants_directory = length > 0 && path[length - 1] == '/';
    error = set_rest(progress, path);
    return error != 0 ? error : begin_at(progress, start);
}

/* ---- one round ---- */

static void credentials_of(struct call *call, const struct path_walk *walk, struct file_credentials *to)
{
    const struct process *process = call_process(call);
    file_credentials_of(to, process);
    if (walk->real_ids) {
        to->uid = process->credentials.uid;
        to->gid = process->credentials.gid;
    }
}

static int ask(struct call *call, struct progress *progress, struct path_walk *walk,
               uint8_t *message)
{
    struct file_exchange *exchange = &walk->exchange;
    struct file_request *request = &exchange->request;
    size_t length = strlen(progress->rest);
    if (length > FILE_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(message, progress->rest, length);
    if (walk->second != NULL)
        memcpy(message + length, walk->second, request->second_length);
    request->path_length = (uint16_t)length;
    request->root = progress->root.node.port == progress->node.port ? progress->root.node.key : 0;
    credentials_of(call, walk, &request->credentials);
    remember_ask(progress->memory, exchange);
    exchange->node = progress->node;
    exchange->thread = call_thread(call);
    exchange->send = message;
    exchange->send_size = (uint32_t)(length + (walk->second != NULL ? request->second_length : 0));
    return file_exchange(exchange);
}

/* A link: its text, then what is left. */
static int go_on_at_link(struct progress *progress, struct path_walk *walk, const char *rest)
{
    const struct file_reply *reply = &walk->exchange.reply;
    const char *text = walk->exchange.body;
    char joined[REST_ROOM];
    size_t rest_length = strlen(rest);
    if (reply->length == 0)
        return -ENOENT;
    if (reply->length + 2 + rest_length >= sizeof joined)
        return -ENAMETOOLONG;
    memcpy(joined, text, reply->length);
    size_t at = reply->length;
    if (rest_length > 0 || progress->wants_directory)
        joined[at++] = '/';
    memcpy(joined + at, rest, rest_length + 1);
    if (joined[0] == '/') {
        int error = begin_at(progress, &progress->root);
        if (error != 0)
            return error;
    } else {
        progress->node = reply->at;
        int error = note_walked(progress, "..", 2); /* the link's own name */
        if (error != 0)
            return error;
    }
    return set_rest(progress, joined);
}

static int go_up(struct progress *progress, const struct file_node *root, const char *rest)
{
    struct place covered;
    if (!mount_covered(root, &covered)) {
        /* The root of everything: ".." stays there. */
        return set_rest(progress, rest + 2);
    }
    int error = begin_at(progress, &covered);
    return error != 0 ? error : set_rest(progress, rest);
}

static int go_on(struct progress *progress, struct path_walk *walk)
{
    const struct file_reply *reply = &walk->exchange.reply;
    size_t length = strlen(progress->rest);
    if (reply->rest_length > length || reply->length > walk->exchange.body_size ||
        (reply->outcome == FILE_AT_SYMLINK ? reply->length : 0) + reply->rest_length >
            walk->exchange.body_size)
        return -EIO;
    char rest[REST_ROOM];
    size_t text = reply->outcome == FILE_AT_SYMLINK ? reply->length : 0;
    memcpy(rest, (const char *)walk->exchange.body + text, reply->rest_length);
    rest[reply->rest_length] = '\0';
    int error = note_walked(progress, progress->rest, length - reply->rest_length);
    if (error != 0)
        return error;
    walk->exchange.request.links_followed = reply->links_followed;
    switch (reply->outcome) {
    case FILE_AT_MOUNT:
        progress->node = reply->at;
        return set_rest(progress, rest);
    case FILE_AT_PARENT: return go_up(progress, &reply->at, rest);
    case FILE_AT_SYMLINK: return go_on_at_link(progress, walk, rest);
    default: return -EIO;
    }
}

/* /proc names an open file. In the middle of a path it is a directory to go on from. */
static int go_on_at_magic(struct progress *progress, struct path_walk *walk, bool *ret_is_end)
{
    struct file *file = walk->exchange.magic;
    size_t length = strlen(progress->rest), left = walk->exchange.reply.rest_length;
    bool opens = walk->exchange.request.operation == FILE_OPEN ||
                 walk->exchange.request.operation == FILE_CREATE;
    *ret_is_end = left == 0 && opens && !S_ISDIR(file->attributes.mode) &&
                  !S_ISREG(file->attributes.mode);
    if (*ret_is_end || file->place.path == NULL) {
        *ret_is_end = true;
        return 0;
    }
    char rest[REST_ROOM];
    strcpy(rest, progress->rest + length - left);
    int error = begin_at(progress, &file->place);
    walk->exchange.magic = NULL;
    file_release(file);
    return error != 0 ? error : set_rest(progress, rest);
}

static int rounds(struct call *call, struct progress *progress, struct path_walk *walk,
                  uint8_t *message)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        int error = ask(call, progress, walk, message);
        if (error != 0)
            return error;
        remember_told(progress->memory, &walk->exchange);
        if (walk->exchange.magic != NULL) {
            bool is_end;
            error = go_on_at_magic(progress, walk, &is_end);
            if (error != 0 || is_end)
                return error;
            continue;
        }
        if (walk->exchange.reply.outcome == FILE_DONE)
            return note_walked(progress, progress->rest, strlen(progress->rest));
        error = go_on(progress, walk);
        if (error != 0)
            return error;
    }
    return -ELOOP;
}

/* Walk from <start>, asking its server and those that the way leads to. */
static int walk_from(struct call *call, const struct place *start, const char *path, struct memory *memory, struct path_walk *walk)
{
    struct progress *progress = calloc(1, sizeof *progress);
    uint8_t *message = malloc(REST_ROOM + FILE_PATH_MAX + 1);
    void *own_body = NULL;
    int error = -ENOMEM;
    if (walk->exchange.body == NULL) {
        walk->exchange.body = own_body = malloc(REST_ROOM);
        walk->exchange.body_room = REST_ROOM;
    }
    if (progress != NULL && message != NULL && walk->exchange.body != NULL) {
        progress->memory = memory;
        error = begin(call, start, path, progress);
        if (error == 0)
            error = rounds(call, progress, walk, message);
    }
    if (error == 0) {
        walk->server = progress->node;
        strcpy(walk->path, progress->path);
    }
    if (own_body != NULL)
        walk->exchange.body = NULL;
    free(own_body);
    free(message);
    if (progress != NULL)
        place_clear(&progress->root);
    free(progress);
    return error;
}

/* Take the answer from what is remembered, or ask and remember. */
static int walk_remembered(struct call *call, const struct place *start, const char *path, struct path_walk *walk)
{
    const struct place *root = &call_process(call)->fs->root;
    const struct file_request *request = &walk->exchange.request;
    struct question question = { .start = start->node, .root = root->node, .operation = request->operation,
                                 .detail = request->operation == FILE_OPEN ? request->open.access : request->walk.mode,
                                 .flags = request->flags, .start_path = start->path, .root_path = root->path, .path = path };
    struct answer answer;
    credentials_of(call, walk, &question.credentials);
    if (remember_answer(&question, &answer)) {
        walk->exchange.reply = answer.reply;
        walk->server = answer.server;
        strcpy(walk->path, answer.path);
        return 0;
    }
    struct memory *memory = remember_begin(&question);
    int error = walk_from(call, start, path, memory, walk);
    answer = (struct answer){ .reply = walk->exchange.reply, .server = walk->server, .path = walk->path };
    remember_end(memory, error == 0 && walk->exchange.magic == NULL ? &answer : NULL);
    return error;
}

/* There is room for the path before anybody is asked: what a server has opened is not lost for want of memory. */
int path_do(struct call *call, int dirfd, const char *path, struct path_walk *walk)
{
    int error = 0;
    remember_watch();
    const struct place *start = start_of(call, dirfd, path, &error);
    if (start == NULL)
        return error;
    walk->path = malloc(FILE_PATH_MAX + 1);
    if (walk->path == NULL)
        return -ENOMEM;
    if (walk->second == NULL && walk->exchange.body == NULL && remember_can(&walk->exchange.request))
        error = walk_remembered(call, start, path, walk);
    else
        error = walk_from(call, start, path, NULL, walk);
    char *smaller = error == 0 ? realloc(walk->path, strlen(walk->path) + 1) : NULL;
    if (smaller != NULL)
        walk->path = smaller;
    if (error != 0) {
        free(walk->path);
        walk->path = NULL;
    }
    return error;
}

void path_end(struct path_walk *walk)
{
    free(walk->path);
    walk->path = NULL;
    if (walk->exchange.magic != NULL)
        file_release(walk->exchange.magic);
    walk->exchange.magic = NULL;
}

int path_find(struct call *call, int dirfd, const char *path, bool follow, uint32_t access,
              struct path_walk *walk)
{
    memset(walk, 0, sizeof *walk);
    walk->exchange.request.operation = FILE_WALK;
    walk->exchange.request.flags = follow ? FILE_FOLLOW : 0;
    walk->exchange.request.walk.mode = access;
    return path_do(call, dirfd, path, walk);
}

int place_find(struct call *call, VmAddr path_at, enum place_kind kind, struct place *place)
{
    char *path;
    struct path_walk walk;
    int error = copy_in_path(call, path_at, false, &path);
    if (error != 0)
        return error;
    error = path_find(call, AT_FDCWD, path, true, kind == PLACE_ENTERED ? X_OK : 0, &walk);
    if (error == -EACCES && kind == PLACE_ENTERED && path_find(call, AT_FDCWD, path, true, 0, &walk) == 0 &&
        !S_ISDIR(walk.exchange.reply.attributes.mode))
        error = -ENOTDIR; /* that counts before the permission does */
    free(path);
    if (error == 0 && (walk.exchange.magic != NULL ||
                       (kind == PLACE_ENTERED && !S_ISDIR(walk.exchange.reply.attributes.mode))))
        error = -ENOTDIR;
    if (error == 0) {
        place->node = (struct file_node){ .port = walk.server.port,
                                          .key = walk.exchange.reply.attributes.key };
        place->path = walk.path;
        walk.path = NULL;
    }
    path_end(&walk);
    return error;
}

int path_parent(struct call *call, int dirfd, const char *path, struct file_node *ret_node,
                const char **ret_name)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    if (end == 0)
        return *path == '/' ? -EBUSY : -ENOENT;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    *ret_name = path + start;
    char *directory = strndup(path, start);
    if (directory == NULL)
        return -ENOMEM;
    struct path_walk walk;
    int error = path_find(call, dirfd, directory, true, 0, &walk);
    free(directory);
    if (error == 0) {
        ret_node->port = walk.server.port;
        ret_node->key = walk.exchange.reply.attributes.key;
        if (!S_ISDIR(walk.exchange.reply.attributes.mode))
            error = -ENOTDIR;
    }
    path_end(&walk);
    return error;
}
