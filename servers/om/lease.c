/* Versions of nodes, and who is told of new ones: see lease.h. */
#include "lease.h"

#include <errno.h>
#include <string.h>

#include "om.h"

static uint16_t place_of(uint32_t system, uint32_t inode)
{
    uint64_t mixed = ((uint64_t)system << 32 | inode) * UINT64_C(0x9e3779b97f4a7c15);

    return (uint16_t)(1 + (mixed >> 40) % (FILE_VERSIONS - 1));
}

void leases_init(struct leases *leases)
{
    memset(leases, 0, sizeof *leases);
    pthread_mutex_init(&leases->lock, NULL);
}

/* Write places from `first` on to all who watch; who is not there any more is forgotten. */
static void versions_write(struct om *om, unsigned first, unsigned count)
{
    struct leases *leases = &om->leases;

    for (unsigned i = 0; i < LEASE_WATCHERS; i++) {
        struct lease_watcher *watcher = &leases->watchers[i];

        if (!watcher->is_there || om->world->tell(om->world, &watcher->watch, first, &leases->version[first], count))
            continue;
        watcher->is_there = false;
        leases->count--;
    }
}

static struct lease_watcher *watcher_place(struct leases *leases, const struct file_watch *watch)
{
    struct lease_watcher *place = NULL;

    for (unsigned i = 0; i < LEASE_WATCHERS; i++) {
        struct lease_watcher *watcher = &leases->watchers[i];

        if (watcher->is_there && memcmp(&watcher->watch, watch, sizeof *watch) == 0)
            return watcher;
        if (!watcher->is_there && place == NULL)
            place = watcher;
    }
    return place;
}

int lease_watch(struct om *om, const struct file_watch *watch)
{
    struct leases *leases = &om->leases;
    int error = -ENOSPC;

    if (om->world == NULL || om->world->tell == NULL)
        return -EOPNOTSUPP;
    pthread_mutex_lock(&leases->lock);
    struct lease_watcher *place = watcher_place(leases, watch);
    if (place != NULL) {
        leases->count += !place->is_there;
        *place = (struct lease_watcher){ .watch = *watch, .is_there = true };
        if (leases->version[0] == 0)
            leases->version[0] = 1;     /* who finds 0 there is not told */
        versions_write(om, 0, FILE_VERSIONS);
        error = place->is_there ? 0 : -EFAULT;
    }
    pthread_mutex_unlock(&leases->lock);
    return error;
}

void lease_change(struct om *om, uint32_t system, uint32_t inode)
{
    uint16_t place = place_of(system, inode);
    uint64_t bit = UINT64_C(1) << (place % 64);

    if (om == NULL || om->leases.count == 0)
        return;
    pthread_mutex_lock(&om->leases.lock);
    if ((om->leases.told[place / 64] & bit) != 0) {
        om->leases.told[place / 64] &= ~bit;
        om->leases.version[place]++;
        versions_write(om, place, 1);
    }
    pthread_mutex_unlock(&om->leases.lock);
}

void lease_change_all(struct om *om)
{
    struct leases *leases = &om->leases;

    pthread_mutex_lock(&leases->lock);
    if (leases->count != 0) {
        for (unsigned i = 1; i < FILE_VERSIONS; i++)
            leases->version[i]++;
        memset(leases->told, 0, sizeof leases->told);
        versions_write(om, 1, FILE_VERSIONS - 1);
    }
    pthread_mutex_unlock(&leases->lock);
}

void lease_end(struct om *om)
{
    struct leases *leases = &om->leases;

    pthread_mutex_lock(&leases->lock);
    leases->version[0] = 0;
    versions_write(om, 0, 1);
    memset(leases->watchers, 0, sizeof leases->watchers);
    memset(leases->told, 0, sizeof leases->told);
    leases->count = 0;
    pthread_mutex_unlock(&leases->lock);
}

void lease_look(struct lease_nodes *nodes, uint32_t system, uint32_t inode)
{
    if (nodes->count < LEASE_NODES)
        nodes->place[nodes->count] = place_of(system, inode);
    if (nodes->count <= LEASE_NODES)
        nodes->count++;
}

unsigned lease_tell(struct om *om, const struct lease_nodes *nodes, struct file_lease *ret)
{
    struct leases *leases = &om->leases;
    unsigned count = 0;

    if (leases->count == 0 || nodes->count > FILE_LEASES_MAX)
        return 0;
    pthread_mutex_lock(&leases->lock);
    for (; count < nodes->count; count++) {
        uint16_t place = nodes->place[count];

        leases->told[place / 64] |= UINT64_C(1) << (place % 64);
        ret[count] = (struct file_lease){ .place = place, .version = leases->version[place] };
    }
    pthread_mutex_unlock(&leases->lock);
    return count;
}
