/* Which threads have a call open in the trace: a hash table with open addressing. */

#include "trace_open.h"

#include <stdlib.h>

static uint64_t key_of(uint32_t actor, uint32_t thread)
{
    return ((uint64_t)actor << 32 | thread) + 1; /* never 0 */
}

static size_t home_of(const struct trace_open *open, uint64_t key)
{
    return (key * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (open->room - 1);
}

/* Where the key is, or would be. */
static size_t place_of(const struct trace_open *open, uint64_t key)
{
    size_t place = home_of(open, key);
    while (open->keys[place] != 0 && open->keys[place] != key)
        place = (place + 1) & (open->room - 1);
    return place;
}

static bool grow(struct trace_open *open)
{
    struct trace_open larger = { .room = open->room == 0 ? 64 : open->room * 2, .count = open->count };
    larger.keys = calloc(larger.room, sizeof *larger.keys);
    if (larger.keys == NULL)
        return false;
    for (size_t i = 0; i < open->room; i++)
        if (open->keys[i] != 0)
            larger.keys[place_of(&larger, open->keys[i])] = open->keys[i];
    free(open->keys);
    *open = larger;
    return true;
}

bool trace_open_begin(struct trace_open *open, uint32_t actor, uint32_t thread)
{
    if ((open->count + 1) * 2 > open->room && !grow(open))
        return false; /* its end will be left out */
    uint64_t key = key_of(actor, thread);
    size_t place = place_of(open, key);
    bool was_open = open->keys[place] == key;
    open->keys[place] = key;
    open->count += !was_open;
    return was_open;
}

/* The keys behind it move up, so that each is still found from its home on. */
static void close_gap(struct trace_open *open, size_t gap)
{
    size_t mask = open->room - 1;
    for (size_t next = (gap + 1) & mask; open->keys[next] != 0; next = (next + 1) & mask) {
        size_t home = home_of(open, open->keys[next]);
        if (((next - home) & mask) < ((next - gap) & mask))
            continue;
        open->keys[gap] = open->keys[next];
        gap = next;
    }
    open->keys[gap] = 0;
}

bool trace_open_end(struct trace_open *open, uint32_t actor, uint32_t thread)
{
    if (open->room == 0)
        return false;
    uint64_t key = key_of(actor, thread);
    size_t place = place_of(open, key);
    if (open->keys[place] != key)
        return false;
    close_gap(open, place);
    open->count--;
    return true;
}

void trace_open_free(struct trace_open *open)
{
    free(open->keys);
    *open = (struct trace_open){ 0 };
}
