/* Few mappings, few frames. */
#include "mapper.h"

#include <stdlib.h>
#include <string.h>
#include "memory/cache.h"

#define RW (K_READABLE | K_WRITABLE)
#define BUFFER 0x40000000ull

static void start(void)
{
    world_start_with(32768);
    fake_memory_set_mappings_max(1000); /* the real host's is 65 times that */
}
TestSuite(budget, .init = start, .fini = world_end, .timeout = 60);

Test(budget, a_child_writes_every_other_page_of_a_large_heap)
{
    struct actor *parent = actor_new(), *child = actor_new();
    allocate(parent, BASE, 4000, RW);
    for (unsigned i = 0; i < 4000; i++)
        user_write(parent, BASE + PAGES(i), i);
    cr_assert_eq(CALL(parent, rgnDup, ARG(child), 0, 0), K_OK);
    for (unsigned i = 0; i < 4000; i++)
        cr_assert_eq(user_byte(child, BASE + PAGES(i)), (uint8_t)i);
    for (unsigned i = 0; i < 4000; i += 2)
        cr_assert_eq(user_write(child, BASE + PAGES(i), i + 1), K_OK);
    for (unsigned i = 0; i < 4000; i++)
        cr_assert_eq(user_byte(child, BASE + PAGES(i)), (uint8_t)(i % 2 == 0 ? i + 1 : i));
    for (unsigned i = 0; i < 4000; i++)
        cr_assert_eq(user_byte(parent, BASE + PAGES(i)), (uint8_t)i);
    cr_expect_eq(fake_space_mappings(child->host), child->vm->machine_mappings);
}

Test(budget, scattered_single_pages_are_gathered)
{
    struct actor *actor = actor_new();
    cr_assert_eq(frame_free_count(), 32768);
    for (unsigned i = 0; i < 10000; i += 2) /* one page regions: nothing to fault around */
        cr_assert_gt(allocate(actor, BASE + PAGES(i), 1, RW), 0);
    for (unsigned i = 0; i < 10000; i += 2)
        cr_assert_eq(user_write(actor, BASE + PAGES(i), i), K_OK);
    for (unsigned i = 0; i < 10000; i += 2)
        cr_assert_eq(user_byte(actor, BASE + PAGES(i)), (uint8_t)i);
    cr_expect_leq(fake_space_mappings(actor->host), 1000);
}

Test(budget, protection_page_by_page_stays_within_it)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 4000, RW);
    for (unsigned i = 0; i < 4000; i++)
        user_write(actor, BASE + PAGES(i), i);
    for (unsigned i = 0; i < 4000; i += 2) {
        cr_assert_eq(protect(actor, BASE + PAGES(i), 1, K_READABLE), K_OK);
        if (i % 64 == 0)
            machines_run();
    }
    for (unsigned i = 0; i < 4000; i++) {
        cr_assert_eq(user_byte(actor, BASE + PAGES(i)), (uint8_t)i);
        cr_assert_eq(user_write(actor, BASE + PAGES(i), i), i % 2 == 0 ? K_EPROTECT : K_OK);
    }
}

Test(budget, a_file_written_here_and_there)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(3000));
    cr_assert_eq(map_file(actor, BASE, 3000, RW, file, 0), K_OK);
    for (unsigned i = 0; i < 3000; i++)
        user_byte(actor, BASE + PAGES(i));
    for (unsigned i = 0; i < 3000; i += 2)
        cr_assert_eq(user_write(actor, BASE + PAGES(i) + 1, 200), K_OK);
    for (unsigned i = 0; i < 3000; i++)
        cr_assert_eq(user_byte(actor, BASE + PAGES(i) + 1), i % 2 == 0 ? 200 : file_byte(PAGES(i) + 1));
    cr_expect_eq(CALL(actor, sgFlush, ARG(&file->cap), 0, 0, 0), K_OK);
    for (unsigned i = 0; i < 3000; i += 2)
        cr_assert_eq(file->bytes[PAGES(i) + 1], 200);
}

static void start_small(void) { world_start_with(1024); }
TestSuite(pressure, .init = start_small, .fini = world_end, .timeout = 60);

Test(pressure, clean_pages_of_files_make_room)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(3000));
    allocate(actor, BUFFER, 16, RW);
    for (unsigned i = 0; i < 3000; i++)
        cr_assert_eq(CALL(actor, sgRead, ARG(&file->cap), PAGES(i), BUFFER, PAGE_SIZE), PAGE_SIZE, "page %u", i);
    allocate(actor, BASE, 900, RW);
    for (unsigned i = 0; i < 900; i++)
        cr_assert_eq(user_write(actor, BASE + PAGES(i), 1), K_OK, "page %u", i);
}

Test(pressure, a_file_larger_than_memory_is_read_through_a_window)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(3000));
    cr_assert_eq(map_file(actor, BASE, 3000, K_READABLE, file, 0), K_OK);
    for (unsigned i = 0; i < 3000; i++)
        cr_assert_eq(user_byte(actor, BASE + PAGES(i) + 9), file_byte(PAGES(i) + 9), "page %u", i);
}

Test(pressure, a_file_larger_than_memory_is_written_through_a_window)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(3000));
    cr_assert_eq(map_file(actor, BASE, 3000, RW, file, 0), K_OK);
    for (unsigned i = 0; i < 3000; i++)
        cr_assert_eq(user_write(actor, BASE + PAGES(i) + 9, i + 3), K_OK, "page %u", i);
    cr_assert_eq(CALL(actor, sgFlush, ARG(&file->cap), 0, 0, 0), K_OK);
    for (unsigned i = 0; i < 3000; i++)
        cr_assert_eq(file->bytes[PAGES(i) + 9], (uint8_t)(i + 3), "page %u", i);
}

Test(pressure, more_is_written_to_a_file_than_there_is_memory)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(0);
    allocate(actor, BUFFER, 64, RW);
    for (unsigned i = 0; i < 3000; i += 50) {
        user_write(actor, BUFFER, i);
        cr_assert_eq(CALL(actor, sgWrite, ARG(&file->cap), PAGES(i), BUFFER, PAGES(50)), PAGES(50), "page %u", i);
    }
    cr_assert_eq(CALL(actor, sgFlush, ARG(&file->cap), 0, 0, 0), K_OK);
    for (unsigned i = 0; i < 3000; i += 50)
        cr_assert_eq(file->bytes[PAGES(i)], (uint8_t)i);
}

Test(pressure, a_fork_bomb_of_memory_ends_in_errors_and_nothing_worse)
{
    struct actor *actor = actor_new(), *children[20];
    allocate(actor, BASE, 400, RW);
    for (unsigned i = 0; i < 400; i++)
        user_write(actor, BASE + PAGES(i), i);
    unsigned failed = 0;
    for (unsigned c = 0; c < 20; c++) {
        children[c] = actor_new();
        cr_assert_eq(CALL(actor, rgnDup, ARG(children[c]), 0, 0), K_OK);
        for (unsigned i = 0; i < 400; i++) {
            int status = user_write(children[c], BASE + PAGES(i), c);
            cr_assert(status == K_OK || status == K_ENOMEM);
            failed += status != K_OK;
        }
    }
    cr_expect_gt(failed, 0);
    for (unsigned i = 0; i < 400; i++)
        cr_assert_eq(user_byte(actor, BASE + PAGES(i)), (uint8_t)i);
    for (unsigned c = 0; c < 19; c++)
        actor_end(children[c]);
    for (unsigned i = 0; i < 400; i++)
        cr_assert_eq(user_write(children[19], BASE + PAGES(i), 19), K_OK);
}

Test(pressure, locked_pages_of_a_file_stay)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(2000));
    cr_assert_eq(map_file(actor, BASE, 2000, K_READABLE, file, 0), K_OK);
    cr_assert_eq(CALL(actor, vmLock, 0, BASE + PAGES(3), PAGES(10)), K_OK);
    cr_expect_eq(CALL(actor, vmLock, 0, BASE + PAGES(1995), PAGES(10)), K_EFAULT);
    unsigned pulls = file->pulls;
    for (unsigned i = 20; i < 2000; i++)
        user_byte(actor, BASE + PAGES(i));
    cr_expect_gt(file->pulls, pulls);
    pulls = file->pulls;
    for (unsigned i = 12; i >= 3; i--) /* backwards: nothing is read ahead */
        cr_assert_eq(user_byte(actor, BASE + PAGES(i) + 1), file_byte(PAGES(i) + 1));
    cr_expect_eq(file->pulls, pulls);
    cr_expect_eq(CALL(actor, vmUnLock, 0, BASE, PAGES(100)), K_OK);
    cr_expect_eq(actor->vm->locked, 0);
}

Test(pressure, who_needs_memory_waits_for_a_dying_actors)
{
    struct actor *large = actor_new(), *small = actor_new();
    allocate(large, BASE, 2000, RW);
    allocate(small, BASE, 100, RW);
    int status = K_OK;
    for (unsigned i = 0; i < 2000 && status == K_OK; i++)
        status = user_write(large, BASE + PAGES(i), 1);
    cr_assert_eq(status, K_ENOMEM);
    cr_expect_eq(user_write(small, BASE, 1), K_ENOMEM);
    struct vm_space *vm = large->vm;
    struct host_space *host = large->host;
    host_space_destroy(host);
    vm_space_destroy(large);
    large->host = NULL; /* actor_end has nothing more to do */
    cr_expect_eq(vm_fault(thread_of(small), BASE, true, false), K_BLOCKED);
    fake_space_die(host);
    vm_space_gone(vm);
    cr_expect_null(thread_of(small)->waiting_in);
    large->vm = NULL;
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(user_write(small, BASE + PAGES(i), 1), K_OK);
}

Test(pressure, who_reads_a_file_waits_for_frames_and_is_not_woken_by_its_own_call)
{
    struct actor *large = actor_new(), *small = actor_new();
    struct file *file = file_new(PAGES(10));
    allocate(large, BASE, 2000, RW);
    cr_assert_eq(map_file(small, BASE, 10, K_READABLE, file, 0), K_OK);
    int status = K_OK;
    for (unsigned i = 0; i < 2000 && status == K_OK; i++)
        status = user_write(large, BASE + PAGES(i), 1);
    cr_assert_eq(status, K_ENOMEM);
    cr_expect_eq(vm_fault(thread_of(small), BASE, false, false), K_BLOCKED);
    cr_expect_eq(thread_of(small)->state, THREAD_WAITING);
    release(large, BASE, 2000);
    cr_expect_eq(user_byte(small, BASE + PAGES(3) + 5), file_byte(PAGES(3) + 5));
}

Test(pressure, a_server_finds_frames_when_others_wait_for_it)
{
    struct actor *large = actor_new(), *server = actor_new();
    server->privilege = K_SYSTEMACTOR;
    allocate(large, BASE, 2000, RW);
    allocate(server, BASE, 20, RW);
    int status = K_OK;
    for (unsigned i = 0; i < 2000 && status == K_OK; i++)
        status = user_write(large, BASE + PAGES(i), 1);
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(user_write(server, BASE + PAGES(i), 1), K_OK);
    cr_expect_eq(user_byte(server, BASE + 1), 0);
}
