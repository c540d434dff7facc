/* memory.c: brk, mmap and the like are regions.
 *
 * The heap of brk begins after the program's image and grows while nothing is in its way; libc does
 * without it when it cannot grow. There are no files to map.
 */
#include "internal.h"
#include "lock.h"

#include <errno.h>
#include <sys/mman.h>

#define PAGE_UP(size) (((size) + K_PAGESIZE - 1) & ~(uint64_t)(K_PAGESIZE - 1))

extern char _end[] __attribute__((visibility("hidden"))); /* by the linker: the image ends here */

static struct lock heap_lock;
static VmSize heap_size; /* bytes from the heap's start to the break */
static VmSize heap_room; /* the same in memory that is there, whole pages */

static unsigned options_of(uint64_t protection)
{
    unsigned options = 0;
    if (protection & PROT_READ)
        options |= K_READABLE;
    if (protection & PROT_WRITE)
        options |= K_READABLE | K_WRITABLE;
    if (protection & PROT_EXEC)
        options |= K_READABLE | K_EXECUTABLE;
    return options;
}

/* Give the heap <room> bytes of memory. */
static int heap_resize(VmAddr start, VmSize room)
{
    KnRgnDesc region = { .startAddr = start, .size = room, .options = K_READABLE | K_WRITABLE };
    if (room > heap_room) {
        region.startAddr = start + heap_room;
        region.size = room - heap_room;
        return rgnAllocate(K_MYACTOR, &region);
    }
    region.startAddr = start + room;
    region.size = heap_room - room;
    return rgnFree(K_MYACTOR, &region);
}

int64_t libc_brk(struct libc_call *call)
{
    VmAddr start = PAGE_UP((VmAddr)_end), wanted = call->arg[0];
    lock_take(&heap_lock);
    if (wanted >= start && wanted < K_USERTOP) {
        VmSize room = PAGE_UP(wanted - start);
        if (room == heap_room || heap_resize(start, room) == K_OK) {
            heap_room = room;
            heap_size = wanted - start;
        }
    }
    VmAddr now = start + heap_size;
    lock_release(&heap_lock);
    return (int64_t)now;
}

static int64_t map_refuse(const struct libc_call *call)
{
    uint64_t address = call->arg[0], size = call->arg[1], flags = call->arg[3];
    if (!(flags & MAP_ANONYMOUS))
        return -EBADF;
    if (size == 0 || (flags & MAP_TYPE) == 0)
        return -EINVAL;
    if (size > K_USERTOP)
        return -ENOMEM;
    if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && address % K_PAGESIZE != 0)
        return -EINVAL;
    return 0;
}

int64_t libc_mmap(struct libc_call *call)
{
    uint64_t flags = call->arg[3];
    int64_t error = map_refuse(call);
    if (error != 0)
        return error;

    KnRgnDesc region = { .size = PAGE_UP(call->arg[1]), .options = options_of(call->arg[2]) };
    if ((flags & MAP_TYPE) != MAP_PRIVATE)
        region.options |= K_INHERITSHARE;
    if (flags & MAP_POPULATE)
        region.options |= K_NODEMAND;
    if (flags & MAP_LOCKED)
        region.options |= K_NODEMAND | K_NOSWAPOUT;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        region.startAddr = call->arg[0];
        if (!(flags & MAP_FIXED_NOREPLACE))
            region.options |= K_OVERWRITE;
    } else {
        region.options |= K_ANYWHERE;
    }
    int status = rgnAllocate(K_MYACTOR, &region);
    return status < 0 ? libc_result(status) : (int64_t)region.startAddr;
}

int64_t libc_munmap(struct libc_call *call)
{
    KnRgnDesc region = { .startAddr = call->arg[0], .size = PAGE_UP(call->arg[1]) };
    if (region.startAddr % K_PAGESIZE != 0 || region.size == 0)
        return -EINVAL;
    return libc_result(rgnFree(K_MYACTOR, &region));
}

int64_t libc_mremap(struct libc_call *call)
{
    VmAddr old = call->arg[0];
    VmSize old_size = PAGE_UP(call->arg[1]), new_size = PAGE_UP(call->arg[2]);
    uint64_t flags = call->arg[3];
    if (old % K_PAGESIZE != 0 || old_size == 0 || new_size == 0 ||
        ((flags & MREMAP_FIXED) && !(flags & MREMAP_MAYMOVE)))
        return -EINVAL;

    KnRgnDesc region = { .startAddr = old, .size = new_size };
    int status = K_ESPACE;
    if (!(flags & MREMAP_FIXED))
        status = rgnMove(K_MYACTOR, &region, old, old_size);
    if (status != K_OK && (flags & MREMAP_MAYMOVE)) {
        region = (KnRgnDesc){ .size = new_size, .options = K_ANYWHERE };
        if (flags & MREMAP_FIXED) {
            region.startAddr = call->arg[4];
            region.options = K_OVERWRITE;
        }
        status = rgnMove(K_MYACTOR, &region, old, old_size);
    }
    return status < 0 ? libc_result(status) : (int64_t)region.startAddr;
}

int64_t libc_mprotect(struct libc_call *call)
{
    KnRgnDesc region = { .startAddr = call->arg[0],
                         .size = PAGE_UP(call->arg[1]),
                         .options = options_of(call->arg[2]) };
    if (region.startAddr % K_PAGESIZE != 0)
        return -EINVAL;
    if (region.size == 0)
        return 0;
    int status = rgnSetProtect(K_MYACTOR, &region);
    return status == K_EFAULT ? -ENOMEM : libc_result(status);
}

int64_t libc_madvise(struct libc_call *call)
{
    VmSize size = PAGE_UP(call->arg[1]);
    if (call->arg[0] % K_PAGESIZE != 0)
        return -EINVAL;
    switch (call->arg[2]) {
    case MADV_DONTNEED:
    case MADV_FREE:
        return libc_result(vmAdvise(K_MYACTOR, call->arg[0], size, K_ADVISE_DISCARD));
    case MADV_WILLNEED:
        return libc_result(vmAdvise(K_MYACTOR, call->arg[0], size, K_ADVISE_NEEDED));
    default:
        return 0; /* the others are hints without effect here */
    }
}

int64_t libc_mlock(struct libc_call *call)
{
    VmAddr start = call->arg[0] & ~(VmAddr)(K_PAGESIZE - 1);
    return libc_result(vmLock(K_MYACTOR, start, PAGE_UP(call->arg[0] + call->arg[1] - start)));
}

int64_t libc_munlock(struct libc_call *call)
{
    VmAddr start = call->arg[0] & ~(VmAddr)(K_PAGESIZE - 1);
    return libc_result(vmUnLock(K_MYACTOR, start, PAGE_UP(call->arg[0] + call->arg[1] - start)));
}
