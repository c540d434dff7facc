/* An actor's memory, read from outside. */

#include "actor_memory.h"

#include <string.h>

#include <nucleus/vm.h>

bool actor_memory_word(const struct actor *actor, uint64_t address, uint64_t *ret_word)
{
    uint8_t bytes[sizeof *ret_word];
    for (size_t done = 0; done < sizeof bytes;) {
        uint64_t at = address + done, page = at & ~(uint64_t)(PAGE_SIZE - 1), found = page;
        const uint8_t *from = vm_page_look(actor, &found, page + PAGE_SIZE);
        if (from == NULL)
            return false;
        size_t part = PAGE_SIZE - (size_t)(at - page);
        if (part > sizeof bytes - done)
            part = sizeof bytes - done;
        memcpy(bytes + done, from + (at - page), part);
        done += part;
    }
    memcpy(ret_word, bytes, sizeof bytes);
    return true;
}

bool actor_memory_is_code(const struct actor *actor, uint64_t address)
{
    struct vm_region_view region;
    return vm_region_look(actor, address, &region) && region.start <= address &&
           (region.options & K_EXECUTABLE) != 0;
}
