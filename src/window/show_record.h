/* What a site told (src/show_share.h), kept so that it can be played slowly: the last million events, each message with where it went. */
#ifndef WINDOW_SHOW_RECORD_H
#define WINDOW_SHOW_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../show_share.h"

#define RECORD_EVENTS 1048576u          /* a power of two */
#define RECORD_ACTORS 4096u

struct record_event {
    struct show_event event;
    /* SHOW_SENT: where and when it was received; to_actor 0: not (yet). */
    uint32_t to_actor, to_port;
    uint64_t to_time;
};

struct show_record;

/* Reads from `share`, which stays the caller's. NULL: no memory. */
struct show_record *show_record_create(const struct show_share *share);
void show_record_free(struct show_record *record);      /* NULL does nothing */

/* Take in what is new. */
void show_record_read(struct show_record *record);
/* Events are numbered from 0; those from first to next - 1 are here. */
uint64_t show_record_first(const struct show_record *record);
uint64_t show_record_next(const struct show_record *record);
const struct record_event *show_record_at(const struct show_record *record, uint64_t number);
/* How many the site overwrote before they were read. */
uint64_t show_record_lost(const struct show_record *record);
/* What an actor is called, "?" if that is not known. */
const char *show_record_name(const struct show_record *record, uint32_t actor);

#endif
