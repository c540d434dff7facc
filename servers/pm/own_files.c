/* File systems that pm serves itself: walking and answering, by the functions of each. */

#include "own_files.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"
#include "pm.h"

static const struct own_file_system *const systems[] = { &proc_files, &pts_files };

static const struct own_file_system *system_of(uint64_t key)
{
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++)
        if (systems[i]->root >> 56 == key >> 56)
            return systems[i];
    return NULL;
}

bool own_files_root(const char *type, struct file_node *ret_root)
{
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++) {
        if (strcmp(systems[i]->type, type) != 0)
            continue;
        *ret_root = file_node_own(systems[i]->root);
        return true;
    }
    return false;
}

static int describe(const struct own_file_system *files, uint64_t key,
                    struct file_attributes *attributes)
{
    memset(attributes, 0, sizeof *attributes);
    int error = files->describe(key, attributes);
    KnTime now = time_of_day();
    attributes->key = key;
    attributes->inode = key & 0xffffffffffffff;
    attributes->inode = attributes->inode == 0 ? 1 : attributes->inode;
    attributes->device = (uint32_t)(key >> 56) + 20;
    attributes->block_size = 1024;
    if (attributes->links == 0)
        attributes->links = S_ISDIR(attributes->mode) ? 2 : 1;
    attributes->atime = attributes->mtime = attributes->ctime = now / NANOSECONDS;
    return error;
}

/* ---- walking ---- */

static bool is_permitted(const struct file_attributes *attributes,
                         const struct file_credentials *credentials, uint32_t wish)
{
    uint32_t mode = attributes->mode;
    if (credentials->uid == 0)
        return !(wish & X_OK) || S_ISDIR(mode) || (mode & 0111);
    if (credentials->uid == attributes->uid)
        mode >>= 6;
    else if (credentials->gid == attributes->gid)
        mode >>= 3;
    return (mode & wish) == wish;
}

/* One answer other than "done": where to go on, with a link's text and the rest. */
static int hand_back(struct file_exchange *exchange, enum file_outcome outcome,
                     struct file_node at, const char *text, const char *rest)
{
    struct file_reply *reply = &exchange->reply;
    size_t length = strlen(text), rest_length = strlen(rest);
    if (length + rest_length > exchange->body_room)
        return -ENAMETOOLONG;
    memcpy(exchange->body, text, length);
    memcpy((char *)exchange->body + length, rest, rest_length);
    exchange->body_size = (uint32_t)(length + rest_length);
    reply->outcome = outcome;
    reply->at = at;
    reply->length = (uint32_t)length;
    reply->rest_length = (uint32_t)rest_length;
    reply->links_followed = exchange->request.links_followed;
    return 0;
}

static int follow(const struct own_file_system *files, struct file_exchange *exchange,
                  uint64_t directory, uint64_t key, const char *rest)
{
    char text[PATH_MAX];
    if (++exchange->request.links_followed > FILE_LINKS_MAX)
        return -ELOOP;
    if (files->magic_file != NULL) {
        exchange->magic = files->magic_file(key, exchange->thread);
        if (exchange->magic != NULL) {
            exchange->reply.rest_length = (uint32_t)strlen(rest);
            return 0;
        }
    }
    int error = files->link(key, exchange->thread, text, sizeof text);
    if (error != 0)
        return error;
    return hand_back(exchange, FILE_AT_SYMLINK, file_node_own(directory), text, rest);
}

enum walked { REACHED, HANDED_BACK };

/* Walk from *key over <path>. An error; REACHED: *key is the node; HANDED_BACK. */
static int walk(const struct own_file_system *files, struct file_exchange *exchange, char *path,
                uint64_t *key)
{
    struct file_attributes attributes;
    char *at = path;
    bool must_be_directory = false;
    for (;;) {
        while (*at == '/')
            at++;
        int error = describe(files, *key, &attributes);
        if (error != 0)
            return error;
        if (*at == '\0')
            return must_be_directory && !S_ISDIR(attributes.mode) ? -ENOTDIR : REACHED;
        if (!S_ISDIR(attributes.mode))
            return -ENOTDIR;
        if (!is_permitted(&attributes, &exchange->request.credentials, X_OK))
            return -EACCES;
        char name[NAME_MAX + 1];
        size_t length = strcspn(at, "/");
        if (length > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, at, length);
        name[length] = '\0';
        if (strcmp(name, "..") == 0 && *key == files->root) {
            error = hand_back(exchange, FILE_AT_PARENT, file_node_own(files->root), "", at);
            return error != 0 ? error : HANDED_BACK;
        }
        at += length;
        must_be_directory = *at == '/';
        while (*at == '/')
            at++;
        uint64_t next = *key;
        if (strcmp(name, "..") == 0)
            next = files->parent(*key);
        else if (strcmp(name, ".") != 0)
            error = files->lookup(*key, name, exchange->thread, &next);
        if (error == 0)
            error = describe(files, next, &attributes);
        if (error != 0)
            return error;
        bool is_last = *at == '\0' && !must_be_directory;
        if (S_ISLNK(attributes.mode) && (!is_last || (exchange->request.flags & FILE_FOLLOW))) {
            error = follow(files, exchange, *key, next, at);
            return error != 0 ? error : HANDED_BACK;
        }
        *key = next;
    }
}

/* ---- operations ---- */

static int print_text(const struct own_file_system *files, uint64_t key, char **ret_text,
                      size_t *ret_size)
{
    *ret_text = NULL;
    FILE *out = open_memstream(ret_text, ret_size);
    if (out == NULL)
        return -ENOMEM;
    int error = files->text == NULL ? -EINVAL : files->text(key, out);
    if (fclose(out) != 0 && error == 0)
        error = -ENOMEM;
    if (error != 0)
        free(*ret_text);
    return error;
}

static int read_text(const struct own_file_system *files, struct file_exchange *exchange)
{
    uint64_t offset = exchange->request.io.offset, length = exchange->request.io.length;
    char *text;
    size_t size;
    int error = print_text(files, exchange->node.key, &text, &size);
    if (error != 0)
        return error;
    uint64_t left = offset < size ? size - offset : 0;
    length = length < left ? length : left;
    length = length < exchange->body_room ? length : exchange->body_room;
    if (length > 0)
        memcpy(exchange->body, text + offset, length);
    exchange->body_size = (uint32_t)length;
    exchange->reply.io.length = length;
    free(text);
    return 0;
}

static int write_text(const struct own_file_system *files, struct file_exchange *exchange)
{
    if (files->write == NULL)
        return -EPERM;
    char *text = strndup(exchange->send, exchange->send_size);
    if (text == NULL)
        return -ENOMEM;
    int error = files->write(exchange->node.key, text, exchange->thread);
    free(text);
    exchange->reply.io.length = exchange->send_size;
    return error;
}

static bool entry_at(const struct own_file_system *files, uint64_t key, uint64_t index,
                     struct own_entry *entry)
{
    if (index >= 2)
        return files->list != NULL && files->list(key, index - 2, entry);
    strcpy(entry->name, index == 0 ? "." : "..");
    entry->key = index == 0 || key == files->root ? key : files->parent(key);
    return true;
}

static int list(const struct own_file_system *files, struct file_exchange *exchange)
{
    struct file_attributes attributes;
    struct own_entry entry;
    uint64_t key = exchange->node.key;
    size_t room = exchange->request.io.length, used = 0;
    int error = describe(files, key, &attributes);
    if (error == 0 && !S_ISDIR(attributes.mode))
        error = -ENOTDIR;
    if (error != 0)
        return error;
    room = room < exchange->body_room ? room : exchange->body_room;
    for (uint64_t index = exchange->request.io.offset; entry_at(files, key, index, &entry);
         index++) {
        size_t length = (offsetof(struct dirent64, d_name) + strlen(entry.name) + 1 + 7) & ~7ul;
        if (used + length > room)
            return used > 0 ? 0 : -EINVAL;
        struct dirent64 *to = (void *)((char *)exchange->body + used);
        memset(to, 0, length);
        describe(files, entry.key, &attributes);
        to->d_ino = attributes.inode;
        to->d_off = (int64_t)index + 1;
        to->d_reclen = (uint16_t)length;
        to->d_type = IFTODT(attributes.mode);
        strcpy(to->d_name, entry.name);
        used += length;
        exchange->body_size = (uint32_t)used;
        exchange->reply.io.length = used;
    }
    return 0;
}

static int read_link(const struct own_file_system *files, struct file_exchange *exchange,
                     uint64_t key)
{
    char text[PATH_MAX];
    if (!S_ISLNK(exchange->reply.attributes.mode))
        return -EINVAL;
    int error = files->link(key, exchange->thread, text, sizeof text);
    if (error != 0)
        return error;
    size_t length = strlen(text);
    length = length < exchange->body_room ? length : exchange->body_room;
    memcpy(exchange->body, text, length);
    exchange->body_size = (uint32_t)length;
    exchange->reply.io.length = length;
    return 0;
}

static int open_node(struct file_exchange *exchange)
{
    const struct file_attributes *attributes = &exchange->reply.attributes;
    uint32_t access = exchange->request.open.access, wish = 0;
    if (S_ISLNK(attributes->mode))
        return -ELOOP;
    if ((access & FILE_O_DIRECTORY) && !S_ISDIR(attributes->mode))
        return -ENOTDIR;
    if ((access & FILE_O_WRITE) && S_ISDIR(attributes->mode))
        return -EISDIR;
    if (access & FILE_O_EXCLUSIVE)
        return -EEXIST;
    wish |= access & FILE_O_READ ? R_OK : 0;
    wish |= access & (FILE_O_WRITE | FILE_O_TRUNCATE) ? W_OK : 0;
    if (access & FILE_O_EXECUTE)
        return -EACCES;
    if (!is_permitted(attributes, &exchange->request.credentials, wish))
        return -EACCES;
    exchange->reply.flags |= FILE_BY_MESSAGE;
    return 0;
}

static int finish(const struct own_file_system *files, struct file_exchange *exchange, uint64_t key)
{
    struct file_request *request = &exchange->request;
    struct file_attributes attributes;
    int error = describe(files, key, &attributes);
    if (error != 0)
        return error;
    if (request->operation == FILE_STATFS) {
        exchange->reply.statfs = (struct file_statfs){ .type = files->magic, .block_size = 4096,
                                                       .name_max = NAME_MAX };
        return 0;
    }
    exchange->reply.attributes = attributes;
    switch (request->operation) {
    case FILE_WALK:
        return is_permitted(&attributes, &request->credentials, request->walk.mode) ? 0 : -EACCES;
    case FILE_GETATTR: return 0;
    case FILE_OPEN:
    case FILE_CREATE: return open_node(exchange);
    case FILE_READLINK: return read_link(files, exchange, key);
    case FILE_MKDIR:
    case FILE_MKNOD:
    case FILE_SYMLINK: return -EEXIST;
    case FILE_SETATTR:
        return request->setattr.valid & FILE_SET_SIZE && S_ISREG(attributes.mode) ? 0 : -EPERM;
    case FILE_MOUNT:
    case FILE_UNMOUNT: return -EBUSY;
    default: return -EPERM;
    }
}

int own_files_serve(struct file_exchange *exchange)
{
    struct file_request *request = &exchange->request;
    const struct own_file_system *files = system_of(exchange->node.key);
    uint64_t key = exchange->node.key;
    if (files == NULL)
        return -ESTALE;
    switch (request->operation) {
    case FILE_READ: return read_text(files, exchange);
    case FILE_WRITE: return write_text(files, exchange);
    case FILE_READDIR: return list(files, exchange);
    case FILE_CLOSE:
    case FILE_SYNC:
    case FILE_FSYNC: return 0;
    }
    char *path = strndup(exchange->send_size > 0 ? exchange->send : "", request->path_length);
    if (path == NULL)
        return -ENOMEM;
    int walked = walk(files, exchange, path, &key);
    free(path);
    if (walked == -ENOENT && (request->operation == FILE_CREATE ||
                              request->operation == FILE_MKDIR ||
                              request->operation == FILE_MKNOD ||
                              request->operation == FILE_SYMLINK))
        return request->operation == FILE_CREATE ? -ENOENT : -EPERM;
    if (walked < 0 || walked == HANDED_BACK)
        return walked < 0 ? walked : 0;
    return finish(files, exchange, key);
}
