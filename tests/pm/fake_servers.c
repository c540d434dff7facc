/* What is behind messages and segments: om's own core on a tmpfs, and a terminal that the test plays. */

#include "fake_world.h"

#include <criterion/criterion.h>
#include <protocol/tty.h>
#include <sys/stat.h>

#include <om.h>

static struct om om;
const uint64_t fake_om_port = 0x1111;
static const uint64_t om_mapper = 0x2222;

char fake_screen[65536];
size_t fake_screen_size;
int fake_foreground;
static char typed[4096];
static size_t typed_size;
static uint64_t watch_token;

/* ---- messages ---- */

unsigned fake_om_requests, fake_om_open;

void fake_om_leases_end(void)
{
    lease_end(&om);
}

static void serve_files(const KnMsgDesc *message, KnMsgDesc *answer)
{
    static uint8_t body[FILE_BODY_MAX];
    struct om_call call = { .request = message->annexAddr, .body = message->bodyAddr,
                            .body_size = message->bodySize, .reply = answer->annexAddr,
                            .reply_body = body };
    static char nothing[1];
    if (call.body == NULL)
        call.body = nothing;
    memset(answer->annexAddr, 0, K_CMSGANNEXSIZE);
    fake_om_requests++;
    om_serve(&om, &call);
    if (call.reply->error == 0 && call.reply->outcome == FILE_DONE)
        fake_om_open += call.request->operation == FILE_OPEN || call.request->operation == FILE_CREATE;
    fake_om_open -= call.request->operation == FILE_CLOSE;
    uint32_t size = (uint32_t)call.reply_size;
    uint32_t room = answer->bodySize;
    if (answer->bodyAddr != NULL)
        memcpy(answer->bodyAddr, body, size < room ? size : room);
    answer->bodySize = size;
}

/* A terminal that gives what was typed and keeps what is written. */
static void serve_terminal(const KnMsgDesc *message, KnMsgDesc *answer)
{
    const struct tty_request *request = message->annexAddr;
    struct tty_reply *reply = answer->annexAddr;
    memset(reply, 0, sizeof *reply);
    bool behind = fake_foreground != 0 && request->identity.pgrp != fake_foreground;
    switch (request->operation) {
    case TTY_CONNECT: reply->handle = 1; break;
    case TTY_OPEN:
        reply->handle = 2;
        reply->device = request->device;
        reply->flags = TTY_IS_TERMINAL | TTY_BECAME_CONTROLLING;
        break;
    case TTY_READ:
        if (behind) {
            reply->status = -TTY_BACKGROUND_READ;
        } else if (typed_size == 0) {
            reply->status = -EAGAIN;
            watch_token = request->token;
        } else {
            uint32_t size = request->length < typed_size ? request->length : (uint32_t)typed_size;
            memcpy(answer->bodyAddr, typed, size);
            memmove(typed, typed + size, typed_size - size);
            typed_size -= size;
            reply->length = size;
        }
        break;
    case TTY_WRITE:
        memcpy(fake_screen + fake_screen_size, message->bodyAddr, message->bodySize);
        fake_screen_size += message->bodySize;
        reply->length = message->bodySize;
        break;
    case TTY_WATCH:
        reply->events = request->events & (TTY_WRITABLE | (typed_size > 0 ? TTY_READABLE : 0));
        if (reply->events == 0)
            watch_token = request->token;
        break;
    default: break;
    }
}

int ipcCall(const KnMsgDesc *message, int source, const KnIpcDest *dest, KnMsgDesc *answer,
            KnTime delay)
{
    uint64_t port;
    (void)source, (void)delay;
    memcpy(&port, &dest->target, sizeof port);
    if (port == fake_om_port || (dest->target.uiHead & K_CUI_STAMPMAX) == FILE_GROUP_STAMP)
        serve_files(message, answer);
    else if ((dest->target.uiHead & K_CUI_STAMPMAX) == TTY_GROUP_STAMP)
        serve_terminal(message, answer);
    else
        return K_EUNKNOWN;
    return (int)answer->bodySize;
}

uint64_t fake_terminal_give(const char *text)
{
    memcpy(typed + typed_size, text, strlen(text));
    typed_size += strlen(text);
    return watch_token;
}

/* ---- segments: om's mapper without a cache ---- */

static int ask_mapper(const KnCap *seg, uint32_t op, VmOffset offset, VmSize size, VmSize total,
                      uint32_t access, void *body, size_t body_size, KnMpReply *reply, size_t room)
{
    KnMpRequest request = { .op = op, .access = access, .segKey = seg->key, .offset = offset,
                            .size = size, .segSize = total };
    size_t used;
    om_map(&om, &request, body, body_size, reply, body, room, &used);
    return reply->diag;
}

int sgStat(const KnCap *seg, KnSgStat *stat)
{
    KnMpReply reply;
    int status = ask_mapper(seg, K_MP_GETACCESS, 0, 0, 0, 0, NULL, 0, &reply, 0);
    *stat = (KnSgStat){ .size = reply.segSize };
    return status;
}

static uint8_t page[K_PAGESIZE]; /* the one that is read or written */

/* The page at <offset>; of it <part> bytes, from <in> on, are meant by <left> bytes there. */
static VmOffset page_of(VmOffset offset, VmSize left, VmSize *ret_in, VmSize *ret_part)
{
    VmSize in = offset % K_PAGESIZE;
    *ret_in = in;
    *ret_part = left < K_PAGESIZE - in ? left : K_PAGESIZE - in;
    return offset - in;
}

static int page_pull(const KnCap *seg, VmOffset at, VmOffset total)
{
    KnMpReply reply;
    memset(page, 0, sizeof page);
    return ask_mapper(seg, K_MP_PULLIN, at, K_PAGESIZE, total, K_READABLE, page, 0, &reply, sizeof page);
}

int64_t sgRead(const KnCap *seg, VmOffset offset, void *addr, VmSize size)
{
    KnSgStat stat;
    int status = sgStat(seg, &stat);
    if (status < 0 || offset >= stat.size)
        return status < 0 ? status : 0;
    size = size < stat.size - offset ? size : stat.size - offset;
    for (VmSize done = 0; done < size;) {
        VmSize in, part;
        VmOffset at = page_of(offset + done, size - done, &in, &part);
        status = page_pull(seg, at, stat.size);
        if (status < 0)
            return status;
        memcpy((uint8_t *)addr + done, page + in, part);
        done += part;
    }
    return (int64_t)size;
}

int64_t sgWrite(const KnCap *seg, VmOffset offset, const void *addr, VmSize size)
{
    KnSgStat stat;
    KnMpReply reply;
    if (sgStat(seg, &stat) < 0)
        return K_EMAPPER;
    VmSize total = offset + size > stat.size ? offset + size : stat.size;
    for (VmSize done = 0; done < size;) {
        VmSize in, part;
        VmOffset at = page_of(offset + done, size - done, &in, &part);
        page_pull(seg, at, stat.size);
        memcpy(page + in, (const uint8_t *)addr + done, part);
        int status = ask_mapper(seg, K_MP_GETACCESS, at, K_PAGESIZE, total, K_WRITABLE, NULL, 0,
                                &reply, 0);
        if (status == K_OK)
            status = ask_mapper(seg, K_MP_PUSHOUT, at, K_PAGESIZE, total, 0, page, K_PAGESIZE,
                                &reply, 0);
        if (status < 0)
            return status;
        done += part;
    }
    return (int64_t)size;
}

int sgFlush(const KnCap *seg, VmOffset offset, VmSize size, unsigned flags)
{
    (void)seg, (void)offset, (void)size, (void)flags;
    return K_OK;
}

/* ---- om's world ---- */

static int om_flush(struct om_world *world, const KnCap *lc)
{
    (void)world, (void)lc;
    return 0;
}
static int om_truncate(struct om_world *world, const KnCap *lc, uint64_t size)
{
    (void)world, (void)lc, (void)size;
    return 0;
}
static void om_zero(struct om_world *world, const KnCap *lc, uint64_t offset, uint64_t length)
{
    (void)world, (void)lc, (void)offset, (void)length;
}
static int om_recall(struct om_world *world, const KnCap *lc) { return (void)world, (void)lc, 0; }
static bool om_drop(struct om_world *world, const KnCap *lc)
{
    (void)world, (void)lc;
    return true;
}
static int om_device(struct om_world *world, const char *name, struct blockdev **ret)
{
    (void)world, (void)name, (void)ret;
    return -ENOENT;
}
/* pm's memory is ours. */
static bool om_tell(struct om_world *om_world, const struct file_watch *watch, unsigned first, const uint32_t *versions, unsigned count)
{
    (void)om_world;
    memcpy((uint32_t *)watch->versions + first, versions, count * sizeof *versions);
    return true;
}

static struct om_world world = { .tell = om_tell, .truncate = om_truncate, .zero = om_zero, .recall = om_recall,
                                 .drop = om_drop, .flush = om_flush, .device = om_device };

void fake_servers_start(void)
{
    struct fs *fs;
    om_init(&om, &world);
    om.port = fake_om_port;
    om.mapper_port = om_mapper;
    cr_assert_eq(tmpfs_mount(64 << 20, 0755, &fs), 0);
    cr_assert_eq(om_add(&om, fs, 1), 0);
}

void fake_servers_end(void)
{
    om_stop(&om);
}
