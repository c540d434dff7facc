/* Caches of the site: see share_cache.h. */
#include "share_cache.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define TICK        20000000ll          /* ns: the host's clock of files may be so coarse, */
#define COARSE_TICK 2000000000ll        /* and on some file systems so, whose times are whole seconds */

/* ---- versions ---- */

/* Long enough ago that whatever is written now gets another time. */
static bool is_past(int64_t seconds, uint32_t nanoseconds)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = (now.tv_sec - seconds) * 1000000000ll + now.tv_nsec - nanoseconds;
    return age > (nanoseconds == 0 ? COARSE_TICK : TICK);
}

static struct version version_of(const struct file_attributes *attributes)
{
    return (struct version){ .size = attributes->size, .mtime = attributes->mtime, .mtime_nanoseconds = attributes->mtime_nanoseconds,
                             .ctime = attributes->ctime, .ctime_nanoseconds = attributes->ctime_nanoseconds,
                             .sure = is_past(attributes->mtime, attributes->mtime_nanoseconds) &&
                                     is_past(attributes->ctime, attributes->ctime_nanoseconds) };
}

static bool is_same(const struct version *one, const struct version *other)
{
    return one->size == other->size && one->mtime == other->mtime && one->mtime_nanoseconds == other->mtime_nanoseconds &&
           one->ctime == other->ctime && one->ctime_nanoseconds == other->ctime_nanoseconds;
}

/* False: the answer is full. */
static bool tell(const struct node *node, bool gone, struct share_changed *changed)
{
    if (changed->count + node->cache_count > SHARE_CHANGED_MAX)
        return false;
    for (unsigned i = 0; i < node->cache_count; i++, changed->count++) {
        changed->cache[changed->count].cache = node->caches[i];
        changed->cache[changed->count].key = node->key;
        changed->cache[changed->count].size = node->version.size;
        changed->cache[changed->count].gone = gone;
    }
    return true;
}

void cache_look(struct node *node, const struct file_attributes *attributes, bool pulls, struct share_changed *changed)
{
    struct version version = version_of(attributes);
    if (node->cache_count == 0 || ((pulls || node->version.sure) && is_same(&node->version, &version)))
        return;
    const struct version old = node->version;
    node->version = version;
    if (!tell(node, false, changed))
        node->version = old;            /* next time */
}

void cache_outdate(struct node *node) { node->version.sure = false; }

void cache_outdate_all(struct share *share)
{
    for (struct node *node = share->cached; node != NULL; node = node->next_cached)
        cache_outdate(node);
}

/* ---- the list ---- */

static int cache_find(const struct node *node, const struct file_node *cache)
{
    for (unsigned i = 0; i < node->cache_count; i++)
        if (node->caches[i].port == cache->port && node->caches[i].key == cache->key)
            return (int)i;
    return -1;
}

static void forget(struct share *share, struct node *node, unsigned index)
{
    struct node **place = &share->cached;
    memmove(&node->caches[index], &node->caches[index + 1], (NODE_CACHES - 1 - index) * sizeof *node->caches);
    node->cache_count--;
    node_let_go(node);
    while (node->cache_count == 0 && *place != NULL && *place != node)
        place = &(*place)->next_cached;
    if (node->cache_count == 0 && *place == node)
        *place = node->next_cached;
}

void cache_forget(struct share *share, struct node *node, const struct file_node *cache)
{
    int index = cache_find(node, cache);
    if (index >= 0)
        forget(share, node, (unsigned)index);
}

/* A file without a name that only caches hold. */
void cache_look_if_gone(struct share *share, struct node *node, struct share_changed *changed)
{
    struct seen seen;
    if (node->cache_count > 0 && node->opens == node->cache_count && seen_from(share, node->reads, &seen) == 0 && seen.attributes.links == 0)
        tell(node, true, changed);
}

static void look_for_gone(struct share *share, struct share_changed *changed)
{
    for (struct node *node = share->cached; node != NULL && changed->count < SHARE_CHANGED_MAX; node = node->next_cached)
        cache_look_if_gone(share, node, changed);
}

int cache_note(struct share *share, struct node *node, const struct file_node *cache, struct share_changed *changed)
{
    struct seen seen;
    if (cache_find(node, cache) >= 0)
        return 0;
    look_for_gone(share, changed);
    int error = node_hold(share, node, FILE_O_READ, false);
    if (error != 0)
        return error;
    error = seen_from(share, node->reads, &seen);
    if (error != 0 || !S_ISREG(seen.attributes.mode)) {
        node_let_go(node);
        return error != 0 ? error : -EINVAL;
    }
    if (node->cache_count == NODE_CACHES)
        forget(share, node, 0);
    if (node->cache_count == 0) {
        node->next_cached = share->cached;
        share->cached = node;
        node->version = version_of(&seen.attributes);
    }
    node->caches[node->cache_count++] = *cache;
    return 0;
}
