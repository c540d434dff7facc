/* The I/O ring: liburing, restricted. See io_ring.h.
 *
 * Giving a read to the host takes longer than all that we do for it ourselves, and longest of all is to wake an idle disk. So reads are gathered while the Nucleus has something better to
 * do, and given in one call. What of a read is left to be done when the disk has answered the host does in the thread that gave it: it wakes us for that, and our word has changed then. Only
 * what the host had one of its own threads do (it must wait for a lock, say) rings the bell.
 */
#include "io_ring.h"

#include <errno.h>
#include <liburing.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ENTRIES   128
#define FILES_MAX 64

struct io_ring {
    struct io_uring uring;
    struct bus *bus;
    struct bus_completion again;        /* the host took not all */
    bool again_posted;
    struct bus_watch watch;             /* of the bell: the host's own threads ring it with each completion of theirs */
    int bell;
    int files[FILES_MAX];
    unsigned file_count, under_way;
    uint64_t submitted;
    bool set_up;
};

/* ---- making ---- */

static struct io_uring_restriction allow_operation(uint8_t operation)
{
    return (struct io_uring_restriction){ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = operation };
}

/* Nothing can be registered once the ring is enabled: no operation of that kind is in the list. */
static int restrict_ring(struct io_ring *ring)
{
    struct io_uring_restriction list[] = {
        allow_operation(IORING_OP_READV),
        { .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE },
        { .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
    };
    return io_uring_register_restrictions(&ring->uring, list, sizeof list / sizeof *list);
}

static void reap(struct io_ring *ring)
{
    struct io_uring_cqe *cqe;

    while (io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        struct io_ring_read *read = io_uring_cqe_get_data(cqe);
        int64_t result = cqe->res;
        io_uring_cqe_seen(&ring->uring, cqe);
        ring->under_way--;
        read->done(read, result);
    }
}

static void again(struct bus_completion *completion);

static void bell_rang(struct bus_watch *watch, uint32_t events)
{
    struct io_ring *ring = (struct io_ring *)((char *)watch - offsetof(struct io_ring, watch));
    uint64_t rings;
    (void)events;
    ssize_t silenced = read(ring->bell, &rings, sizeof rings);
    (void)silenced;
    reap(ring);
}

/* We look often enough: the host need not interrupt us to do its part, where it knows how not to (since 5.19). */
static bool queue_init(struct io_ring *ring)
{
    struct io_uring_params parameters = { .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG };

    int error = io_uring_queue_init_params(ENTRIES, &ring->uring, &parameters);
    if (error != -EINVAL)
        return error == 0;
    parameters = (struct io_uring_params){ .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP };
    return io_uring_queue_init_params(ENTRIES, &ring->uring, &parameters) == 0;
}

static bool set_up(struct io_ring *ring, struct bus *bus)
{
    ring->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring->bell < 0 || !queue_init(ring))
        return false;
    ring->set_up = true;
    if (io_uring_register_files(&ring->uring, ring->files, ring->file_count) < 0
        || io_uring_register_eventfd_async(&ring->uring, ring->bell) < 0 || restrict_ring(ring) < 0
        || io_uring_enable_rings(&ring->uring) < 0
        || !bus_watch_start(bus, &ring->watch, ring->bell, bell_rang))
        return false;
    bus_watch_set(&ring->watch, EPOLLIN);
    return true;
}

struct io_ring *io_ring_create(struct bus *bus, const int *descriptors, unsigned count)
{
    struct io_ring *ring = calloc(1, sizeof *ring);

    if (ring == NULL || count > FILES_MAX) {
        free(ring);
        return NULL;
    }
    ring->bell = -1;
    ring->bus = bus;
    ring->again.done = again;
    ring->file_count = count;
    memcpy(ring->files, descriptors, count * sizeof *descriptors);
    if (set_up(ring, bus))
        return ring;
    io_ring_destroy(ring);
    return NULL;
}

void io_ring_destroy(struct io_ring *ring)
{
    if (ring == NULL)
        return;
    bus_watch_stop(&ring->watch);
    bus_cancel(ring->bus, &ring->again);
    while (ring->under_way > 0 && io_uring_submit_and_wait(&ring->uring, 1) >= 0)
        reap(ring);
    if (ring->set_up)
        io_uring_queue_exit(&ring->uring);
    if (ring->bell >= 0)
        close(ring->bell);
    free(ring);
}

/* ---- reading ---- */

static int file_of(const struct io_ring *ring, int descriptor)
{
    for (unsigned i = 0; i < ring->file_count; i++)
        if (ring->files[i] == descriptor)
            return (int)i;
    return -1;
}

/* The host takes what is in the queue; it may have no memory for it now, and is asked again later. */
static void push(struct io_ring *ring)
{
    int submitted;

    do
        submitted = io_uring_submit(&ring->uring);
    while (submitted == -EINTR);
    if (io_uring_sq_ready(&ring->uring) == 0 || ring->again_posted)
        return;
    ring->again_posted = true;
    bus_post(ring->bus, &ring->again);
}

static void again(struct bus_completion *completion)
{
    struct io_ring *ring = (struct io_ring *)((char *)completion - offsetof(struct io_ring, again));
    ring->again_posted = false;
    push(ring);
}

static bool is_gathered(const struct io_ring *ring)
{
    return ring->uring.sq.sqe_tail != ring->uring.sq.sqe_head;
}

static bool host_has_work(const struct io_ring *ring)
{
    return __atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN;
}

static bool is_finished(const struct io_ring *ring)
{
    return __atomic_load_n(ring->uring.cq.ktail, __ATOMIC_ACQUIRE) != *ring->uring.cq.khead;
}

bool io_ring_ready(const struct io_ring *ring)
{
    return ring->under_way > 0 && (is_finished(ring) || is_gathered(ring) || host_has_work(ring));
}

void io_ring_look(struct io_ring *ring)
{
    if (is_gathered(ring))
        push(ring);
    if (host_has_work(ring))
        io_uring_get_events(&ring->uring);
    reap(ring);
}

volatile uint32_t *io_ring_word(const struct io_ring *ring)
{
    return ring->uring.cq.ktail;
}

static struct io_uring_sqe *entry_take(struct io_ring *ring)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring);

    if (entry != NULL)
        return entry;
    push(ring);
    return io_uring_get_sqe(&ring->uring);
}

/* No more under way than there is room for completions: none is ever lost. */
bool io_ring_submit(struct io_ring *ring, struct io_ring_read *read)
{
    int file = file_of(ring, read->descriptor);

    if (file < 0 || ring->under_way >= *ring->uring.cq.kring_entries)
        return false;
    struct io_uring_sqe *sqe = entry_take(ring);
    if (sqe == NULL)
        return false;
    io_uring_prep_readv(sqe, file, read->pieces, read->count, read->offset);
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data(sqe, read);
    ring->under_way++;
    ring->submitted++;
    return true;
}

uint64_t io_ring_count(const struct io_ring *ring)
{
    return ring->submitted;
}
