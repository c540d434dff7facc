/* mem/chMem.h: regions, segments and local caches.
 *
 * An actor's address space is a set of regions that do not overlap; a region is a window on a segment, or anonymous
 * (zeros at first). A segment is whatever its mapper says it is (a file), named by a capability: the UI of the mapper's
 * port and a key that the mapper knows. The pages of a segment that are in memory are its local cache: rgnMap, sgRead and
 * sgWrite all see the same pages. The mapper is asked for pages, and gets them back, by messages (<mem/chMapper.h>).
 *
 * Copies are deferred: rgnDup and rgnInit cost the number of regions, pages are copied when one side writes.
 * From 64 KB to 128 KB, and above K_USERTOP, no region can be.
 */
#ifndef MEM_CHMEM_H
#define MEM_CHMEM_H

#include <chorus.h>

#define K_USERBOTTOM 0x20000ull
#define K_USERTOP 0x7f0000000000ull /* regions end at or below this */

typedef struct KnRgnDesc {
    VmAddr startAddr;
    VmSize size; /* rounded up to pages */
    uint32_t options;
    uint32_t opaque; /* kept, and given back by rgnStat */
    VmAddr endAddr; /* K_ANYWHERE: the region is placed as high as possible below this; 0: K_USERTOP */
} KnRgnDesc;
enum {
    K_READABLE = 1, K_WRITABLE = 2, K_EXECUTABLE = 4,
    K_ANYWHERE = 0x10,     /* the Nucleus chooses the place, which comes back in startAddr */
    K_OVERWRITE = 0x20,    /* what was in the range is freed first */
    K_RESERVED = 0x40,     /* the range is taken, every access is an exception */
    K_INHERITSHARE = 0x100, /* rgnDup shares the region, */
    K_INHERITCOPY = 0x200,  /* or copies it (the default), */
    K_INHERITNONE = 0x400,  /* or leaves it out */
    K_NOSWAPOUT = 0x800,    /* its pages stay in memory */
    K_NODEMAND = 0x1000,    /* its pages (512 at most) are brought in at once, as far as they can be without waiting */
    K_FILLZERO = 0          /* what rgnAllocate does anyway */
};

typedef struct KnObjDesc {
    KnCap dataObject; /* the segment */
    VmOffset offset;  /* page aligned */
    VmSize size;      /* bytes of the segment that count; what lies beyond them in the last page reads as zero
                       * (rgnInit only; rgnMap maps whole pages). 0: all */
} KnObjDesc;

/* All take the actor's capability or K_MYACTOR, never wait unless the table says so, and return K_EUNKNOWN, K_EINVAL
 * (not aligned, size 0, unknown options), K_EOVERLAP, K_ESPACE, K_ENOMEM. */
int rgnAllocate(const KnCap *cap, KnRgnDesc *rgn);
int rgnFree(const KnCap *cap, const KnRgnDesc *rgn); /* regions are split; holes do not matter */
int rgnMap(const KnCap *cap, KnRgnDesc *rgn, const KnObjDesc *obj);
int rgnInit(const KnCap *cap, KnRgnDesc *rgn, const KnObjDesc *obj);
int rgnMapFromActor(const KnCap *cap, KnRgnDesc *rgn, const KnCap *source, VmAddr addr);
int rgnInitFromActor(const KnCap *cap, KnRgnDesc *rgn, const KnCap *source, VmAddr addr);
/* <target> must be empty. */
int rgnDup(const KnCap *target, const KnCap *source, unsigned flags);
int rgnSetProtect(const KnCap *cap, const KnRgnDesc *rgn); /* K_EFAULT: a hole in the range, what lies before it is done */
int rgnSetInherit(const KnCap *cap, const KnRgnDesc *rgn);
/* Move [source, source + oldsize) to rgn (options K_ANYWHERE or a fixed startAddr, size the new one): pages move, none is
 * copied. With rgn->startAddr == source it grows or shrinks in place. K_ESPACE: no room. */
int rgnMove(const KnCap *cap, KnRgnDesc *rgn, VmAddr source, VmSize oldsize);

typedef struct KnRgnStat {
    VmAddr startAddr;
    VmSize size;
    uint32_t options, opaque;
    KnCap dataObject; /* cleared: anonymous */
    VmOffset offset;
    uint64_t pagesMapped, pagesPrivate; /* of its pages: those present, those that are its own copy */
} KnRgnStat;
/* The region that holds <addr>, or the first one after it. K_EUNKNOWN: none. */
int rgnStat(const KnCap *cap, VmAddr addr, KnRgnStat *stat);

/* Copy between two actors' memory (either K_MYACTOR). K_EFAULT: nothing, or a beginning, was copied. Returns K_OK. */
int vmCopy(const KnCap *source, VmAddr from, const KnCap *target, VmAddr to, VmSize size);
/* Copy up to <size> bytes up to and with the first zero byte. Returns the length without it; K_ETOOMUCH: no zero byte. */
int vmCopyString(const KnCap *source, VmAddr from, char *buffer, VmSize size);
int vmLock(const KnCap *cap, VmAddr addr, VmSize size);
int vmUnLock(const KnCap *cap, VmAddr addr, VmSize size);
int vmAdvise(const KnCap *cap, VmAddr addr, VmSize size, unsigned advice);
enum { K_ADVISE_DISCARD = 1, /* anonymous and private pages become zero or the segment's again */ K_ADVISE_NEEDED = 2 };

typedef struct KnVmStat {
    uint64_t pages;       /* K_MYACTOR..: mapped in the actor. Site (cap->ui cleared): frames in all */
    uint64_t pagesFree;   /* site */
    uint64_t pagesPrivate, pagesCache, pagesDirty, pagesLocked;
    uint64_t virtualSize, faults;
} KnVmStat;
int vmStat(const KnCap *cap, KnVmStat *stat);

/* Explicit I/O through the cache. Return the bytes moved, fewer at the segment's end (sgRead); sgWrite beyond the end makes the
 * segment longer, after the mapper granted access. K_EMAPPER, K_ENOSPACE, K_EFAULT, K_EABORT, K_ENOMEM: nothing, or a beginning, was moved. At most
 * 1 GB a call. */
int64_t sgRead(const KnCap *seg, VmOffset offset, void *addr, VmSize size);
int64_t sgWrite(const KnCap *seg, VmOffset offset, const void *addr, VmSize size);
/* Write dirty pages of the range back and wait for it (size 0: to the end). */
int sgFlush(const KnCap *seg, VmOffset offset, VmSize size, unsigned flags);
int sgSyncAll(const KnUniqueId *port);
typedef struct KnSgStat { uint64_t size; uint64_t pages, pagesDirty; uint32_t mappings, opens; } KnSgStat;
int sgStat(const KnCap *seg, KnSgStat *stat);
/* While a local cache is open, or mapped, or has dirty pages, it stays; later it may go at any time (MpRelease). */
int lcOpen(const KnCap *seg, KnCap *lc);
int lcClose(const KnCap *lc);

#endif
