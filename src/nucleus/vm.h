/* vm.h: what the rest of the Nucleus asks of memory.
 *
 * Functions that may have to wait (a page is at its mapper, an unmapping is not yet reported) put <thread> into a wait queue and return
 * K_BLOCKED; the caller passes that up and is started again later. Nothing is half done then.
 */
#ifndef NUCLEUS_VM_H
#define NUCLEUS_VM_H

#include <chorus.h>
#include <host/space.h>
#include "actor.h"
#include "thread.h"

/* At boot, once: takes all frames that the host has. */
void vm_init(void);
/* Give an actor its empty address space (actor->host is there), and take it away: what it maps goes at once, what is long to free goes in
 * steps of at most 50 us by vm_idle_work. vm_space_gone: the host has reported that the process is dead; frames waiting for it are freed. */
int vm_space_create(struct actor *actor);
void vm_space_destroy(struct actor *actor);
void vm_space_gone(struct vm_space *vm);
/* The host reported progress of this space's orders. */
void vm_space_reported(struct actor *actor);
/* Some work that can wait (freeing, touching and clearing frames, giving long-free ones back); true: there is more. */
bool vm_idle_work(void);

/* A thread touched an address. K_OK: go on; K_BLOCKED; else an exception: K_EFAULT, K_EPROTECT, K_EMAPPER, K_EOFFSET, K_ENOMEM. */
int vm_fault(struct thread *thread, vaddr_t address, bool write, bool exec);

/* Copy between the Nucleus and an actor's memory, by our own tables. <thread> is who waits if it must be waited. K_EFAULT. With <thread>
 * NULL nothing waits: K_EFAULT if a page is not at hand. */
int vm_copy_in(struct thread *thread, struct actor *actor, void *to, vaddr_t from, size_t size);
int vm_copy_out(struct thread *thread, struct actor *actor, vaddr_t to, const void *from, size_t size);
/* Returns the length, K_ETOOMUCH if no zero byte was among the first <size>. */
int vm_copy_string(struct thread *thread, struct actor *actor, char *to, vaddr_t from, size_t size);
/* The 32-bit word at <address>, for syncWait; and a key that is the same for all mappings of the same word. */
int vm_word(struct thread *thread, struct actor *actor, vaddr_t address, uint32_t **ret_word, uint64_t ret_key[2]);
/* Pin an actor's memory for a device: the Nucleus's address of [address, address + size) if it lies in one page, NULL otherwise or if it is not
 * the actor's. Pages stay pinned until vm_unpin. Brings pages in if it can be done without waiting. */
void *vm_pin(struct actor *actor, vaddr_t address, size_t size, bool write);
void vm_unpin(struct actor *actor, vaddr_t address, size_t size);
/* The same for the pages of a mapper's request (KnMpRequest's <pages>), whose addresses have this bit. As many bytes from <address> on as lie side by side: *ret_size;
 * *ret_frame is for giving them back, whatever became of the request. NULL: not (or no longer) such pages, or not to be written, or read, by a device. */
#define VM_DEVICE_PAGES (1ull << 63)
void *vm_pages_pin(uint64_t address, size_t size, bool write, size_t *ret_size, uint64_t *ret_frame);
void vm_pages_unpin(uint64_t frame, uint64_t address, size_t size);

/* For the loader: what rgnAllocate and rgnSetProtect do to <actor>, <rgn> in the Nucleus's memory. Never wait: a fresh region can be filled by
 * vm_copy_out with thread NULL. */
int vm_region_allocate(struct actor *actor, KnRgnDesc *rgn);
int vm_region_protect(struct actor *actor, const KnRgnDesc *rgn);
/* For actorStat and ps: how many regions an actor has, and the bytes of frames mapped in it. */
void vm_actor_counts(struct actor *actor, uint32_t *ret_regions, uint64_t *ret_bytes);

/* The nucleus calls of <mem/chMem.h> and <mem/chMapper.h>, with arguments as in the call record: call_rgnAllocate(struct thread *) and so on,
 * declared from calls.def in call.h and written in memory/.c files. Replies of mappers come by nucleus_call's completion (kcall.h). */

/* Dirty pages of segments that are some seconds old begin to go to their mappers. Memory's own timer calls it. */
void vm_writeback_old(void);

/* Looking at an actor's memory from outside (look.c): changes nothing, never waits, brings nothing in.
 * The first region that ends above <address>. False: none, or the actor's memory is being taken away. */
struct vm_region_view {
    vaddr_t start, end;
    uint32_t options; /* K_READABLE, ... */
    bool segment;     /* a segment lies behind it */
};
bool vm_region_look(const struct actor *actor, vaddr_t address, struct vm_region_view *view);
/* The bytes of the first page at or after *address, whole, and below <end> that is in memory; *address becomes its address. NULL: none. */
const void *vm_page_look(const struct actor *actor, vaddr_t *address, vaddr_t end);

/* After the last actor's end: everything that is still cached goes; what is not free then has leaked. */
void vm_fini(void);

/* Debugger, ps, leak checks. */
void vm_counts(uint64_t *frames, uint64_t *free, uint64_t *cached);
/* Frames that a new actor may count on: free ones beyond the reserve, and those of files' pages. */
uint64_t vm_available(void);
#endif
