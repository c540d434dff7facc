/* Blocks that were prepared ahead of growing files are taken back: every few seconds, and at once when a disk is full.
 *
 * The Nucleus writes where access was granted, and does not say how far it got. So a file's caches are recalled first: they
 * push out what was written, and ask again before they write more. Then everything behind the file's end is free.
 *
 * A recall waits for pushes, which other threads of om serve. Only a few may wait here at a time, so that these are left.
 */
#include <errno.h>

#include "om.h"

#define AT_ONCE     64
#define TURNS_MAX   64
#define WAITING_MAX 3

static void settle_file(struct om *om, uint32_t number, fs_id id)
{
    struct fs *fs;

    if (om_segment_recall(om, OM_KEY(number, id)) != 0)
        return;
    pthread_rwlock_rdlock(&om->lock);
    fs = om->systems[number];
    if (fs != NULL && fs->operations->settle_recalled != NULL) {
        pthread_mutex_lock(&fs->lock);
        if (fs->operations->begin(fs) == 0)
            fs->operations->settle_recalled(fs, id);
        pthread_mutex_unlock(&fs->lock);
    }
    pthread_rwlock_unlock(&om->lock);
}

/* Some files of one system. */
static size_t unsettled_find(struct om *om, uint32_t number, fs_id *ids)
{
    struct fs *fs;
    size_t count = 0;

    pthread_rwlock_rdlock(&om->lock);
    fs = om->systems[number];
    if (fs != NULL && fs->operations->unsettled != NULL) {
        pthread_mutex_lock(&fs->lock);
        count = fs->operations->unsettled(fs, ids, AT_ONCE);
        pthread_mutex_unlock(&fs->lock);
    }
    pthread_rwlock_unlock(&om->lock);
    return count;
}

/* Files that are written to all the time stay unsettled: they do not keep us here for ever. */
static bool settle_system(struct om *om, uint32_t number)
{
    fs_id ids[AT_ONCE];
    bool any = false;

    for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
        size_t count = unsettled_find(om, number, ids);

        for (size_t i = 0; i < count; i++)
            settle_file(om, number, ids[i]);
        any |= count > 0;
        if (count < AT_ONCE)
            break;
    }
    return any;
}

bool om_settle(struct om *om)
{
    bool any = false;

    pthread_mutex_lock(&om->settle_lock);
    for (uint32_t number = 1; number < OM_SYSTEMS_MAX; number++)
        any |= settle_system(om, number);
    pthread_mutex_unlock(&om->settle_lock);
    return any;
}

bool om_settle_for_room(struct om *om)
{
    bool again = false;

    if (atomic_fetch_add(&om->settle_waiting, 1) < WAITING_MAX) {
        again = pthread_mutex_trylock(&om->settle_lock) != 0;
        if (!again)
            pthread_mutex_unlock(&om->settle_lock);
        again |= om_settle(om);
    }
    atomic_fetch_sub(&om->settle_waiting, 1);
    return again;
}
