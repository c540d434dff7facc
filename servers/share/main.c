/* share: a folder of the host, by the file protocol.
 *
 *     share [NUMBER]
 *
 * It does not look into requests: each goes to the device as it came, and the answer comes back when the host's process has it
 * (lib/protocol/share.h). It adds its own names, the ports in nodes. It is also the mapper of the folder's files: what the Nucleus asks for goes the
 * same way; and when an answer says that a file has changed, its pages are dropped before anybody hears that answer.
 *
 * It keeps nothing, so when it dies another one is started and everything goes on, open and mapped files too; requests that it had are sent once more by
 * nobody, and fail. It can be replaced: it waits for the answers that are due, and gives the device back.
 */
#include <errno.h>
#include <mem/chMapper.h>
#include <protocol/file.h>
#include <protocol/share.h>
#include <server/handover.h>
#include <server/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../drivers/common/actor.h"

#define SLOTS      8
#define LOOK_AGAIN 100000               /* ns, while the host is slow */
#define LOOKS_MOST 50000                /* of who hands over */
#define MAPPER_PRIORITY 64              /* pages before other requests: somebody has them half */

/* A request with the device. */
struct slot {
    struct file_request *request;       /* and the body, behind it */
    struct share_answer *answer;        /* and the body */
    KnMsgId owner;
    bool busy;
    bool waits;                         /* somebody wants the answer */
    bool maps;                          /* it is the Nucleus, who asked `map` */
    KnMpRequest map;
};

static struct driver_registers registers;
static struct virtio_driver driver;
static struct virtio_queue queue;
static struct slot slots[SLOTS];
static unsigned device, intr, number;
static bool device_is_ours;
static uint64_t port, mapper;           /* ours, as nodes have them */

/* Caches that the host's process is to be told of that they are gone, when a slot is free. It tells of those again that it is not told of. */
static struct { uint64_t key; struct file_node cache; } gone[4 * SHARE_CHANGED_MAX];
static unsigned gone_count;

/* ---- answers ---- */

/* Nodes are ours, but for those that are mounted or were. */
static void name_nodes(const struct slot *slot)
{
    struct file_reply *reply = &slot->answer->reply;
    if (reply->error == 0 && slot->request->operation != FILE_STATFS && slot->request->operation != FILE_UNMOUNT &&
        slot->request->operation < FILE_READDIR && slot->request->operation != FILE_READLINK && reply->outcome != FILE_AT_MOUNT)
        reply->node.port = reply->outcome == FILE_DONE && (reply->flags & FILE_MAPPABLE) ? mapper : port;
}

static void note_gone(uint64_t key, const struct file_node *cache)
{
    if (gone_count == sizeof gone / sizeof *gone)
        return;
    gone[gone_count].key = key;
    gone[gone_count++].cache = *cache;
}

/* True: the cache has gone, or may go since nobody uses it. */
static bool pages_drop(const KnCap *lc, uint64_t size, bool gone)
{
    KnSgStat stat;
    if (gone) {
        int status = lcStat(lc, &stat);
        if (status == K_OK && stat.mappings == 0 && stat.opens == 0)
            lcFlush(lc, 0, 0, K_DROP, 0);
        return status == K_EUNKNOWN || (status == K_OK && stat.mappings == 0 && stat.opens == 0);
    }
    int status = lcTrunc(lc, size);
    if (status >= 0)
        status = lcFlush(lc, 0, 0, K_DROP, 0);
    return status == K_EUNKNOWN;
}

static void changed_drop(const struct share_changed *changed)
{
    for (uint32_t i = 0; i < changed->count && i < SHARE_CHANGED_MAX; i++) {
        KnCap lc;
        memcpy(&lc, &changed->cache[i].cache, sizeof lc);
        if (pages_drop(&lc, changed->cache[i].size, changed->cache[i].gone != 0))
            note_gone(changed->cache[i].key, &changed->cache[i].cache);
    }
}

static int diag_of(int error)
{
    return error == 0 ? K_OK : error == -ESTALE || error == -ENOENT || error == -EINVAL ? K_EUNKNOWN : error == -EACCES ? K_EPROTECT : K_EIO;
}

static void map_answer(struct slot *slot, const void *body, size_t size)
{
    const struct file_reply *reply = &slot->answer->reply;
    KnMpReply answer = { .diag = diag_of(reply->error), .access = K_READABLE, .offset = slot->map.offset, .size = slot->map.size,
                         .segSize = reply->attributes.size, .ordinal = slot->map.ordinal };
    server_reply_later(slot->owner, &answer, sizeof answer, body, reply->error == 0 ? size : 0);
}

static void finish(struct slot *slot, uint32_t length)
{
    const size_t head = sizeof *slot->answer;
    if (length < head)
        *slot->answer = (struct share_answer){ .reply.error = -EIO };
    const void *body = slot->answer + 1;
    size_t size = length > head ? length - head : 0;
    changed_drop(&slot->answer->changed);
    if (slot->waits && slot->maps) {
        map_answer(slot, body, size);
    } else if (slot->waits) {
        name_nodes(slot);
        server_reply_later(slot->owner, &slot->answer->reply, sizeof slot->answer->reply, body, size);
    }
    slot->busy = false;
}

/* ---- to the device ---- */

static struct slot *slot_free(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (!slots[i].busy)
            return &slots[i];
    return NULL;
}

static bool send(struct slot *slot, size_t body_size)
{
    const struct virtio_buffer buffers[] = { { slot->request, (uint32_t)(sizeof *slot->request + body_size), false },
                                             { slot->answer, sizeof *slot->answer + FILE_BODY_MAX, true } };
    slot->busy = virtio_queue_add(&queue, buffers, 2, slot);
    virtio_queue_kick(&queue);
    return slot->busy;
}

/* A request about a cache, of ours. */
static void cache_request(struct slot *slot, uint32_t operation, uint64_t key, const struct share_cache *words)
{
    *slot->request = (struct file_request){ .operation = operation, .key = key };
    memcpy(slot->request->words, words, sizeof *words);
    slot->waits = slot->maps = false;
}

static void gone_send(void)
{
    struct slot *slot;
    while (gone_count > 0 && (slot = slot_free()) != NULL) {
        const struct share_cache words = { .cache = gone[--gone_count].cache };
        cache_request(slot, SHARE_UNCACHE, gone[gone_count].key, &words);
        send(slot, 0);
    }
}

/* Answer what is finished. */
static void collect(void)
{
    uint32_t length;
    struct slot *slot;
    do {
        while ((slot = virtio_queue_take(&queue, &length)) != NULL)
            finish(slot, length);
        gone_send();
    } while (virtio_queue_interrupts(&queue, true));
}

static struct slot *slot_take(void)
{
    struct slot *slot;
    while ((slot = slot_free()) == NULL) {
        threadDelay(LOOK_AGAIN);        /* the host is slow: wait a little */
        collect();
    }
    return slot;
}

/* ---- requests ---- */

static void handle_file(struct server_request *request)
{
    struct slot *slot = slot_take();
    const size_t head = sizeof *slot->request;
    const struct file_reply failed = { .error = -EIO };
    memcpy(slot->request, request->annex, head);
    memcpy(slot->request + 1, request->body, request->body_size);
    if (server_save(request, &slot->owner) != K_OK)
        return;
    slot->waits = true;
    slot->maps = false;
    if (!send(slot, request->body_size))
        server_reply_later(slot->owner, &failed, sizeof failed, NULL, 0);
    collect();
}

/* The Nucleus asks for pages, or what there is. They are never written: so nothing is pushed out. */
static void handle_map(struct server_request *request)
{
    KnMpRequest ask;
    struct share_cache words = { 0 };
    memcpy(&ask, request->annex, sizeof ask);
    if ((ask.op == K_MP_GETACCESS && ask.access == K_WRITABLE) || ask.op == K_MP_PUSHOUT || ask.op == K_MP_CREATE) {
        const KnMpReply refused = { .diag = K_EPROTECT, .ordinal = ask.ordinal };
        server_reply(request, &refused, sizeof refused);
        return;
    }
    struct slot *slot = slot_take();
    memcpy(&words.cache, &ask.lc, sizeof words.cache);
    words.offset = ask.offset;
    words.length = ask.size;
    cache_request(slot, ask.op == K_MP_PULLIN ? SHARE_PULL : ask.op == K_MP_RELEASE ? SHARE_UNCACHE : SHARE_CACHE, ask.segKey, &words);
    slot->map = ask;
    slot->waits = slot->maps = ask.op != K_MP_RELEASE;
    if (slot->waits && server_save(request, &slot->owner) != K_OK)
        return;
    if (!send(slot, 0) && slot->waits) {
        const KnMpReply failed = { .diag = K_EIO, .ordinal = ask.ordinal };
        server_reply_later(slot->owner, &failed, sizeof failed, NULL, 0);
    }
    collect();
}

/* The loop has seen to it that what looks like the Nucleus's is. */
static void handle(struct server_request *request)
{
    const struct file_reply unknown = { .error = -ENOSYS };
    if (request->operation >= K_MP_PULLIN && request->operation <= K_MP_RELEASE)
        handle_map(request);
    else if (request->operation >= FILE_STATFS && request->operation < FILE_OPERATION_END)
        handle_file(request);
    else
        server_reply(request, &unknown, sizeof unknown);
}

static void interrupt(unsigned which, uint64_t count)
{
    (void)which, (void)count;
    virtio_acknowledge(&driver);
    if (virtio_needs_reset(&driver)) {
        fprintf(stderr, "the device stopped; starting again\n");
        exit(1);
    }
    collect();
}

/* ---- beginning ---- */

static bool memory_make(void)
{
    for (unsigned i = 0; i < SLOTS && slots[i].request == NULL; i++) {
        slots[i].request = driver_memory(sizeof *slots[i].request + FILE_BODY_MAX);
        slots[i].answer = driver_memory(sizeof *slots[i].answer + FILE_BODY_MAX);
        if (slots[i].request == NULL || slots[i].answer == NULL)
            return false;
    }
    return true;
}

static int device_begin(void)
{
    static void *memory;
    int found = driver_device_open(SHARE_DEVICE_TYPE, number, &intr);
    if (found < 0)
        return found;
    device = (unsigned)found;
    device_is_ours = true;
    driver_registers_init(&registers, &device);
    if (memory == NULL)
        memory = driver_memory(VIRTIO_DRIVER_QUEUE_MEMORY);
    if (memory == NULL || !memory_make() || !virtio_begin(&driver, &registers, SHARE_DEVICE_TYPE, 0) ||
        !virtio_queue_open(&driver, &queue, 0, memory) || !virtio_ready(&driver))
        return K_EFAIL;
    virtio_queue_interrupts(&queue, true);
    return K_OK;
}

static void names_make(KnUniqueId *mapper_ui)
{
    KnUniqueId group;
    uiBuild(&group, K_UISTATGROUP, 0, SHARE_GROUP_STAMP + 16 * number);
    uiBuild(mapper_ui, K_UISTATPORT, 0, SHARE_MAPPER_STAMP + 16 * number);
    memcpy(&port, &group, sizeof port);
    memcpy(&mapper, mapper_ui, sizeof mapper);
}

/* What one before us has not dropped in time, since it died, is outdated. */
static int start(void)
{
    KnUniqueId mapper_ui;
    names_make(&mapper_ui);
    int status = device_begin();
    if (status == K_OK)
        status = svIntrAttach(intr, server_port());
    if (status != K_OK)
        return status;
    cache_request(&slots[0], SHARE_BEGIN, FILE_ROOT_KEY, &(struct share_cache){ 0 });
    if (!send(&slots[0], 0))
        return K_EFAIL;
    status = server_port_declare(&mapper_ui, MAPPER_PRIORITY);
    return status < 0 ? status : K_OK;
}

/* ---- replacing ---- */

static bool is_busy(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i].busy)
            return true;
    return false;
}

static int hand_over(struct handover_state *state)
{
    for (int i = 0; collect(), is_busy(); i++) {
        if (i == LOOKS_MOST)
            return K_ETIMEOUT;
        threadDelay(LOOK_AGAIN);
    }
    int status = deviceClose(device);
    if (status != K_OK)
        return status;
    device_is_ours = false;
    return handover_put(state, &number, sizeof number);
}

static void resume(void)
{
    int status = K_OK;
    if (!device_is_ours && (status = device_begin()) == K_OK)
        status = svIntrAttach(intr, server_port());
    if (status != K_OK) {
        fprintf(stderr, "the device does not come back\n");
        exit(1);
    }
    collect();
}

static int take_over(struct handover_state *state, uint32_t version)
{
    unsigned its_number = 0;
    KnUniqueId mapper_ui;
    if (version != 1 || handover_get(state, &its_number, sizeof its_number) != K_OK || its_number != number)
        return K_EINVAL;
    names_make(&mapper_ui);
    return device_begin();
}

static void taken_over(void)
{
    if (svIntrAttach(intr, server_port()) != K_OK)
        fprintf(stderr, "no interrupts\n");
}

static const struct server_handover handover = { .version = 1, .hand_over = hand_over, .resume = resume,
                                                 .take_over = take_over, .taken_over = taken_over };

int main(int argc, char **argv)
{
    char name[16];
    number = argc > 1 ? (unsigned)atoi(argv[1]) % SHARES_MAX : 0;
    snprintf(name, sizeof name, "share%u", number);
    return -server_run(&(struct server){ .name = name, .stamp = SHARE_GROUP_STAMP + 16 * number, .workers = 1, .body_max = FILE_BODY_MAX,
                                         .unsupported = -ENOSYS, .other = handle, .start = start, .interrupt = interrupt,
                                         .handover = &handover });
}
