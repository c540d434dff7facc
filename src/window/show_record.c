/* What a site told, kept: see show_record.h.
 *
 * Events are copied before it is asked whether they were still whole: what was overwritten meanwhile is dropped and counted. The two ends of a
 * message find each other by a table of message numbers, in which a newer message takes the place of an older one.
 */
#include "show_record.h"

#include <stdlib.h>
#include <string.h>

#define SENT_TABLE 65536u

struct show_record {
    const struct show_share *share;
    uint64_t read;                      /* of the site's events */
    uint64_t next;                      /* of ours */
    uint64_t lost;
    struct record_event *events;
    uint64_t sent[SENT_TABLE];          /* by message: number of our event, plus 1 */
    struct { uint32_t actor; char name[SHOW_NAME]; } names[RECORD_ACTORS];
};

static void name_learn(struct show_record *record, uint32_t actor)
{
    const struct show_actor *place = &record->share->actors[actor % SHOW_ACTORS];
    char name[SHOW_NAME];

    if (actor == 0 || atomic_load_explicit(&place->actor, memory_order_acquire) != actor)
        return;
    memcpy(name, place->name, sizeof name);
    name[SHOW_NAME - 1] = '\0';
    record->names[actor % RECORD_ACTORS].actor = actor;
    memcpy(record->names[actor % RECORD_ACTORS].name, name, sizeof name);
}

struct show_record *show_record_create(const struct show_share *share)
{
    struct show_record *record = calloc(1, sizeof *record);

    if (record == NULL || (record->events = calloc(RECORD_EVENTS, sizeof *record->events)) == NULL) {
        free(record);
        return NULL;
    }
    record->share = share;
    record->read = atomic_load_explicit(&share->head, memory_order_acquire);
    for (uint32_t i = 0; i < SHOW_ACTORS; i++)
        name_learn(record, share->actors[i].actor);
    return record;
}

void show_record_free(struct show_record *record)
{
    if (record != NULL)
        free(record->events);
    free(record);
}

const char *show_record_name(const struct show_record *record, uint32_t actor)
{
    return record->names[actor % RECORD_ACTORS].actor == actor ? record->names[actor % RECORD_ACTORS].name : "?";
}

const struct record_event *show_record_at(const struct show_record *record, uint64_t number)
{
    return &record->events[number % RECORD_EVENTS];
}

uint64_t show_record_first(const struct show_record *record)
{
    return record->next > RECORD_EVENTS ? record->next - RECORD_EVENTS : 0;
}

uint64_t show_record_next(const struct show_record *record)
{
    return record->next;
}

uint64_t show_record_lost(const struct show_record *record)
{
    return record->lost;
}

/* A message arrived: tell its other end. */
static void message_match(struct show_record *record, const struct show_event *received)
{
    uint64_t sent = record->sent[received->number % SENT_TABLE];

    if (sent == 0 || sent - 1 < show_record_first(record))
        return;
    struct record_event *event = &record->events[(sent - 1) % RECORD_EVENTS];
    if (event->event.kind != SHOW_SENT || event->event.number != received->number || event->to_actor != 0)
        return;
    event->to_actor = received->actor;
    event->to_port = received->thread;
    event->to_time = received->time;
}

static void event_add(struct show_record *record, const struct show_event *event)
{
    record->events[record->next % RECORD_EVENTS] = (struct record_event){ .event = *event };
    if (event->kind == SHOW_SENT)
        record->sent[event->number % SENT_TABLE] = record->next + 1;
    record->next++;
    if (event->kind == SHOW_RECEIVED)
        message_match(record, event);
    name_learn(record, event->actor);
}

void show_record_read(struct show_record *record)
{
    static struct show_event piece[4096];
    uint64_t head = atomic_load_explicit(&record->share->head, memory_order_acquire);

    while (record->read < head) {
        uint64_t from = record->read, count = head - from < 4096 ? head - from : 4096;
        for (uint64_t i = 0; i < count; i++)
            memcpy(&piece[i], &record->share->events[(from + i) % SHOW_EVENTS], sizeof *piece);
        atomic_thread_fence(memory_order_acquire);
        uint64_t now = atomic_load(&record->share->head), whole = now + 1 > SHOW_EVENTS ? now + 1 - SHOW_EVENTS : 0;
        uint64_t skip = whole > from ? whole - from : 0;
        record->lost += skip;
        for (uint64_t i = skip; i < count; i++)
            event_add(record, &piece[i]);
        record->read = skip > count ? from + skip : from + count;
    }
}
