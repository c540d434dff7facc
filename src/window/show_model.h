/* The state of a site at one moment of its record, as it is to be drawn: who is there, who runs where, which messages are on their way. It is moved
 * forward by the events, one by one; nothing is in it that was not told.
 */
#ifndef WINDOW_SHOW_MODEL_H
#define WINDOW_SHOW_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "show_record.h"

#define MODEL_ACTORS    96
#define MODEL_MESSAGES  16384
#define MODEL_INTERVALS 131072
#define MODEL_CPUS      32

enum model_tier { TIER_PROCESS, TIER_SERVER, TIER_DRIVER, TIER_NUCLEUS, TIERS };

struct model_actor {
    uint32_t number;            /* 0: this place is free */
    char name[SHOW_NAME];
    enum model_tier tier;
    unsigned place;             /* in its tier */
    bool supervisor, gone, killed;
    uint64_t born, ended;       /* times of the record */
    uint64_t last_fault;
    uint64_t sent, received, faults, calls;
    uint64_t memory;
};

struct model_message {
    uint64_t number, sent, received;
    uint32_t from, to, port;    /* from, to: actors */
};

struct model_interval {
    uint64_t from, to;          /* to 0: it lasts */
    uint32_t actor;
    uint16_t cpu;
};

struct show_model {
    const struct show_record *record;
    const struct show_share *share;
    uint64_t now;               /* the moment */
    uint64_t at;                /* the next event of the record */
    struct model_actor actors[MODEL_ACTORS];
    struct model_message messages[MODEL_MESSAGES];      /* a ring */
    uint64_t message_count;
    struct model_interval intervals[MODEL_INTERVALS];   /* a ring */
    uint64_t interval_count;
    uint64_t running[MODEL_CPUS];       /* number of the last interval of each CPU, plus 1 */
    uint64_t faults, calls, missed;     /* missed: events that the record no longer had */
};

void show_model_start(struct show_model *model, const struct show_record *record, const struct show_share *share);
/* Go on to that moment. `fade`: what ended so long ago (ns of the record) is forgotten. */
void show_model_advance(struct show_model *model, uint64_t moment, uint64_t fade);
/* Go on to the next message that was received; false: none is known. */
bool show_model_step(struct show_model *model, uint64_t fade);
struct model_actor *show_model_actor(struct show_model *model, uint32_t number);        /* NULL: not shown */
/* The CPU that the actor runs on, -1: none. */
int show_model_cpu_of(const struct show_model *model, uint32_t number);

#endif
