/* cache.h: local caches: the pages of segments that are in memory, and the talk with mappers about them.
 *
 * A segment's cache is found by its capability, made at first use, and opened by asking the mapper for its size. Windows (regions), explicit reads and writes
 * (segment.c) and the mapper's own calls (lc.c) work on the same pages. What goes over to the mapper and back is a transfer
 * (transfer.c). A page is clean, dirty (written, the mapper has not got it), or cleaning (on its way); it is mapped writable only while it is dirty, so
 * that the first write to a clean page is seen.
 */
#ifndef NUCLEUS_MEMORY_CACHE_H
#define NUCLEUS_MEMORY_CACHE_H

#include <mem/chMapper.h>
#include "region.h"

#define TRANSFER_PAGES 16u /* of one message, */
#define TRANSFER_PAGES_DIRECT 64u /* of one whose data goes by a device */
#define CAREFUL_PULLS (2 * TRANSFER_PAGES_DIRECT)
#define SEGMENT_MAX ((uint64_t)1 << 44) /* bytes */

enum cache_state { CACHE_NEW, CACHE_OPENING, CACHE_OPEN };

/* Frames set aside for pages of a cache, so that neighbours in the segment are neighbours in memory and are mapped as one. */
struct reservation {
    page_t page;
    frame_t frame;
    uint32_t count;
    uint64_t free[8]; /* bit: not used yet */
};

struct cache {
    struct list of_segments, of_caches, of_all; /* hash chains by capability; every cache */
    struct list of_unused;                      /* nobody's, kept while memory lasts: the oldest first */
    KnCap segment, lc;
    uint32_t number;
    enum cache_state state;
    uint64_t size;    /* bytes */
    uint64_t ordinal; /* how often it was made shorter */
    struct tree pages;
    uint64_t page_count, dirty_count, cleaning_count;
    uint32_t opens, window_count;
    struct list windows, transfers;
    struct wait_queue waiters;        /* for the opening, access and push-outs */
    page_t granted_from, granted_to;  /* pages that may be written */
    page_t next_write, behind_from;   /* where a sequential writer comes next; what it wrote from there on was not sent yet */
    page_t next_read, ahead_to;       /* where a sequential reader comes next; how far was asked for it */
    unsigned scattered; /* reads since that were of no sequence */
    unsigned careful;   /* so many more pulls ask for one page alone: one of several failed */
    uint32_t streak;                  /* pages read in sequence */
    int64_t dirty_since, lost_since;  /* 0: not dirty; 0: the mapper is there */
    uint64_t failed_at;               /* which of all push-outs that failed was its last one, 0: none; */
    int failure;                      /* and how */
    struct reservation *reservation;
    uint32_t transfer_pages;          /* in one transfer, at most */
    bool direct;                      /* data goes between the pages and devices */
};

enum transfer_kind { TRANSFER_OPEN, TRANSFER_PULL, TRANSFER_ACCESS, TRANSFER_PUSH };

struct transfer {
    struct list of_cache, of_awaiting;
    struct cache *cache;
    enum transfer_kind kind;
    struct kcall *call; /* NULL: not sent yet */
    page_t from;
    uint32_t count;
    bool stale; /* pull: what comes is outdated already */
    frame_t frames[TRANSFER_PAGES_DIRECT]; /* held */
    struct list of_visible;   /* those whose pages devices see, by: */
    uint64_t device_address;  /* 0: they do not */
    uint64_t filled;          /* bit: a device was given that page to write, which holds nothing else's bytes any more */
    struct wait_queue waiters;
    struct awaited *awaited; /* push: the pages are read-only everywhere when these are reported */
    size_t awaited_count;
};

/* --- cache.c --- */
void caches_init(void);
extern struct list all_caches;
uint64_t cached_pages(void), dirty_pages(void);
/* The opened cache of a segment. K_OK, K_BLOCKED, K_EUNKNOWN (no such segment), K_EMAPPER, K_ENOMEM. */
int cache_open(const KnCap *segment, struct thread *thread, struct cache **ret_cache);
/* By a capability of its own; NULL: none. */
struct cache *cache_by_lc(const KnCap *lc);
struct cache *cache_by_number(uint32_t number);
struct cache *cache_next(uint32_t number); /* the first with a number >= <number>, NULL: none */
/* It is perhaps not needed any more: to be called after anything that makes it so. It may be freed. */
void cache_release(struct cache *cache);
/* Keep it while it is worked on. */
static inline void cache_hold(struct cache *cache) { cache->opens++; }
static inline void cache_unhold(struct cache *cache)
{
    cache->opens--;
    cache_release(cache);
}
/* Free caches that nobody uses, the oldest first; true: one was freed. */
bool cache_free_unused(void);
KnCap cache_segment(const struct cache *cache);
static inline page_t cache_end(const struct cache *cache) { return (cache->size + PAGE_SIZE - 1) >> PAGE_SHIFT; }

/* Windows. */
void cache_window_add(struct cache *cache, struct region *region);
void cache_window_remove(struct cache *cache, struct region *region);
int cache_page_get(struct region *region, page_t page, bool write, struct thread *thread, frame_t *ret_frame);
unsigned cache_page_allowed(struct region *region, page_t page, unsigned protection, frame_t *ret_frame);
/* The last page of a copy of a segment holds bytes that do not count: they are zero in the copy. */
bool cache_page_needs_trim(const struct region *region, page_t page);
void cache_trim_copy(const struct region *region, page_t page, void *bytes);
/* Is the page beyond what counts, and so zero from the beginning? */
bool cache_page_is_beyond(const struct region *region, page_t page);

/* Pages. */
uint32_t cache_slot(const struct cache *cache, page_t page);
/* The page in memory. <around>: a neighbourhood is wanted. K_OK, K_BLOCKED, K_EMAPPER, K_EOFFSET, K_ENOMEM. */
int cache_page(struct cache *cache, page_t page, bool around, struct thread *thread, frame_t *ret_frame);
/* A frame for a page that is to come, without slot or hold. */
int cache_frame_take(struct cache *cache, page_t page, size_t want, struct thread *thread, frame_t *ret_frame, size_t *ret_count);
/* K_ENOMEM; the frame stays the caller's then. */
int cache_page_insert(struct cache *cache, page_t page, frame_t frame);
void cache_page_drop(struct cache *cache, page_t page);
void cache_page_dirty(struct cache *cache, frame_t frame);
void cache_page_clean(struct cache *cache, frame_t frame);
/* All pages of segments, by use, the last used first. */
extern uint32_t cache_clock_first, cache_clock_last;
void cache_clock_again(frame_t frame);
/* What of the segment's pages [from, to) a window shows, as its own pages. False: nothing. */
bool window_part(const struct region *window, page_t from, page_t to, page_t *ret_from, page_t *ret_to);
/* Pages are no longer shown by any window. */
void cache_unmap(struct cache *cache, page_t from, page_t to);
void cache_reservation_drop(struct cache *cache);
/* Set the size; what lies beyond is dropped, the rest of the last page becomes zero. */
void cache_truncate(struct cache *cache, uint64_t size);

/* --- lc.c --- */
/* The cache that the first argument of a call names by the cache's own capability. */
int call_lc(struct thread *thread, struct cache **ret_cache);

/* --- transfer.c --- */
/* Wait at a queue of a cache; an error that ended the last wait is returned instead. */
int cache_wait(struct cache *cache, struct wait_queue *queue, struct thread *thread, bool abortable);
int transfer_open(struct cache *cache);
/* Ask for pages from <from> on, at most <count>, those not here or under way. K_OK: asked or nothing to ask. */
int transfer_pull(struct cache *cache, page_t from, size_t count, struct thread *thread);
struct transfer *transfer_find(struct cache *cache, enum transfer_kind kind, page_t page);
/* Have the right to write pages; the segment will be <size> bytes long. K_OK, K_BLOCKED, K_EPROTECT, K_ENOSPACE, K_EMAPPER. */
int cache_access(struct cache *cache, page_t from, page_t to, uint64_t size, struct thread *thread);
/* Send dirty pages from <from> on, as many as go together; the number of pages in *ret_count. K_OK, K_EMAPPER, K_ENOMEM. */
int transfer_push(struct cache *cache, page_t from, page_t end, size_t *ret_count);
void transfers_forget(struct cache *cache);
/* Pushes that wait for reports go on. */
void transfers_reported(void);
size_t transfers_pushing(void);
uint64_t transfers_failed(void); /* push-outs, ever */

/* --- device_pages.c --- */
/* Devices see the transfer's pages, at device_address, until transfer_hide. */
void transfer_show(struct transfer *transfer);
void transfer_hide(struct transfer *transfer);

/* --- writeback.c --- */
/* A page was written by a call. Who writes much in sequence has it sent while it goes on. */
void writeback_behind(struct cache *cache, page_t page);
void writeback_init(void);
/* A page became dirty. */
void writeback_wanted(void);
/* Write back the dirty pages of [from, to) and wait. Fails if a push-out of the cache fails meanwhile. */
int cache_flush(struct cache *cache, page_t from, page_t to, struct thread *thread, uint64_t progress[2] /* 0 at the beginning, kept over restarts */);

#endif
