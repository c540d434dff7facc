/* copy.c: copying between the Nucleus and actors, and words and pages of actors that the Nucleus uses in place. By our own tables: a mapping of the actor is
 * neither needed nor trusted.
 */
#include <string.h>
#include "../vm.h"
#include "fault.h"
#include "mapping.h"

static int page_search(struct vm_space *space, vaddr_t address, bool write, struct thread *thread, char **ret_bytes)
{
    page_t page = PAGE_OF(address);
    struct region *region = space == NULL ? NULL : region_find(space, page);
    frame_t frame;
    if (region == NULL || region->options & K_RESERVED || !(region->options & (write ? K_WRITABLE : PROTECTION)))
        return K_EFAULT;
    uint32_t entry = mapping_get(space, page);
    if (entry != 0 && (!write || entry_protection(entry) & HOST_WRITE)) {
        char *bytes = frame_bytes(entry_frame(entry));
        space->recent[page % RECENT] = (struct recent){page, bytes, entry_protection(entry) & HOST_WRITE};
        space->has_recent = true;
        *ret_bytes = bytes + address % PAGE_SIZE;
        return K_OK;
    }
    int status = page_get(region, page, write, true, thread, &frame);
    if (status == K_EOFFSET || status == K_EMAPPER || (status == K_ENOMEM && thread == NULL))
        status = K_EFAULT;
    if (status == K_OK)
        *ret_bytes = (char *)frame_bytes(frame) + address % PAGE_SIZE;
    return status;
}

/* The bytes of an actor's page, in memory and, to be written, its own. What is mapped its region allows. */
static inline int page_bytes(struct actor *actor, vaddr_t address, bool write, struct thread *thread, char **ret_bytes)
{
    struct vm_space *space = actor->vm;
    page_t page = PAGE_OF(address);
    if (space != NULL) {
        const struct recent *recent = &space->recent[page % RECENT];
        if (recent->page == page && recent->bytes != NULL && (!write || recent->write)) {
            *ret_bytes = recent->bytes + address % PAGE_SIZE;
            return K_OK;
        }
    }
    return page_search(space, address, write, thread, ret_bytes);
}

static size_t within_page(vaddr_t address, size_t size)
{
    size_t rest = PAGE_SIZE - address % PAGE_SIZE;
    return size < rest ? size : rest;
}

static bool range_wraps(vaddr_t address, size_t size) { return address + size < address; }

int vm_copy_in(struct thread *thread, struct actor *actor, void *to, vaddr_t from, size_t size)
{
    if (range_wraps(from, size))
        return K_EFAULT;
    for (size_t done = 0, part; done < size; done += part) {
        char *bytes;
        part = within_page(from + done, size - done);
        int status = page_bytes(actor, from + done, false, thread, &bytes);
        if (status != K_OK)
            return status;
        memcpy((char *)to + done, bytes, part);
    }
    return K_OK;
}

int vm_copy_out(struct thread *thread, struct actor *actor, vaddr_t to, const void *from, size_t size)
{
    if (range_wraps(to, size))
        return K_EFAULT;
    for (size_t done = 0, part; done < size; done += part) {
        char *bytes;
        part = within_page(to + done, size - done);
        int status = page_bytes(actor, to + done, true, thread, &bytes);
        if (status != K_OK)
            return status;
        memcpy(bytes, (const char *)from + done, part);
    }
    return K_OK;
}

int vm_copy_string(struct thread *thread, struct actor *actor, char *to, vaddr_t from, size_t size)
{
    for (size_t done = 0, part; done < size; done += part) {
        char *bytes;
        part = within_page(from + done, size - done);
        int status = page_bytes(actor, from + done, false, thread, &bytes);
        if (status != K_OK)
            return status;
        char *zero = memccpy(to + done, bytes, 0, part);
        if (zero != NULL)
            return zero - to - 1;
        if (range_wraps(from + done, part))
            return K_EFAULT;
    }
    return K_ETOOMUCH;
}

int vm_word(struct thread *thread, struct actor *actor, vaddr_t address, uint32_t **ret_word, uint64_t ret_key[2])
{
    char *bytes;
    if (address % sizeof(uint32_t) != 0)
        return K_EINVAL;
    int status = page_bytes(actor, address, false, thread, &bytes);
    if (status != K_OK)
        return status;
    struct region *region = region_find(actor->vm, PAGE_OF(address));
    page_t page = PAGE_OF(address);
    *ret_word = (uint32_t *)bytes;
    if (region->object == NULL) {
        ret_key[0] = (uint64_t)region->cache;
        ret_key[1] = region_cache_page(region, page) * PAGE_SIZE + address % PAGE_SIZE;
    } else {
        ret_key[0] = (uint64_t)region->object;
        ret_key[1] = region_object_page(region, page) * PAGE_SIZE + address % PAGE_SIZE;
    }
    return K_OK;
}

void *vm_pin(struct actor *actor, vaddr_t address, size_t size, bool write)
{
    char *bytes;
    if (size == 0 || within_page(address, size) != size || page_bytes(actor, address, write, NULL, &bytes) != K_OK)
        return NULL;
    struct vm_space *space = actor->vm;
    frame_t frame;
    if (page_get(region_find(space, PAGE_OF(address)), PAGE_OF(address), write, false, NULL, &frame) != K_OK)
        return NULL;
    if (pin_add(space, PAGE_OF(address), frame) != K_OK)
        return NULL;
    space->pinned++;
    return bytes;
}

void vm_unpin(struct actor *actor, vaddr_t address, size_t size)
{
    (void)size;
    struct vm_space *space = actor->vm;
    if (space == NULL || space->pinned == 0)
        return;
    pin_remove(space, PAGE_OF(address));
    if (--space->pinned == 0)
        space_unpinned(space);
}
