/* A store of pages: a file without a name on the root file system.
 *
 * tmpfs puts pages there that the Nucleus pushed out, since om has no memory for them: they were
 * pushed out because memory was short. A slot is a page of the file; which are free is in a bitmap. The
 * file is on the orphan list, so nothing of it is left after a crash.
 *
 * Callers hold the lock of their tmpfs; the lock of the file's own file system is taken inside it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "state.h"

#define PAGE 4096u
#define WORD 64u

struct store {
    struct fs_store base;
    struct fs *fs;
    fs_id     id;
    bool      exists;               /* the file has been made */
    uint64_t *used;                 /* a bit for each slot */
    uint32_t  words;
    uint32_t  next;                 /* word to look at first */
    uint64_t  size;
};

static struct store *store_of(struct fs_store *base)
{
    return (struct store *)base;
}

static int words_grow(struct store *store)
{
    uint32_t words = store->words * 2 + 16;
    uint64_t *bigger = realloc(store->used, words * sizeof *bigger);

    if (bigger == NULL)
        return -ENOMEM;
    memset(bigger + store->words, 0, (words - store->words) * sizeof *bigger);
    store->next = store->words;
    store->used = bigger;
    store->words = words;
    return 0;
}

static int slot_take(struct store *store, uint32_t *ret)
{
    for (uint32_t i = 0; i < store->words; i++) {
        uint32_t word = (store->next + i) % store->words;

        if (store->used[word] == UINT64_MAX)
            continue;
        *ret = word * WORD + (uint32_t)__builtin_ctzll(~store->used[word]);
        store->used[word] |= 1ull << *ret % WORD;
        store->next = word;
        return 0;
    }
    return words_grow(store) == 0 ? slot_take(store, ret) : -ENOMEM;
}

/* Under the lock of the file's file system. */
static int page_put(struct store *store, const void *page, uint32_t slot)
{
    uint64_t offset = (uint64_t)slot * PAGE, end;
    int error = store->fs->operations->begin(store->fs);

    if (error == 0 && !store->exists) {
        error = store->fs->operations->temporary(store->fs, &store->id);
        store->exists = error == 0;
    }
    if (error != 0)
        return error;
    if (offset + PAGE > store->size)
        store->size = offset + PAGE;
    error = store->fs->operations->prepare(store->fs, store->id, offset, PAGE, store->size, &end);
    if (error == 0)
        error = store->fs->operations->push(store->fs, store->id, offset, page, PAGE, store->size);
    return error;
}

static int store_write(struct fs_store *base, const void *page, uint32_t *ret_slot)
{
    struct store *store = store_of(base);
    int error;

    pthread_mutex_lock(&store->fs->lock);
    error = slot_take(store, ret_slot);
    if (error == 0) {
        error = page_put(store, page, *ret_slot);
        if (error != 0)
            store->used[*ret_slot / WORD] &= ~(1ull << *ret_slot % WORD);
    }
    pthread_mutex_unlock(&store->fs->lock);
    return error;
}

static int store_read(struct fs_store *base, uint32_t slot, void *page)
{
    struct store *store = store_of(base);
    size_t length = 0;
    int error;

    pthread_mutex_lock(&store->fs->lock);
    error = store->fs->operations->pull(store->fs, store->id, (uint64_t)slot * PAGE, page, PAGE,
                                        &length);
    pthread_mutex_unlock(&store->fs->lock);
    return error == 0 && length != PAGE ? -EIO : error;
}

static void store_free(struct fs_store *base, uint32_t slot)
{
    struct store *store = store_of(base);

    pthread_mutex_lock(&store->fs->lock);
    store->used[slot / WORD] &= ~(1ull << slot % WORD);
    if (slot / WORD < store->next)
        store->next = slot / WORD;
    pthread_mutex_unlock(&store->fs->lock);
}

struct fs_store *store_open(struct fs *fs)
{
    struct store *store = calloc(1, sizeof *store);

    if (store == NULL)
        return NULL;
    store->base = (struct fs_store){ .write = store_write, .read = store_read, .free = store_free };
    store->fs = fs;
    return &store->base;
}

void store_close(struct fs_store *base)
{
    struct store *store = store_of(base);

    if (base == NULL)
        return;
    if (store->exists) {
        pthread_mutex_lock(&store->fs->lock);
        store->fs->operations->release(store->fs, store->id);
        pthread_mutex_unlock(&store->fs->lock);
    }
    free(store->used);
    free(store);
}

/* From one om to the next: the file stays, held by its file system. */
void store_hand_over(struct fs_store *base, struct om_state *state)
{
    struct store *store = store_of(base);

    STATE_PUT(state, store->id);
    STATE_PUT(state, store->exists);
    STATE_PUT(state, store->size);
    STATE_PUT(state, store->words);
    state_put(state, store->used, store->words * sizeof *store->used);
}

int store_take_over(struct fs_store *base, struct om_state *state)
{
    struct store *store = store_of(base);

    STATE_GET(state, store->id);
    STATE_GET(state, store->exists);
    STATE_GET(state, store->size);
    STATE_GET(state, store->words);
    if (state->failed || store->words > (state->room - state->size) / sizeof *store->used)
        return -EINVAL;
    if (store->words == 0)
        return 0;
    store->used = malloc(store->words * sizeof *store->used);
    if (store->used == NULL)
        return -ENOMEM;
    state_get(state, store->used, store->words * sizeof *store->used);
    return 0;
}
