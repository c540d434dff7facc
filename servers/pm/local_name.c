/* The names of local sockets: a path, whose node in its file system says which socket is meant; or bytes that begin with a zero,
 * which are no file's name.
 */

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "local.h"
#include "path.h"
#include "process.h"

#define FAMILY_SIZE ((uint32_t)sizeof(sa_family_t))

static struct list names = { &names, &names }; /* the newest first: a node's number may be used again */

static bool is_abstract(const struct socket_address *address)
{
    return address->size > FAMILY_SIZE && address->bytes[FAMILY_SIZE] == 0;
}

static int check(const struct socket_address *address, bool may_be_empty)
{
    sa_family_t family;
    memcpy(&family, address->bytes, sizeof family);
    if (address->size < FAMILY_SIZE || address->size > sizeof(struct sockaddr_un) || family != AF_UNIX)
        return -EINVAL;
    return address->size == FAMILY_SIZE && !may_be_empty ? -EINVAL : 0;
}

/* The path of an address, ended by a zero. */
static void path_of(const struct socket_address *address, char path[sizeof(struct sockaddr_un)])
{
    size_t length = address->size - FAMILY_SIZE;
    memcpy(path, address->bytes + FAMILY_SIZE, length);
    path[length] = '\0';
}

/* Each type of socket has abstract names of its own. */
static struct local_name *find_abstract(const struct socket_address *address, int type)
{
    LIST_EACH(&names, at) {
        struct local_name *name = LIST_ENTRY(at, struct local_name, link);
        if (!name->is_path && name->socket->socket.type == type && name->address.size == address->size &&
            memcmp(name->address.bytes, address->bytes, address->size) == 0)
            return name;
    }
    return NULL;
}

static struct local_name *find_node(struct file_node node)
{
    LIST_EACH(&names, at) {
        struct local_name *name = LIST_ENTRY(at, struct local_name, link);
        if (name->is_path && file_node_equal(&name->node, &node))
            return name;
    }
    return NULL;
}

void local_name_release(struct local_name *name)
{
    if (name == NULL || --name->references > 0)
        return;
    list_remove(&name->link);
    free(name);
}

void local_name_close(struct local *local)
{
    struct local_name *name = local->name;
    if (name == NULL || name->socket != local)
        return; /* the listener's, of a connection that it accepted */
    name->socket = NULL;
    list_remove(&name->link);
}

static void name_give(struct local *local, struct local_name *name)
{
    name->references = 1;
    name->socket = local;
    list_append(names.next, &name->link);
    local->name = name;
}

/* ---- binding ---- */

static int bind_abstract(struct local *local, struct local_name *name)
{
    if (find_abstract(&name->address, local->socket.type) != NULL)
        return -EADDRINUSE;
    name_give(local, name);
    return 0;
}

static int make_node(struct call *call, struct local_name *name)
{
    char path[sizeof(struct sockaddr_un)];
    struct path_walk walk = { .exchange.request.operation = FILE_MKNOD };
    path_of(&name->address, path);
    walk.exchange.request.mknod.mode = S_IFSOCK | (0777 & ~call_process(call)->fs->umask);
    int error = path_do(call, AT_FDCWD, path, &walk);
    if (error == 0 && walk.exchange.magic != NULL)
        error = -EEXIST;
    if (error == 0)
        name->node = (struct file_node){ .port = walk.server.port, .key = walk.exchange.reply.attributes.key };
    path_end(&walk);
    return error == -EEXIST ? -EADDRINUSE : error;
}

static int bind_path(struct call *call, struct local *local, struct local_name *name)
{
    int error = make_node(call, name);
    if (error != 0)
        return error;
    if (local->name != NULL || local->state == LOCAL_CLOSED)
        return -EINVAL; /* by another thread, meanwhile */
    name->is_path = true;
    /* As Linux tells it: with the zero at the end. */
    uint32_t length = (uint32_t)strnlen((char *)name->address.bytes + FAMILY_SIZE, name->address.size - FAMILY_SIZE);
    name->address.size = FAMILY_SIZE + length + 1;
    name_give(local, name);
    return 0;
}

int local_name_bind(struct call *call, struct local *local, const struct socket_address *address)
{
    int error = check(address, true);
    if (error != 0)
        return error;
    if (address->size == FAMILY_SIZE)
        return local_name_choose(local);
    if (local->name != NULL)
        return -EINVAL;
    struct local_name *name = calloc(1, sizeof *name);
    if (name == NULL)
        return -ENOMEM;
    list_init(&name->link);
    name->address = *address;
    error = is_abstract(address) ? bind_abstract(local, name) : bind_path(call, local, name);
    if (error != 0)
        free(name);
    return error;
}

int local_name_choose(struct local *local)
{
    static uint32_t last;
    struct local_name *name = local->name == NULL ? calloc(1, sizeof *name) : NULL;
    if (local->name != NULL)
        return 0;
    if (name == NULL)
        return -ENOMEM;
    list_init(&name->link);
    name->address.size = FAMILY_SIZE + 6;
    name->address.bytes[0] = AF_UNIX;
    for (unsigned tries = 0; tries < 0x100000; tries++) {
        char digits[8];
        last = (last + 1) & 0xfffff;
        snprintf(digits, sizeof digits, "%05x", last);
        memcpy(name->address.bytes + FAMILY_SIZE + 1, digits, 5);
        if (bind_abstract(local, name) == 0)
            return 0;
    }
    free(name);
    return -ENOSPC;
}

/* ---- finding ---- */

static int find_by_path(struct call *call, const struct socket_address *address, struct local_name **ret_name)
{
    char path[sizeof(struct sockaddr_un)];
    struct path_walk walk;
    path_of(address, path);
    if (path[0] == '\0')
        return -ENOENT;
    int error = path_find(call, AT_FDCWD, path, true, W_OK, &walk);
    bool is_socket = error == 0 && walk.exchange.magic == NULL && S_ISSOCK(walk.exchange.reply.attributes.mode);
    struct file_node node = { .port = walk.server.port, .key = walk.exchange.reply.attributes.key };
    path_end(&walk);
    if (error != 0)
        return error;
    *ret_name = is_socket ? find_node(node) : NULL;
    return *ret_name == NULL ? -ECONNREFUSED : 0;
}

int local_name_find(struct call *call, const struct socket_address *address, int type, struct local **ret_local)
{
    struct local_name *name = NULL;
    int error = check(address, false);
    if (error == 0 && is_abstract(address))
        name = find_abstract(address, type);
    else if (error == 0)
        error = find_by_path(call, address, &name);
    if (error != 0)
        return error;
    if (name == NULL || name->socket == NULL)
        return -ECONNREFUSED;
    if (name->socket->socket.type != type)
        return -EPROTOTYPE;
    local_reference(name->socket);
    *ret_local = name->socket;
    return 0;
}

/* ---- telling ---- */

static void print_name(FILE *out, const struct local_name *name)
{
    const char *text = (const char *)name->address.bytes + FAMILY_SIZE;
    size_t length = name->address.size - FAMILY_SIZE - name->is_path;
    fputc(' ', out);
    for (size_t i = 0; i < length; i++)
        fputc(text[i] == '\0' ? '@' : text[i], out);
}

int local_print(FILE *out)
{
    fputs("Num       RefCount Protocol Flags    Type St Inode Path\n", out);
    LIST_EACH(&locals, at) {
        const struct local *local = LIST_ENTRY(at, struct local, link);
        bool listens = local->state == LOCAL_LISTENS;
        fprintf(out, "0000000000000000: %08X 00000000 %08X %04X %02X %5llu", local->references, listens ? 0x10000 : 0,
                local->socket.type, local->state == LOCAL_CONNECTED ? 3 : 1,
                (unsigned long long)(local->file != NULL ? local->file->number : 0));
        if (local->name != NULL)
            print_name(out, local->name);
        fputc('\n', out);
    }
    return 0;
}
