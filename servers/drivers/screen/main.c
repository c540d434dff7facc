/* The framebuffer's driver: an actor between a virtio gpu and whoever maps the picture.
 *
 * It is the mapper of one segment, the picture (lib/protocol/picture.h). Programs write its pages as those of any file. The Nucleus asks us before a clean
 * page is written (GETACCESS): so we hear of the first write, let writers go on for a while, take their right to write away again, get what
 * they have written as PUSHOUTs, and have the device show those lines. While nobody draws nothing happens at all.
 *
 * Threads: the mapper's, which answers the Nucleus; the painter; and the server's worker, for dm.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mem/chMapper.h>
#include <server/client.h>
#include <server/server.h>

#include "../common/actor.h"
#include "protocol/picture.h"
#include "protocol/tty.h"
#include "framebuffer.h"

#define FRAME          16000000ll       /* ns: pictures are shown no faster, */
#define GATHER         6000000ll        /* and what is drawn within so long of the first write together */
#define ANNOUNCE_AGAIN 10000000ll

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static struct framebuffer screen;           /* with the lock, as all of this */
static bool granted;                    /* somebody may write since the painter looked last */
static bool came;                       /* lines have come that are not shown */
static KnCap cache;                     /* the Nucleus's cache of the picture; cleared: there is none */
static bool cache_known;

static struct driver_registers registers;
static unsigned device, intr;
static KnUniqueId mapper_ui;
static int mapper_port;

static void die(const char *why)
{
    fprintf(stderr, "screen: %s; starting again\n", why);
    exit(1);
}

/* ---- the mapper ---- */

/* With the lock. */
static void painter_wake(bool *why)
{
    *why = true;
    pthread_cond_signal(&work);
}

static void get_access(const KnMpRequest *request, KnMpReply *reply)
{
    reply->access = request->access == 0 ? K_READABLE : request->access;
    reply->offset = 0;
    reply->size = screen.size;
    reply->segSize = screen.size;
    if (request->access != K_WRITABLE)
        return;
    if (request->segSize > screen.size)
        reply->diag = K_ENOSPACE;
    else
        painter_wake(&granted);
}

static void push_out(const KnMpRequest *request, const uint8_t *body, size_t size)
{
    if (request->offset >= screen.size)
        return;
    size_t length = size < screen.size - request->offset ? size : screen.size - (size_t)request->offset;
    memcpy(screen.pixels + request->offset, body, length);
    framebuffer_changed(&screen, request->offset, length);
    painter_wake(&came);
}

static size_t pull_in(const KnMpRequest *request, uint8_t *body)
{
    size_t length = request->size < K_CMSGSIZEMAX ? (size_t)request->size : K_CMSGSIZEMAX;

    if (request->offset >= screen.size)
        return 0;
    length = length < screen.size - request->offset ? length : screen.size - (size_t)request->offset;
    memcpy(body, screen.pixels + request->offset, length);
    return length;
}

/* Returns the size of the reply's body. */
static size_t serve(const KnMpRequest *request, uint8_t *body, size_t size, KnMpReply *reply)
{
    size_t reply_size = 0;

    *reply = (KnMpReply){ .diag = K_OK, .ordinal = request->ordinal };
    if (request->segKey != PICTURE_KEY) {
        reply->diag = K_EUNKNOWN;
        return 0;
    }
    pthread_mutex_lock(&lock);
    cache = request->lc;
    cache_known = request->op != K_MP_RELEASE;
    switch (request->op) {
    case K_MP_GETACCESS: get_access(request, reply); break;
    case K_MP_PULLIN: reply_size = pull_in(request, body); break;
    case K_MP_PUSHOUT: push_out(request, body, size); break;
    case K_MP_RELEASE: break;
    default: reply->diag = K_EINVAL;
    }
    pthread_mutex_unlock(&lock);
    return reply_size;
}

static void *mapper_run(void *body)
{
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE], reply_annex[K_CMSGANNEXSIZE];
    KnMsgDesc answer = { .annexAddr = reply_annex, .bodyAddr = body };
    bool answered = false;

    for (;;) {
        KnMsgDesc message = { .annexAddr = annex, .bodyAddr = body, .bodySize = K_CMSGSIZEMAX };
        KnMpRequest request;
        KnMpReply reply;
        int port = mapper_port;
        int status = ipcReplyReceive(answered ? &answer : NULL, &message, &port, K_FOREVER);

        answered = false;
        if (status < 0)
            continue;                   /* who asked last has gone */
        memcpy(&request, annex, sizeof request);
        answer.bodySize = (uint32_t)serve(&request, body, message.bodySize, &reply);
        memset(reply_annex, 0, sizeof reply_annex);
        memcpy(reply_annex, &reply, sizeof reply);
        answered = request.op != K_MP_RELEASE;
    }
    return NULL;
}

/* ---- the painter ---- */

/* What is in the Nucleus's cache is newer than what we have, which is nothing: a driver before us died. */
static void picture_recover(void)
{
    KnCap segment = { .ui = mapper_ui, .key = PICTURE_KEY };
    uint8_t *part = malloc(K_CMSGSIZEMAX);
    KnSgStat stat;

    if (part == NULL || sgStat(&segment, &stat) != K_OK || stat.pages == 0) {
        free(part);
        return;
    }
    for (size_t at = 0; at < screen.size; at += K_CMSGSIZEMAX) {
        int64_t got = sgRead(&segment, at, part, K_CMSGSIZEMAX);
        if (got <= 0)
            break;
        pthread_mutex_lock(&lock);
        memcpy(screen.pixels + at, part, (size_t)got);
        framebuffer_changed(&screen, at, (size_t)got);
        painter_wake(&came);
        pthread_mutex_unlock(&lock);
    }
    free(part);
}

/* A frame begins a frame's time after the last one began: so however long it takes to show one, as many are shown as are drawn. Returns when it began. */
static KnTime frame_await(KnTime last)
{
    KnTime now = 0;

    sysTime(&now);
    KnTime due = last + FRAME > now + GATHER ? last + FRAME : now + GATHER;
    threadDelay(due - now);
    return due;
}

static void *painter_run(void *unused)
{
    KnTime last = 0;

    picture_recover();
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!granted && !came)
            pthread_cond_wait(&work, &lock);
        granted = false;                /* who writes after the flush has taken the right away asks anew */
        KnCap of = cache;
        bool known = cache_known;
        pthread_mutex_unlock(&lock);
        last = frame_await(last);
        if (known)
            lcFlush(&of, 0, 0, K_DOWNGRADE, 0); /* the PUSHOUTs come to the mapper's thread meanwhile */
        pthread_mutex_lock(&lock);
        came = false;
        framebuffer_update(&screen);
        if (screen.failed)
            die("the device stopped");
    }
    return unused;
}

/* ---- dm ---- */

static void use(struct server_request *request)
{
    const struct picture_use *message = (const void *)request->annex;

    pthread_mutex_lock(&lock);
    framebuffer_show(&screen, message->use != 0);
    framebuffer_update(&screen);
    pthread_mutex_unlock(&lock);
}

static void *announce(void *unused)
{
    struct picture_ready ready = { .operation = PICTURE_READY, .width = screen.width, .height = screen.height, .stride = screen.stride,
                                   .size = screen.size };
    KnMsgDesc message = { .annexAddr = &ready };
    KnIpcDest dm = client_group(TTY_GROUP_STAMP);

    while (ipcSend(&message, server_port(), &dm) < 0)
        threadDelay(ANNOUNCE_AGAIN);    /* dm is not there yet */
    return unused;
}

static void interrupt(unsigned which, uint64_t count)
{
    (void)which, (void)count;
    virtio_acknowledge(&screen.driver);
    if (virtio_needs_reset(&screen.driver))
        die("the device stopped");
}

static int thread_start(void *(*run)(void *argument), void *argument)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, argument) != 0)
        return K_ENOMEM;
    pthread_detach(thread);
    return K_OK;
}

static int mapper_start(void)
{
    void *body = driver_memory(K_CMSGSIZEMAX);
    int status = uiBuild(&mapper_ui, K_UISTATPORT, 0, PICTURE_MAPPER_STAMP);

    if (body == NULL || status != K_OK)
        return body == NULL ? K_ENOMEM : status;
    mapper_port = portDeclare(K_MYACTOR, &mapper_ui);
    return mapper_port < 0 ? mapper_port : thread_start(mapper_run, body);
}

static int start(void)
{
    int found = driver_device_open(VIRTIO_TYPE_GPU, 0, &intr);

    if (found < 0)
        return found;
    device = (unsigned)found;
    driver_registers_init(&registers, &device);
    if (!framebuffer_begin(&screen, &registers, driver_memory))
        return K_EFAIL;
    int status = mapper_start();
    if (status == K_OK)
        status = thread_start(painter_run, NULL);
    if (status == K_OK)
        status = thread_start(announce, NULL);
    return status == K_OK ? svIntrAttach(intr, server_port()) : status;
}

int main(void)
{
    static const struct server_operation operations[] = { { PICTURE_USE, use } };

    return -server_run(&(struct server){ .name = "screen", .stamp = PICTURE_GROUP_STAMP, .workers = 1, .body_max = 4096,
                                         .unsupported = -ENOSYS, SERVER_TABLE(operations), .start = start, .interrupt = interrupt });
}
