/* Looking at an actor's memory from outside. */
#include "world.h"

#include <string.h>

#define RW (K_READABLE | K_WRITABLE)
TestSuite(look, .init = world_start, .fini = world_end, .timeout = 20);

Test(look, an_actor_without_regions_shows_nothing)
{
    struct actor *actor = actor_new();
    struct vm_region_view view;
    vaddr_t at = 0;
    cr_expect_not(vm_region_look(actor, 0, &view));
    cr_expect_null(vm_page_look(actor, &at, K_USERTOP));
}

Test(look, regions_come_in_order_of_address)
{
    struct actor *actor = actor_new();
    struct vm_region_view view;
    allocate(actor, BASE + PAGES(10), 2, RW);
    allocate(actor, BASE, 3, K_READABLE);
    cr_assert(vm_region_look(actor, 0, &view));
    cr_expect_eq(view.start, BASE);
    cr_expect_eq(view.end, BASE + PAGES(3));
    cr_expect_eq(view.options & RW, K_READABLE);
    cr_expect_not(view.segment);
    cr_assert(vm_region_look(actor, view.end, &view));
    cr_expect_eq(view.start, BASE + PAGES(10));
    cr_expect_not(vm_region_look(actor, view.end, &view));
}

Test(look, only_pages_in_memory_are_seen_and_looking_brings_none_in)
{
    struct actor *actor = actor_new();
    vaddr_t start = BASE + PAGES(1000), at = 0;
    allocate(actor, start, 10000, RW);
    cr_expect_null(vm_page_look(actor, &at, K_USERTOP));
    cr_assert_eq(user_write(actor, start + PAGES(5000) + 7, 42), K_OK);
    uint64_t before = frames_in_use();
    const uint8_t *bytes = NULL;
    unsigned seen = 0, found = 0;
    for (at = 0; (bytes = vm_page_look(actor, &at, K_USERTOP)) != NULL; at += PAGE_SIZE) {
        cr_expect_eq(at % PAGE_SIZE, 0);
        seen++;
        if (at == start + PAGES(5000))
            found = bytes[7];
    }
    cr_expect_eq(found, 42);
    cr_expect_leq(seen, 64);
    cr_expect_eq(frames_in_use(), before);
}

Test(look, the_end_is_not_passed)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 4, RW);
    cr_assert_eq(user_write(actor, BASE + PAGES(3), 1), K_OK);
    for (vaddr_t at = BASE; vm_page_look(actor, &at, BASE + PAGES(3)) != NULL; at += PAGE_SIZE)
        cr_expect_lt(at, BASE + PAGES(3));
}
