/* The I/O ring: what it does, and what it may not do. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_nucleus.h"
#include "io_ring.h"

#define BLOCK 4096

static int file, other;
static struct io_ring *ring;

static int file_make(void)
{
    char path[] = "/tmp/chorus-ring-XXXXXX";
    int made = mkstemp(path);
    cr_assert(made >= 0);
    unlink(path);
    return made;
}

static void start(void)
{
    fake_start();
    file = file_make();
    other = file_make();
    fake_ring = ring = io_ring_create(fake_bus, &file, 1);
    if (ring == NULL)
        cr_skip("the host allows no io_uring");
}

static void end(void)
{
    io_ring_destroy(ring);
    close(file);
    close(other);
    fake_end();
}

TestSuite(ring, .init = start, .fini = end, .timeout = 20);

struct waited {
    struct io_ring_read read;
    struct iovec piece;
    int64_t result;
    bool is_done;
};

static void note(struct io_ring_read *read, int64_t result)
{
    struct waited *waited = (struct waited *)read;

    cr_assert_not(waited->is_done);
    waited->result = result;
    waited->is_done = true;
}

static bool begin(struct waited *waited, int descriptor, uint64_t offset, void *bytes, size_t length)
{
    *waited = (struct waited){ .piece = { bytes, length } };
    waited->read = (struct io_ring_read){ descriptor, offset, &waited->piece, 1, note };
    return io_ring_submit(ring, &waited->read);
}

static bool is_done(void *argument)
{
    return ((struct waited *)argument)->is_done;
}

static int64_t read_at(uint64_t offset, void *bytes, size_t length)
{
    struct waited waited;

    cr_assert(begin(&waited, file, offset, bytes, length));
    cr_assert(fake_run_until(is_done, &waited));
    return waited.result;
}

Test(ring, a_file_that_it_was_not_given_is_refused)
{
    struct waited waited;
    char bytes[BLOCK];

    cr_assert_not(begin(&waited, other, 0, bytes, sizeof bytes));
    cr_assert_not(begin(&waited, -1, 0, bytes, sizeof bytes));
    cr_assert_eq(io_ring_count(ring), 0u);
}

Test(ring, a_bad_descriptor_makes_no_ring)
{
    cr_assert_null(io_ring_create(fake_bus, &(int){ 12345 }, 1));
}

Test(ring, an_error_of_the_host_is_told)
{
    cr_assert_eq(read_at(0, (void *)8, BLOCK), 0, "an empty file");
    cr_assert_eq(ftruncate(file, BLOCK), 0);
    cr_assert_eq(read_at(0, (void *)8, BLOCK), -EFAULT);
}

Test(ring, what_is_in_the_file_is_read)
{
    char out[BLOCK], in[BLOCK];

    for (unsigned i = 0; i < 50; i++) {
        memset(out, (int)i + 1, sizeof out);
        cr_assert_eq(pwrite(file, out, BLOCK, i * BLOCK), BLOCK);
        cr_assert_eq(fdatasync(file), 0);
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        cr_assert_eq(read_at(i * BLOCK, in, BLOCK), BLOCK);
        cr_assert_arr_eq(in, out, BLOCK);
    }
    cr_assert_eq(io_ring_count(ring), 50u);
}

Test(ring, reads_are_given_at_a_look_all_in_one_and_its_word_changes_with_what_is_finished)
{
    enum { FEW = 8 };
    static char bytes[BLOCK];
    struct waited waited[FEW];
    uint32_t before = *io_ring_word(ring);

    cr_assert_not(io_ring_ready(ring));
    cr_assert_eq(ftruncate(file, FEW * BLOCK), 0);
    for (unsigned i = 0; i < FEW; i++)
        cr_assert(begin(&waited[i], file, i * BLOCK, bytes, BLOCK));
    cr_assert(io_ring_ready(ring));
    cr_assert_eq(*io_ring_word(ring), before);
    for (unsigned i = 0; i < FEW; i++)
        cr_assert(fake_run_until(is_done, &waited[i]));
    cr_assert_eq(*io_ring_word(ring), before + FEW);
    cr_assert_not(io_ring_ready(ring));
}

Test(ring, it_cannot_write)
{
    struct io_uring raw;
    char byte = 'x';
    struct iovec piece = { &byte, 1 };
    struct io_uring_cqe *cqe;

    memcpy(&raw, ring, sizeof raw);             /* its first member */
    io_uring_prep_writev(io_uring_get_sqe(&raw), 0, &piece, 1, 0);
    io_uring_submit(&raw);
    cr_assert_eq(io_uring_wait_cqe(&raw, &cqe), 0);
    cr_assert_eq(cqe->res, -EACCES);
    io_uring_cqe_seen(&raw, cqe);
    memcpy(ring, &raw, sizeof raw);
}

Test(ring, more_than_it_has_room_for_is_refused_and_nothing_is_lost)
{
    enum { MANY = 2000 };
    static struct waited waited[MANY];
    static char bytes[BLOCK];
    unsigned begun = 0;

    cr_assert_eq(ftruncate(file, MANY * BLOCK), 0);
    while (begun < MANY && begin(&waited[begun], file, begun * BLOCK, bytes, BLOCK))
        begun++;
    cr_assert_geq(begun, 100u);
    cr_assert_lt(begun, MANY);
    for (unsigned i = 0; i < begun; i++) {
        cr_assert(fake_run_until(is_done, &waited[i]));
        cr_assert_eq(waited[i].result, BLOCK);
    }
    cr_assert_eq(read_at(0, bytes, BLOCK), BLOCK, "there is room again");
}

Test(ring, its_end_waits_for_what_is_under_way)
{
    static char bytes[BLOCK];
    struct waited waited[20];

    cr_assert_eq(ftruncate(file, 20 * BLOCK), 0);
    for (unsigned i = 0; i < 20; i++)
        cr_assert(begin(&waited[i], file, i * BLOCK, bytes, BLOCK));
    io_ring_destroy(ring);
    fake_ring = ring = NULL;
    for (unsigned i = 0; i < 20; i++)
        cr_assert(waited[i].is_done);
}
