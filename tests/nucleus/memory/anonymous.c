/* Anonymous memory: regions, faults, protection, freeing. */
#include "world.h"

#include <string.h>

#define RW (K_READABLE | K_WRITABLE)
TestSuite(anonymous, .init = world_start, .fini = world_end, .timeout = 20);

Test(anonymous, malformed_regions_are_refused)
{
    struct actor *actor = actor_new();
    cr_expect_eq(allocate(actor, BASE + 1, 1, RW), K_EINVAL);
    cr_expect_eq(allocate(actor, BASE, 0, RW), K_EINVAL);
    cr_expect_eq(allocate(actor, BASE, 1, RW | 0x40000000), K_EINVAL);
    cr_expect_eq(allocate(actor, BASE, 1, RW | K_INHERITCOPY | K_INHERITSHARE), K_EINVAL);
    cr_expect_eq(allocate(actor, 0x10000, 1, RW), K_ESPACE);
    cr_expect_eq(allocate(actor, K_USERTOP, 1, RW), K_ESPACE);
    cr_expect_eq(allocate(actor, K_USERTOP - PAGES(1), 2, RW), K_ESPACE);
    cr_expect_eq(allocate(actor, 0xfffffffffffff000, 1, RW), K_ESPACE);
    KnRgnDesc wide = {.startAddr = BASE, .size = UINT64_MAX, .options = RW};
    cr_expect_eq(CALL(actor, rgnAllocate, 0, ARG(&wide)), K_EINVAL);
    wide = (KnRgnDesc){.size = 0x7fffffffffff, .options = RW | K_ANYWHERE};
    cr_expect_eq(CALL(actor, rgnAllocate, 0, ARG(&wide)), K_ESPACE);
    cr_expect_eq(CALL(actor, rgnAllocate, 0, 0), K_EINVAL);
}

Test(anonymous, a_region_on_top_of_another_is_refused_unless_it_overwrites)
{
    struct actor *actor = actor_new();
    cr_expect_eq(allocate(actor, BASE, 4, RW), BASE);
    cr_expect_eq(user_write(actor, BASE + PAGES(1), 7), K_OK);
    cr_expect_eq(allocate(actor, BASE + PAGES(3), 4, RW), K_EOVERLAP);
    cr_expect_eq(allocate(actor, BASE + PAGES(1), 1, RW | K_OVERWRITE), BASE + PAGES(1));
    cr_expect_eq(user_byte(actor, BASE + PAGES(1)), 0);
}

Test(anonymous, touching_nothing_or_against_protection_is_an_exception)
{
    struct actor *actor = actor_new();
    uint8_t byte;
    allocate(actor, BASE, 1, K_READABLE);
    allocate(actor, BASE + PAGES(1), 1, K_RESERVED | RW);
    allocate(actor, BASE + PAGES(2), 1, 0);
    cr_expect_eq(user_write(actor, BASE, 1), K_EPROTECT);
    cr_expect_eq(user_exec(actor, BASE), K_EPROTECT);
    cr_expect_eq(user_byte(actor, BASE), 0);
    cr_expect_eq(user_read(actor, BASE + PAGES(1), &byte), K_EFAULT);
    cr_expect_eq(user_read(actor, BASE + PAGES(2), &byte), K_EPROTECT);
    cr_expect_eq(user_read(actor, BASE + PAGES(3), &byte), K_EFAULT);
    cr_expect_eq(user_read(actor, 0, &byte), K_EFAULT);
    cr_expect_eq(user_read(actor, 0xffffffffff600000, &byte), K_EFAULT);
}

Test(anonymous, memory_is_zero_and_keeps_what_is_written)
{
    struct actor *actor = actor_new();
    vaddr_t at = allocate(actor, 0, 100, RW);
    cr_assert_gt((int64_t)at, 0);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(user_write(actor, at + PAGES(i) + i, i + 1), K_OK);
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(user_byte(actor, at + PAGES(i) + i), i + 1);
        cr_assert_eq(user_byte(actor, at + PAGES(i) + 4095 - i), 0);
    }
}

Test(anonymous, faults_in_sequence_fill_ever_larger_windows)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 1024, RW);
    for (unsigned i = 0; i < 1024; i++)
        user_write(actor, BASE + PAGES(i), 1);
    cr_expect_leq(world_faults, 8);
    cr_expect_leq(fake_space_mappings(actor->host), 8);
}

Test(anonymous, one_touch_maps_one_window)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 1024, RW);
    user_write(actor, BASE + PAGES(500), 1);
    cr_expect_eq(fake_space_pages(actor->host), 16);
    cr_expect_eq(fake_space_mappings(actor->host), 1);
}

Test(anonymous, freed_memory_waits_for_the_machines_report)
{
    struct actor *actor = actor_new();
    uint64_t frames, before, after, cached;
    vm_counts(&frames, &before, &cached);
    allocate(actor, BASE, 16, RW);
    user_write(actor, BASE, 1);
    fake_space_hold_reports(actor->host, true);
    cr_expect_eq(release(actor, BASE, 16), K_OK);
    fake_space_execute(actor->host);
    vm_space_reported(actor);
    vm_counts(&frames, &after, &cached);
    cr_expect_eq(after, before - 16);
    fake_space_hold_reports(actor->host, false);
    machines_run();
    vm_counts(&frames, &after, &cached);
    cr_expect_eq(after, before);
}

Test(anonymous, freeing_the_middle_splits_a_region)
{
    struct actor *actor = actor_new();
    uint8_t byte;
    allocate(actor, BASE, 9, RW);
    for (unsigned i = 0; i < 9; i++)
        user_write(actor, BASE + PAGES(i), i + 1);
    cr_expect_eq(release(actor, BASE + PAGES(3), 3), K_OK);
    cr_expect_eq(user_read(actor, BASE + PAGES(4), &byte), K_EFAULT);
    cr_expect_eq(user_byte(actor, BASE + PAGES(2)), 3);
    cr_expect_eq(user_byte(actor, BASE + PAGES(6)), 7);
    cr_expect_eq(actor->vm->region_count, 2);
    cr_expect_eq(release(actor, BASE, 100), K_OK);
    cr_expect_eq(actor->vm->region_count, 0);
    cr_expect_eq(release(actor, BASE, 100), K_OK);
}

Test(anonymous, neighbours_alike_become_one_region)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 2, RW);
    allocate(actor, BASE + PAGES(4), 2, RW);
    cr_expect_eq(actor->vm->region_count, 2);
    allocate(actor, BASE + PAGES(2), 2, RW);
    cr_expect_eq(actor->vm->region_count, 1);
}

Test(anonymous, protection_changes_at_once_and_back)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 8, RW);
    user_write(actor, BASE + PAGES(3), 5);
    cr_expect_eq(protect(actor, BASE + PAGES(2), 3, K_READABLE), K_OK);
    cr_expect_eq(actor->vm->region_count, 3);
    cr_expect_eq(user_write(actor, BASE + PAGES(3), 6), K_EPROTECT);
    cr_expect_eq(user_write(actor, BASE + PAGES(1), 6), K_OK);
    cr_expect_eq(protect(actor, BASE + PAGES(2), 3, 0), K_OK);
    uint8_t byte;
    cr_expect_eq(user_read(actor, BASE + PAGES(3), &byte), K_EPROTECT);
    cr_expect_eq(protect(actor, BASE + PAGES(2), 3, RW), K_OK);
    cr_expect_eq(actor->vm->region_count, 1);
    cr_expect_eq(user_byte(actor, BASE + PAGES(3)), 5);
    cr_expect_eq(user_write(actor, BASE + PAGES(3), 6), K_OK);
    cr_expect_eq(protect(actor, BASE + PAGES(6), 4, K_READABLE), K_EFAULT);
    cr_expect_eq(user_write(actor, BASE + PAGES(7), 6), K_EPROTECT);
}

Test(anonymous, anywhere_is_as_high_as_possible)
{
    struct actor *actor = actor_new();
    cr_expect_eq(allocate(actor, 0, 3, RW), (int64_t)(K_USERTOP - PAGES(3)));
    cr_expect_eq(allocate(actor, 0, 3, K_READABLE), (int64_t)(K_USERTOP - PAGES(6)));
    release(actor, K_USERTOP - PAGES(3), 3);
    cr_expect_eq(allocate(actor, 0, 2, RW), (int64_t)(K_USERTOP - PAGES(2)));
    cr_expect_eq(allocate(actor, 0, 2, RW), (int64_t)(K_USERTOP - PAGES(8)));
    KnRgnDesc below = {.size = PAGES(1), .options = RW | K_ANYWHERE, .endAddr = BASE};
    cr_expect_eq(CALL(actor, rgnAllocate, 0, ARG(&below)), K_OK);
    cr_expect_eq(below.startAddr, BASE - PAGES(1));
}

Test(anonymous, more_than_there_is_is_an_exception_and_comes_back)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 8192, RW);
    int status = K_OK;
    unsigned i = 0;
    for (; i < 8192 && status == K_OK; i++)
        status = user_write(actor, BASE + PAGES(i), 1);
    cr_expect_eq(status, K_ENOMEM);
    cr_expect_gt(i, 4000);
    release(actor, BASE, 4096);
    machines_run();
    cr_expect_eq(user_write(actor, BASE + PAGES(8000), 1), K_OK);
}

Test(anonymous, a_space_that_died_by_itself_frees_what_it_mapped)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 8, RW);
    user_write(actor, BASE, 1);
    struct host_space *host = actor->host;
    fake_space_die(host);
    vm_space_gone(actor->vm);
    cr_expect_null(actor->host);
    uint8_t byte = 9;
    cr_expect_eq(vm_copy_in(NULL, actor, &byte, BASE, 1), K_OK);
    cr_expect_eq(byte, 1);
}

Test(anonymous, copies_in_and_out_cross_pages_and_regions)
{
    struct actor *actor = actor_new();
    char out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];
    allocate(actor, BASE, 2, RW);
    allocate(actor, BASE + PAGES(2), 2, RW | K_EXECUTABLE);
    for (unsigned i = 0; i < sizeof out; i++)
        out[i] = i * 7;
    cr_expect_eq(vm_copy_out(NULL, actor, BASE + 100, out, sizeof out), K_OK);
    cr_expect_eq(vm_copy_in(NULL, actor, in, BASE + 100, sizeof in), K_OK);
    cr_expect_arr_eq(in, out, sizeof in);
    cr_expect_eq(user_byte(actor, BASE + 101), 7);
    cr_expect_eq(user_byte(actor, BASE + 99), 0);
    cr_expect_eq(vm_copy_out(NULL, actor, BASE + PAGES(3), out, PAGE_SIZE + 1), K_EFAULT);
    cr_expect_eq(vm_copy_in(NULL, actor, in, UINT64_MAX - 10, 100), K_EFAULT);
    cr_expect_eq(vm_copy_in(NULL, actor, in, 0, 1), K_EFAULT);
    protect(actor, BASE, 1, K_READABLE);
    cr_expect_eq(vm_copy_out(NULL, actor, BASE, out, 1), K_EFAULT);
}

Test(anonymous, strings_end_at_their_zero)
{
    struct actor *actor = actor_new();
    char text[PAGE_SIZE];
    allocate(actor, BASE, 2, RW);
    vm_copy_out(NULL, actor, BASE + PAGES(1) - 3, "hello", 6);
    cr_expect_eq(vm_copy_string(NULL, actor, text, BASE + PAGES(1) - 3, sizeof text), 5);
    cr_expect_str_eq(text, "hello");
    cr_expect_eq(vm_copy_string(NULL, actor, text, BASE + PAGES(1) - 3, 5), K_ETOOMUCH);
    memset(text, 'x', sizeof text);
    vm_copy_out(NULL, actor, BASE + PAGES(2) - 4, text, 4);
    cr_expect_eq(vm_copy_string(NULL, actor, text, BASE + PAGES(2) - 4, 100), K_EFAULT);
}

Test(anonymous, pinned_pages_outlive_their_region)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 2, RW);
    cr_expect_null(vm_pin(actor, BASE + 4000, 200, true));
    cr_expect_null(vm_pin(actor, BASE + PAGES(2), 1, true));
    char *bytes = vm_pin(actor, BASE + 10, 20, true);
    cr_assert_not_null(bytes);
    bytes[0] = 42;
    cr_expect_eq(user_byte(actor, BASE + 10), 42);
    release(actor, BASE, 2);
    machines_run();
    allocate(actor, BASE, 2, RW);
    cr_expect_eq(user_byte(actor, BASE + 10), 0);
    bytes[0] = 43;
    vm_unpin(actor, BASE + 10, 20);
}

Test(anonymous, supervisor_spaces_have_a_range_of_their_own)
{
    struct actor *actor = actor_new_supervisor();
    cr_expect_eq(allocate(actor, BASE, 1, RW), K_ESPACE);
    vaddr_t at = allocate(actor, 0, 4, RW);
    cr_expect_eq(at, 0x110000000000 - PAGES(4));
    cr_expect_eq(user_write(actor, at, 3), K_OK);
}

Test(anonymous, memory_that_a_supervisor_space_gives_back_is_free_at_once)
{
    struct actor *actor = actor_new_supervisor();
    uint64_t before = 0;
    for (int i = 0; i < 3; i++) {
        vaddr_t at = allocate(actor, 0, 4, RW);
        for (unsigned page = 0; page < 4; page++)
            cr_assert_eq(user_write(actor, at + PAGES(page), 3), K_OK);
        release(actor, at, 4);
        before = i == 0 ? frame_free_count() : before; /* what is made once is made */
        cr_expect_eq(frame_free_count(), before);
    }
}

Test(anonymous, a_space_of_many_regions_ends_in_steps)
{
    struct actor *actor = actor_new();
    for (unsigned i = 0; i < 3000; i++)
        cr_assert_gt(allocate(actor, BASE + PAGES(2 * i), 1, RW), 0);
    for (unsigned i = 0; i < 1000; i++)
        user_write(actor, BASE + PAGES(2 * i), 1);
}
