/* Frames: the buddy allocator. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

TestSuite(frame, .init = world_start, .fini = world_end, .timeout = 20);

Test(frame, nothing_is_taken_of_nothing)
{
    frame_t first;
    cr_expect_eq(frame_take(0, FRAME_FOR_ZEROS, &first), 0);
}

Test(frame, runs_are_contiguous_zero_and_merge_again)
{
    frame_t first;
    size_t got = frame_take(1000, FRAME_FOR_ZEROS, &first);
    cr_expect_eq(got, 1000);
    memset(frame_bytes(first), 0xff, got * PAGE_SIZE);
    frame_return(first, got);
    got = frame_take(2048, FRAME_FOR_ZEROS, &first);
    cr_expect_eq(got, 2048);
    for (size_t i = 0; i < got * PAGE_SIZE; i += 64)
        cr_assert_eq(((char *)frame_bytes(first))[i], 0);
    frame_return(first, got);
}

Test(frame, the_reserve_is_for_pushing_out)
{
    frame_t first[4096], extra;
    size_t count = 0;
    while (frame_take(1, FRAME_FOR_COPY, &first[count]) == 1)
        count++;
    cr_expect_eq(count, 4096 - 64);
    cr_expect_eq(frame_take_reserved(1, &extra), 1);
    frame_return(extra, 1);
    for (size_t i = 0; i < count; i++)
        frame_return(first[i], 1);
}

Test(frame, idle_work_makes_frames_ready_and_ends)
{
    frame_t first;
    size_t got = frame_take(2000, FRAME_FOR_COPY, &first);
    memset(frame_bytes(first), 1, got * PAGE_SIZE);
    frame_return(first, got);
    unsigned steps = 0;
    while (frame_idle_work(world_time))
        cr_assert_lt(steps++, 10000);
    cr_expect_geq(frame_ready_count(), 1024);
    cr_expect_eq(fake_frames_released(), 0);
    world_time += 100000000000;
    while (frame_idle_work(world_time))
        cr_assert_lt(steps++, 10000);
    cr_expect_geq(fake_frames_released(), 512, "what is free for long goes back to the host");
    got = frame_take(4000, FRAME_FOR_ZEROS, &first);
    for (size_t i = 0; i < got * PAGE_SIZE; i += 8)
        cr_assert_eq(((char *)frame_bytes(first))[i], 0);
    frame_return(first, got);
}

Test(frame, random_taking_and_returning_leaves_all_in_one_piece)
{
    static struct { frame_t first; size_t count; } held[200];
    srand(2);
    for (unsigned round = 0; round < 20000; round++) {
        unsigned i = rand() % 200;
        if (held[i].count > 0) {
            frame_return(held[i].first, held[i].count);
            held[i].count = 0;
        } else {
            held[i].count = frame_take(1 + rand() % (rand() % 8 == 0 ? 300 : 20), rand() % 2, &held[i].first);
            for (size_t j = 0; j < held[i].count; j++)
                memset(frame_bytes(held[i].first + j), 1, 8);
        }
        if (round % 10 == 0)
            frame_idle_work(world_time);
    }
    for (unsigned i = 0; i < 200; i++)
        frame_return(held[i].first, held[i].count);
    uint64_t frames, free, cached;
    vm_counts(&frames, &free, &cached);
    cr_expect_eq(free, frames);
    for (unsigned i = 0; i < 100; i++) {
        frame_t first;
        size_t count = frame_take(64, FRAME_FOR_ZEROS, &first);
        for (size_t j = 0; j < count * PAGE_SIZE; j += 8)
            cr_assert_eq(((char *)frame_bytes(first))[j], 0);
        frame_return(first, count);
    }
}
