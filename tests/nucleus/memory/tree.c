/* Trees: sharing, path copying, ranges. Compared with a plain array. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

static void start(void)
{
    world_start_with(65536);
    cr_assert_eq(tree_nodes_reserve(20000), K_OK);
}
TestSuite(tree, .init = start, .fini = world_end, .timeout = 30);

static uint32_t slot_new(void)
{
    frame_t frame;
    cr_assert_eq(frame_take(1, FRAME_FOR_COPY, &frame), 1);
    frame_slot_add(frame);
    return SLOT_USED | frame;
}

static void tree_free(struct tree *tree)
{
    tree_remove(tree, 0, (page_t)1 << 36);
    while (tree_reap(100))
        ;
}

Test(tree, an_empty_tree_has_nothing)
{
    struct tree tree = {0};
    page_t page = 0;
    uint32_t value;
    cr_expect_eq(tree_get(&tree, 0), 0);
    cr_expect_eq(tree_get(&tree, 1ull << 35), 0);
    cr_expect_not(tree_next(&tree, &page, UINT64_MAX >> 20, &value));
    tree_remove(&tree, 0, 1ull << 36);
    tree_set(&tree, 77, 0);
    cr_expect_null(tree.root);
}

Test(tree, far_pages_make_it_higher)
{
    struct tree tree = {0};
    uint32_t a = slot_new(), b = slot_new();
    tree_set(&tree, 3, a);
    tree_set(&tree, 1ull << 34, b);
    cr_expect_eq(tree_get(&tree, 3), a);
    cr_expect_eq(tree_get(&tree, 1ull << 34), b);
    page_t page = 4;
    uint32_t value;
    cr_expect(tree_next(&tree, &page, 1ull << 36, &value));
    cr_expect_eq(page, 1ull << 34);
    cr_expect_eq(value, b);
    tree_free(&tree);
}

Test(tree, a_copy_shares_until_one_side_changes)
{
    struct tree tree = {0}, copy = {0};
    uint32_t a = slot_new(), b = slot_new();
    tree_set(&tree, 100, a);
    tree_share(&copy, 0, &tree, 0, 1ull << 36);
    bool own;
    tree_leaf(&tree, 100, &own);
    cr_expect_not(own);
    tree_set(&copy, 101, b);
    cr_expect_eq(tree_get(&tree, 101), 0);
    cr_expect_eq(frame_record(slot_frame(a))->slots, 2);
    tree_free(&copy);
    cr_expect_eq(frame_record(slot_frame(a))->slots, 1);
    tree_leaf(&tree, 100, &own);
    cr_expect(own);
    tree_free(&tree);
}

/* Random changes to several trees that copy from each other, against arrays. */
#define KEYS 5000
#define TREES 4
Test(tree, random_changes_agree_with_an_array)
{
    static uint32_t model[TREES][KEYS];
    struct tree tree[TREES] = {{0}};
    srand(1);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned t = rand() % TREES, u = rand() % TREES, key = rand() % KEYS, count = rand() % (round % 7 == 0 ? KEYS : 150);
        if (key + count > KEYS)
            count = KEYS - key;
        switch (rand() % 4) {
        case 0:
        case 1:
            if (model[t][key] == 0 && frame_free_count() > 1000)
                tree_set(&tree[t], key, model[t][key] = slot_new());
            break;
        case 2:
            tree_remove(&tree[t], key, key + count);
            memset(&model[t][key], 0, count * sizeof(uint32_t));
            break;
        case 3: {
            unsigned to = rand() % 2 ? key : (unsigned)rand() % (KEYS - count + 1);
            if (t == u)
                break;
            tree_remove(&tree[t], to, to + count);
            tree_share(&tree[t], to, &tree[u], key, count);
            memcpy(&model[t][to], &model[u][key], count * sizeof(uint32_t));
            break;
        }
        }
        cr_assert_eq(tree_nodes_reserve(1000), K_OK);
        tree_reap(50);
        unsigned used = 0;
        for (unsigned i = 0; i < KEYS; i++) {
            cr_assert_eq(tree_get(&tree[t], i), model[t][i], "round %u tree %u key %u", round, t, i);
            used += model[t][i] != 0;
        }
        cr_assert_eq(tree_count(&tree[t], 0, KEYS, UINT64_MAX), used);
        page_t page = key;
        uint32_t value;
        bool found = tree_next(&tree[t], &page, key + count, &value);
        unsigned expected = key;
        while (expected < key + count && model[t][expected] == 0)
            expected++;
        cr_assert_eq(found, expected < key + count);
        if (found)
            cr_assert_eq(page, expected);
    }
    for (unsigned t = 0; t < TREES; t++)
        tree_free(&tree[t]);
}
