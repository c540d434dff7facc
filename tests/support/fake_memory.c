/* fake_memory.c: see fake_memory.h. */
#include "fake_memory.h"

#include <chorus.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct order {
    enum { ORDER_MAP, ORDER_UNMAP, ORDER_PROTECT } kind;
    vaddr_t at;
    frame_t first;
    size_t pages;
    unsigned prot;
};

/* A page that is mapped, in a hash table by address. */
struct entry {
    vaddr_t at; /* 0: the place is empty, 1: it was deleted */
    frame_t frame;
    unsigned prot;
};

struct host_space {
    struct host_space *next;
    void *owner;
    bool supervisor, destroyed, hold_reports;
    struct order *orders;
    size_t order_count, order_room, executed, commits;
    host_ticket_t reported;
    struct entry *entries;
    size_t entry_room, entry_used, pages, mappings;
};

static struct {
    frame_t frames;
    uint8_t *bytes;
    uint32_t *uses; /* per frame: mappings, and orders not yet executed that map it */
    size_t mappings_max, touched, released;
    struct host_space *spaces;
} fake;

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "fake memory: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

void fake_memory_start(frame_t frames)
{
    fake.frames = frames;
    fake.mappings_max = 60000;
    fake.touched = fake.released = 0;
    fake.spaces = NULL;
    fake.bytes = mmap(NULL, (size_t)frames * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fake.uses = calloc(frames, sizeof *fake.uses);
    if (fake.bytes == MAP_FAILED || fake.uses == NULL)
        broken("no memory for %u frames", frames);
}

void fake_memory_set_mappings_max(size_t most) { fake.mappings_max = most; }
frame_t host_frame_count(void) { return fake.frames; }
size_t host_space_mappings_max(void) { return fake.mappings_max; }
size_t fake_frames_touched(void) { return fake.touched; }
size_t fake_frames_released(void) { return fake.released; }

void *host_frame_address(frame_t frame)
{
    if (frame >= fake.frames)
        broken("there is no frame %u", frame);
    return fake.bytes + (size_t)frame * PAGE_SIZE;
}

static void frames_check(frame_t first, size_t count, const char *what)
{
    if (first >= fake.frames || count > fake.frames - first)
        broken("%s: no frames %u..%zu", what, first, first + count);
}

void fake_memory_frames_freed(frame_t first, size_t count)
{
    frames_check(first, count, "freed");
    for (size_t i = 0; i < count; i++) {
        if (fake.uses[first + i] != 0)
            broken("frame %zu is freed while %u mappings show it", first + i, fake.uses[first + i]);
    }
}

void host_frames_release(frame_t first, size_t count)
{
    fake_memory_frames_freed(first, count);
    memset(host_frame_address(first), 0, count * PAGE_SIZE);
    fake.released += count;
}

void host_frames_touch(frame_t first, size_t count)
{
    frames_check(first, count, "touched");
    fake.touched += count;
}

/* --- the table of a space --- */

static struct entry *entry_place(const struct host_space *space, vaddr_t at)
{
    struct entry *deleted = NULL;
    for (size_t i = (at >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 20;; i++) {
        struct entry *entry = &space->entries[i & (space->entry_room - 1)];
        if (entry->at == at)
            return entry;
        if (entry->at == 1 && deleted == NULL)
            deleted = entry;
        if (entry->at == 0)
            return deleted != NULL ? deleted : entry;
    }
}

static struct entry *entry_find(const struct host_space *space, vaddr_t at)
{
    if (space->entry_room == 0)
        return NULL;
    struct entry *entry = entry_place(space, at);
    return entry->at == at ? entry : NULL;
}

static void entries_grow(struct host_space *space)
{
    struct host_space larger = *space;
    larger.entry_room = space->entry_room == 0 ? 1024 : space->pages * 8 < space->entry_room ? space->entry_room : space->entry_room * 2;
    larger.entries = calloc(larger.entry_room, sizeof *larger.entries);
    larger.entry_used = 0;
    for (size_t i = 0; i < space->entry_room; i++) {
        if (space->entries[i].at > 1) {
            *entry_place(&larger, space->entries[i].at) = space->entries[i];
            larger.entry_used++;
        }
    }
    free(space->entries);
    *space = larger;
}

/* Does a mapping of the host begin at <at>? */
static bool mapping_begins(const struct host_space *space, vaddr_t at)
{
    struct entry *entry = entry_find(space, at), *before = entry_find(space, at - PAGE_SIZE);
    return entry != NULL && (before == NULL || before->prot != entry->prot || before->frame + 1 != entry->frame);
}

static void page_set(struct host_space *space, vaddr_t at, frame_t frame, unsigned prot)
{
    size_t begins = mapping_begins(space, at) + mapping_begins(space, at + PAGE_SIZE);
    if ((space->entry_used + 1) * 4 > space->entry_room * 3)
        entries_grow(space);
    struct entry *entry = entry_place(space, at);
    if (entry->at == at) {
        fake.uses[entry->frame]--;
        space->pages--;
    }
    if (prot == 0) {
        if (entry->at == at)
            entry->at = 1;
    } else {
        space->entry_used += entry->at == 0;
        *entry = (struct entry){at, frame, prot};
        fake.uses[frame]++;
        space->pages++;
    }
    space->mappings += mapping_begins(space, at) + mapping_begins(space, at + PAGE_SIZE) - begins;
}

static void pages_unmap(struct host_space *space, vaddr_t at, size_t pages)
{
    if (pages < space->entry_room) {
        for (size_t i = 0; i < pages; i++) {
            if (entry_find(space, at + i * PAGE_SIZE) != NULL)
                page_set(space, at + i * PAGE_SIZE, 0, 0);
        }
        return;
    }
    for (size_t i = 0; i < space->entry_room; i++) {
        vaddr_t page = space->entries[i].at;
        if (page > 1 && page >= at && page - at < pages * PAGE_SIZE)
            page_set(space, page, 0, 0);
    }
}

static void order_execute(struct host_space *space, const struct order *order)
{
    if (order->kind == ORDER_UNMAP) {
        pages_unmap(space, order->at, order->pages);
        return;
    }
    for (size_t i = 0; i < order->pages; i++) {
        vaddr_t at = order->at + i * PAGE_SIZE;
        if (order->kind == ORDER_MAP) {
            page_set(space, at, order->first + i, order->prot);
            fake.uses[order->first + i]--;
        } else {
            struct entry *entry = entry_find(space, at);
            if (entry == NULL)
                broken("a hole at %lx is to be protected", at);
            page_set(space, at, entry->frame, order->prot);
        }
    }
    if (space->mappings > fake.mappings_max)
        broken("the space has %zu mappings, more than %zu", space->mappings, fake.mappings_max);
}

void fake_space_execute(struct host_space *space)
{
    while (space->executed < space->order_count)
        order_execute(space, &space->orders[space->executed++]);
    if (!space->hold_reports)
        space->reported = space->executed;
}

void fake_space_hold_reports(struct host_space *space, bool hold) { space->hold_reports = hold; }
void (*fake_space_destroyed_hook)(struct host_space *space);

struct host_space *fake_space_next_destroyed(void **ret_owner)
{
    struct host_space *space = fake.spaces;
    while (space != NULL && !space->destroyed)
        space = space->next;
    if (space != NULL)
        *ret_owner = space->owner;
    return space;
}

bool fake_space_is_destroyed(const struct host_space *space) { return space->destroyed; }

void *fake_space_access(struct host_space *space, vaddr_t address, bool write, bool exec)
{
    struct entry *entry = entry_find(space, address & ~(vaddr_t)(PAGE_SIZE - 1));
    unsigned needed = exec ? HOST_EXEC : write ? HOST_WRITE : HOST_READ;
    if (entry == NULL || !(entry->prot & needed))
        return NULL;
    return (uint8_t *)host_frame_address(entry->frame) + address % PAGE_SIZE;
}

frame_t fake_space_frame(const struct host_space *space, vaddr_t address)
{
    struct entry *entry = entry_find(space, address & ~(vaddr_t)(PAGE_SIZE - 1));
    return entry == NULL ? FRAME_NONE : entry->frame;
}

size_t fake_space_orders(const struct host_space *space) { return space->order_count; }
size_t fake_space_commits(const struct host_space *space) { return space->commits; }
size_t fake_space_pages(const struct host_space *space) { return space->pages; }
size_t fake_space_mappings(const struct host_space *space) { return space->mappings; }

/* --- host/space.h --- */

int host_space_create(struct host_space **ret_space, void *owner)
{
    struct host_space *space = calloc(1, sizeof *space);
    if (space == NULL)
        return K_ENOMEM;
    space->owner = owner;
    space->next = fake.spaces;
    fake.spaces = space;
    *ret_space = space;
    return K_OK;
}

int host_space_create_supervisor(struct host_space **ret_space, void *owner)
{
    int status = host_space_create(ret_space, owner);
    if (status == K_OK)
        (*ret_space)->supervisor = true;
    return status;
}

bool host_space_is_supervisor(const struct host_space *space) { return space->supervisor; }

void host_space_range(const struct host_space *space, vaddr_t *bottom, vaddr_t *top)
{
    *bottom = space->supervisor ? 0x100000000000 : K_USERBOTTOM;
    *top = space->supervisor ? 0x110000000000 : K_USERTOP;
}

void host_space_destroy(struct host_space *space)
{
    if (space->destroyed)
        broken("a space is destroyed twice");
    space->destroyed = true;
    if (fake_space_destroyed_hook != NULL)
        fake_space_destroyed_hook(space);
}

void fake_space_die(struct host_space *space)
{
    for (struct host_space **place = &fake.spaces; *place != NULL; place = &(*place)->next) {
        if (*place == space) {
            *place = space->next;
            break;
        }
    }
    for (size_t i = 0; i < space->entry_room; i++) {
        if (space->entries[i].at > 1)
            fake.uses[space->entries[i].frame]--;
    }
    for (size_t i = space->executed; i < space->order_count; i++) {
        for (size_t page = 0; space->orders[i].kind == ORDER_MAP && page < space->orders[i].pages; page++)
            fake.uses[space->orders[i].first + page]--;
    }
    free(space->entries);
    free(space->orders);
    free(space);
}

void fake_memory_expect_no_space(void)
{
    if (fake.spaces != NULL)
        broken("a space is left over");
}

static void order_add(struct host_space *space, struct order order)
{
    vaddr_t bottom, top;
    host_space_range(space, &bottom, &top);
    if (space->destroyed)
        broken("an order for a space that was destroyed");
    if (order.at % PAGE_SIZE != 0 || order.pages == 0 || order.at < bottom || order.at >= top ||
        order.pages > (top - order.at) / PAGE_SIZE)
        broken("an order outside of the space: %lx, %zu pages", order.at, order.pages);
    if (space->order_count == space->order_room) {
        space->order_room = space->order_room == 0 ? 256 : space->order_room * 2;
        space->orders = realloc(space->orders, space->order_room * sizeof *space->orders);
        if (space->orders == NULL)
            broken("no memory for orders");
    }
    space->orders[space->order_count++] = order;
}

void host_space_map(struct host_space *space, vaddr_t at, frame_t first, size_t pages, unsigned prot)
{
    if (prot == 0) {
        host_space_unmap(space, at, pages);
        return;
    }
    frames_check(first, pages, "mapped");
    order_add(space, (struct order){ORDER_MAP, at, first, pages, prot});
    for (size_t i = 0; i < pages; i++)
        fake.uses[first + i]++;
    if (space->supervisor)
        fake_space_execute(space);
}

/* In a supervisor space at once, and no event tells of it. */
void host_space_unmap(struct host_space *space, vaddr_t at, size_t pages)
{
    order_add(space, (struct order){ORDER_UNMAP, at, 0, pages, 0});
    if (space->supervisor)
        fake_space_execute(space);
}

void host_space_protect(struct host_space *space, vaddr_t at, size_t pages, unsigned prot)
{
    if (prot == 0)
        broken("protection 0 at %lx: unmap it", at);
    order_add(space, (struct order){ORDER_PROTECT, at, 0, pages, prot});
    if (space->supervisor)
        fake_space_execute(space);
}

host_ticket_t host_space_commit(struct host_space *space)
{
    space->commits++;
    return space->order_count;
}

host_ticket_t host_space_ticket(const struct host_space *space) { return space->order_count; }
host_ticket_t host_space_reported(const struct host_space *space) { return space->reported; }
int host_space_pid(const struct host_space *space) { return space->destroyed ? 0 : 1; }

int host_space_answers(struct host_space *space, const uint32_t *numbers, const int64_t *values, size_t count)
{
    (void)space;
    (void)values;
    for (size_t i = 0; i < count && i < HOST_ANSWERS_MOST; i++)
        if (numbers[i] >= 128)
            return K_EINVAL;
    return count > HOST_ANSWERS_MOST ? K_EINVAL : K_OK;
}
