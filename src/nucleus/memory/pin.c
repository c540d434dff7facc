/* pin.c: pages that devices use, and locked ones. A pinned page's frame is held, whatever becomes of the region; devices write by the Nucleus's address
 * of the frame. The frame's record counts its pins in <order>, so that it is not taken from its cache. */
#include "region.h"

#include <chorus.h>
#include <stdlib.h>

static struct pin *pin_find(const struct vm_space *space, page_t page)
{
    for (size_t i = space->pin_count; i > 0; i--) {
        if (space->pins[i - 1].page == page)
            return &space->pins[i - 1];
    }
    return NULL;
}

bool pin_is_there(const struct vm_space *space, page_t page) { return pin_find(space, page) != NULL; }

int pin_add(struct vm_space *space, page_t page, frame_t frame)
{
    struct pin *pin = pin_find(space, page);
    if (pin != NULL && pin->frame == frame) {
        pin->count++;
        return K_OK;
    }
    if (frame_record(frame)->order == UINT8_MAX)
        return K_ELIMIT;
    if (space->pin_count == space->pin_room) {
        size_t room = space->pin_room == 0 ? 64 : space->pin_room * 2;
        struct pin *pins = realloc(space->pins, room * sizeof *pins);
        if (pins == NULL)
            return K_ENOMEM;
        space->pins = pins;
        space->pin_room = room;
    }
    frame_hold(frame);
    frame_record(frame)->order++;
    space->pins[space->pin_count++] = (struct pin){page, frame, 1};
    return K_OK;
}

void pin_remove(struct vm_space *space, page_t page)
{
    struct pin *pin = pin_find(space, page);
    if (pin == NULL || --pin->count > 0)
        return;
    frame_t frame = pin->frame;
    *pin = space->pins[--space->pin_count];
    frame_record(frame)->order--;
    frame_unhold(frame);
}

void pin_remove_all(struct vm_space *space)
{
    while (space->pin_count > 0) {
        frame_t frame = space->pins[--space->pin_count].frame;
        frame_record(frame)->order--;
        frame_unhold(frame);
    }
    free(space->pins);
    space->pins = NULL;
    space->pin_room = 0;
}
