/* om hands over to another om, which goes on with the same files: see docs/replace.md.
 *
 * What is on a disk stays there: the old one brings its file systems to rest (everything committed and
 * at home, the journal empty), and the new one opens them as they are. What lives in memory alone
 * goes along: who holds which file, the sizes of files whose data the Nucleus still has, the caches of
 * the Nucleus, mounts, and all of a tmpfs.
 *
 * The old one keeps everything, and the new one writes nothing new to a disk until it has taken over;
 * so the old one can go on as if nothing had happened.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "om.h"
#include "state.h"

void state_put(struct om_state *state, const void *bytes, size_t size)
{
    if (size > state->room - state->size) {
        size_t room = state->room * 2 > state->size + size ? state->room * 2 : state->size + size + 4096;
        uint8_t *bigger = state->failed ? NULL : realloc(state->bytes, room);

        if (bigger == NULL) {
            state->failed = true;
            return;
        }
        state->bytes = bigger;
        state->room = room;
    }
    memcpy(state->bytes + state->size, bytes, size);
    state->size += size;
}

void state_get(struct om_state *state, void *bytes, size_t size)
{
    if (state->failed || size > state->room - state->size) {
        state->failed = true;
        memset(bytes, 0, size);
        return;
    }
    memcpy(bytes, state->bytes + state->size, size);
    state->size += size;
}

/* Writing ------------------------------------------------------------------------------ */

enum kind { KIND_END, KIND_EXT4, KIND_TMPFS, KIND_BLOCKS };

static void system_put(const struct fs *fs, struct om_state *state)
{
    uint8_t kind = fs->in_memory ? KIND_TMPFS : fs->number == BLOCKS_NUMBER ? KIND_BLOCKS : KIND_EXT4;

    STATE_PUT(state, kind);
    STATE_PUT(state, fs->number);
    STATE_PUT(state, fs->source);
    STATE_PUT(state, fs->read_only);
    if (kind == KIND_BLOCKS)
        blocks_hand_over((struct fs *)fs, state);
    else
        fs->operations->hand_over((struct fs *)fs, state);
}

static void segments_put(struct om *om, struct om_state *state)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < OM_SEGMENT_BUCKETS; i++)
        for (const struct om_segment *segment = om->segments[i]; segment != NULL; segment = segment->next)
            count++;
    STATE_PUT(state, count);
    for (unsigned i = 0; i < OM_SEGMENT_BUCKETS; i++)
        for (const struct om_segment *segment = om->segments[i]; segment != NULL; segment = segment->next)
            STATE_PUT(state, *segment);
}

int om_rest(struct om *om)
{
    int error = om->stopped ? -EBUSY : 0;

    lease_end(om);

    for (unsigned i = 0; i < OM_SYSTEMS_MAX && error == 0; i++) {
        struct fs *fs = om->systems[i];

        if (fs == NULL)
            continue;
        pthread_mutex_lock(&fs->lock);
        error = fs->operations->rest(fs);
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

/* The root comes first, and then its store: others need it. */
int om_hand_over(struct om *om, struct om_state *state)
{
    const uint8_t end = KIND_END;
    uint8_t has_store = om->store != NULL;

    if (om->systems[1] == NULL)
        return -EBUSY;
    STATE_PUT(state, om->port);
    STATE_PUT(state, om->mapper_port);
    for (unsigned i = 0; i < OM_SYSTEMS_MAX; i++) {
        if (om->systems[i] == NULL)
            continue;
        system_put(om->systems[i], state);
        if (i != 1)
            continue;
        STATE_PUT(state, has_store);
        if (has_store)
            store_hand_over(om->store, state);
    }
    STATE_PUT(state, end);
    STATE_PUT(state, om->mounts);
    segments_put(om, state);
    return state->failed ? -ENOMEM : 0;
}

/* Reading ------------------------------------------------------------------------------ */

static int ext4_get(struct om *om, const char *source, bool read_only, struct om_state *state, struct fs **ret)
{
    struct blockdev *device = NULL;
    char why[256] = "";
    int error = blocks_device(om, source, &device);

    if (error == 0)
        error = ext4_take_over(device, read_only, om->cache_memory, state, ret, why, sizeof why);
    if (error != 0)
        fprintf(stderr, "%s cannot be taken over: %s\n", source, why);
    else
        (*ret)->device = device;
    return error;
}

static int blocks_get(struct om *om, struct om_state *state)
{
    struct fs *fs = blocks_new(om, om->world->disks != NULL ? om->world->disks(om->world) : 0);
    int error = fs == NULL ? -ENOMEM : blocks_take_over(fs, state);

    return error == 0 ? om_add(om, fs, BLOCKS_NUMBER) : error;
}

static int system_get(struct om *om, uint8_t kind, struct om_state *state)
{
    char source[FS_SOURCE_SIZE];
    uint32_t number;
    bool read_only;
    struct fs *fs = NULL;
    int error;

    STATE_GET(state, number);
    STATE_GET(state, source);
    STATE_GET(state, read_only);
    source[FS_SOURCE_SIZE - 1] = '\0';
    if (state->failed || number == 0 || number >= OM_SYSTEMS_MAX || om->systems[number] != NULL)
        return -EINVAL;
    if (kind == KIND_BLOCKS)
        return number == BLOCKS_NUMBER ? blocks_get(om, state) : -EINVAL;
    error = kind == KIND_EXT4 ? ext4_get(om, source, read_only, state, &fs)
                              : tmpfs_take_over(om->store, om->tmpfs_keep, state, &fs);
    if (error != 0)
        return error;
    memcpy(fs->source, source, sizeof source);
    fs->read_only = read_only;
    return om_add(om, fs, number);
}

static int store_get(struct om *om, struct om_state *state)
{
    uint8_t has_store;

    STATE_GET(state, has_store);
    if (has_store == 0)
        return 0;
    om->store = store_open(om->systems[1]);
    return om->store != NULL ? store_take_over(om->store, state) : -ENOMEM;
}

static int segments_get(struct om *om, struct om_state *state)
{
    uint64_t count;

    STATE_GET(state, count);
    for (uint64_t i = 0; i < count && !state->failed; i++) {
        struct om_segment *segment = malloc(sizeof *segment), **bucket;

        if (segment == NULL)
            return -ENOMEM;
        STATE_GET(state, *segment);
        bucket = om_segment_bucket(om, segment->key);
        segment->next = *bucket;
        *bucket = segment;
        om->lingering += segment->lingers;
    }
    return 0;
}

int om_take_over(struct om *om, struct om_state *state)
{
    bool is_root = true;
    uint8_t kind;
    int error = 0;

    STATE_GET(state, om->port);
    STATE_GET(state, om->mapper_port);
    for (STATE_GET(state, kind); kind != KIND_END && error == 0; STATE_GET(state, kind)) {
        error = kind > KIND_END && kind <= KIND_BLOCKS ? system_get(om, kind, state) : -EINVAL;
        if (error == 0 && is_root)
            error = om->systems[1] != NULL ? store_get(om, state) : -EINVAL;
        is_root = false;
    }
    if (error != 0)
        return error;
    STATE_GET(state, om->mounts);
    error = segments_get(om, state);
    return error == 0 && (state->failed || state->size != state->room || is_root) ? -EINVAL : error;
}
