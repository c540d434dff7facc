/* brk, mmap and the like. */
#include "fake_gate.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* What the last region call was given, and what to answer. */
static KnRgnDesc region;
static int status;

static int64_t answer(unsigned number, const uint64_t arg[6])
{
    switch (number) {
    case CALL_rgnAllocate:
    case CALL_rgnMove: {
        KnRgnDesc *given = (KnRgnDesc *)arg[1];
        region = *given;
        if (given->options & K_ANYWHERE)
            given->startAddr = 0x700000000000;
        return status;
    }
    case CALL_rgnFree:
    case CALL_rgnSetProtect:
        region = *(const KnRgnDesc *)arg[1];
        return status;
    default:
        return status;
    }
}

static void start(void)
{
    gate_start(answer);
    status = K_OK;
    memset(&region, 0, sizeof region);
}

TestSuite(memory, .init = start);

static int64_t map(uint64_t at, uint64_t size, uint64_t protection, uint64_t flags)
{
    return linux_call(SYS_mmap, at, size, protection, flags, -1, 0);
}

Test(memory, there_are_no_files_to_map)
{
    cr_expect_eq(map(0, 4096, PROT_READ, MAP_PRIVATE), -EBADF);
    cr_expect_eq(gate_call_count, 0);
}

Test(memory, malformed_mappings_are_refused)
{
    cr_expect_eq(map(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS), -EINVAL);
    cr_expect_eq(map(0, 4096, PROT_READ, MAP_ANONYMOUS), -EINVAL);
    cr_expect_eq(map(123, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), -EINVAL);
    cr_expect_eq(map(0, UINT64_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS), -ENOMEM);
    cr_expect_eq(linux_call(SYS_munmap, 123, 4096, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_munmap, 4096, 0, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_mprotect, 123, 4096, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_madvise, 123, 4096, MADV_DONTNEED, 0, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_mremap, 4096, 4096, 0, 0, 0, 0), -EINVAL);
    cr_expect_eq(linux_call(SYS_mremap, 4096, 4096, 4096, MREMAP_FIXED, 8192, 0), -EINVAL);
    cr_expect_eq(gate_call_count, 0);
}

Test(memory, a_failure_of_the_nucleus_becomes_an_errno)
{
    status = K_ESPACE;
    cr_expect_eq(map(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS), -ENOMEM);
    status = K_EOVERLAP;
    cr_expect_eq(map(0x10000000, 4096, 0, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE), -EEXIST);
    status = K_EFAULT;
    cr_expect_eq(linux_call(SYS_mprotect, 0x10000000, 4096, PROT_READ, 0, 0, 0), -ENOMEM);
}

Test(memory, anonymous_memory_goes_where_the_nucleus_has_room)
{
    cr_expect_eq(map(0, 5000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS), 0x700000000000);
    cr_expect_eq(region.size, 8192);
    cr_expect_eq(region.options, K_READABLE | K_WRITABLE | K_ANYWHERE);
}

Test(memory, a_stack_is_reserved_without_access_and_then_opened)
{
    cr_expect_eq(map(0, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK), 0x700000000000);
    cr_expect_eq(region.options, K_ANYWHERE);
    cr_expect_eq(linux_call(SYS_mprotect, 0x700000001000, 4096, PROT_READ | PROT_WRITE, 0, 0, 0), 0);
    cr_expect_eq(region.startAddr, 0x700000001000);
    cr_expect_eq(region.options, K_READABLE | K_WRITABLE);
}

Test(memory, a_fixed_mapping_replaces_what_was_there)
{
    cr_expect_eq(map(0x10000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED), 0x10000000);
    cr_expect_eq(region.options, K_READABLE | K_OVERWRITE);
    cr_expect_eq(region.startAddr, 0x10000000);
}

Test(memory, shared_memory_is_shared_with_copies_of_the_actor)
{
    map(0, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS);
    cr_expect_eq(region.options, K_READABLE | K_INHERITSHARE | K_ANYWHERE);
}

Test(memory, the_heap_grows_and_shrinks_by_whole_pages)
{
    uint64_t begin = (uint64_t)linux_call(SYS_brk, 0, 0, 0, 0, 0, 0);
    cr_assert_eq(begin % 4096, 0);
    cr_expect_eq(gate_call_count, 0);
    cr_expect_eq(linux_call(SYS_brk, begin + 100, 0, 0, 0, 0, 0), (int64_t)begin + 100);
    cr_expect_eq(region.startAddr, begin);
    cr_expect_eq(region.size, 4096);
    cr_expect_eq(linux_call(SYS_brk, begin + 4096, 0, 0, 0, 0, 0), (int64_t)begin + 4096);
    cr_expect_eq(gate_call_count, 1, "the page is there already");
    cr_expect_eq(linux_call(SYS_brk, begin + 8193, 0, 0, 0, 0, 0), (int64_t)begin + 8193);
    cr_expect_eq(region.startAddr, begin + 4096);
    cr_expect_eq(region.size, 8192);
    cr_expect_eq(linux_call(SYS_brk, begin, 0, 0, 0, 0, 0), (int64_t)begin);
    cr_expect_eq(gate_find(CALL_rgnFree, 0) != NULL, true);
    cr_expect_eq(region.startAddr, begin);
    cr_expect_eq(region.size, 12288);
}

Test(memory, a_heap_that_cannot_grow_stays_as_it_is)
{
    uint64_t begin = (uint64_t)linux_call(SYS_brk, 0, 0, 0, 0, 0, 0);
    status = K_EOVERLAP;
    cr_expect_eq(linux_call(SYS_brk, begin + 4096, 0, 0, 0, 0, 0), (int64_t)begin);
    cr_expect_eq(linux_call(SYS_brk, begin - 4096, 0, 0, 0, 0, 0), (int64_t)begin);
    cr_expect_eq(linux_call(SYS_brk, UINT64_MAX, 0, 0, 0, 0, 0), (int64_t)begin);
}

Test(memory, a_mapping_moves_only_when_it_cannot_grow_in_place)
{
    cr_expect_eq(linux_call(SYS_mremap, 0x10000000, 4096, 8192, MREMAP_MAYMOVE, 0, 0), 0x10000000);
    cr_expect_eq(gate_count(CALL_rgnMove), 1);
    status = K_ESPACE;
    cr_expect_eq(linux_call(SYS_mremap, 0x10000000, 4096, 8192, 0, 0, 0), -ENOMEM);
    cr_expect_eq(gate_count(CALL_rgnMove), 2);
    cr_expect_eq(linux_call(SYS_mremap, 0x10000000, 4096, 8192, MREMAP_MAYMOVE, 0, 0), -ENOMEM);
    cr_expect_eq(region.options, K_ANYWHERE);
}

Test(memory, discarded_pages_are_discarded_and_other_advice_is_ignored)
{
    cr_expect_eq(linux_call(SYS_madvise, 0x10000000, 4096, MADV_DONTNEED, 0, 0, 0), 0);
    cr_expect_eq(gate_find(CALL_vmAdvise, 0)->arg[3], K_ADVISE_DISCARD);
    cr_expect_eq(linux_call(SYS_madvise, 0x10000000, 4096, MADV_HUGEPAGE, 0, 0, 0), 0);
    cr_expect_eq(gate_call_count, 1);
}
