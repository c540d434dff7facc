/* Actors and their memory: regions, and the pages that were touched. */

#include "fake_world.h"

#include <criterion/criterion.h>

struct page {
    struct page *next;
    VmAddr address;
    uint8_t bytes[K_PAGESIZE];
};

struct region {
    struct region *next;
    VmAddr start;
    VmSize size;
    uint32_t options, opaque;
    KnCap segment;
    VmOffset offset;
};

struct fake_actor *fake_all_actors;
static uint32_t last_stamp;

struct fake_actor *fake_actor_of(const KnCap *cap)
{
    for (struct fake_actor *actor = fake_all_actors; actor != NULL; actor = actor->next)
        if (uiEqual(&actor->cap.ui, &cap->ui) && actor->cap.key == cap->key)
            return actor;
    return NULL;
}

static struct region *region_at(const struct fake_actor *actor, VmAddr address)
{
    for (struct region *region = actor->regions; region != NULL; region = region->next)
        if (address >= region->start && address - region->start < region->size)
            return region;
    return NULL;
}

static struct page *page_at(struct fake_actor *actor, VmAddr address, bool write)
{
    address &= ~(VmAddr)(K_PAGESIZE - 1);
    struct region *region = region_at(actor, address);
    if (region == NULL || !(region->options & (write ? K_WRITABLE : K_READABLE)))
        return NULL;
    for (struct page *page = actor->pages; page != NULL; page = page->next)
        if (page->address == address)
            return page;
    struct page *page = calloc(1, sizeof *page);
    page->address = address;
    page->next = actor->pages;
    actor->pages = page;
    if (!uiIsCleared(&region->segment.ui))
        sgRead(&region->segment, region->offset + address - region->start, page->bytes, K_PAGESIZE);
    return page;
}

int fake_copy_memory(struct fake_actor *actor, VmAddr at, uint8_t *host, VmSize size, bool write)
{
    while (size > 0) {
        VmSize part = K_PAGESIZE - at % K_PAGESIZE;
        part = part < size ? part : size;
        struct page *page = page_at(actor, at, write);
        if (page == NULL)
            return K_EFAULT;
        if (write)
            memcpy(page->bytes + at % K_PAGESIZE, host, part);
        else
            memcpy(host, page->bytes + at % K_PAGESIZE, part);
        at += part, host += part, size -= part;
    }
    return K_OK;
}

int vmCopy(const KnCap *source, VmAddr from, const KnCap *target, VmAddr to, VmSize size)
{
    struct fake_actor *actor = fake_actor_of(source != NULL ? source : target);
    if (actor == NULL)
        return K_EUNKNOWN;
    return source != NULL ? fake_copy_memory(actor, from, (uint8_t *)to, size, false)
                          : fake_copy_memory(actor, to, (uint8_t *)from, size, true);
}

int vmCopyString(const KnCap *source, VmAddr from, char *buffer, VmSize size)
{
    struct fake_actor *actor = fake_actor_of(source);
    for (VmSize i = 0; i < size; i++) {
        if (fake_copy_memory(actor, from + i, (uint8_t *)buffer + i, 1, false) != K_OK)
            return K_EFAULT;
        if (buffer[i] == '\0')
            return (int)i;
    }
    return K_ETOOMUCH;
}

/* Take [start, end) out of the regions; what is cut in the middle becomes two. */
static void free_range(struct fake_actor *actor, VmAddr start, VmAddr end)
{
    for (struct region **at = &actor->regions; *at != NULL;) {
        struct region *region = *at;
        VmAddr stop = region->start + region->size;
        if (region->start >= end || stop <= start) {
            at = &region->next;
            continue;
        }
        if (stop > end) {
            struct region *rest = malloc(sizeof *rest);
            *rest = *region;
            rest->start = end;
            rest->size = stop - end;
            rest->offset += end - region->start;
            rest->next = region->next;
            region->next = rest;
        }
        if (region->start < start) {
            region->size = start - region->start;
            at = &region->next;
        } else {
            *at = region->next;
            free(region);
        }
    }
    for (struct page **at = &actor->pages; *at != NULL;) {
        struct page *page = *at;
        if (page->address < start || page->address >= end) {
            at = &page->next;
            continue;
        }
        *at = page->next;
        free(page);
    }
}

static int make_region(const KnCap *cap, KnRgnDesc *desc, const KnObjDesc *object)
{
    struct fake_actor *actor = fake_actor_of(cap);
    VmSize size = (desc->size + K_PAGESIZE - 1) & ~(VmSize)(K_PAGESIZE - 1);
    if (actor == NULL || size == 0 || desc->startAddr % K_PAGESIZE != 0)
        return actor == NULL ? K_EUNKNOWN : K_EINVAL;
    if (desc->options & K_ANYWHERE) {
        VmAddr at = (desc->endAddr != 0 ? desc->endAddr : K_USERTOP) - size;
        for (struct region *r = actor->regions; r != NULL;) {
            if (r->start < at + size && at < r->start + r->size) {
                at = r->start - size;
                r = actor->regions;
            } else {
                r = r->next;
            }
        }
        desc->startAddr = at;
    }
    if (desc->startAddr < K_USERBOTTOM || desc->startAddr + size > K_USERTOP)
        return K_ESPACE;
    if (desc->options & K_OVERWRITE)
        free_range(actor, desc->startAddr, desc->startAddr + size);
    for (struct region *r = actor->regions; r != NULL; r = r->next)
        if (r->start < desc->startAddr + size && desc->startAddr < r->start + r->size)
            return K_EOVERLAP;
    struct region *region = calloc(1, sizeof *region);
    region->start = desc->startAddr;
    region->size = size;
    region->options = desc->options & 0x7ff;
    region->opaque = desc->opaque;
    if (object != NULL) {
        region->segment = object->dataObject;
        region->offset = object->offset;
    }
    region->next = actor->regions;
    actor->regions = region;
    return K_OK;
}

int rgnAllocate(const KnCap *cap, KnRgnDesc *rgn) { return make_region(cap, rgn, NULL); }
int rgnMap(const KnCap *cap, KnRgnDesc *rgn, const KnObjDesc *o) { return make_region(cap, rgn, o); }
int rgnInit(const KnCap *cap, KnRgnDesc *rgn, const KnObjDesc *o) { return make_region(cap, rgn, o); }

int rgnFree(const KnCap *cap, const KnRgnDesc *rgn)
{
    struct fake_actor *actor = fake_actor_of(cap);
    if (actor == NULL)
        return K_EUNKNOWN;
    free_range(actor, rgn->startAddr, rgn->startAddr + rgn->size);
    return K_OK;
}

int rgnDup(const KnCap *target, const KnCap *source, unsigned flags)
{
    struct fake_actor *to = fake_actor_of(target), *from = fake_actor_of(source);
    (void)flags;
    for (struct region *region = from->regions; region != NULL; region = region->next) {
        struct region *copy = malloc(sizeof *copy);
        *copy = *region;
        copy->next = to->regions;
        to->regions = copy;
    }
    for (struct page *page = from->pages; page != NULL; page = page->next) {
        struct page *copy = malloc(sizeof *copy);
        *copy = *page;
        copy->next = to->pages;
        to->pages = copy;
    }
    return K_OK;
}

int rgnSetProtect(const KnCap *cap, const KnRgnDesc *rgn)
{
    struct fake_actor *actor = fake_actor_of(cap);
    for (VmAddr at = rgn->startAddr; at < rgn->startAddr + rgn->size; at += K_PAGESIZE) {
        struct region *region = region_at(actor, at);
        if (region == NULL)
            return K_EFAULT;
        region->options = (region->options & ~7u) | (rgn->options & 7u);
    }
    return K_OK;
}

int rgnMove(const KnCap *cap, KnRgnDesc *rgn, VmAddr source, VmSize oldsize)
{
    (void)cap, (void)rgn, (void)source, (void)oldsize;
    return K_ESPACE;
}

int rgnStat(const KnCap *cap, VmAddr addr, KnRgnStat *stat)
{
    struct fake_actor *actor = fake_actor_of(cap);
    struct region *best = NULL;
    for (struct region *r = actor->regions; r != NULL; r = r->next)
        if (r->start + r->size > addr && (best == NULL || r->start < best->start))
            best = r;
    if (best == NULL)
        return K_EUNKNOWN;
    *stat = (KnRgnStat){ .startAddr = best->start, .size = best->size, .options = best->options,
                         .opaque = best->opaque, .dataObject = best->segment,
                         .offset = best->offset };
    return K_OK;
}

int vmAdvise(const KnCap *cap, VmAddr addr, VmSize size, unsigned advice)
{
    (void)cap, (void)addr, (void)size, (void)advice;
    return K_OK;
}

int vmStat(const KnCap *cap, KnVmStat *stat)
{
    (void)cap;
    memset(stat, 0, sizeof *stat);
    return K_OK;
}

int actorCreate(const KnCap *init, KnCap *cap, int priv, int status)
{
    struct fake_actor *actor = calloc(1, sizeof *actor);
    (void)init, (void)priv, (void)status;
    uiBuild(&actor->cap.ui, K_UIACTOR, 0, ++last_stamp);
    actor->cap.key = last_stamp * 77;
    actor->next = fake_all_actors;
    fake_all_actors = actor;
    *cap = actor->cap;
    return K_OK;
}

int actorDelete(const KnCap *cap)
{
    for (struct fake_actor **at = &fake_all_actors; *at != NULL; at = &(*at)->next) {
        struct fake_actor *actor = *at;
        if (!uiEqual(&actor->cap.ui, &cap->ui))
            continue;
        for (struct fake_thread *t = fake_all_threads; t != NULL; t = t->next)
            if (t->actor == actor)
                t->where = FAKE_GONE, t->saved = 0, t->actor = NULL;
        free_range(actor, 0, UINT64_MAX);
        *at = actor->next;
        free(actor);
        return K_OK;
    }
    return K_EUNKNOWN;
}

int actorName(const KnCap *cap, char *old, const char *new_)
{
    (void)cap, (void)old, (void)new_;
    return K_OK;
}

int actorAnswers(const KnCap *cap, const KnAnswerSet *answers)
{
    (void)cap;
    return answers->count > K_ANSWERS_MOST ? K_EINVAL : K_OK;
}

int actorTrapConnect(const KnCap *cap, const KnTrapConnect *connect)
{
    (void)connect;
    return fake_actor_of(cap) == NULL ? K_EUNKNOWN : K_OK;
}

int actorWatch(const KnUniqueId *ui, int portli, uint64_t cookie)
{
    (void)ui, (void)portli, (void)cookie;
    return K_OK;
}
