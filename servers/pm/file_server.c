/* The client side of the file protocol. */

#include "file_server.h"

#include <stdio.h>

#include "own_files.h"
#include "remember.h"
#include "rewrite.h"
#include "worker.h"

#define PATIENCE 500 /* tries to find om, 10 ms apart */

static struct file_node om_root;

static uint64_t port_bits(const KnUniqueId *ui)
{
    uint64_t bits;
    memcpy(&bits, ui, sizeof bits);
    return bits;
}

bool file_node_equal(const struct file_node *a, const struct file_node *b)
{
    return a->port == b->port && a->key == b->key;
}

bool file_node_is_own(const struct file_node *node)
{
    return node->port == port_bits(&worker_port_ui);
}

struct file_node file_node_own(uint64_t key)
{
    return (struct file_node){ .port = port_bits(&worker_port_ui), .key = key };
}

#define MAPPERS 16
static struct { uint64_t server, mapper; } mappers[MAPPERS];

void file_server_note_mapper(uint64_t server, uint64_t mapper)
{
    for (size_t i = 0; i < MAPPERS; i++) {
        if (mappers[i].server != 0 && mappers[i].server != server)
            continue;
        mappers[i].server = server;
        mappers[i].mapper = mapper;
        return;
    }
}

bool file_server_segment(const struct file_node *node, KnCap *ret_segment)
{
    for (size_t i = 0; i < MAPPERS; i++) {
        if (mappers[i].server != node->port)
            continue;
        memcpy(&ret_segment->ui, &mappers[i].mapper, sizeof ret_segment->ui);
        ret_segment->key = node->key;
        return true;
    }
    return false;
}

struct file_node file_server_block(uint32_t device)
{
    return (struct file_node){ .port = om_root.port, .key = FILE_BLOCK_KEY((uint64_t)(device & 0xfffff)) };
}

void file_credentials_of(struct file_credentials *to, const struct process *process)
{
    const struct credentials *from = &process->credentials;
    to->uid = from->fsuid;
    to->gid = from->fsgid;
    to->group_count = from->group_count < FILE_GROUPS_MAX ? from->group_count : FILE_GROUPS_MAX;
    memcpy(to->groups, from->groups, to->group_count * sizeof *to->groups);
}

static bool quiet;

static void say_gone(const struct file_exchange *exchange, int status)
{
    static bool said;
    if (quiet)
        return;
    if (!said)
        pm_log("the file server %llx does not answer to request %x: %s",
               (unsigned long long)exchange->node.port, exchange->request.operation,
               knStrError(status));
    said = true;
}

static int exchange_by_message(struct file_exchange *exchange)
{
    KnIpcDest dest = { 0 };
    memcpy(&dest.target, &exchange->node.port, sizeof dest.target);
    if (uiGetType(&dest.target) == K_UISTATGROUP)
        ipcTarget(&dest, K_FUNCMODE);
    KnMsgDesc message = { .bodySize = exchange->send_size, .bodyAddr = (void *)exchange->send,
                          .annexAddr = &exchange->request };
    KnMsgDesc answer = { .bodySize = exchange->body_room, .bodyAddr = exchange->body,
                         .annexAddr = &exchange->reply };
    pm_unlock();
    int status = ipcCall(&message, worker_port, &dest, &answer, K_FOREVER);
    pm_lock();
    if (status < 0) {
        say_gone(exchange, status);
        if (exchange->node.port == om_root.port)
            remember_doubt();
        return -EIO;
    }
    exchange->body_size = answer.bodySize < exchange->body_room ? answer.bodySize
                                                                : exchange->body_room;
    return exchange->reply.error;
}

/* Whose text can change rewrite.c must know; which names have gone, remember.c. */
static void note_changes(const struct file_exchange *exchange)
{
    const struct file_request *request = &exchange->request;
    bool writes = request->open.access & (FILE_O_WRITE | FILE_O_TRUNCATE);
    switch (request->operation) {
    case FILE_OPEN:
    case FILE_CREATE:
        if (writes && exchange->reply.outcome == FILE_DONE)
            rewrite_writer(exchange->reply.attributes.key, true);
        break;
    case FILE_CLOSE:
        if (writes)
            rewrite_writer(request->key, false);
        break;
    case FILE_SETATTR:
        if ((request->setattr.valid & FILE_SET_SIZE) && exchange->reply.outcome == FILE_DONE) {
            rewrite_writer(exchange->reply.attributes.key, true);
            rewrite_writer(exchange->reply.attributes.key, false);
        }
        break;
    case FILE_UNLINK:
    case FILE_RENAME:
    case FILE_RMDIR: remember_names_gone(); break;
    default: break;
    }
}

int file_exchange(struct file_exchange *exchange)
{
    exchange->request.key = exchange->node.key;
    exchange->body_size = 0;
    exchange->magic = NULL;
    memset(&exchange->reply, 0, sizeof exchange->reply);
    if (file_node_is_own(&exchange->node))
        return own_files_serve(exchange);
    int error = exchange_by_message(exchange);
    if (error == 0)
        note_changes(exchange);
    return error;
}

/* At boot, when nobody else asks anything. */
int file_exchange_quietly(struct file_exchange *exchange)
{
    quiet = true;
    int error = file_exchange(exchange);
    quiet = false;
    return error;
}

int file_server_find(struct file_node *root)
{
    KnUniqueId group;
    uiBuild(&group, K_UISTATGROUP, 0, FILE_GROUP_STAMP);
    for (int tries = 0; tries < PATIENCE; tries++) {
        struct file_exchange exchange = { .node = { .port = port_bits(&group),
                                                    .key = FILE_ROOT_KEY } };
        exchange.request.operation = FILE_WALK;
        KnIpcDest dest = { .target = group, .mode = K_FUNCMODE };
        KnMsgDesc message = { .annexAddr = &exchange.request };
        KnMsgDesc answer = { .annexAddr = &exchange.reply };
        int status = ipcCall(&message, worker_port, &dest, &answer, K_FOREVER);
        if (status >= 0 && exchange.reply.error == 0) {
            om_root = exchange.reply.node;
            *root = om_root;
            return 0;
        }
        if (status >= 0)
            return exchange.reply.error;
        pm_unlock();
        threadDelay(NANOSECONDS / 100);
        pm_lock();
    }
    return -EIO;
}

void file_server_close(struct file_node node, uint32_t access)
{
    struct file_exchange exchange = { .node = node };
    exchange.request.operation = FILE_CLOSE;
    exchange.request.open.access = access;
    file_exchange(&exchange);
}

int file_server_sync(void)
{
    struct file_exchange exchange = { .node = om_root };
    exchange.request.operation = FILE_SYNC;
    return file_exchange(&exchange);
}

int file_server_shutdown(void)
{
    struct file_exchange exchange = { .node = om_root };
    exchange.request.operation = FILE_SHUTDOWN;
    return file_exchange(&exchange);
}
