/* The mapper's side: the Nucleus asks for the contents of our segments, and gives them back.
 *
 * Each local cache of the Nucleus holds its file from its first request to its release, so a file
 * without a name lives as long as it is mapped. When a file has lost its last name and its last
 * holder but an idle cache, the cache's pages are dropped and the file goes.
 *
 * A truncation and a PUSHOUT may cross. The Nucleus counts truncations (the ordinal): a PUSHOUT
 * with a smaller one than the last truncation's, or during a truncation, was sent before. Of such
 * a one only what lies before the file's end counts, and it does not make the file longer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "om.h"

#define SEGMENTS_AT_ONCE 8          /* caches of one segment: one, or two while one goes */

struct om_segment **om_segment_bucket(struct om *om, uint64_t key)
{
    return &om->segments[(key ^ key >> 24) % OM_SEGMENT_BUCKETS];
}

static bool lc_equal(const KnCap *one, const KnCap *other)
{
    return memcmp(one, other, sizeof *one) == 0;
}

static bool lc_is_cleared(const KnCap *lc)
{
    static const KnCap none;

    return lc_equal(lc, &none);
}

/* The entry of that cache, or the one of a temporary segment that waits for its cache. */
static struct om_segment *segment_find(struct om *om, uint64_t key, const KnCap *lc)
{
    struct om_segment *segment = *om_segment_bucket(om, key);

    while (segment != NULL && !(segment->key == key && (lc_equal(&segment->lc, lc) ||
                                                       lc_is_cleared(&segment->lc))))
        segment = segment->next;
    return segment;
}

static struct om_segment *segment_add(struct om *om, uint64_t key, const KnCap *lc)
{
    struct om_segment *segment = calloc(1, sizeof *segment);

    if (segment == NULL)
        return NULL;
    segment->key = key;
    segment->lc = *lc;
    segment->next = *om_segment_bucket(om, key);
    *om_segment_bucket(om, key) = segment;
    return segment;
}

static void segment_delete(struct om *om, struct om_segment *segment)
{
    struct om_segment **place = om_segment_bucket(om, segment->key);

    while (*place != segment)
        place = &(*place)->next;
    *place = segment->next;
    om->lingering -= segment->lingers;
    free(segment);
}

/* Note the cache; a new one holds the file. Lock of the file system held. */
static int segment_learn(struct om *om, struct fs *fs, const KnMpRequest *request)
{
    struct om_segment *segment;
    int error = 0;

    pthread_mutex_lock(&om->segments_lock);
    segment = segment_find(om, request->segKey, &request->lc);
    if (segment != NULL) {
        segment->lc = request->lc;
    } else {
        error = fs->operations->hold(fs, OM_KEY_ID(request->segKey));
        if (error == 0 && segment_add(om, request->segKey, &request->lc) == NULL) {
            fs->operations->release(fs, OM_KEY_ID(request->segKey));
            error = -ENOMEM;
        }
    }
    pthread_mutex_unlock(&om->segments_lock);
    return error;
}

static bool is_outdated(struct om *om, const KnMpRequest *request)
{
    const struct om_segment *segment;
    bool outdated;

    pthread_mutex_lock(&om->segments_lock);
    segment = segment_find(om, request->segKey, &request->lc);
    outdated = segment != NULL && (segment->cutting || request->ordinal < segment->ordinal);
    pthread_mutex_unlock(&om->segments_lock);
    return outdated;
}

/* Requests ------------------------------------------------------------------------ */

/* One request while it is served. */
struct mapping {
    struct om *om;
    const KnMpRequest *request;
    const void *body;
    size_t   body_size;
    KnMpReply *reply;
    void    *reply_body;
    size_t   room, used;
    struct fs *fs;
    fs_id    id;
};

static int size_reply(struct mapping *mapping)
{
    struct file_attributes attributes;
    int error = mapping->fs->operations->attributes(mapping->fs, mapping->id, &attributes);

    if (error == 0)
        mapping->reply->segSize = attributes.size;
    return error;
}

/* Pages were told of since we wanted so, or who was here before us; but not more of them than any disk takes at once. */
static bool pages_are_sound(const struct mapping *mapping)
{
    const struct fs_operations *operations = mapping->fs->operations;

    return operations->is_direct != NULL && operations->is_direct(mapping->fs, mapping->id) && mapping->request->size <= K_MP_DIRECT_MAX;
}

static int map_pull_pages(struct mapping *mapping)
{
    const KnMpRequest *request = mapping->request;
    size_t came = 0;
    int error = !pages_are_sound(mapping) ? -EINVAL
              : mapping->fs->operations->pull_pages(mapping->fs, mapping->id, request->offset, request->pages, (size_t)request->size, &came);

    mapping->reply->size = came;
    return error;
}

static int map_pull_in(struct mapping *mapping)
{
    if (mapping->request->pages != 0)
        return map_pull_pages(mapping);
    size_t length = mapping->request->size < mapping->room ? (size_t)mapping->request->size
                                                           : mapping->room;

    return mapping->fs->operations->pull(mapping->fs, mapping->id, mapping->request->offset,
                                         mapping->reply_body, length, &mapping->used);
}

static int map_push_out(struct mapping *mapping)
{
    const KnMpRequest *request = mapping->request;
    uint64_t size = request->segSize;
    size_t length = request->size < mapping->body_size ? (size_t)request->size : mapping->body_size;
    int error = 0;

    if (is_outdated(mapping->om, request)) {
        error = size_reply(mapping);
        if (mapping->reply->segSize < size)
            size = mapping->reply->segSize;
    }
    if (error == 0)
        error = mapping->fs->operations->begin(mapping->fs);
    if (error == 0 && request->pages != 0)
        error = !pages_are_sound(mapping) ? -EINVAL
              : mapping->fs->operations->push_pages(mapping->fs, mapping->id, request->offset, request->pages, (size_t)request->size, size,
                                                    size < request->segSize);
    else if (error == 0)
        error = mapping->fs->operations->push(mapping->fs, mapping->id, request->offset,
                                              mapping->body, length, size);
    return error == -ESTALE ? 0 : error;        /* the file has gone: nobody misses it */
}

static int map_get_access(struct mapping *mapping)
{
    const KnMpRequest *request = mapping->request;
    KnMpReply *reply = mapping->reply;
    uint64_t end = request->offset + request->size;
    int error = 0;

    if (end < request->offset)
        return -EINVAL;
    if (request->access == K_WRITABLE) {
        error = mapping->fs->operations->begin(mapping->fs);
        if (error == 0)
            error = mapping->fs->operations->prepare(mapping->fs, mapping->id, request->offset,
                                                     request->size, request->segSize, &end);
    }
    reply->access = request->access == 0 ? K_READABLE : request->access;
    reply->direct = request->access == 0 && mapping->fs->operations->is_direct != NULL && mapping->fs->operations->is_direct(mapping->fs, mapping->id);
    reply->offset = request->offset;
    reply->size = (end & ~(uint64_t)4095) - request->offset;
    return error != 0 ? error : size_reply(mapping);
}

static int diag_of(int error)
{
    switch (error) {
    case 0:
        return K_OK;
    case -ENOSPC:
        return K_ENOSPACE;
    case -ESTALE:
    case -ENOENT:
        return K_EUNKNOWN;
    case -EROFS:
        return K_EPROTECT;
    case -ENOMEM:
        return K_ENOMEM;
    case -EFBIG:
        return K_ETOOMUCH;
    case -EINVAL:
    case -EISDIR:
        return K_EINVAL;
    default:
        return K_EIO;
    }
}

static int serve(struct mapping *mapping)
{
    const KnMpRequest *request = mapping->request;
    int error = segment_learn(mapping->om, mapping->fs, request);

    if (error != 0)
        return request->op == K_MP_PUSHOUT && error == -ESTALE ? 0 : error;
    if (request->offset % 4096 != 0)
        return -EINVAL;
    switch (request->op) {
    case K_MP_PULLIN:
        return map_pull_in(mapping);
    case K_MP_PUSHOUT:
        return map_push_out(mapping);
    case K_MP_GETACCESS:
        return map_get_access(mapping);
    default:
        return -EINVAL;
    }
}

static int temporary_create(struct om *om, KnMpReply *reply)
{
    static const KnCap none;
    struct fs *fs = om->systems[1];
    fs_id id = 0;
    int error = fs == NULL ? -EIO : 0;

    if (error != 0)
        return error;
    pthread_mutex_lock(&fs->lock);
    error = fs->operations->begin(fs);
    if (error == 0)
        error = fs->operations->temporary(fs, &id);
    if (error == 0) {
        reply->segKey = OM_KEY(1, id);
        pthread_mutex_lock(&om->segments_lock);
        error = segment_add(om, reply->segKey, &none) != NULL ? 0 : -ENOMEM;
        pthread_mutex_unlock(&om->segments_lock);
        if (error != 0)
            fs->operations->release(fs, id);
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* The cache is gone, and with it its hold. */
static void cache_forget(struct om *om, uint64_t key, const KnCap *lc)
{
    struct fs *fs = om->systems[OM_KEY_SYSTEM(key)];
    struct om_segment *segment;
    bool known;

    if (fs == NULL)
        return;
    pthread_mutex_lock(&fs->lock);
    pthread_mutex_lock(&om->segments_lock);
    segment = segment_find(om, key, lc);
    known = segment != NULL;
    if (known)
        segment_delete(om, segment);
    pthread_mutex_unlock(&om->segments_lock);
    if (known) {
        fs->operations->settle(fs, OM_KEY_ID(key));
        fs->operations->release(fs, OM_KEY_ID(key));
    }
    pthread_mutex_unlock(&fs->lock);
}

static int serve_node(struct mapping *mapping)
{
    uint64_t key = mapping->request->segKey;
    int error;

    mapping->fs = mapping->om->systems[OM_KEY_SYSTEM(key)];
    mapping->id = OM_KEY_ID(key);
    if (mapping->fs == NULL)
        return mapping->om->stopped ? -EIO : -ESTALE;
    pthread_mutex_lock(&mapping->fs->lock);
    error = serve(mapping);
    pthread_mutex_unlock(&mapping->fs->lock);
    return error;
}

void om_map(struct om *om, const KnMpRequest *request, const void *body, size_t body_size,
            KnMpReply *reply, void *reply_body, size_t room, size_t *ret_size)
{
    struct mapping mapping = { .om = om, .request = request, .body = body, .body_size = body_size,
                               .reply = reply, .reply_body = reply_body, .room = room };
    int error = 0;

    memset(reply, 0, sizeof *reply);
    pthread_rwlock_rdlock(&om->lock);
    if (request->op == K_MP_CREATE)
        error = temporary_create(om, reply);
    else if (request->op == K_MP_RELEASE)
        cache_forget(om, request->segKey, &request->lc);
    else
        error = serve_node(&mapping);
    pthread_rwlock_unlock(&om->lock);
    if (error == -ENOSPC && om_settle_for_room(om)) {
        pthread_rwlock_rdlock(&om->lock);
        error = serve_node(&mapping);
        pthread_rwlock_unlock(&om->lock);
    }
    reply->diag = diag_of(error);
    reply->ordinal = request->ordinal;
    *ret_size = error == 0 ? mapping.used : 0;
}

/* Changes from our side -------------------------------------------------------------- */

/* The caches of a segment now. */
static unsigned caches_of(struct om *om, uint64_t key, KnCap *lcs)
{
    unsigned count = 0;

    pthread_mutex_lock(&om->segments_lock);
    for (struct om_segment *segment = *om_segment_bucket(om, key); segment != NULL; segment = segment->next)
        if (segment->key == key && !lc_is_cleared(&segment->lc) && count < SEGMENTS_AT_ONCE)
            lcs[count++] = segment->lc;
    pthread_mutex_unlock(&om->segments_lock);
    return count;
}

static void cutting_set(struct om *om, uint64_t key, bool cutting)
{
    pthread_mutex_lock(&om->segments_lock);
    for (struct om_segment *segment = *om_segment_bucket(om, key); segment != NULL; segment = segment->next)
        if (segment->key == key)
            segment->cutting = cutting;
    pthread_mutex_unlock(&om->segments_lock);
}

void om_cut_begin(struct om *om, uint64_t key)
{
    cutting_set(om, key, true);
}

void om_cut_end(struct om *om, uint64_t key, uint64_t size)
{
    KnCap lcs[SEGMENTS_AT_ONCE];
    unsigned count = size == UINT64_MAX ? 0 : caches_of(om, key, lcs);

    for (unsigned i = 0; i < count; i++) {
        int ordinal = om->world->truncate(om->world, &lcs[i], size);
        struct om_segment *segment;

        pthread_mutex_lock(&om->segments_lock);
        segment = segment_find(om, key, &lcs[i]);
        if (segment != NULL && ordinal > 0)
            segment->ordinal = (uint64_t)ordinal;
        pthread_mutex_unlock(&om->segments_lock);
    }
    cutting_set(om, key, false);
}

void om_segment_zero(struct om *om, uint64_t key, uint64_t offset, uint64_t length)
{
    KnCap lcs[SEGMENTS_AT_ONCE];
    unsigned count = caches_of(om, key, lcs);

    for (unsigned i = 0; i < count; i++)
        om->world->zero(om->world, &lcs[i], offset, length);
}

int om_segment_recall(struct om *om, uint64_t key)
{
    KnCap lcs[SEGMENTS_AT_ONCE];
    unsigned count = caches_of(om, key, lcs);
    int first = 0;

    for (unsigned i = 0; i < count; i++) {
        int error = om->world->recall(om->world, &lcs[i]);

        if (first == 0)
            first = error;
    }
    return first;
}

int om_segment_invalidate(struct om *om, uint64_t key)
{
    KnCap lcs[SEGMENTS_AT_ONCE];
    unsigned count = caches_of(om, key, lcs);
    int first = 0;

    for (unsigned i = 0; i < count; i++) {
        int error = om->world->invalidate(om->world, &lcs[i]);

        if (first == 0)
            first = error;
    }
    return first;
}

/* All caches of file systems on disks; the caller frees them. */
static KnCap *caches_on_disk(struct om *om, size_t *ret_count)
{
    size_t count = 0, room = 64;
    KnCap *lcs = malloc(room * sizeof *lcs);

    pthread_rwlock_rdlock(&om->lock);
    pthread_mutex_lock(&om->segments_lock);
    for (unsigned i = 0; i < OM_SEGMENT_BUCKETS && lcs != NULL; i++)
        for (struct om_segment *segment = om->segments[i]; segment != NULL; segment = segment->next) {
            const struct fs *fs = om->systems[OM_KEY_SYSTEM(segment->key)];
            KnCap *bigger = lcs;

            if (fs == NULL || fs->in_memory || lc_is_cleared(&segment->lc))
                continue;
            if (count == room)
                bigger = realloc(lcs, (room *= 2) * sizeof *lcs);
            if (bigger == NULL)
                free(lcs);
            lcs = bigger;
            if (lcs == NULL)
                break;
            lcs[count++] = segment->lc;
        }
    pthread_mutex_unlock(&om->segments_lock);
    pthread_rwlock_unlock(&om->lock);
    *ret_count = count;
    return lcs;
}

/* Some caches of one system, from bucket `*bucket` on. */
static unsigned caches_of_system(struct om *om, uint32_t number, unsigned *bucket, struct om_segment *ret, unsigned most)
{
    unsigned count = 0;

    pthread_mutex_lock(&om->segments_lock);
    for (; *bucket < OM_SEGMENT_BUCKETS && count == 0; ++*bucket)
        for (struct om_segment *segment = om->segments[*bucket]; segment != NULL && count < most; segment = segment->next)
            if (OM_KEY_SYSTEM(segment->key) == number && !lc_is_cleared(&segment->lc))
                ret[count++] = *segment;
    pthread_mutex_unlock(&om->segments_lock);
    return count;
}

/* Will nothing ever be written to it again? */
static bool is_lost(struct om *om, uint32_t number)
{
    pthread_rwlock_rdlock(&om->lock);
    struct fs *fs = om->systems[number];
    bool lost = false;

    if (fs != NULL) {
        pthread_mutex_lock(&fs->lock);
        lost = fs->operations->begin(fs) == -EROFS;
        pthread_mutex_unlock(&fs->lock);
    }
    pthread_rwlock_unlock(&om->lock);
    return lost;
}

/* What is left, since somebody has it mapped or open, or since it could not be written now, makes the system busy. */
int om_segments_drop(struct om *om, uint32_t number)
{
    struct om_segment found[64];
    unsigned bucket = 0, count;
    int first = 0;

    while ((count = caches_of_system(om, number, &bucket, found, 64)) != 0) {
        unsigned dropped = 0;

        for (unsigned i = 0; i < count; i++) {
            int error = om->world->flush(om->world, &found[i].lc);

            if (first == 0)
                first = error;
            if ((error != 0 && !is_lost(om, number)) || !om->world->drop(om->world, &found[i].lc))
                continue;
            pthread_rwlock_rdlock(&om->lock);
            cache_forget(om, found[i].key, &found[i].lc);
            pthread_rwlock_unlock(&om->lock);
            dropped++;
        }
        if (count == 64 && dropped != 0)
            bucket--;                   /* there may be more of them */
    }
    return first;
}

int om_segments_flush(struct om *om)
{
    size_t count = 0;
    KnCap *lcs = caches_on_disk(om, &count);
    int first = lcs == NULL ? -ENOMEM : 0;

    for (size_t i = 0; i < count && lcs != NULL; i++) {
        int error = om->world->flush(om->world, &lcs[i]);

        if (first == 0)
            first = error;
    }
    free(lcs);
    return first;
}

/* Files that nobody misses ------------------------------------------------------------ */

void om_segment_check(struct om *om, struct fs *fs, uint64_t key)
{
    struct file_attributes attributes;
    uint32_t caches = 0;

    if (fs->operations->attributes(fs, OM_KEY_ID(key), &attributes) != 0 || attributes.links != 0)
        return;
    pthread_mutex_lock(&om->segments_lock);
    for (struct om_segment *segment = *om_segment_bucket(om, key); segment != NULL; segment = segment->next)
        caches += segment->key == key;
    for (struct om_segment *segment = *om_segment_bucket(om, key);
         segment != NULL && caches == fs->operations->holds(fs, OM_KEY_ID(key));
         segment = segment->next)
        if (segment->key == key && !lc_is_cleared(&segment->lc) && !segment->lingers) {
            segment->lingers = true;
            om->lingering++;
        }
    pthread_mutex_unlock(&om->segments_lock);
}

/* Some segments that linger. */
static unsigned lingering_find(struct om *om, struct om_segment *ret, unsigned most)
{
    unsigned count = 0;

    pthread_mutex_lock(&om->segments_lock);
    for (unsigned i = 0; i < OM_SEGMENT_BUCKETS && count < most && om->lingering != 0; i++)
        for (struct om_segment *segment = om->segments[i]; segment != NULL && count < most;
             segment = segment->next)
            if (segment->lingers)
                ret[count++] = *segment;
    pthread_mutex_unlock(&om->segments_lock);
    return count;
}

bool om_linger_end(struct om *om)
{
    struct om_segment found[16];
    unsigned count = lingering_find(om, found, 16);

    for (unsigned i = 0; i < count; i++) {
        if (!om->world->drop(om->world, &found[i].lc))
            continue;
        pthread_rwlock_rdlock(&om->lock);
        cache_forget(om, found[i].key, &found[i].lc);
        pthread_rwlock_unlock(&om->lock);
    }
    return om->lingering != 0;
}
