/* The framebuffer's driver: an actor between a virtio gpu and whoever maps the picture.
 *
 * It is the mapper of one segment, the picture (lib/protocol/picture.h). Programs write its pages as those of any file. The Nucleus asks us before a clean
 * page is written (GETACCESS): so we hear of the first write, let writers go on for a while, take their right to write away again, get what
 * they have written as PUSHOUTs, and have the device show those lines. While nobody draws nothing happens at all.
 *
 * Threads: the server's workers, who answer the Nucleus and dm; and the painter.
 *
 * It can be replaced: the picture goes along. The painter need not be at rest for that: what it waits for comes to the next driver.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mem/chMapper.h>
#include <server/client.h>
#include <server/handover.h>
#include <server/server.h>

#include "../common/actor.h"
#include "protocol/picture.h"
#include "protocol/tty.h"
#include "framebuffer.h"

#define FRAME          16000000ll       /* ns: pictures are shown no faster, */
#define GATHER         6000000ll        /* and what is drawn within so long of the first write together */
#define ANNOUNCE_AGAIN 10000000ll
#define MAPPER_PRIORITY 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static struct framebuffer screen;           /* with the lock, as all of this */
static bool granted;                    /* somebody may write since the painter looked last */
static bool came;                       /* lines have come that are not shown */
static bool resting;                    /* the device is not ours: nothing is shown */
static KnCap cache;                     /* the Nucleus's cache of the picture; cleared: there is none */
static bool cache_known;

static struct driver_registers registers;
static unsigned device, intr;
static bool device_is_ours;
static bool show_after;                 /* of a successor: what the one before showed */
static KnUniqueId mapper_ui;

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

/* Of the Nucleus: the loop has seen to that. */
static void serve(struct server_request *request)
{
    KnMpRequest ask;
    KnMpReply reply;
    size_t size = 0;

    memcpy(&ask, request->annex, sizeof ask);
    reply = (KnMpReply){ .diag = ask.segKey == PICTURE_KEY ? K_OK : K_EUNKNOWN, .ordinal = ask.ordinal };
    if (ask.segKey == PICTURE_KEY) {
        pthread_mutex_lock(&lock);
        cache = ask.lc;
        cache_known = ask.op != K_MP_RELEASE;
        switch (ask.op) {
        case K_MP_GETACCESS: get_access(&ask, &reply); break;
        case K_MP_PULLIN: size = pull_in(&ask, request->body); break;
        case K_MP_PUSHOUT: push_out(&ask, request->body, request->body_size); break;
        case K_MP_RELEASE: break;
        default: reply.diag = K_EINVAL;
        }
        pthread_mutex_unlock(&lock);
    }
    if (ask.op != K_MP_RELEASE)
        server_reply_body(request, &reply, sizeof reply, request->body, size);
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

static void *painter_run(void *is_successor)
{
    KnTime last = 0;

    if (is_successor == NULL)
        picture_recover();
    pthread_mutex_lock(&lock);
    for (;;) {
        while (resting || (!granted && !came))
            pthread_cond_wait(&work, &lock);
        granted = false;                /* who writes after the flush has taken the right away asks anew */
        KnCap of = cache;
        bool known = cache_known;
        pthread_mutex_unlock(&lock);
        last = frame_await(last);
        if (known)
            lcFlush(&of, 0, 0, K_DOWNGRADE, 0); /* the PUSHOUTs come to the workers meanwhile */
        pthread_mutex_lock(&lock);
        if (resting)
            continue;
        came = false;
        framebuffer_update(&screen);
        if (screen.failed)
            die("the device stopped");
    }
    return is_successor;
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

static int device_begin(void)
{
    int found = driver_device_open(VIRTIO_TYPE_GPU, 0, &intr);

    if (found < 0)
        return found;
    device = (unsigned)found;
    device_is_ours = true;
    driver_registers_init(&registers, &device);
    return framebuffer_begin(&screen, &registers, driver_memory) ? K_OK : K_EFAIL;
}

static int start(void)
{
    int status = uiBuild(&mapper_ui, K_UISTATPORT, 0, PICTURE_MAPPER_STAMP);

    if (status == K_OK)
        status = device_begin();
    if (status == K_OK)
        status = server_port_declare(&mapper_ui, MAPPER_PRIORITY);
    if (status >= 0)
        status = thread_start(painter_run, NULL);
    if (status == K_OK)
        status = thread_start(announce, NULL);
    return status == K_OK ? svIntrAttach(intr, server_port()) : status;
}

/* ---- replacing ---- */

/* What goes along, and the picture after it. */
struct left_over {
    uint32_t width, height;
    uint32_t shown, cache_known;
    KnCap cache;
};

static int hand_over(struct handover_state *state)
{
    pthread_mutex_lock(&lock);
    resting = true;
    const struct left_over left = { .width = screen.width, .height = screen.height, .shown = screen.shown, .cache_known = cache_known,
                                    .cache = cache };
    bool ended = framebuffer_end(&screen);
    pthread_mutex_unlock(&lock);
    int status = ended ? deviceClose(device) : K_ETIMEOUT;
    if (status != K_OK)
        return status;
    device_is_ours = false;
    handover_put(state, &left, sizeof left);
    return handover_put(state, screen.pixels, screen.size);
}

/* With the lock. */
static void show_again(bool shown)
{
    framebuffer_show(&screen, shown);
    framebuffer_changed(&screen, 0, screen.size);
    resting = false;
    granted = true;                     /* who wrote before has the right still */
    painter_wake(&came);
}

static void resume(void)
{
    bool shown = screen.shown;

    if (device_is_ours) {
        deviceClose(device);            /* it has been reset, or will not be */
        device_is_ours = false;
    }
    pthread_mutex_lock(&lock);
    if (device_begin() != K_OK || svIntrAttach(intr, server_port()) != K_OK)
        die("the device does not come back");
    show_again(shown);
    pthread_mutex_unlock(&lock);
}

static int take_over(struct handover_state *state, uint32_t version)
{
    struct left_over left;
    int status = version == 1 ? handover_get(state, &left, sizeof left) : K_EINVAL;

    if (status == K_OK)
        status = uiBuild(&mapper_ui, K_UISTATPORT, 0, PICTURE_MAPPER_STAMP);
    if (status == K_OK)
        status = device_begin();
    if (status == K_OK && (left.width != screen.width || left.height != screen.height))
        status = K_EINVAL;
    if (status == K_OK)
        status = handover_get(state, screen.pixels, screen.size);
    if (status != K_OK)
        return status;
    cache = left.cache;
    cache_known = left.cache_known != 0;
    resting = true;
    show_after = left.shown != 0;
    return thread_start(painter_run, &screen);
}

static void taken_over(void)
{
    pthread_mutex_lock(&lock);
    show_again(show_after);
    pthread_mutex_unlock(&lock);
    if (svIntrAttach(intr, server_port()) != K_OK)
        fprintf(stderr, "screen: no interrupts\n");
}

static const struct server_handover handover = { .version = 1, .hand_over = hand_over, .resume = resume,
                                                 .take_over = take_over, .taken_over = taken_over };

int main(void)
{
    static const struct server_operation operations[] = {
        { K_MP_PULLIN, serve }, { K_MP_PUSHOUT, serve }, { K_MP_GETACCESS, serve }, { K_MP_RELEASE, serve }, { PICTURE_USE, use },
    };

    return -server_run(&(struct server){ .name = "screen", .stamp = PICTURE_GROUP_STAMP, .workers = 2, .body_max = K_CMSGSIZEMAX,
                                         .unsupported = -ENOSYS, SERVER_TABLE(operations), .start = start, .interrupt = interrupt,
                                         .handover = &handover });
}
