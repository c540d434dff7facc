/* mmap, brk and their kin.
 *
 * Anonymous memory is a region of zeros, a shared file a window on its segment, a private one a
 * deferred copy. A private mapping that cannot be written is a window, too, since that costs least;
 * mprotect makes it a copy when it is to be written (OPAQUE_PRIVATE).
 */

#include <sys/mman.h>

#include "call.h"
#include "descriptor.h"
#include "device.h"
#include "regular.h"
#include "rewrite.h"
#include "space.h"
#include "user.h"

#define OPAQUE_PRIVATE 1u     /* mapped as a window, though private */
#define OPAQUE_NEVER_WRITE 2u /* shared, and its file is not open for writing */
#define STACK_GUARD 0x100000u /* between the stack's limit and what mmap places */
#define STACK_STEP 0x10000u   /* the stack grows at least so much */
#define LOWEST_WISH 0x20000u

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static VmSize pages_up(VmSize size)
{
    return (size + K_PAGESIZE - 1) & ~(VmSize)(K_PAGESIZE - 1);
}

static uint32_t options_of(unsigned protection)
{
    uint32_t options = 0;
    if (protection & (PROT_READ | PROT_WRITE | PROT_EXEC))
        options |= K_READABLE;
    if (protection & PROT_WRITE)
        options |= K_WRITABLE;
    if (protection & PROT_EXEC)
        options |= K_EXECUTABLE;
    return options;
}

static VmAddr mmap_ceiling(const struct space *space)
{
    VmAddr stack_low = space->stack_bottom != 0 ? space->stack_bottom : STACK_TOP;
    return stack_low - STACK_GUARD;
}

static int memory_error(int status)
{
    switch (status) {
    case K_EOVERLAP: return -EEXIST;
    case K_ESPACE: return -ENOMEM;
    case K_EINVAL: return -EINVAL;
    default: return error_of(status);
    }
}

static int make_region(const KnCap *actor, KnRgnDesc *region, const struct mapping *mapping)
{
    if (mapping->segment == NULL)
        return rgnAllocate(actor, region);
    KnObjDesc object = { .dataObject = *mapping->segment, .offset = mapping->offset };
    if (mapping->shared || !(mapping->protection & PROT_WRITE))
        return rgnMap(actor, region, &object);
    return rgnInit(actor, region, &object);
}

int space_map(struct space *space, struct mapping *mapping)
{
    KnRgnDesc region = { .startAddr = mapping->address, .size = pages_up(mapping->size),
                         .options = options_of(mapping->protection) };
    bool window = mapping->segment != NULL &&
                  (mapping->shared || !(mapping->protection & PROT_WRITE));
    region.options |= mapping->shared || window ? K_INHERITSHARE : K_INHERITCOPY;
    if (window && !mapping->shared)
        region.opaque |= OPAQUE_PRIVATE;
    if (mapping->never_writable)
        region.opaque |= OPAQUE_NEVER_WRITE;
    if (mapping->overwrite)
        region.options |= K_OVERWRITE;
    if (mapping->overwrite)
        rewrite_give_way(space, mapping->address, mapping->address + region.size, false);
    KnCap actor = space->actor;
    VmAddr ceiling = mmap_ceiling(space);
    int status = K_EOVERLAP;
    pm_unlock();
    if (mapping->fixed || mapping->address != 0)
        status = make_region(&actor, &region, mapping);
    if (!mapping->fixed && status < 0 && status != K_ENOMEM && status != K_EMAPPER) {
        region.startAddr = 0;
        region.endAddr = ceiling;
        region.options |= K_ANYWHERE;
        status = make_region(&actor, &region, mapping);
    }
    pm_lock();
    if (status < 0)
        return memory_error(status);
    mapping->address = region.startAddr;
    return 0;
}

int space_unmap(struct space *space, VmAddr address, VmSize size)
{
    KnRgnDesc region = { .startAddr = address, .size = pages_up(size) };
    rewrite_give_way(space, address, address + region.size, false);
    int status = rgnFree(&space->actor, &region);
    return status < 0 ? memory_error(status) : 0;
}

bool space_grow_stack(struct process *process, VmAddr fault, uint64_t sp)
{
    struct space *space = process->space;
    uint64_t limit = process->limits[3 /* RLIMIT_STACK */].current;
    VmAddr bottom = fault & ~(VmAddr)(K_PAGESIZE - 1);
    (void)sp;
    if (space->stack_bottom == 0 || bottom >= space->stack_bottom || bottom < LOWEST_WISH ||
        space->stack_top - bottom > limit || space->stack_bottom - bottom > 0x4000000)
        return false;
    VmAddr lower = space->stack_bottom - STACK_STEP;
    if (lower < bottom && space->stack_top - lower <= limit)
        bottom = lower;
    KnRgnDesc region = { .startAddr = bottom, .size = space->stack_bottom - bottom,
                         .options = K_READABLE | K_WRITABLE | K_INHERITCOPY };
    if (rgnAllocate(&space->actor, &region) < 0)
        return false;
    space->stack_bottom = bottom;
    return true;
}

/* ---- mmap ---- */

/* What is mapped, by the descriptor: a segment, or zeros for /dev/zero. */
static int mapping_of_file(struct call *call, unsigned flags, struct mapping *mapping,
                           struct file **ret_file)
{
    struct file *file = file_get(call, (int)call->arg[4]);
    if (file == NULL)
        return -EBADF;
    *ret_file = file;
    if (!file_may_read(file))
        return -EACCES;
    bool writable = file_may_write(file);
    if (mapping->shared && (mapping->protection & PROT_WRITE) && !writable)
        return -EACCES;
    mapping->never_writable = mapping->shared && (!writable || file->has_pages);
    if (file->has_pages && mapping->shared && (mapping->protection & PROT_WRITE))
        return -ENODEV; /* it could not be kept together with what the host writes */
    if (mapping->shared && writable && file->has_segment)
        rewrite_writer(file->segment.key, true); /* for good: the mapping may outlive the descriptor */
    if (file_is_zero_device(file))
        return 0;
    mapping->segment = file_segment(file);
    mapping->offset = call->arg[5];
    (void)flags;
    return mapping->segment == NULL ? -ENODEV : 0;
}

static int check_mmap(const struct call *call, unsigned flags)
{
    VmAddr address = call->arg[0];
    VmSize size = call->arg[1];
    bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    unsigned type = flags & MAP_TYPE;
    if (size == 0 || call->arg[5] % K_PAGESIZE != 0)
        return -EINVAL;
    if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE)
        return -EINVAL;
    if (fixed && address % K_PAGESIZE != 0)
        return -EINVAL;
    if (size > K_USERTOP || call->arg[5] > INT64_MAX - pages_up(size))
        return size > K_USERTOP ? -ENOMEM : -EOVERFLOW;
    if (fixed && (address < K_USERBOTTOM || address > K_USERTOP - pages_up(size)))
        return address < K_USERBOTTOM ? -EPERM : -ENOMEM;
    return 0;
}

int64_t linux_mmap(struct call *call)
{
    unsigned flags = (unsigned)call->arg[3];
    int error = check_mmap(call, flags);
    if (error != 0)
        return error;
    struct mapping mapping = {
        .address = call->arg[0] & ~(VmAddr)(K_PAGESIZE - 1),
        .size = call->arg[1],
        .protection = (unsigned)call->arg[2],
        .fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE),
        .overwrite = (flags & MAP_FIXED) && !(flags & MAP_FIXED_NOREPLACE),
        .shared = (flags & MAP_TYPE) != MAP_PRIVATE,
    };
    if (!mapping.fixed && (mapping.address < LOWEST_WISH ||
                           mapping.address > K_USERTOP - pages_up(mapping.size)))
        mapping.address = 0;
    struct file *file = NULL;
    if (!(flags & MAP_ANONYMOUS))
        error = mapping_of_file(call, flags, &mapping, &file);
    if (error == 0)
        error = space_map(call_process(call)->space, &mapping);
    return error != 0 ? error : (int64_t)mapping.address;
}

int64_t linux_munmap(struct call *call)
{
    VmAddr address = call->arg[0];
    VmSize size = call->arg[1];
    if (address % K_PAGESIZE != 0 || size == 0 || size > K_USERTOP ||
        address > K_USERTOP - pages_up(size))
        return -EINVAL;
    return space_unmap(call_process(call)->space, address, size);
}

int64_t linux_brk(struct call *call)
{
    struct space *space = call_process(call)->space;
    VmAddr wish = call->arg[0], old_end = pages_up(space->brk), new_end = pages_up(wish);
    uint64_t limit = call_process(call)->limits[2 /* RLIMIT_DATA */].current;
    if (wish < space->brk_start || wish > K_USERTOP || wish - space->brk_start > limit)
        return (int64_t)space->brk;
    if (new_end > old_end) {
        KnRgnDesc region = { .startAddr = old_end, .size = new_end - old_end,
                             .options = K_READABLE | K_WRITABLE | K_INHERITCOPY };
        if (rgnAllocate(&space->actor, &region) < 0)
            return (int64_t)space->brk;
    } else if (new_end < old_end) {
        if (space_unmap(space, new_end, old_end - new_end) != 0)
            return (int64_t)space->brk;
    }
    space->brk = wish;
    return (int64_t)wish;
}

/* ---- mprotect ---- */

/* A private window in the range becomes a copy, so that it can be written. */
static int make_private(struct space *space, const KnRgnStat *stat, VmAddr from, VmAddr to)
{
    VmAddr end = stat->startAddr + stat->size;
    from = from > stat->startAddr ? from : stat->startAddr;
    to = to < end ? to : end;
    KnRgnDesc region = { .startAddr = from, .size = to - from,
                         .options = (stat->options & (K_READABLE | K_EXECUTABLE)) | K_WRITABLE |
                                    K_INHERITCOPY | K_OVERWRITE };
    KnObjDesc object = { .dataObject = stat->dataObject,
                         .offset = stat->offset + (from - stat->startAddr) };
    KnCap actor = space->actor;
    pm_unlock();
    int status = rgnInit(&actor, &region, &object);
    pm_lock();
    return status < 0 ? error_of(status) : 0;
}

static int prepare_writing(struct space *space, VmAddr from, VmAddr to)
{
    KnRgnStat stat;
    rewrite_give_way(space, from, to, true);
    for (VmAddr at = from; at < to && rgnStat(&space->actor, at, &stat) == K_OK &&
                           stat.startAddr < to;
         at = stat.startAddr + stat.size) {
        if (stat.opaque & OPAQUE_NEVER_WRITE)
            return -EACCES;
        if (!(stat.opaque & OPAQUE_PRIVATE))
            continue;
        int error = make_private(space, &stat, from, to);
        if (error != 0)
            return error;
    }
    return 0;
}

int64_t linux_mprotect(struct call *call)
{
    struct space *space = call_process(call)->space;
    VmAddr address = call->arg[0];
    VmSize size = pages_up(call->arg[1]);
    unsigned protection = (unsigned)call->arg[2] & ~(unsigned)(PROT_GROWSDOWN | PROT_GROWSUP);
    if (address % K_PAGESIZE != 0 || (protection & ~7u))
        return -EINVAL;
    if (size == 0)
        return 0;
    if (size > K_USERTOP || address > K_USERTOP - size)
        return -ENOMEM;
    if (!(protection & PROT_WRITE))
        rewrite_give_way(space, address, address + size, false);
    int error = protection & PROT_WRITE ? prepare_writing(space, address, address + size) : 0;
    if (error != 0)
        return error;
    KnRgnDesc region = { .startAddr = address, .size = size, .options = options_of(protection) };
    int status = rgnSetProtect(&space->actor, &region);
    return status >= 0 ? 0 : status == K_EFAULT || status == K_EUNKNOWN ? -ENOMEM
                                                                         : error_of(status);
}

/* ---- the rest ---- */

int64_t linux_mremap(struct call *call)
{
    VmAddr old = call->arg[0], wish = call->arg[4];
    VmSize old_size = pages_up(call->arg[1]), size = pages_up(call->arg[2]);
    unsigned flags = (unsigned)call->arg[3];
    struct space *space = call_process(call)->space;
    if (old % K_PAGESIZE != 0 || size == 0 || old_size == 0 || size > K_USERTOP ||
        old_size > K_USERTOP || old > K_USERTOP - old_size ||
        (flags & ~(unsigned)(MREMAP_MAYMOVE | MREMAP_FIXED)) ||
        ((flags & MREMAP_FIXED) && !(flags & MREMAP_MAYMOVE)))
        return -EINVAL;
    KnRgnDesc region = { .startAddr = old, .size = size };
    int status;
    rewrite_give_way(space, old, old + old_size, false);
    if (flags & MREMAP_FIXED)
        rewrite_give_way(space, wish & ~(VmAddr)(K_PAGESIZE - 1), wish + size, false);
    if (flags & MREMAP_FIXED) {
        if (wish % K_PAGESIZE != 0 || wish < K_USERBOTTOM || wish > K_USERTOP - size ||
            (wish < old + old_size && old < wish + size))
            return -EINVAL;
        region.startAddr = wish;
        region.options = K_OVERWRITE;
        status = rgnMove(&space->actor, &region, old, old_size);
    } else {
        status = rgnMove(&space->actor, &region, old, old_size);
        if ((status == K_ESPACE || status == K_EOVERLAP) && (flags & MREMAP_MAYMOVE)) {
            region = (KnRgnDesc){ .size = size, .options = K_ANYWHERE,
                                  .endAddr = mmap_ceiling(space) };
            status = rgnMove(&space->actor, &region, old, old_size);
        }
    }
    if (status < 0)
        return status == K_EFAULT || status == K_EUNKNOWN ? -EFAULT
               : status == K_EOVERLAP                     ? -ENOMEM
                                                          : memory_error(status);
    return (int64_t)region.startAddr;
}

/* Is all of the range mapped? */
static bool is_mapped(struct space *space, VmAddr from, VmAddr to)
{
    KnRgnStat stat;
    while (from < to) {
        if (rgnStat(&space->actor, from, &stat) != K_OK || stat.startAddr > from)
            return false;
        from = stat.startAddr + stat.size;
    }
    return true;
}

static int check_range(struct call *call, VmAddr *ret_end)
{
    VmAddr address = call->arg[0];
    VmSize size = pages_up(call->arg[1]);
    if (address % K_PAGESIZE != 0)
        return -EINVAL;
    if (size < call->arg[1] || size > K_USERTOP || address > K_USERTOP - size)
        return -ENOMEM;
    *ret_end = address + size;
    return 0;
}

int64_t linux_msync(struct call *call)
{
    struct space *space = call_process(call)->space;
    VmAddr end;
    unsigned flags = (unsigned)call->arg[2];
    int error = check_range(call, &end);
    if (error == 0 && ((flags & ~(unsigned)(MS_ASYNC | MS_SYNC | MS_INVALIDATE)) ||
                       ((flags & MS_ASYNC) && (flags & MS_SYNC))))
        error = -EINVAL;
    if (error != 0)
        return error;
    if (!is_mapped(space, call->arg[0], end))
        return -ENOMEM;
    KnRgnStat stat;
    for (VmAddr at = call->arg[0]; (flags & MS_SYNC) && at < end &&
                                   rgnStat(&space->actor, at, &stat) == K_OK &&
                                   stat.startAddr < end;
         at = stat.startAddr + stat.size) {
        if (uiIsCleared(&stat.dataObject.ui) || !(stat.options & K_INHERITSHARE))
            continue;
        pm_unlock();
        int status = sgFlush(&stat.dataObject, stat.offset, stat.size, 0);
        pm_lock();
        if (status < 0)
            return -EIO;
    }
    return 0;
}

int64_t linux_mincore(struct call *call)
{
    VmAddr end;
    int error = check_range(call, &end);
    if (error != 0)
        return error;
    if (!is_mapped(call_process(call)->space, call->arg[0], end))
        return -ENOMEM;
    uint8_t ones[256];
    memset(ones, 1, sizeof ones);
    for (uint64_t pages = (end - call->arg[0]) / K_PAGESIZE, done = 0; done < pages;) {
        uint64_t part = pages - done < sizeof ones ? pages - done : sizeof ones;
        error = copy_out(call, call->arg[2] + done, ones, part);
        if (error != 0)
            return error;
        done += part;
    }
    return 0;
}

int64_t linux_madvise(struct call *call)
{
    VmAddr end;
    int advice = (int)call->arg[2];
    int error = check_range(call, &end);
    if (error != 0)
        return error == -ENOMEM ? -EINVAL : error;
    if (advice < 0 || (advice > 25 && advice != 100 && advice != 101))
        return -EINVAL;
    if (end == call->arg[0])
        return 0;
    struct space *space = call_process(call)->space;
    if ((advice == MADV_DONTNEED || advice == MADV_FREE))
        vmAdvise(&space->actor, call->arg[0], end - call->arg[0], K_ADVISE_DISCARD);
    return is_mapped(space, call->arg[0], end) ? 0 : -ENOMEM;
}

static int64_t lock_range(struct call *call)
{
    VmAddr from = call->arg[0] & ~(VmAddr)(K_PAGESIZE - 1);
    VmSize size = pages_up(call->arg[1] + call->arg[0] % K_PAGESIZE);
    if (call->arg[1] > K_USERTOP || from > K_USERTOP - size)
        return -ENOMEM;
    return is_mapped(call_process(call)->space, from, from + size) ? 0 : -ENOMEM;
}

int64_t linux_mlock(struct call *call)
{
    return lock_range(call);
}

int64_t linux_mlock2(struct call *call)
{
    return call->arg[2] & ~1ull ? -EINVAL : lock_range(call);
}

int64_t linux_munlock(struct call *call)
{
    return lock_range(call);
}

int64_t linux_mlockall(struct call *call)
{
    return call->arg[0] == 0 || (call->arg[0] & ~7ull) ? -EINVAL : 0;
}

int64_t linux_munlockall(struct call *call)
{
    (void)call;
    return 0;
}
