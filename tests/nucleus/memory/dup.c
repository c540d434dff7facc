/* Copies of address spaces: rgnDup, rgnInitFromActor, rgnMapFromActor, rgnMove. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#define RW (K_READABLE | K_WRITABLE)

static void start(void) { world_start_with(16384); }
TestSuite(dup, .init = start, .fini = world_end, .timeout = 60);

static struct actor *fork_of(struct actor *parent)
{
    struct actor *child = actor_new();
    cr_assert_eq(CALL(parent, rgnDup, ARG(child), 0, 0), K_OK);
    return child;
}

static void fill(struct actor *actor, vaddr_t at, unsigned pages, unsigned value)
{
    for (unsigned i = 0; i < pages; i++)
        cr_assert_eq(user_write(actor, at + PAGES(i) + 5, value + i), K_OK);
}

Test(dup, an_actor_is_not_duplicated_into_itself_or_onto_another)
{
    struct actor *actor = actor_new(), *other = actor_new();
    allocate(actor, BASE, 1, RW);
    allocate(other, BASE, 1, RW);
    cr_expect_eq(CALL(actor, rgnDup, 0, 0, 0), K_EINVAL);
    cr_expect_eq(CALL(actor, rgnDup, ARG(other), 0, 0), K_EOVERLAP);
    cr_expect_eq(CALL(actor, rgnDup, ARG(actor_new()), 0, 1), K_EINVAL);
}

Test(dup, a_space_is_not_copied_where_its_regions_cannot_be)
{
    struct actor *actor = actor_new(), *supervisor = actor_new_supervisor();
    allocate(actor, BASE, 2, RW);
    cr_expect_eq(CALL(actor, rgnDup, ARG(supervisor), 0, 0), K_ESPACE);
    cr_expect_eq(supervisor->vm->region_count, 0);
}

Test(dup, a_small_copy_is_made_at_once_without_orders_to_the_parent)
{
    struct actor *parent = actor_new();
    allocate(parent, BASE, 40, RW);
    allocate(parent, BASE + PAGES(100), 20, RW);
    fill(parent, BASE, 40, 1);
    fill(parent, BASE + PAGES(100), 20, 1);
    size_t orders = fake_space_orders(parent->host);
    struct actor *child = fork_of(parent);
    cr_expect_eq(fake_space_orders(parent->host), orders);
    world_faults = 0;
    for (unsigned i = 0; i < 40; i++)
        cr_expect_eq(user_byte(child, BASE + PAGES(i) + 5), 1 + i);
    fill(child, BASE, 40, 100);
    cr_expect_eq(world_faults, 0);
    for (unsigned i = 0; i < 40; i++)
        cr_expect_eq(user_byte(parent, BASE + PAGES(i) + 5), 1 + i);
}

Test(dup, a_large_copy_is_deferred_and_each_side_keeps_its_own)
{
    struct actor *parent = actor_new();
    allocate(parent, BASE, 2000, RW);
    fill(parent, BASE, 2000, 1);
    uint64_t before = frames_in_use();
    struct actor *child = fork_of(parent);
    cr_expect_eq(frames_in_use(), before);
    cr_expect_eq(user_write(parent, BASE + PAGES(7) + 5, 99), K_OK);
    cr_expect_eq(frames_in_use(), before + 16);
    cr_expect_eq(user_byte(child, BASE + PAGES(7) + 5), 8);
    cr_expect_eq(user_write(child, BASE + PAGES(700) + 5, 77), K_OK);
    cr_expect_eq(user_byte(parent, BASE + PAGES(700) + 5), (uint8_t)701);
    for (unsigned i = 0; i < 2000; i++) {
        cr_assert_eq(user_byte(parent, BASE + PAGES(i) + 5), i == 7 ? 99 : (uint8_t)(1 + i));
        cr_assert_eq(user_byte(child, BASE + PAGES(i) + 5), i == 700 ? 77 : (uint8_t)(1 + i));
    }
}

Test(dup, a_copy_waits_until_the_parent_cannot_write_any_more)
{
    struct actor *parent = actor_new();
    allocate(parent, BASE, 1000, RW);
    fill(parent, BASE, 1000, 1);
    fake_space_hold_reports(parent->host, true);
    struct actor *child = fork_of(parent);
    fake_space_execute(child->host);
    thread_of(child)->state = THREAD_RUNNING;
    cr_expect_eq(vm_fault(thread_of(child), BASE, true, false), K_BLOCKED);
    cr_expect_geq(fake_space_commits(parent->host), 1);
    cr_expect_eq(vm_fault(thread_of(parent), BASE, true, false), K_BLOCKED);
    fake_space_hold_reports(parent->host, false);
    machines_run();
    cr_expect_null(thread_of(child)->waiting_in);
    cr_expect_eq(user_write(child, BASE, 1), K_OK);
    cr_expect_eq(user_write(parent, BASE, 1), K_OK);
}

Test(dup, other_threads_of_the_parent_running_make_the_copy_deferred)
{
    struct actor *parent = actor_new(), *manager = actor_new(), *child = actor_new();
    allocate(parent, BASE, 10, RW);
    fill(parent, BASE, 10, 1);
    size_t orders = fake_space_orders(parent->host);
    thread_of(parent)->state = THREAD_RUNNING;
    cr_expect_eq(CALL(manager, rgnDup, ARG(child), ARG(parent), 0), K_OK);
    cr_expect_eq(fake_space_orders(parent->host), orders + 1);
    cr_expect_eq(user_write(child, BASE + 5, 50), K_OK);
    cr_expect_eq(user_byte(parent, BASE + 5), 1);
}

Test(dup, generations_of_forks_leave_nothing_behind)
{
    struct actor *parent = actor_new();
    allocate(parent, BASE, 1500, RW);
    fill(parent, BASE, 1500, 1);
    machines_run();
    uint64_t frames = frames_in_use(), nodes = tree_nodes_in_use();
    for (unsigned i = 0; i < 40; i++) {
        struct actor *child = fork_of(parent);
        user_write(child, BASE + PAGES(i * 30), 200);
        user_write(parent, BASE + PAGES(i * 30 + 16), 100);
        struct actor *grandchild = fork_of(child);
        user_write(grandchild, BASE + PAGES(i), 200);
        actor_end(child);
        cr_expect_eq(user_byte(grandchild, BASE + PAGES(i) + 5), (uint8_t)(i + 1));
        actor_end(grandchild);
    }
    machines_run();
    cr_expect_eq(frames_in_use(), frames);
    cr_expect_eq(tree_nodes_in_use(), nodes);
    cr_expect_eq(user_write(parent, BASE + PAGES(3), 1), K_OK);
    cr_expect_eq(frames_in_use(), frames, "what nobody else shows any more is not copied");
}

Test(dup, the_parent_may_go_first)
{
    struct actor *parent = actor_new();
    allocate(parent, BASE, 1000, RW);
    fill(parent, BASE, 1000, 1);
    struct actor *child = fork_of(parent);
    actor_end(parent);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(user_byte(child, BASE + PAGES(i) + 5), (uint8_t)(1 + i));
    fill(child, BASE, 1000, 3);
}

Test(dup, inheritance_is_obeyed)
{
    struct actor *parent = actor_new();
    uint8_t byte;
    allocate(parent, BASE, 4, RW | K_INHERITSHARE);
    allocate(parent, BASE + PAGES(10), 4, RW | K_INHERITNONE);
    allocate(parent, BASE + PAGES(20), 4, RW);
    fill(parent, BASE, 4, 1);
    fill(parent, BASE + PAGES(20), 4, 1);
    KnRgnDesc rgn = {.startAddr = BASE + PAGES(21), .size = PAGES(2), .options = K_INHERITSHARE};
    cr_expect_eq(CALL(parent, rgnSetInherit, 0, ARG(&rgn)), K_OK);
    struct actor *child = fork_of(parent);
    user_write(child, BASE + PAGES(1), 70);
    user_write(child, BASE + PAGES(20), 71);
    user_write(child, BASE + PAGES(21), 72);
    cr_expect_eq(user_byte(parent, BASE + PAGES(1)), 70);
    cr_expect_eq(user_byte(parent, BASE + PAGES(20)), 0);
    cr_expect_eq(user_byte(parent, BASE + PAGES(21)), 72);
    user_write(parent, BASE + PAGES(3), 73);
    cr_expect_eq(user_byte(child, BASE + PAGES(3)), 73);
    cr_expect_eq(user_read(child, BASE + PAGES(10), &byte), K_EFAULT);
    struct actor *grandchild = fork_of(child);
    user_write(grandchild, BASE + PAGES(2), 74);
    cr_expect_eq(user_byte(parent, BASE + PAGES(2)), 74);
}

Test(dup, shared_memory_after_a_deferred_copy_stays_shared)
{
    struct actor *parent = actor_new();
    allocate(parent, BASE, 1000, RW);
    fill(parent, BASE, 1000, 1);
    struct actor *child = fork_of(parent), *viewer = actor_new();
    KnRgnDesc rgn = {.startAddr = BASE, .size = PAGES(1000), .options = RW};
    cr_expect_eq(CALL(viewer, rgnMapFromActor, 0, ARG(&rgn), ARG(parent), BASE), K_OK);
    cr_expect_eq(user_byte(viewer, BASE + 5), 1);
    cr_expect_eq(user_write(parent, BASE + 5, 90), K_OK);
    cr_expect_eq(user_byte(viewer, BASE + 5), 90);
    cr_expect_eq(user_byte(child, BASE + 5), 1);
    cr_expect_eq(user_write(viewer, BASE + PAGES(3) + 5, 91), K_OK);
    cr_expect_eq(user_byte(parent, BASE + PAGES(3) + 5), 91);
    cr_expect_eq(user_byte(child, BASE + PAGES(3) + 5), 4);
}

Test(dup, a_copy_of_shared_memory_is_private)
{
    struct actor *parent = actor_new(), *copier = actor_new();
    allocate(parent, BASE, 1000, RW | K_INHERITSHARE);
    fill(parent, BASE, 1000, 1);
    struct actor *child = fork_of(parent);
    fill(child, BASE, 10, 1);
    KnRgnDesc rgn = {.size = PAGES(1000), .options = RW | K_ANYWHERE};
    cr_expect_eq(CALL(copier, rgnInitFromActor, 0, ARG(&rgn), ARG(parent), BASE), K_OK);
    user_write(child, BASE + PAGES(2) + 5, 99);
    cr_expect_eq(user_byte(parent, BASE + PAGES(2) + 5), 99);
    cr_expect_eq(user_byte(copier, rgn.startAddr + PAGES(2) + 5), 3);
    user_write(copier, rgn.startAddr + PAGES(4) + 5, 98);
    cr_expect_eq(user_byte(child, BASE + PAGES(4) + 5), 5);
}

Test(dup, parts_of_other_actors_need_to_be_there)
{
    struct actor *source = actor_new(), *target = actor_new();
    allocate(source, BASE, 4, RW);
    KnRgnDesc rgn = {.startAddr = BASE, .size = PAGES(5), .options = RW};
    cr_expect_eq(CALL(target, rgnMapFromActor, 0, ARG(&rgn), ARG(source), BASE), K_EFAULT);
    cr_expect_eq(CALL(target, rgnInitFromActor, 0, ARG(&rgn), ARG(source), BASE + 1), K_EINVAL);
    cr_expect_eq(CALL(target, rgnInitFromActor, 0, ARG(&rgn), ARG(source), 0xfffffffffffff000), K_EFAULT);
    rgn.size = PAGES(2);
    rgn.startAddr = BASE + PAGES(1);
    cr_expect_eq(CALL(source, rgnMapFromActor, 0, ARG(&rgn), ARG(source), BASE), K_EOVERLAP);
    rgn.options |= K_OVERWRITE;
    cr_expect_eq(CALL(source, rgnMapFromActor, 0, ARG(&rgn), ARG(source), BASE), K_EINVAL);
    cr_expect_eq(target->vm->region_count, 0);
}

Test(dup, pages_under_a_device_stay_with_the_parent)
{
    struct actor *parent = actor_new();
    allocate(parent, BASE, 1000, RW);
    fill(parent, BASE, 1000, 1);
    char *device = vm_pin(parent, BASE + PAGES(9), 16, true);
    cr_assert_not_null(device);
    struct actor *child = fork_of(parent);
    device[5] = 42;
    cr_expect_eq(user_byte(child, BASE + PAGES(9) + 5), 10);
    cr_expect_eq(user_byte(parent, BASE + PAGES(9) + 5), 42);
    user_write(parent, BASE + PAGES(9) + 6, 1);
    device[7] = 43;
    cr_expect_eq(user_byte(parent, BASE + PAGES(9) + 7), 43);
    vm_unpin(parent, BASE + PAGES(9), 16);
}

static int64_t move(struct actor *actor, vaddr_t from, uint64_t old, vaddr_t *to, uint64_t pages, uint32_t options)
{
    KnRgnDesc rgn = {.startAddr = *to, .size = PAGES(pages), .options = options};
    int64_t status = CALL(actor, rgnMove, 0, ARG(&rgn), from, PAGES(old));
    *to = rgn.startAddr;
    return status;
}

Test(dup, moves_that_make_no_sense_are_refused)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 4, RW);
    allocate(actor, BASE + PAGES(8), 4, RW);
    vaddr_t to = BASE + PAGES(100);
    cr_expect_eq(move(actor, BASE, 5, &to, 5, 0), K_EFAULT);
    cr_expect_eq(move(actor, BASE + 1, 4, &to, 5, 0), K_EINVAL);
    cr_expect_eq(move(actor, BASE, 4, &to, 0, 0), K_EINVAL);
    cr_expect_eq(move(actor, BASE, 4, &to, UINT64_MAX >> 12, 0), K_EINVAL);
    cr_expect_eq(move(actor, BASE, 4, &to, 1, RW), K_EINVAL);
    to = BASE + PAGES(2);
    cr_expect_eq(move(actor, BASE, 4, &to, 4, K_OVERWRITE), K_EOVERLAP);
    to = BASE + PAGES(7);
    cr_expect_eq(move(actor, BASE, 4, &to, 2, 0), K_EOVERLAP);
    to = BASE;
    cr_expect_eq(move(actor, BASE, 4, &to, 9, 0), K_ESPACE);
}

Test(dup, a_region_grows_and_shrinks_in_place)
{
    struct actor *actor = actor_new();
    uint8_t byte;
    allocate(actor, BASE, 4, RW);
    fill(actor, BASE, 4, 1);
    vaddr_t to = BASE;
    cr_expect_eq(move(actor, BASE, 4, &to, 20, 0), K_OK);
    cr_expect_eq(actor->vm->region_count, 1);
    fill(actor, BASE + PAGES(4), 16, 5);
    cr_expect_eq(user_byte(actor, BASE + PAGES(3) + 5), 4);
    cr_expect_eq(move(actor, BASE, 20, &to, 2, 0), K_OK);
    cr_expect_eq(user_read(actor, BASE + PAGES(2), &byte), K_EFAULT);
    cr_expect_eq(user_byte(actor, BASE + PAGES(1) + 5), 2);
}

Test(dup, moved_pages_keep_their_contents_and_frames)
{
    struct actor *actor = actor_new();
    uint8_t byte;
    allocate(actor, BASE, 5000, RW);
    fill(actor, BASE, 5000, 1);
    machines_run();
    uint64_t frames = frames_in_use();
    vaddr_t to = 0;
    cr_expect_eq(move(actor, BASE, 5000, &to, 6000, K_ANYWHERE), K_OK);
    machines_run();
    cr_expect_eq(frames_in_use(), frames);
    for (unsigned i = 0; i < 5000; i++)
        cr_assert_eq(user_byte(actor, to + PAGES(i) + 5), (uint8_t)(1 + i));
    cr_expect_eq(user_byte(actor, to + PAGES(5500)), 0);
    cr_expect_eq(user_read(actor, BASE, &byte), K_EFAULT);
    vaddr_t odd = BASE + PAGES(3);
    allocate(actor, BASE, 10, RW);
    cr_expect_eq(move(actor, to + PAGES(1), 3000, &odd, 2000, K_OVERWRITE), K_OK);
    for (unsigned i = 0; i < 2000; i++)
        cr_assert_eq(user_byte(actor, odd + PAGES(i) + 5), (uint8_t)(2 + i));
    cr_expect_eq(user_byte(actor, to + 5), 1);
    cr_expect_eq(user_read(actor, to + PAGES(1), &byte), K_EFAULT);
    cr_expect_eq(user_byte(actor, to + PAGES(3001) + 5), (uint8_t)3002);
}

/* Random forks, writes, moves, frees, against a model that copies everything. */
#define MODEL_PAGES 600
#define ACTORS 6
static struct {
    struct actor *actor;
    bool there[MODEL_PAGES];
    uint8_t value[MODEL_PAGES];
} model[ACTORS];

static void check(unsigned i)
{
    for (unsigned page = 0; page < MODEL_PAGES; page++) {
        uint8_t byte = 0;
        int status = user_read(model[i].actor, BASE + PAGES(page), &byte);
        cr_assert_eq(status, model[i].there[page] ? K_OK : K_EFAULT);
        if (status == K_OK)
            cr_assert_eq(byte, model[i].value[page]);
    }
}

Test(dup, random_histories_agree_with_full_copies, .timeout = 120)
{
    srand(3);
    for (unsigned i = 0; i < ACTORS; i++)
        model[i].actor = actor_new();
    for (unsigned round = 0; round < 4000; round++) {
        unsigned i = rand() % ACTORS, j = rand() % ACTORS, page = rand() % MODEL_PAGES, count = 1 + rand() % 300;
        if (page + count > MODEL_PAGES)
            count = MODEL_PAGES - page;
        switch (rand() % 8) {
        case 0:
            cr_assert_gt(allocate(model[i].actor, BASE + PAGES(page), count, RW | K_OVERWRITE), 0);
            memset(&model[i].there[page], 1, count);
            memset(&model[i].value[page], 0, count);
            break;
        case 1:
            cr_assert_eq(release(model[i].actor, BASE + PAGES(page), count / 4 + 1), K_OK);
            memset(&model[i].there[page], 0, count / 4 + 1);
            break;
        case 2:
            if (i == j)
                break;
            actor_end(model[i].actor);
            model[i].actor = fork_of(model[j].actor);
            memcpy(model[i].there, model[j].there, MODEL_PAGES);
            memcpy(model[i].value, model[j].value, MODEL_PAGES);
            break;
        case 3: {
            unsigned to = rand() % MODEL_PAGES, all = 0;
            count = count / 4 + 1;
            for (unsigned k = page; k < page + count; k++)
                all += model[i].there[k];
            vaddr_t at = BASE + PAGES(to);
            if (all < count || to + count > MODEL_PAGES || (to < page + count && page < to + count))
                break;
            int64_t status = move(model[i].actor, BASE + PAGES(page), count, &at, count, K_OVERWRITE);
            if (status == K_EFAULT)
                break; /* in several regions */
            cr_assert_eq(status, K_OK);
            memcpy(&model[i].value[to], &model[i].value[page], count);
            memset(&model[i].there[to], 1, count);
            memset(&model[i].there[page], 0, count);
            break;
        }
        case 4: {
            KnRgnDesc rgn = {.startAddr = BASE + PAGES(page), .size = PAGES(count), .options = RW | K_OVERWRITE};
            unsigned from = rand() % (MODEL_PAGES - count + 1), all = 0;
            for (unsigned k = from; k < from + count; k++)
                all += model[j].there[k];
            if (i == j || all < count)
                break;
            cr_assert_eq(CALL(model[i].actor, rgnInitFromActor, 0, ARG(&rgn), ARG(model[j].actor), BASE + PAGES(from)), K_OK);
            memcpy(&model[i].value[page], &model[j].value[from], count);
            memset(&model[i].there[page], 1, count);
            break;
        }
        default:
            for (unsigned k = page; k < page + count; k += 1 + rand() % 20) {
                uint8_t value = rand();
                int status = user_write(model[i].actor, BASE + PAGES(k), value);
                cr_assert_eq(status, model[i].there[k] ? K_OK : K_EFAULT);
                if (status == K_OK)
                    model[i].value[k] = value;
            }
        }
        if (rand() % 3 == 0)
            vm_idle_work();
        if (round % 20 == 0)
            check(rand() % ACTORS);
    }
    for (unsigned i = 0; i < ACTORS; i++)
        check(i);
}

Test(dup, a_copy_of_shared_memory_waits_for_all_who_could_write_it)
{
    struct actor *owner = actor_new(), *writer = actor_new(), *copier = actor_new();
    allocate(owner, BASE, 1000, RW | K_INHERITSHARE);
    fill(owner, BASE, 1000, 1);
    KnRgnDesc rgn = {.startAddr = BASE, .size = PAGES(1000), .options = RW};
    cr_assert_eq(CALL(writer, rgnMapFromActor, 0, ARG(&rgn), ARG(owner), BASE), K_OK);
    fill(writer, BASE, 100, 1);
    fake_space_hold_reports(writer->host, true);
    cr_assert_eq(CALL(copier, rgnInitFromActor, 0, ARG(&rgn), ARG(owner), BASE), K_OK);
    cr_expect_eq(vm_fault(thread_of(copier), BASE, true, false), K_BLOCKED);
    cr_expect_eq(vm_fault(thread_of(owner), BASE, true, false), K_BLOCKED);
    fake_space_hold_reports(writer->host, false);
    machines_run();
    cr_expect_eq(user_write(copier, BASE + 5, 9), K_OK);
    cr_expect_eq(user_write(owner, BASE + 5, 8), K_OK);
    cr_expect_eq(user_byte(writer, BASE + 5), 8);
    cr_expect_eq(user_byte(copier, BASE + 5), 9);
}

static void count_mapping(struct vm_space *space, page_t page, void *argument)
{
    cr_assert_neq(mapping_get(space, page), 0);
    ++*(unsigned *)argument;
}

static unsigned mappings_of(struct actor *actor, vaddr_t at)
{
    unsigned count = 0;
    mapping_each(entry_frame(mapping_get(actor->vm, PAGE_OF(at))), count_mapping, &count);
    return count;
}

Test(dup, every_mapping_of_a_frame_is_found)
{
    struct actor *actor = actor_new();
    allocate(actor, BASE, 1000, RW);
    fill(actor, BASE, 1000, 1);
    cr_expect_eq(mappings_of(actor, BASE), 1);
    struct actor *child[5];
    for (unsigned i = 0; i < 5; i++) {
        child[i] = fork_of(actor);
        user_byte(child[i], BASE);
        cr_expect_eq(mappings_of(actor, BASE), 2 + i);
    }
    actor_end(child[2]);
    frames_in_use();
    cr_expect_eq(mappings_of(actor, BASE), 5);
    allocate(actor, BASE + PAGES(5000), 1, RW);
    user_write(actor, BASE + PAGES(5000), 1);
    for (unsigned i = 1; i < 300; i++) {
        KnRgnDesc rgn = {.startAddr = BASE + PAGES(5000 + 2 * i), .size = PAGES(1), .options = RW};
        cr_assert_eq(CALL(actor, rgnMapFromActor, 0, ARG(&rgn), 0, BASE + PAGES(5000)), K_OK);
        user_write(actor, rgn.startAddr, 1);
        cr_assert_eq(mappings_of(actor, BASE + PAGES(5000)), i + 1);
    }
}
