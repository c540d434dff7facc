/* Segments: mapped and explicit access, the mapper protocol, what mappers do to local caches. */
#include "mapper.h"

#include <stdlib.h>
#include <string.h>
#include "memory/cache.h"

#define RW (K_READABLE | K_WRITABLE)
#define RX (K_READABLE | K_EXECUTABLE)

static void start(void) { world_start_with(16384); }
TestSuite(segment, .init = start, .fini = world_end, .timeout = 60);

#define BUFFER 0x40000000ull /* where actors of these tests have room for reading and writing */

static struct actor *reader_new(void)
{
    struct actor *actor = actor_new();
    cr_assert_eq(allocate(actor, BUFFER, 1024, RW), (int64_t)BUFFER);
    return actor;
}

static void expect_file_bytes(struct actor *actor, vaddr_t at, uint64_t offset, uint64_t size)
{
    uint8_t byte;
    for (uint64_t i = 0; i < size; i += 97) {
        cr_assert_eq(vm_copy_in(NULL, actor, &byte, at + i, 1), K_OK);
        cr_assert_eq(byte, file_byte(offset + i), "byte %lu", offset + i);
    }
}

static int64_t flush(struct actor *actor, struct file *file) { return CALL(actor, sgFlush, ARG(&file->cap), 0, 0, 0); }

Test(segment, nonsense_is_refused)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(100);
    KnCap nobody = {{1, 2}, 3};
    KnRgnDesc rgn = {.startAddr = BASE, .size = PAGES(1), .options = RW};
    KnObjDesc obj = {.dataObject = nobody};
    cr_expect_eq(CALL(actor, rgnMap, 0, ARG(&rgn), ARG(&obj)), K_EMAPPER);
    cr_expect_eq(CALL(actor, sgRead, ARG(&nobody), 0, BUFFER, 10), K_EMAPPER);
    cr_expect_eq(CALL(actor, sgRead, 0, 0, BUFFER, 10), K_EINVAL);
    cr_expect_eq(CALL(actor, rgnMap, 0, ARG(&rgn), 0), K_EINVAL);
    cr_expect_eq(map_file(actor, BASE, 1, RW, file, 5), K_EINVAL);
    cr_expect_eq(map_file(actor, BASE, 1, RW, file, UINT64_MAX & ~4095ull), K_EINVAL);
    cr_expect_eq(read_file(actor, file, UINT64_MAX, BUFFER, 10), K_EINVAL);
    cr_expect_eq(read_file(actor, file, 0, 0x1000, 10), K_EFAULT);
    cr_expect_eq(write_file(actor, file, 0, 0x1000, 10), K_EFAULT);
    cr_expect_eq(write_file(actor, file, SEGMENT_MAX, BUFFER, 10), K_ETOOMUCH);
    cr_expect_eq(CALL(actor, lcFlush, ARG(&nobody), 0, 0, K_COPYBACK, 0), K_EUNKNOWN);
    cr_expect_eq(CALL(actor, lcTrunc, ARG(&nobody), 0), K_EUNKNOWN);
    cr_expect_eq(CALL(actor, lcClose, ARG(&nobody)), K_EUNKNOWN);
    file->unknown = true;
    struct file *unknown = file_new(10);
    unknown->unknown = true;
    cr_expect_eq(read_file(actor, unknown, 0, BUFFER, 10), K_EUNKNOWN);
    unknown->unknown = false;
    cr_expect_eq(read_file(actor, unknown, 0, BUFFER, 10), 10);
}

Test(segment, reading_gives_the_files_bytes_and_ends_with_it)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(PAGES(3) + 100);
    cr_expect_eq(read_file(actor, file, 0, BUFFER, 10), 10);
    cr_expect_eq(read_file(actor, file, 4000, BUFFER + 7, PAGES(1)), PAGES(1));
    expect_file_bytes(actor, BUFFER + 7, 4000, PAGES(1));
    cr_expect_eq(read_file(actor, file, PAGES(3), BUFFER, PAGES(10)), 100);
    cr_expect_eq(read_file(actor, file, PAGES(3) + 100, BUFFER, 10), 0);
    cr_expect_eq(read_file(actor, file, PAGES(30), BUFFER, 10), 0);
    cr_expect_eq(file->opens, 1);
    cr_expect_eq(file->pulled, 4);
}

Test(segment, a_sequential_reader_is_ahead_of_its_mapper)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(PAGES(1000));
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_eq(read_file(actor, file, PAGES(i), BUFFER, PAGES(1)), PAGES(1));
    cr_expect_eq(file->pulled, 1000);
    cr_expect_leq(file->pulls, 70, "%u", file->pulls);
    cr_expect_eq(read_file(actor, file, 0, BUFFER, PAGES(1000)), PAGES(1000));
    expect_file_bytes(actor, BUFFER, 0, PAGES(1000));
}

Test(segment, a_stray_reader_does_not_ask_for_everything)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(PAGES(10000));
    for (unsigned i = 1; i < 50; i++)
        cr_assert_eq(read_file(actor, file, PAGES(i * 200 + 1), BUFFER, 10), 10);
    cr_expect_leq(file->pulled, 200);
}

Test(segment, what_is_written_is_read_and_flushed)
{
    struct actor *actor = reader_new(), *other = reader_new();
    struct file *file = file_new(1000);
    cr_expect_eq(vm_copy_out(NULL, actor, BUFFER, "hello", 5), K_OK);
    cr_expect_eq(write_file(actor, file, 500, BUFFER, 5), 5);
    cr_expect_eq(file->pushes, 0);
    cr_expect_eq(read_file(other, file, 499, BUFFER, 7), 7);
    cr_expect_eq(user_byte(other, BUFFER), file_byte(499));
    cr_expect_eq(user_byte(other, BUFFER + 1), 'h');
    cr_expect_eq(flush(actor, file), K_OK);
    cr_expect_eq(file->pushes, 1);
    cr_expect_arr_eq(file->bytes + 500, "hello", 5);
    cr_expect_eq(file->size, 1000);
    cr_expect_eq(flush(actor, file), K_OK);
    cr_expect_eq(file->pushes, 1);
}

Test(segment, writing_beyond_the_end_makes_it_longer_with_zeros_between)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(100);
    user_write(actor, BUFFER, 'x');
    cr_expect_eq(write_file(actor, file, PAGES(5) + 10, BUFFER, 1), 1);
    KnSgStat stat;
    cr_expect_eq(CALL(actor, sgStat, ARG(&file->cap), ARG(&stat)), K_OK);
    cr_expect_eq(stat.size, PAGES(5) + 11);
    cr_expect_eq(stat.pagesDirty, 1);
    cr_expect_eq(read_file(actor, file, 0, BUFFER + PAGES(1), PAGES(10)), PAGES(5) + 11);
    cr_expect_eq(user_byte(actor, BUFFER + PAGES(1) + 99), file_byte(99));
    cr_expect_eq(user_byte(actor, BUFFER + PAGES(1) + 100), 0);
    cr_expect_eq(user_byte(actor, BUFFER + PAGES(3)), 0);
    cr_expect_eq(user_byte(actor, BUFFER + PAGES(6) + 10), 'x');
    cr_expect_eq(flush(actor, file), K_OK);
    cr_expect_eq(file->size, PAGES(5) + 11);
    cr_expect_eq(file->bytes[PAGES(5) + 10], 'x');
}

Test(segment, whole_new_pages_are_not_read_first)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(0);
    cr_expect_eq(write_file(actor, file, 0, BUFFER, PAGES(100)), PAGES(100));
    cr_expect_eq(file->pulls, 0);
    cr_expect_eq(flush(actor, file), K_OK);
    cr_expect_leq(file->pushes, 8);
    cr_expect_eq(file->size, PAGES(100));
}

Test(segment, a_store_that_is_full_is_told_at_once)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(100);
    cr_expect_eq(read_file(actor, file, 0, BUFFER, 1), 1);
    file->error = K_ENOSPACE;
    cr_expect_eq(write_file(actor, file, 0, BUFFER, 10), K_ENOSPACE);
    file->error = K_OK;
    cr_expect_eq(write_file(actor, file, 0, BUFFER, 10), 10);
}

Test(segment, windows_and_explicit_access_see_the_same_pages)
{
    struct actor *actor = reader_new(), *other = reader_new();
    struct file *file = file_new(PAGES(40));
    cr_expect_eq(map_file(actor, BASE, 40, RW, file, 0), K_OK);
    cr_expect_eq(map_file(other, BASE, 20, RW, file, PAGES(10)), K_OK);
    cr_expect_eq(user_byte(actor, BASE + PAGES(12) + 3), file_byte(PAGES(12) + 3));
    cr_expect_eq(user_write(actor, BASE + PAGES(12) + 3, 99), K_OK);
    cr_expect_eq(user_byte(other, BASE + PAGES(2) + 3), 99);
    cr_expect_eq(read_file(other, file, PAGES(12) + 3, BUFFER, 1), 1);
    cr_expect_eq(user_byte(other, BUFFER), 99);
    user_write(other, BUFFER, 55);
    cr_expect_eq(write_file(other, file, PAGES(12) + 4, BUFFER, 1), 1);
    cr_expect_eq(user_byte(actor, BASE + PAGES(12) + 4), 55);
    cr_expect_eq(file->accesses, 1);
}

Test(segment, a_window_is_read_only_until_the_first_write_and_after_each_flush)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(4));
    map_file(actor, BASE, 4, RW, file, 0);
    user_byte(actor, BASE);
    cr_expect_null(fake_space_access(actor->host, BASE, true, false));
    user_write(actor, BASE, 1);
    cr_expect_not_null(fake_space_access(actor->host, BASE, true, false));
    cr_expect_null(fake_space_access(actor->host, BASE + PAGES(1), true, false));
    cr_expect_eq(flush(actor, file), K_OK);
    fake_space_execute(actor->host);
    cr_expect_null(fake_space_access(actor->host, BASE, true, false));
    cr_expect_eq(file->bytes[0], 1);
    user_write(actor, BASE, 2);
    cr_expect_eq(flush(actor, file), K_OK);
    cr_expect_eq(file->bytes[0], 2);
}

Test(segment, dirty_pages_are_sent_only_when_nobody_can_write_them)
{
    struct actor *actor = actor_new(), *manager = actor_new();
    struct file *file = file_new(PAGES(4));
    map_file(actor, BASE, 4, RW, file, 0);
    user_write(actor, BASE, 1);
    fake_space_hold_reports(actor->host, true);
    cr_expect_eq(flush(manager, file), K_BLOCKED);
    cr_expect_eq(file->pushes, 0);
    uint8_t *late = fake_space_access(actor->host, BASE + 1, true, false);
    cr_expect_null(late);
    fake_space_hold_reports(actor->host, false);
    world_go_on();
    cr_expect_eq(file->pushes, 1);
    cr_expect_null(thread_of(manager)->waiting_in);
}

Test(segment, a_page_written_while_it_is_sent_is_sent_again)
{
    struct actor *actor = actor_new(), *manager = actor_new();
    struct file *file = file_new(PAGES(4));
    map_file(actor, BASE, 4, RW, file, 0);
    user_write(actor, BASE, 1);
    mapper_mode = MAPPER_SILENT;
    cr_expect_eq(flush(manager, file), K_BLOCKED);
    cr_expect_eq(user_write(actor, BASE, 2), K_OK);
    mapper_mode = MAPPER_ANSWERS;
    world_go_on();
    thread_of(manager)->call.number = 0;
    KnSgStat stat;
    CALL(actor, sgStat, ARG(&file->cap), ARG(&stat));
    cr_expect_eq(stat.pagesDirty, 1);
    cr_expect_eq(flush(manager, file), K_OK);
    cr_expect_eq(file->pushes, 2);
    cr_expect_eq(file->bytes[0], 2);
}

Test(segment, a_fault_beyond_the_end_is_an_exception)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(2) + 10);
    uint8_t byte;
    map_file(actor, BASE, 8, RW, file, 0);
    cr_expect_eq(user_byte(actor, BASE + PAGES(2) + 9), file_byte(PAGES(2) + 9));
    cr_expect_eq(user_byte(actor, BASE + PAGES(2) + 10), 0);
    cr_expect_eq(user_read(actor, BASE + PAGES(3), &byte), K_EOFFSET);
    cr_expect_eq(fake_space_pages(actor->host), 3);
}

Test(segment, text_in_the_cache_is_mapped_as_one)
{
    struct actor *first = actor_new(), *second = actor_new();
    struct file *file = file_new(PAGES(300));
    map_file(first, BASE, 300, RX, file, 0);
    for (unsigned i = 0; i < 300; i++)
        cr_assert_eq(user_exec(first, BASE + PAGES(i)), K_OK);
    map_file(second, BASE, 300, RX, file, 0);
    world_faults = 0;
    cr_assert_eq(user_exec(second, BASE + PAGES(123)), K_OK);
    cr_expect_leq(world_faults, 1);
    cr_expect_eq(fake_space_pages(second->host), 300);
    cr_expect_eq(fake_space_mappings(second->host), 1);
}

Test(segment, a_private_copy_keeps_what_it_wrote_to_itself)
{
    struct actor *actor = actor_new(), *other = actor_new();
    struct file *file = file_new(PAGES(20));
    cr_expect_eq(init_file(actor, BASE, 20, RW, file, 0, 0), K_OK);
    cr_expect_eq(init_file(other, BASE, 20, RW, file, 0, 0), K_OK);
    for (unsigned i = 0; i < 20; i++)
        cr_expect_eq(user_byte(actor, BASE + PAGES(i) + 1), file_byte(PAGES(i) + 1));
    cr_expect_eq(user_write(actor, BASE + PAGES(3) + 1, 42), K_OK);
    cr_expect_eq(user_byte(actor, BASE + PAGES(3) + 1), 42);
    cr_expect_eq(user_byte(actor, BASE + PAGES(3) + 2), file_byte(PAGES(3) + 2));
    cr_expect_eq(user_byte(other, BASE + PAGES(3) + 1), file_byte(PAGES(3) + 1));
    struct actor *child = actor_new();
    cr_expect_eq(CALL(actor, rgnDup, ARG(child), 0, 0), K_OK);
    cr_expect_eq(user_byte(child, BASE + PAGES(3) + 1), 42);
    cr_expect_eq(user_byte(child, BASE + PAGES(9) + 1), file_byte(PAGES(9) + 1));
    user_write(child, BASE + PAGES(3) + 1, 43);
    cr_expect_eq(user_byte(actor, BASE + PAGES(3) + 1), 42);
    cr_expect_eq(CALL(actor, vmAdvise, 0, BASE, PAGES(20), K_ADVISE_DISCARD), K_OK);
    cr_expect_eq(user_byte(actor, BASE + PAGES(3) + 1), file_byte(PAGES(3) + 1));
    cr_expect_eq(file->accesses, 0);
}

Test(segment, bytes_that_do_not_count_are_zero_in_a_copy)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(10));
    cr_expect_eq(init_file(actor, BASE, 6, RW, file, PAGES(2), PAGES(1) + 50), K_OK);
    cr_expect_eq(user_byte(actor, BASE + PAGES(1) + 49), file_byte(PAGES(3) + 49));
    cr_expect_eq(user_byte(actor, BASE + PAGES(1) + 50), 0);
    cr_expect_eq(user_byte(actor, BASE + PAGES(2)), 0);
    cr_expect_eq(user_byte(actor, BASE + PAGES(5)), 0);
    user_write(actor, BASE + PAGES(1) + 60, 5);
    cr_expect_eq(user_byte(actor, BASE + PAGES(1) + 60), 5);
    uint8_t byte;
    struct file *two = file_new(PAGES(2));
    cr_expect_eq(init_file(actor, BASE + PAGES(100), 6, RW, two, 0, 0), K_OK);
    cr_expect_eq(user_read(actor, BASE + PAGES(102), &byte), K_EOFFSET);
}

Test(segment, truncation_takes_pages_from_everybody)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(PAGES(10));
    uint8_t byte;
    map_file(actor, BASE, 10, RW, file, 0);
    for (unsigned i = 0; i < 10; i++)
        user_write(actor, BASE + PAGES(i), 9);
    cr_expect_eq(CALL(actor, lcTrunc, ARG(&file->lc), PAGES(4) + 5), 1);
    file->size = PAGES(4) + 5;
    cr_expect_eq(user_read(actor, BASE + PAGES(5), &byte), K_EOFFSET);
    cr_expect_eq(user_byte(actor, BASE + PAGES(4) + 4), file_byte(PAGES(4) + 4));
    cr_expect_eq(user_byte(actor, BASE + PAGES(4) + 5), 0);
    cr_expect_eq(read_file(actor, file, 0, BUFFER, PAGES(20)), PAGES(4) + 5);
    cr_expect_eq(CALL(actor, lcTrunc, ARG(&file->lc), PAGES(8)), 1);
    file->size = PAGES(8);
    memset(file->bytes + PAGES(4) + 5, 0, PAGES(4));
    cr_expect_eq(user_byte(actor, BASE + PAGES(6)), 0);
    cr_expect_eq(user_byte(actor, BASE + PAGES(4) + 6), 0);
    cr_expect_eq(flush(actor, file), K_OK);
    cr_expect_eq(file->size, PAGES(8));
}

Test(segment, truncation_overtakes_a_page_that_is_on_its_way)
{
    struct actor *actor = reader_new(), *manager = reader_new();
    struct file *file = file_new(PAGES(10));
    read_file(actor, file, 0, BUFFER, 1);
    cr_expect_eq(CALL(manager, lcFlush, ARG(&file->lc), 0, 0, K_DROP, 0), K_OK);
    mapper_mode = MAPPER_SILENT;
    cr_expect_eq(read_file(actor, file, PAGES(6), BUFFER, PAGES(1)), K_BLOCKED);
    cr_expect_eq(CALL(manager, lcTrunc, ARG(&file->lc), PAGES(5)), 1);
    mapper_mode = MAPPER_ANSWERS;
    world_go_on();
    cr_expect_eq(call_sgRead(thread_of(actor)), 0);
}

Test(segment, a_mapper_recalls_rights_and_pages)
{
    struct actor *actor = actor_new(), *mapper = actor_new();
    struct file *file = file_new(PAGES(4));
    map_file(actor, BASE, 4, RW, file, 0);
    user_write(actor, BASE, 1);
    cr_expect_eq(file->accesses, 1);
    cr_expect_eq(CALL(mapper, lcFlush, ARG(&file->lc), 0, 0, K_DOWNGRADE, 0), K_OK);
    cr_expect_eq(file->bytes[0], 1);
    user_write(actor, BASE, 2);
    cr_expect_eq(file->accesses, 2);
    cr_expect_eq(CALL(mapper, lcFlush, ARG(&file->lc), 0, 0, K_INVALIDATE, 0), K_OK);
    cr_expect_eq(file->bytes[0], 2);
    file->bytes[1] = 77;
    cr_expect_eq(user_byte(actor, BASE + 1), 77);
    user_write(actor, BASE, 3);
    cr_expect_eq(CALL(mapper, lcFlush, ARG(&file->lc), 0, 0, K_DROP, 0), K_OK);
    cr_expect_eq(user_byte(actor, BASE), 2);
    cr_expect_eq(CALL(mapper, lcFlush, ARG(&file->lc), 0, 0, 7, 0), K_EINVAL);
    cr_expect_eq(CALL(mapper, lcFillZero, ARG(&file->lc), 1, 5), K_OK);
    cr_expect_eq(user_byte(actor, BASE + 1), 0);
    cr_expect_eq(user_byte(actor, BASE + 6), file_byte(6));
}

Test(segment, a_mapper_that_dies_fails_those_who_wait_and_keeps_what_is_dirty)
{
    struct actor *actor = reader_new(), *writer = reader_new();
    struct file *file = file_new(PAGES(100));
    user_write(writer, BUFFER, 'd');
    cr_expect_eq(write_file(writer, file, 0, BUFFER, 1), 1);
    mapper_mode = MAPPER_SILENT;
    cr_expect_eq(read_file(actor, file, PAGES(90), BUFFER, 10), K_BLOCKED);
    mapper_mode = MAPPER_DEAD;
    world_go_on();
    cr_expect_eq(call_sgRead(thread_of(actor)), K_EMAPPER);
    cr_expect_eq(read_file(actor, file, PAGES(90), BUFFER, 10), K_EMAPPER);
    cr_expect_eq(flush(writer, file), K_EMAPPER);
    cr_expect_eq(read_file(actor, file, 0, BUFFER, 1), 1);
    cr_expect_eq(user_byte(actor, BUFFER), 'd');
    mapper_mode = MAPPER_ANSWERS;
    cr_expect_eq(flush(writer, file), K_OK);
    cr_expect_eq(file->bytes[0], 'd');
    cr_expect_eq(read_file(actor, file, PAGES(90), BUFFER, 10), 10);
}

Test(segment, a_mapper_that_fails_fails_the_fault)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(4));
    uint8_t byte;
    map_file(actor, BASE, 4, RW, file, 0);
    file->error = K_EIO;
    cr_expect_eq(user_read(actor, BASE, &byte), K_EMAPPER);
    file->error = K_OK;
    cr_expect_eq(user_read(actor, BASE, &byte), K_OK);
    file->error = K_EPROTECT;
    cr_expect_eq(user_write(actor, BASE, 1), K_EPROTECT);
    file->error = K_OK;
}

Test(segment, a_flush_is_told_when_any_of_its_push_outs_fails)
{
    struct actor *actor = reader_new();
    for (page_t bad = 1; bad < 64; bad += 9) {
        struct file *file = file_new(PAGES(64)), *other = file_new(PAGES(64));
        cr_assert_eq(write_file(actor, file, 0, BUFFER, PAGES(64)), PAGES(64));
        cr_assert_eq(write_file(actor, other, 0, BUFFER, PAGES(64)), PAGES(64));
        file->bad = bad;
        cr_expect_eq(flush(actor, file), K_EMAPPER, "page %lu cannot be written", bad);
        cr_expect_eq(flush(actor, file), K_EMAPPER, "it still cannot");
        cr_expect_eq(flush(actor, other), K_OK, "the failure of another file is not its own");
        file->bad = 0;
        cr_expect_eq(flush(actor, file), K_OK);
        cr_expect(memcmp(file->bytes, other->bytes, PAGES(64)) == 0);
    }
}

Test(segment, old_dirty_pages_go_home_by_themselves)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(PAGES(4));
    user_write(actor, BUFFER, 'w');
    write_file(actor, file, 0, BUFFER, 1);
    for (unsigned i = 0; i < 3; i++) {
        world_time += 1000000000;
        world_go_on();
    }
    cr_expect_eq(file->pushes, 0);
    for (unsigned i = 0; i < 5; i++) {
        world_time += 1000000000;
        world_go_on();
    }
    cr_expect_eq(file->pushes, 1);
    cr_expect_eq(file->bytes[0], 'w');
}

Test(segment, all_of_a_mappers_segments_are_written_back)
{
    struct actor *actor = reader_new();
    struct file *file[10];
    user_write(actor, BUFFER, 's');
    for (unsigned i = 0; i < 10; i++) {
        file[i] = file_new(PAGES(3));
        write_file(actor, file[i], PAGES(i % 3), BUFFER, 1);
    }
    cr_expect_eq(CALL(actor, sgSyncAll, ARG(&file[0]->cap.ui)), K_OK);
    for (unsigned i = 0; i < 10; i++)
        cr_expect_eq(file[i]->bytes[PAGES(i % 3)], 's');
    KnUniqueId other = {1, 1};
    write_file(actor, file[0], 1, BUFFER, 1);
    cr_expect_eq(CALL(actor, sgSyncAll, ARG(&other)), K_OK);
    cr_expect_neq(file[0]->bytes[1], 's');
    file[0]->error = K_EIO;
    cr_expect_eq(CALL(actor, sgSyncAll, ARG(&file[0]->cap.ui)), K_EMAPPER);
    file[0]->error = K_OK;
}

Test(segment, caches_that_nobody_uses_are_released)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(PAGES(3)), *open = file_new(PAGES(3));
    KnCap lc;
    read_file(actor, file, 0, BUFFER, 10);
    cr_expect_eq(CALL(actor, lcOpen, ARG(&open->cap), ARG(&lc)), K_OK);
    while (cache_free_unused())
        ;
    cr_expect_eq(file->releases, 1);
    cr_expect_eq(open->releases, 0);
    cr_expect_eq(CALL(actor, lcClose, ARG(&lc)), K_OK);
    cr_expect_eq(CALL(actor, lcClose, ARG(&lc)), K_EINVAL);
    while (cache_free_unused())
        ;
    cr_expect_eq(open->releases, 1);
}

Test(segment, memory_copies_between_actors)
{
    struct actor *actor = reader_new(), *other = reader_new();
    for (unsigned i = 0; i < 300; i++)
        user_write(actor, BUFFER + PAGES(i) + 50, i);
    cr_expect_eq(CALL(actor, vmCopy, 0, BUFFER + 50, ARG(other), BUFFER + 3, PAGES(300) - 50), K_OK);
    for (unsigned i = 0; i < 300; i++)
        cr_assert_eq(user_byte(other, BUFFER + PAGES(i) + 3), (uint8_t)i);
    cr_expect_eq(CALL(actor, vmCopy, 0, BUFFER, ARG(other), UINT64_MAX - 5, 100), K_EFAULT);
    cr_expect_eq(CALL(actor, vmCopy, 0, BASE, ARG(other), BUFFER, 100), K_EFAULT);
    vm_copy_out(NULL, other, BUFFER, "a string", 9);
    cr_expect_eq(CALL(actor, vmCopyString, ARG(other), BUFFER, BUFFER, 100), 8);
    cr_expect_eq(user_byte(actor, BUFFER + 2), 's');
    cr_expect_eq(CALL(actor, vmCopyString, ARG(other), BUFFER, BUFFER, 8), K_ETOOMUCH);
}

/* Random reads, writes, mappings, truncations and flushes of one file by several actors, against a flat array. */
#define SIZE PAGES(200)
Test(segment, random_histories_agree_with_a_flat_file, .timeout = 120)
{
    static uint8_t model[SIZE + PAGES(1)];
    struct actor *actors[3];
    struct file *file = file_new(PAGES(50) + 123);
    uint64_t size = file->size;
    memcpy(model, file->bytes, size);
    for (unsigned i = 0; i < 3; i++) {
        actors[i] = reader_new();
        cr_assert_eq(map_file(actors[i], BASE, 200, RW, file, 0), K_OK);
    }
    srand(5);
    for (unsigned round = 0; round < 5000; round++) {
        struct actor *actor = actors[rand() % 3];
        uint64_t at = rand() % SIZE, count = 1 + rand() % (round % 10 == 0 ? 40000 : 3000);
        if (at + count > SIZE)
            count = SIZE - at;
        switch (rand() % 10) {
        case 0: case 1: {
            uint64_t expected = at >= size ? 0 : count < size - at ? count : size - at;
            cr_assert_eq(read_file(actor, file, at, BUFFER + 11, count), (int64_t)expected);
            for (uint64_t i = 0; i < expected; i += 1 + rand() % 100) {
                uint8_t byte;
                vm_copy_in(NULL, actor, &byte, BUFFER + 11 + i, 1);
                cr_assert_eq(byte, model[at + i], "round %u, byte %lu of %lu", round, at + i, size);
            }
            break;
        }
        case 2: case 3: {
            static uint8_t bytes[50000];
            at = at % (size + 5000) < SIZE - count ? at % (size + 5000) : at;
            for (uint64_t i = 0; i < count; i++)
                bytes[i] = rand();
            vm_copy_out(NULL, actor, BUFFER + 77, bytes, count);
            cr_assert_eq(write_file(actor, file, at, BUFFER + 77, count), (int64_t)count);
            memcpy(model + at, bytes, count);
            if (at + count > size)
                size = at + count;
            break;
        }
        case 4: case 5: case 6:
            for (unsigned i = 0; i < 10 && size > 0; i++) {
                uint64_t where = rand() % size;
                uint8_t byte;
                cr_assert_eq(user_read(actor, BASE + where, &byte), K_OK);
                cr_assert_eq(byte, model[where], "round %u", round);
                cr_assert_eq(user_write(actor, BASE + where, round), K_OK);
                model[where] = round;
            }
            break;
        case 7:
            if (rand() % 4 == 0) {
                uint64_t new_size = rand() % SIZE;
                file->ordinal = CALL(actor, lcTrunc, ARG(&file->lc), new_size);
                cr_assert_geq(file->ordinal, 0);
                file_resize(file, new_size);
                if (new_size < size)
                    memset(model + new_size, 0, sizeof model - new_size);
                size = new_size;
            }
            break;
        case 8:
            cr_assert_eq(flush(actor, file), K_OK);
            for (uint64_t i = 0; i < size; i++)
                cr_assert_eq(file->bytes[i], model[i], "round %u, byte %lu of %lu: %u", round, i, size, file->bytes[i]);
            break;
        case 9:
            if (rand() % 5 == 0)
                cr_assert_eq(CALL(actor, lcFlush, ARG(&file->lc), 0, 0, K_INVALIDATE, 0), K_OK);
            break;
        }
    }
}

Test(segment, writing_in_sequence_through_a_window_takes_few_faults)
{
    struct actor *actor = actor_new();
    struct file *file = file_new(PAGES(512));
    map_file(actor, BASE, 512, RW, file, 0);
    for (unsigned i = 0; i < 512; i++)
        user_byte(actor, BASE + PAGES(i));
    world_faults = 0;
    for (unsigned i = 0; i < 512; i++)
        cr_assert_eq(user_write(actor, BASE + PAGES(i), 3), K_OK);
    cr_expect_leq(world_faults, 60, "%u", world_faults);
    cr_expect_eq(flush(actor, file), K_OK);
    for (unsigned i = 0; i < 512; i++)
        cr_assert_eq(file->bytes[PAGES(i)], 3);
}

Test(segment, a_large_truncation_and_a_large_drop_go_in_steps)
{
    struct actor *actor = reader_new();
    struct file *file = file_new(PAGES(9000));
    map_file(actor, BASE, 9000, K_READABLE, file, 0);
    for (unsigned i = 0; i < 9000; i++)
        user_byte(actor, BASE + PAGES(i));
    KnTime before = world_time;
    cr_expect_geq(CALL(actor, lcTrunc, ARG(&file->lc), PAGES(10) + 7), 1);
    cr_expect_gt(world_time, before, "it paused");
    file_resize(file, PAGES(10) + 7);
    KnSgStat stat;
    CALL(actor, lcStat, ARG(&file->lc), ARG(&stat));
    cr_expect_eq(stat.size, PAGES(10) + 7);
    cr_expect_eq(stat.pages, 11);
    cr_expect_geq(CALL(actor, lcTrunc, ARG(&file->lc), 1ull << 40), 1);
    file_resize(file, PAGES(9000));
    cr_expect_geq(CALL(actor, lcTrunc, ARG(&file->lc), PAGES(9000)), 1);
    for (unsigned i = 0; i < 9000; i++)
        cr_assert_eq(user_byte(actor, BASE + PAGES(i)), i < 11 ? file_byte(PAGES(i)) : 0);
    before = world_time;
    cr_expect_eq(CALL(actor, lcFlush, ARG(&file->lc), 0, 0, K_DROP, 0), K_OK);
    cr_expect_gt(world_time, before, "it paused");
    CALL(actor, lcStat, ARG(&file->lc), ARG(&stat));
    cr_expect_eq(stat.pages, 0);
}

/* A pause of a nanosecond is over before it begins, as soon as the clock has gone on meanwhile: then there is more to be done, not less. */
Test(segment, a_large_drop_is_whole_when_its_pauses_are_over_at_once)
{
    static const unsigned flags[] = { K_DROP, K_INVALIDATE };
    struct actor *actor = reader_new();
    struct file *file = file_new(PAGES(9000));
    KnSgStat stat;
    world_delay = 100;
    map_file(actor, BASE, 9000, K_READABLE, file, 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 9000; i++)
            user_byte(actor, BASE + PAGES(i));
        CALL(actor, lcStat, ARG(&file->lc), ARG(&stat));
        cr_expect_geq(stat.pages, 9000);
        cr_expect_eq(CALL(actor, lcFlush, ARG(&file->lc), 0, 0, flags[round], 0), K_OK);
        CALL(actor, lcStat, ARG(&file->lc), ARG(&stat));
        cr_expect_eq(stat.pages, 0, "%lu pages are left", (unsigned long)stat.pages);
    }
    for (unsigned i = 0; i < 9000; i++)
        user_byte(actor, BASE + PAGES(i));
    cr_expect_geq(CALL(actor, lcTrunc, ARG(&file->lc), PAGES(1)), 1);
    CALL(actor, lcStat, ARG(&file->lc), ARG(&stat));
    cr_expect_eq(stat.pages, 1);
    world_delay = 0;
}

Test(segment, data_that_is_written_is_copied_with_its_neighbours)
{
    struct actor *actor = actor_new(), *warm = reader_new();
    struct file *file = file_new(PAGES(40));
    cr_assert_eq(read_file(warm, file, 0, BUFFER, PAGES(40)), PAGES(40));
    cr_assert_eq(init_file(actor, BASE, 40, RW, file, PAGES(3), PAGES(12) + 100), K_OK);
    world_faults = 0;
    for (unsigned i = 0; i < 13; i++)
        cr_assert_eq(user_write(actor, BASE + PAGES(i) + 1, 1), K_OK);
    cr_expect_eq(world_faults, 1);
    for (unsigned i = 0; i < 12; i++)
        cr_expect_eq(user_byte(actor, BASE + PAGES(i) + 2), file_byte(PAGES(3 + i) + 2));
    cr_expect_eq(user_byte(actor, BASE + PAGES(12) + 99), file_byte(PAGES(15) + 99));
    cr_expect_eq(user_byte(actor, BASE + PAGES(12) + 100), 0);
    cr_expect_eq(user_byte(actor, BASE + PAGES(13)), 0);
}

Test(segment, small_data_that_is_in_memory_is_there_without_a_fault)
{
    struct actor *actor = actor_new(), *warm = reader_new();
    struct file *file = file_new(PAGES(40));
    cr_assert_eq(read_file(warm, file, 0, BUFFER, PAGES(40)), PAGES(40));
    cr_assert_eq(init_file(actor, BASE, 14, RW, file, PAGES(3), PAGES(12) + 100), K_OK);
    cr_assert_eq(allocate(actor, BASE + PAGES(14), 5, RW), (int64_t)(BASE + PAGES(14)));
    world_faults = 0;
    for (unsigned i = 0; i < 19; i++)
        cr_assert_eq(user_write(actor, BASE + PAGES(i) + 1, 1), K_OK);
    cr_expect_eq(world_faults, 0);
    cr_expect_leq(fake_space_mappings(actor->host), 4);
    cr_expect_eq(user_byte(actor, BASE + PAGES(11) + 2), file_byte(PAGES(14) + 2));
    cr_expect_eq(user_byte(actor, BASE + PAGES(12) + 100), 0);
}

Test(segment, text_that_is_in_memory_is_there_without_a_fault)
{
    struct actor *actor = actor_new(), *warm = reader_new();
    struct file *file = file_new(PAGES(40));
    cr_assert_eq(read_file(warm, file, 0, BUFFER, PAGES(40)), PAGES(40));
    cr_assert_eq(map_file(actor, BASE, 40, RX, file, 0), K_OK);
    world_faults = 0;
    cr_expect_eq(user_exec(actor, BASE + PAGES(33)), K_OK);
    cr_expect_eq(world_faults, 0);
}

/* --- data that goes by devices --- */

static struct file *direct_file_new(uint64_t size)
{
    struct file *file = file_new(size);
    file->direct = true;
    return file;
}

Test(segment, pages_are_found_by_devices_only_while_they_are_asked_for_and_only_one_way)
{
    struct actor *actor = reader_new();
    struct file *file = direct_file_new(PAGES(4));
    uint64_t frame;
    size_t size;
    cr_assert_eq(read_file(actor, file, 0, BUFFER, 10), 10);
    cr_expect_null(vm_pages_pin(file->pages, 100, true, &size, &frame), "it was answered");
    cr_expect_null(vm_pages_pin(VM_DEVICE_PAGES, 100, true, &size, &frame), "nobody's");
    struct file *waiting = direct_file_new(PAGES(4));
    cr_assert_eq(write_file(actor, waiting, 0, BUFFER, 1), 1); /* opened, and its first page is here */
    mapper_mode = MAPPER_SILENT;
    cr_assert_eq(CALL(actor, sgFlush, ARG(&waiting->cap), 0, 0, 0), K_BLOCKED);
    cr_assert_eq(mapper_waiting(), 1);
    uint64_t pages = mapper_pages_asked();
    cr_expect_null(vm_pages_pin(pages, 100, true, &size, &frame), "a push-out is not written");
    cr_expect_null(vm_pages_pin(pages, PAGE_SIZE + 1, false, &size, &frame), "beyond its end");
    cr_expect_null(vm_pages_pin(pages + PAGE_SIZE, 1, false, &size, &frame));
    cr_expect_null(vm_pages_pin(pages, 0, false, &size, &frame));
    cr_expect_null(vm_pages_pin(pages ^ 1ull << 40, 100, false, &size, &frame), "a wrong secret");
    uint8_t *bytes = vm_pages_pin(pages + 5, 100, false, &size, &frame);
    cr_assert_not_null(bytes);
    cr_expect_eq(size, 100);
    mapper_mode = MAPPER_ANSWERS;
    world_go_on();
    cr_expect_null(vm_pages_pin(pages, 100, false, &size, &frame));
    vm_pages_unpin(frame, pages + 5, size);
}

Test(segment, what_no_device_wrote_is_zero_whatever_the_mapper_says)
{
    struct actor *actor = reader_new();
    struct file *soil = file_new(PAGES(512)), *file = direct_file_new(PAGES(16)), *part = direct_file_new(PAGES(1));
    uint8_t byte;
    cr_assert_eq(read_file(actor, soil, 0, BUFFER, PAGES(512)), PAGES(512)); /* frames with something in them become free */
    CALL(actor, lcFlush, ARG(&soil->lc), 0, 0, K_DROP, 0);
    file->idle = true;
    part->skip = 1000;
    cr_assert_eq(read_file(actor, file, 0, BUFFER, PAGES(16)), PAGES(16));
    for (uint64_t i = 0; i < PAGES(16); i += 61) {
        cr_assert_eq(vm_copy_in(NULL, actor, &byte, BUFFER + i, 1), K_OK);
        cr_assert_eq(byte, 0);
    }
    cr_assert_eq(read_file(actor, part, 0, BUFFER, PAGES(1)), PAGES(1));
    for (uint64_t i = 0; i < PAGES(1); i++) {
        cr_assert_eq(vm_copy_in(NULL, actor, &byte, BUFFER + i, 1), K_OK);
        cr_assert_eq(byte, i < 1000 ? 0 : file_byte(i));
    }
}

Test(segment, data_goes_between_pages_and_a_device)
{
    struct actor *actor = reader_new();
    struct file *file = direct_file_new(PAGES(900) + 100);
    for (unsigned i = 0; i < 900; i += 10)
        cr_assert_eq(read_file(actor, file, PAGES(i), BUFFER + PAGES(i), PAGES(10)), PAGES(10));
    cr_assert_eq(read_file(actor, file, PAGES(900), BUFFER + PAGES(900), PAGES(10)), 100);
    expect_file_bytes(actor, BUFFER, 0, PAGES(900) + 100);
    cr_expect_lt(file->pulls, 900 / 32, "%u requests", file->pulls);
    cr_assert_eq(write_file(actor, file, PAGES(100), BUFFER, PAGES(800)), PAGES(800));
    cr_assert_eq(flush(actor, file), K_OK);
    cr_expect_lt(file->pushes, 20, "%u requests", file->pushes);
    for (uint64_t i = 0; i < PAGES(800); i += 97)
        cr_assert_eq(file->bytes[PAGES(100) + i], file_byte(i));
}

Test(segment, who_writes_much_in_sequence_has_it_sent_while_he_goes_on)
{
    struct actor *actor = reader_new();
    struct file *file = direct_file_new(0);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(write_file(actor, file, PAGES(256 * i), BUFFER, PAGES(256)), PAGES(256));
    cr_expect_eq(file->pushes, 0, "a file of so much may soon be gone");
    for (unsigned i = 4; i < 8; i++)
        cr_assert_eq(write_file(actor, file, PAGES(256 * i), BUFFER, PAGES(256)), PAGES(256));
    world_go_on();
    cr_expect_geq(file->pushed, 768);
    cr_assert_eq(flush(actor, file), K_OK);
    cr_expect_eq(file->pushed, 2048);
}

Test(segment, what_lies_behind_the_end_in_its_page_is_zero_for_the_device)
{
    struct actor *actor = reader_new();
    struct file *file = direct_file_new(PAGES(2) + 100);
    cr_assert_eq(map_file(actor, BASE, 3, RW, file, 0), K_OK);
    cr_assert_eq(user_write(actor, BASE + PAGES(2) + 50, 77), K_OK);
    cr_assert_eq(user_write(actor, BASE + PAGES(2) + 200, 78), K_OK);
    cr_assert_eq(flush(actor, file), K_OK);
    cr_expect_eq(file->bytes[PAGES(2) + 50], 77);
    cr_expect_eq(file->bytes[PAGES(2) + 200], 0);
}

Test(segment, a_page_that_cannot_be_read_takes_no_other_along)
{
    struct actor *actor = reader_new();
    struct file *file = direct_file_new(PAGES(300));
    file->bad = 101;
    for (unsigned i = 0; i < 300; i++)
        cr_assert_eq(read_file(actor, file, PAGES(i), BUFFER + PAGES(i), PAGE_SIZE), i == 101 ? K_EMAPPER : (int64_t)PAGE_SIZE, "page %u", i);
    expect_file_bytes(actor, BUFFER, 0, PAGES(101));
    expect_file_bytes(actor, BUFFER + PAGES(102), PAGES(102), PAGES(198));
}

Test(segment, a_device_that_comes_late_writes_to_nobody)
{
    struct actor *actor = reader_new();
    struct file *file = direct_file_new(PAGES(1)), *other = file_new(PAGES(600));
    uint64_t frame;
    size_t size;
    cr_assert_eq(read_file(actor, file, 0, BUFFER, 1), 1);
    cr_assert_eq(CALL(actor, lcFlush, ARG(&file->lc), 0, 0, K_DROP, 0), K_OK);
    mapper_mode = MAPPER_SILENT;
    cr_assert_eq(read_file(actor, file, 0, BUFFER, 1), K_BLOCKED);
    uint64_t pages = mapper_pages_asked();
    uint8_t *bytes = vm_pages_pin(pages, PAGE_SIZE, true, &size, &frame);
    cr_assert_not_null(bytes);
    mapper_mode = MAPPER_DEAD;
    world_go_on();
    mapper_mode = MAPPER_ANSWERS;
    cr_assert_eq(read_file(actor, other, 0, BUFFER, PAGES(600)), PAGES(600));
    memset(bytes, 0xee, PAGE_SIZE);
    expect_file_bytes(actor, BUFFER, 0, PAGES(600));
    vm_pages_unpin(frame, pages, size);
}
