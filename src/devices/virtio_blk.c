/* virtio-blk: see virtio_blk.h.
 *
 * A request is parsed once, into ours. `request_step` does what is left of it, without waiting or
 * with; so the Nucleus thread begins it. Where a read would wait the ring makes the next part of it, and
 * the Nucleus thread goes on after that; for all else, or without a ring, a pool thread goes on where it
 * had to stop.
 */
#include "virtio_blk.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_SIZE      128
#define RANGES_MAX      16
#define RANGE_SECTORS   (1u << 22)          /* in one range: 2 GB */
#define BYTES_AT_ONCE   (256u << 10)        /* transferred in one go of the Nucleus thread */
#define REQUESTS_AT_ONCE 16
#define MISSES          4                   /* reads in a row that were not in the host's cache: the next ones will not be either */
#define LOOK_EVERY      16                  /* of them */
#define BY_CACHE        256                 /* reads after one that was in the host's cache */

struct blk_request {
    struct virtio_chain chain;
    struct io_job job;
    struct virtio_blk *blk;
    struct blk_request *next, **link;       /* among all that are under way */
    uint32_t type;
    uint64_t offset, length, done;          /* bytes */
    unsigned ranges;
    struct virtio_blk_range range[RANGES_MAX];
    bool working;                           /* with the pool */
    bool by_cache;                          /* a read that the host had better keep in its cache */
    struct io_ring_read read;
    struct iovec *pieces;                   /* of the read, while the ring has it */
    uint8_t status;
};

struct virtio_blk {
    struct virtio_device virtio;            /* first */
    struct virtio_blk_config config;
    struct disk_image *image;
    struct bus *bus;
    struct io_pool *pool;
    struct io_ring *ring;                   /* NULL: none */
    struct blk_request *under_way;
    struct blk_request *spare;              /* one kept, so that the usual case allocates nothing */
    unsigned misses, rings;                 /* reads in a row that were not in the host's cache; reads given to the ring since */
    unsigned by_cache;                      /* reads that go by the host's cache from now on */
    struct bus_completion again;            /* go on with the queue later */
    bool again_posted;
};

static struct virtio_blk *blk_of(struct virtio_device *device)
{
    return (struct virtio_blk *)device;
}

/* ---- what a request wants ---- */

static bool range_is_sound(const struct virtio_blk *blk, uint64_t sector, uint64_t sectors)
{
    return sector <= blk->config.capacity && sectors <= blk->config.capacity - sector;
}

/* Set what is to be transferred; false: an I/O error. */
static bool transfer_parse(struct blk_request *request, uint64_t sector, uint64_t length)
{
    request->offset = sector * DISK_SECTOR;
    request->length = length;
    return length % DISK_SECTOR == 0 && length != 0
        && range_is_sound(request->blk, sector, length / DISK_SECTOR);
}

static bool ranges_parse(struct blk_request *request)
{
    size_t length = request->chain.readable_bytes - sizeof(struct virtio_blk_header);

    request->ranges = length / sizeof(struct virtio_blk_range);
    if (length % sizeof(struct virtio_blk_range) != 0 || request->ranges == 0
        || request->ranges > RANGES_MAX)
        return false;
    chain_read(&request->chain, sizeof(struct virtio_blk_header), request->range, length);
    for (unsigned i = 0; i < request->ranges; i++) {
        const struct virtio_blk_range *range = &request->range[i];
        if (range->sectors == 0 || range->sectors > RANGE_SECTORS
            || !range_is_sound(request->blk, range->sector, range->sectors))
            return false;
    }
    return true;
}

static uint8_t request_parse(struct blk_request *request)
{
    struct virtio_blk_header header;
    bool sound = !request->chain.lost;

    if (!sound)
        return VIRTIO_BLK_IOERR;        /* who asked for it is gone, and wants nothing written or read any more */
    chain_read(&request->chain, 0, &header, sizeof header);
    request->type = header.type;
    switch (header.type) {
    case VIRTIO_BLK_IN:
        sound = transfer_parse(request, header.sector, request->chain.writable_bytes - 1);
        break;
    case VIRTIO_BLK_OUT:
        sound = transfer_parse(request, header.sector,
                               request->chain.readable_bytes - sizeof header);
        break;
    case VIRTIO_BLK_DISCARD:
    case VIRTIO_BLK_WRITE_ZEROES:
        sound = ranges_parse(request);
        break;
    case VIRTIO_BLK_FLUSH:
    case VIRTIO_BLK_GET_ID:
        break;
    default:
        return VIRTIO_BLK_UNSUPPORTED;
    }
    bool writes = header.type == VIRTIO_BLK_OUT || header.type == VIRTIO_BLK_DISCARD
          || header.type == VIRTIO_BLK_WRITE_ZEROES;
    if (!sound || (writes && disk_image_read_only(request->blk->image)))
        return VIRTIO_BLK_IOERR;
    return VIRTIO_BLK_OK;
}

/* ---- doing it ---- */

/* What is left to be transferred, at most VIRTIO_SPANS_MAX pieces of it. */
static unsigned pieces_left(struct blk_request *request, struct iovec *pieces)
{
    bool in = request->type == VIRTIO_BLK_IN;
    size_t bytes, before = in ? 0 : sizeof(struct virtio_blk_header);

    _Static_assert(sizeof(struct device_span) == sizeof(struct iovec)
                       && offsetof(struct device_span, length) == offsetof(struct iovec, iov_len),
                   "a span is an iovec");
    return chain_spans(&request->chain, in, before + request->done, request->length - request->done,
                       (struct device_span *)pieces, VIRTIO_SPANS_MAX, &bytes);
}

/* A driver that cannot flush counts on every write (5.2.6.2 of the specification). */
static bool writes_through(const struct blk_request *request)
{
    return request->type == VIRTIO_BLK_OUT && !virtio_has(&request->blk->virtio, VIRTIO_BLK_F_FLUSH);
}

/* 0: all is transferred; else an error made negative, -EAGAIN: what is left would wait. */
static int transfer_step(struct blk_request *request, bool may_wait)
{
    bool in = request->type == VIRTIO_BLK_IN;
    struct iovec pieces[VIRTIO_SPANS_MAX];

    while (request->done < request->length) {
        unsigned count = pieces_left(request, pieces);
        uint64_t offset = request->offset + request->done;
        int64_t moved = in ? disk_image_read(request->blk->image, offset, pieces, count, may_wait)
                           : disk_image_write(request->blk->image, offset, pieces, count, may_wait);
        if (moved < 0)
            return (int)moved;
        request->done += (uint64_t)moved;
    }
    return 0;
}

static int ranges_step(struct blk_request *request)
{
    for (unsigned i = 0; i < request->ranges; i++) {
        uint64_t offset = request->range[i].sector * DISK_SECTOR;
        uint64_t length = (uint64_t)request->range[i].sectors * DISK_SECTOR;
        int error = request->type == VIRTIO_BLK_DISCARD
                        ? disk_image_discard(request->blk->image, offset, length)
                        : disk_image_zero(request->blk->image, offset, length);
        if (error != 0)
            return error;
    }
    return 0;
}

static int id_step(struct blk_request *request)
{
    const char *name = request->blk->virtio.device.name;
    char id[VIRTIO_BLK_ID_LENGTH] = "";

    memcpy(id, name, strnlen(name, sizeof id));
    request->length = request->done =
        request->chain.writable_bytes - 1 < sizeof id ? request->chain.writable_bytes - 1
                                                      : sizeof id;
    chain_write(&request->chain, 0, id, request->done);
    return 0;
}

/* False: it would wait. Else request->status is set. */
static bool request_step(struct blk_request *request, bool may_wait)
{
    int error;

    switch (request->type) {
    case VIRTIO_BLK_IN:
    case VIRTIO_BLK_OUT:
        error = transfer_step(request, may_wait);
        if (error == 0 && writes_through(request))
            error = may_wait ? disk_image_flush(request->blk->image) : -EAGAIN;
        break;
    case VIRTIO_BLK_GET_ID:
        error = id_step(request);
        break;
    case VIRTIO_BLK_FLUSH:
        error = may_wait ? disk_image_flush(request->blk->image) : -EAGAIN;
        break;
    default:
        error = may_wait ? ranges_step(request) : -EAGAIN;
    }
    if (error == -EAGAIN && !may_wait)
        return false;
    request->status = error == 0 ? VIRTIO_BLK_OK : VIRTIO_BLK_IOERR;
    return true;
}

/* ---- from the queue and back ---- */

static struct blk_request *request_make(struct virtio_blk *blk)
{
    struct blk_request *request = blk->spare;

    blk->spare = NULL;
    if (request == NULL)
        request = malloc(sizeof *request);
    return request;
}

static void request_free(struct virtio_blk *blk, struct blk_request *request)
{
    if (blk->spare == NULL)
        blk->spare = request;
    else
        free(request);
}

static void request_enter(struct virtio_blk *blk, struct blk_request *request)
{
    request->blk = blk;
    request->done = request->length = 0;
    request->ranges = 0;
    request->working = false;
    request->pieces = NULL;
    request->next = blk->under_way;
    request->link = &blk->under_way;
    if (request->next != NULL)
        request->next->link = &request->next;
    blk->under_way = request;
}

/* Answer. The status byte is the last one of the chain. */
static void request_finish(struct blk_request *request)
{
    struct virtio_blk *blk = request->blk;
    bool in = request->type == VIRTIO_BLK_IN || request->type == VIRTIO_BLK_GET_ID;

    *request->link = request->next;
    if (request->next != NULL)
        request->next->link = request->link;
    chain_write(&request->chain, request->chain.writable_bytes - 1, &request->status, 1);
    virtqueue_put(&blk->virtio, 0, &request->chain, 1 + (in ? (uint32_t)request->done : 0));
    request_free(blk, request);
}

static void job_work(struct io_job *job)
{
    struct blk_request *request = (struct blk_request *)((char *)job
                                                         - offsetof(struct blk_request, job));
    request_step(request, true);
}

static void queue_work(struct virtio_blk *blk);

/* A request that had to wait is done: answer, and look for more. */
static void request_answer(struct blk_request *request)
{
    struct virtio_blk *blk = request->blk;

    request_finish(request);
    virtqueue_signal(&blk->virtio, 0);
    queue_work(blk);
}

static void job_done(struct io_job *job)
{
    request_answer((struct blk_request *)((char *)job - offsetof(struct blk_request, job)));
}

static void request_to_pool(struct blk_request *request)
{
    /* Writers of one file wait for each other anyway, and would only spend time on that. */
    request->job = (struct io_job){ .work = job_work, .done = job_done, .alone = request->type == VIRTIO_BLK_OUT };
    request->working = true;
    io_pool_submit(request->blk->pool, &request->job);
}

/* ---- by the ring ---- */

static bool request_to_ring(struct blk_request *request);

static void request_go_on(struct blk_request *request)
{
    if (request_step(request, false))
        request_answer(request);
    else if (!request_to_ring(request))
        request_to_pool(request);
}

/* The ring has read, or cannot now; the pool can. */
static void ring_done(struct io_ring_read *read, int64_t result)
{
    struct blk_request *request = (struct blk_request *)((char *)read
                                                         - offsetof(struct blk_request, read));

    free(request->pieces);
    request->pieces = NULL;
    if (result == -EAGAIN || result == -EINTR || result == -ECANCELED || result == -ENOMEM
        || disk_image_direct_failed(request->blk->image, read->descriptor, result)) {
        request_to_pool(request);
        return;
    }
    result = disk_image_read_done(result);
    if (result < 0) {
        request->status = VIRTIO_BLK_IOERR;
        request_answer(request);
        return;
    }
    request->done += (uint64_t)result;
    request_go_on(request);
}

/* Fill in the read that comes next; false: no memory. */
static bool read_prepare(struct blk_request *request)
{
    struct io_ring_read *read = &request->read;
    struct iovec pieces[VIRTIO_SPANS_MAX];
    unsigned count = pieces_left(request, pieces);

    request->pieces = malloc(count * sizeof *pieces);
    if (request->pieces == NULL)
        return false;
    *read = (struct io_ring_read){ .offset = request->offset + request->done,
                                   .pieces = request->pieces, .done = ring_done };
    read->descriptor = disk_image_read_part(request->blk->image, read->offset, pieces, count,
                                            request->pieces, &read->count);
    int direct = request->by_cache ? -1 : disk_image_direct(request->blk->image, read->offset, request->pieces, read->count);
    if (direct >= 0)
        read->descriptor = direct;
    return true;
}

static bool request_to_ring(struct blk_request *request)
{
    if (request->blk->ring == NULL || request->type != VIRTIO_BLK_IN)
        return false;
    if (read_prepare(request) && io_ring_submit(request->blk->ring, &request->read))
        return true;
    free(request->pieces);
    request->pieces = NULL;
    return false;
}

/* Where it was in vain often to look into the host's cache first, we do so only now and then. Then the host is to keep there what it reads: if those are asked for again we shall see that
 * its cache is of use, and let it have more. All others may be read past it. */
static bool is_likely_a_miss(struct virtio_blk *blk)
{
    return blk->ring != NULL && blk->misses >= MISSES && ++blk->rings % LOOK_EVERY != 0;
}

static void cache_note(struct virtio_blk *blk, bool hit)
{
    blk->misses = hit ? 0 : blk->misses + 1;
    if (hit)
        blk->by_cache = BY_CACHE;
}

static bool is_for_cache(struct virtio_blk *blk)
{
    if (blk->by_cache == 0)
        return false;
    blk->by_cache--;
    return true;
}

/* False: it would wait, or is better left to others. */
static bool request_try(struct blk_request *request)
{
    struct virtio_blk *blk = request->blk;

    if (request->type != VIRTIO_BLK_IN)
        return request_step(request, false);
    request->by_cache = is_for_cache(blk);
    if (is_likely_a_miss(blk))
        return false;
    request->by_cache = true;
    bool hit = request_step(request, false);
    cache_note(blk, hit);
    return hit;
}

static void request_begin(struct blk_request *request)
{
    request->status = request_parse(request);
    if (request->status != VIRTIO_BLK_OK || request_try(request))
        request_finish(request);
    else if (!request_to_ring(request))
        request_to_pool(request);
}

static bool chain_is_request(struct virtio_blk *blk, const struct virtio_chain *chain)
{
    if (chain->readable_bytes >= sizeof(struct virtio_blk_header) && chain->writable_bytes >= 1)
        return true;
    virtio_break(&blk->virtio, "a request without a header, or without room for its status");
    return false;
}

/* Begin some of the requests that wait; if there are more, come back by the bus. */
static void queue_work(struct virtio_blk *blk)
{
    unsigned bytes = 0, requests = 0;
    struct blk_request *request;

    while (requests++ < REQUESTS_AT_ONCE && bytes < BYTES_AT_ONCE
           && (request = request_make(blk)) != NULL) {
        if (!virtqueue_take(&blk->virtio, 0, &request->chain)) {
            request_free(blk, request);
            virtqueue_signal(&blk->virtio, 0);
            return;
        }
        if (!chain_is_request(blk, &request->chain)) {
            virtqueue_put(&blk->virtio, 0, &request->chain, 0);
            request_free(blk, request);
            return;
        }
        request_enter(blk, request);
        bytes += request->chain.readable_bytes + request->chain.writable_bytes;
        request_begin(request);
    }
    virtqueue_signal(&blk->virtio, 0);
    if (!blk->again_posted && virtqueue_waiting(&blk->virtio, 0)) {
        blk->again_posted = true;
        bus_post(blk->bus, &blk->again);
    }
}

static void again(struct bus_completion *completion)
{
    struct virtio_blk *blk = (struct virtio_blk *)((char *)completion
                                                   - offsetof(struct virtio_blk, again));
    blk->again_posted = false;
    queue_work(blk);
}

/* ---- the model ---- */

static void blk_notify(struct virtio_device *device, unsigned queue)
{
    (void)queue;
    queue_work(blk_of(device));
}

/* What the pool has not begun is dropped; what it works on, and what the ring has, comes back when it is done. */
static void blk_stop(struct virtio_device *device)
{
    struct virtio_blk *blk = blk_of(device);
    struct blk_request *next;

    for (struct blk_request *request = blk->under_way; request != NULL; request = next) {
        next = request->next;
        if (!request->working || !io_pool_cancel(blk->pool, &request->job))
            continue;
        request->status = VIRTIO_BLK_IOERR;
        request_finish(request);
    }
}

static uint32_t blk_read_config(struct virtio_device *device, uint32_t offset)
{
    uint32_t word;

    if (offset > sizeof blk_of(device)->config - sizeof word)
        return 0;
    memcpy(&word, (char *)&blk_of(device)->config + offset, sizeof word);
    return word;
}

static void blk_destroy(struct virtio_device *device)
{
    struct virtio_blk *blk = blk_of(device);

    bus_cancel(blk->bus, &blk->again);
    disk_image_close(blk->image);
    free(blk->spare);
    free(blk);
}

static const struct virtio_model blk_model = {
    .features = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH
              | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES,
    .takes_pages = true,
    .queues = 1,
    .notify = blk_notify,
    .stop = blk_stop,
    .read_config = blk_read_config,
    .destroy = blk_destroy,
};

struct device *virtio_blk_create(const char *name, const struct device_services *services,
                                 struct bus *bus, struct io_pool *pool, struct io_ring *ring,
                                 struct disk_image *image)
{
    struct virtio_blk *blk = calloc(1, sizeof *blk);

    if (blk == NULL)
        return NULL;
    virtio_init(&blk->virtio, name, VIRTIO_TYPE_BLOCK, &blk_model, services,
                disk_image_read_only(image) ? VIRTIO_BLK_F_RO : 0, QUEUE_SIZE);
    blk->image = image;
    blk->bus = bus;
    blk->pool = pool;
    blk->ring = ring;
    blk->again.done = again;
    blk->config = (struct virtio_blk_config){
        .capacity = disk_image_size(image) / DISK_SECTOR,
        .seg_max = QUEUE_SIZE - 2,
        .blk_size = DISK_SECTOR,
        .num_queues = 1,
        .max_discard_sectors = RANGE_SECTORS, .max_discard_seg = RANGES_MAX,
        .discard_sector_alignment = 8,
        .max_write_zeroes_sectors = RANGE_SECTORS, .max_write_zeroes_seg = RANGES_MAX,
        .write_zeroes_may_unmap = 1,
    };
    return &blk->virtio.device;
}
