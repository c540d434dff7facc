/* Tables, deadlines and random numbers. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include "deadline.h"
#include "random.h"
#include "table.h"

Test(id_table, an_unknown_identifier_is_not_found)
{
    struct id_table table;
    id_table_init(&table, 10);
    const int64_t strange[] = { 0, -1, 1, 11, INT64_MAX, INT64_MIN };
    for (size_t i = 0; i < 6; i++)
        cr_assert_null(id_table_find(&table, strange[i]));
    id_table_fini(&table);
}

Test(id_table, gives_out_at_most_what_it_may)
{
    struct id_table table;
    int object;
    id_table_init(&table, 10);
    for (int i = 1; i <= 10; i++)
        cr_assert_eq(id_table_insert(&table, &object), i);
    cr_assert_eq(id_table_insert(&table, &object), K_ELIMIT);
    id_table_remove(&table, 4);
    cr_assert_eq(id_table_insert(&table, &object), 4);
    for (int i = 1; i <= 10; i++)
        id_table_remove(&table, i);
    id_table_fini(&table);
}

Test(id_table, a_freed_identifier_is_not_given_out_at_once)
{
    struct id_table table;
    int object;
    id_table_init(&table, 100);
    int first = id_table_insert(&table, &object);
    id_table_remove(&table, first);
    int second = id_table_insert(&table, &object);
    cr_assert_neq(first, second);
    id_table_remove(&table, second);
    id_table_fini(&table);
}

Test(table, finds_what_was_put_in_and_nothing_else)
{
    static struct table table;
    static struct table_entry entries[20000];
    for (uint64_t i = 0; i < 20000; i++)
        table_insert(&table, &entries[i], i * i + 1);
    for (uint64_t i = 0; i < 20000; i++)
        cr_assert_eq(table_find(&table, i * i + 1), &entries[i]);
    cr_assert_null(table_find(&table, 3));
    for (uint64_t i = 0; i < 20000; i += 2)
        table_remove(&table, &entries[i]);
    for (uint64_t i = 0; i < 20000; i++)
        cr_assert_eq(table_find(&table, i * i + 1), i % 2 ? &entries[i] : NULL);
    cr_assert_eq(table.count, 10000);
}

static size_t passed_count;

static void note_passed(struct deadline *deadline)
{
    cr_assert_not(deadline_is_set(deadline));
    passed_count++;
}

Test(deadline, they_pass_in_order_and_only_once)
{
    static struct deadline deadlines[500];
    int64_t last = 0;
    srand(4711);
    for (int i = 0; i < 500; i++) {
        cr_assert_eq(deadline_init(&deadlines[i], note_passed), K_OK);
        deadline_set(&deadlines[i], rand() % 1000 + 1);
    }
    for (int i = 0; i < 500; i += 3)
        deadline_cancel(&deadlines[i]);
    for (int i = 1; i < 500; i += 3)
        deadline_set(&deadlines[i], rand() % 1000 + 1);
    while (deadline_next() != INT64_MAX) {
        int64_t next = deadline_next();
        cr_assert_geq(next, last);
        last = next;
        deadlines_run(next);
    }
    size_t expected = 0;
    for (int i = 0; i < 500; i++) {
        expected += i % 3 != 0;
        cr_assert_not(deadline_is_set(&deadlines[i]));
        deadline_fini(&deadlines[i]);
    }
    cr_assert_eq(passed_count, expected);
}

Test(deadline, one_that_has_not_come_does_not_pass)
{
    struct deadline deadline;
    cr_assert_eq(deadline_init(&deadline, note_passed), K_OK);
    deadline_set(&deadline, 100);
    deadlines_run(99);
    cr_assert(deadline_is_set(&deadline));
    deadlines_run(100);
    cr_assert_not(deadline_is_set(&deadline));
    deadline_fini(&deadline);
}

/* RFC 8439, section 2.3.2. */
Test(random, chacha20_gives_the_block_of_the_rfc)
{
    uint8_t key[32], block[64];
    const uint8_t nonce[12] = { 0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0 };
    const uint8_t expected[64] = {
        0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3,
        0x20, 0x71, 0xc4, 0xc7, 0xd1, 0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22,
        0xaa, 0x9a, 0xc3, 0xd4, 0x6c, 0x4e, 0xd2, 0x82, 0x64, 0x46, 0x07, 0x9f, 0xaa,
        0x09, 0x14, 0xc2, 0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2, 0xb5, 0x12, 0x9c, 0xd1,
        0xde, 0x16, 0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e,
    };
    for (int i = 0; i < 32; i++)
        key[i] = (uint8_t)i;
    chacha20_block(block, key, 1, nonce);
    cr_assert_arr_eq(block, expected, sizeof block);
}

Test(random, the_same_seed_gives_the_same_numbers_and_another_one_others)
{
    uint8_t seed[32] = { 1 }, first[1000], second[1000];
    random_init(seed);
    random_bytes(first, sizeof first);
    random_init(seed);
    for (size_t i = 0; i < sizeof second; i += 10)
        random_bytes(second + i, 10);
    cr_assert_arr_eq(first, second, sizeof first);
    seed[31] = 1;
    random_init(seed);
    random_bytes(second, sizeof second);
    cr_assert(memcmp(first, second, sizeof first) != 0);
}
