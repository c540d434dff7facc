/* The I/O ring: liburing, restricted. See io_ring.h.
 *
 * Giving a read to the host takes longer (10 to 20 us: its own search for the pages, the way to its disk) than all that we do for it ourselves. So only a read that is alone is given by
 * the Nucleus thread; while others are under way a thread of ours does it, for all that have come meanwhile in one call, and the Nucleus goes on.
 */
#include "io_ring.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES   128
#define FILES_MAX 64

struct io_ring {
    struct io_uring uring;
    struct bus *bus;
    struct bus_completion again;        /* the host took not all */
    bool again_posted;
    struct bus_watch watch;             /* of the bell: the host rings it with each completion */
    int bell;
    int files[FILES_MAX];
    unsigned file_count, under_way;
    uint64_t submitted;
    bool set_up;
    struct {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t more;
        bool started, wanted, closing;  /* the last two under the lock */
    } giver;
};

/* ---- the thread that gives reads to the host ---- */

/* As many as there are. False: the host has no memory for them now. */
static bool give(struct io_ring *ring)
{
    unsigned head = __atomic_load_n(ring->uring.sq.khead, __ATOMIC_ACQUIRE), tail = __atomic_load_n(ring->uring.sq.ktail, __ATOMIC_ACQUIRE);

    if (head == tail)
        return true;
    return syscall(SYS_io_uring_enter, ring->uring.ring_fd, tail - head, 0, 0, NULL, 0) >= 0 || errno == EINTR;
}

static bool giver_waits(struct io_ring *ring)
{
    pthread_mutex_lock(&ring->giver.lock);
    while (!ring->giver.wanted && !ring->giver.closing)
        pthread_cond_wait(&ring->giver.more, &ring->giver.lock);
    ring->giver.wanted = false;
    bool closing = ring->giver.closing;
    pthread_mutex_unlock(&ring->giver.lock);
    return !closing;
}

static void *giver_run(void *argument)
{
    struct io_ring *ring = argument;

    while (giver_waits(ring))
        while (!give(ring))
            usleep(1000);
    return NULL;
}

static void giver_wake(struct io_ring *ring, bool closing)
{
    pthread_mutex_lock(&ring->giver.lock);
    ring->giver.wanted = true;
    ring->giver.closing |= closing;
    pthread_cond_signal(&ring->giver.more);
    pthread_mutex_unlock(&ring->giver.lock);
}

static bool giver_start(struct io_ring *ring)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ring->giver.started = pthread_create(&ring->giver.thread, NULL, giver_run, ring) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ring->giver.started;
}

static void giver_end(struct io_ring *ring)
{
    if (!ring->giver.started)
        return;
    giver_wake(ring, true);
    pthread_join(ring->giver.thread, NULL);
}

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

bool io_ring_ready(const struct io_ring *ring)
{
    return ring->under_way > 0 && __atomic_load_n(ring->uring.cq.ktail, __ATOMIC_ACQUIRE) != *ring->uring.cq.khead;
}

void io_ring_look(struct io_ring *ring)
{
    reap(ring);
}

void io_ring_bell(struct io_ring *ring, bool on)
{
    io_uring_cq_eventfd_toggle(&ring->uring, on);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);    /* the host sees it before we look */
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

static bool set_up(struct io_ring *ring, struct bus *bus)
{
    struct io_uring_params parameters = { .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP };

    ring->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring->bell < 0 || io_uring_queue_init_params(ENTRIES, &ring->uring, &parameters) < 0)
        return false;
    ring->set_up = true;
    if (io_uring_register_files(&ring->uring, ring->files, ring->file_count) < 0
        || io_uring_register_eventfd(&ring->uring, ring->bell) < 0 || restrict_ring(ring) < 0
        || io_uring_enable_rings(&ring->uring) < 0
        || !bus_watch_start(bus, &ring->watch, ring->bell, bell_rang) || !giver_start(ring))
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
    pthread_mutex_init(&ring->giver.lock, NULL);
    pthread_cond_init(&ring->giver.more, NULL);
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
    giver_end(ring);
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

/* Let the host see what is in the queue, and the thread give it. */
static void hand_over(struct io_ring *ring)
{
    struct io_uring_sq *queue = &ring->uring.sq;

    queue->sqe_head = queue->sqe_tail;
    __atomic_store_n(queue->ktail, queue->sqe_tail, __ATOMIC_RELEASE);
    giver_wake(ring, false);
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

/* No more under way than there is room for completions: none is ever lost. */
bool io_ring_submit(struct io_ring *ring, struct io_ring_read *read)
{
    int file = file_of(ring, read->descriptor);

    if (file < 0 || ring->under_way >= *ring->uring.cq.kring_entries)
        return false;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    if (sqe == NULL)
        return false;
    io_uring_prep_readv(sqe, file, read->pieces, read->count, read->offset);
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data(sqe, read);
    ring->under_way++;
    ring->submitted++;
    if (ring->under_way > 1)
        hand_over(ring);
    else
        push(ring);
    return true;
}

uint64_t io_ring_count(const struct io_ring *ring)
{
    return ring->submitted;
}
