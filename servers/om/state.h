/* What one om tells the next, byte by byte: written in one order, read in the same. */
#ifndef OM_STATE_H
#define OM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Written: `size` bytes so far, room for more. Read: `room` bytes are there, `size` have been read. */
struct om_state {
    uint8_t *bytes;
    size_t   size, room;
    bool     failed;            /* memory, or there are no more bytes: what was read since is zero */
};

void state_put(struct om_state *state, const void *bytes, size_t size);
void state_get(struct om_state *state, void *bytes, size_t size);

#define STATE_PUT(state, value)  state_put(state, &(value), sizeof(value))
#define STATE_GET(state, value)  state_get(state, &(value), sizeof(value))

#endif
