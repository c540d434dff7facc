/* The state of a site at a moment of its record: see show_model.h. */
#include "show_model.h"

#include <string.h>

struct model_actor *show_model_actor(struct show_model *model, uint32_t number)
{
    for (unsigned i = 0; i < MODEL_ACTORS && number != 0; i++)
        if (model->actors[i].number == number)
            return &model->actors[i];
    return NULL;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strncmp(name, *names, strlen(*names)) == 0 && strspn(name + strlen(*names), "0123456789") == strlen(name + strlen(*names)))
            return true;
    return false;
}

/* By name: what the site boots with is known, all else is a process or was loaded. */
static enum model_tier tier_of(uint32_t number, const char *name)
{
    static const char *const drivers[] = { "console", "disk", "net", "screen", "input", NULL };
    static const char *const servers[] = { "om", "pm", "dm", "sm", "share", "hello", "greeter", NULL };

    return number == 1 ? TIER_NUCLEUS : is_one_of(name, drivers) ? TIER_DRIVER : is_one_of(name, servers) ? TIER_SERVER : TIER_PROCESS;
}

/* The first place of the tier that nobody has who lives, or was killed a moment ago: that is to be seen. */
static unsigned place_find(const struct show_model *model, enum model_tier tier)
{
    for (unsigned place = 0;; place++) {
        bool taken = false;
        for (unsigned i = 0; i < MODEL_ACTORS; i++)
            taken |= model->actors[i].number != 0 && (!model->actors[i].gone || model->actors[i].killed) && model->actors[i].tier == tier && model->actors[i].place == place;
        if (!taken)
            return place;
    }
}

/* Its name as it is called now; whoever changes from one tier to another (a process that was called nothing yet) moves. */
static void name_take(struct show_model *model, struct model_actor *actor)
{
    const char *name = show_record_name(model->record, actor->number);
    if (strcmp(name, actor->name) == 0)
        return;
    memcpy(actor->name, name, strlen(name) + 1);
    enum model_tier tier = tier_of(actor->number, name);
    if (tier != actor->tier) {
        actor->tier = TIERS;
        actor->place = place_find(model, tier);
        actor->tier = tier;
    }
}

/* The actor, which is shown from now on if there is room. */
static struct model_actor *actor_meet(struct show_model *model, uint32_t number, uint64_t now)
{
    struct model_actor *actor = show_model_actor(model, number);

    if (number == 0)
        return NULL;
    for (unsigned i = 0; i < MODEL_ACTORS && actor == NULL; i++) {
        if (model->actors[i].number != 0)
            continue;
        actor = &model->actors[i];
        *actor = (struct model_actor){ .number = number, .tier = TIERS, .born = now };
    }
    if (actor != NULL)
        name_take(model, actor);
    return actor;
}

/* Who is there already does not count as born. */
void show_model_start(struct show_model *model, const struct show_record *record, const struct show_share *share)
{
    *model = (struct show_model){ .record = record, .share = share, .at = show_record_next(record) };
    for (uint32_t i = 0; i < SHOW_ACTORS; i++)
        actor_meet(model, share->actors[i].actor, 0);
}

static void run(struct show_model *model, const struct show_event *event)
{
    if (event->cpu >= MODEL_CPUS)
        return;
    uint64_t last = model->running[event->cpu];
    if (last != 0 && model->interval_count - (last - 1) < MODEL_INTERVALS)
        model->intervals[(last - 1) % MODEL_INTERVALS].to = event->time;
    model->running[event->cpu] = 0;
    if (event->actor == 0)
        return;
    model->intervals[model->interval_count % MODEL_INTERVALS] = (struct model_interval){ .from = event->time, .actor = event->actor, .cpu = event->cpu };
    model->running[event->cpu] = ++model->interval_count;
}

int show_model_cpu_of(const struct show_model *model, uint32_t number)
{
    for (int cpu = 0; cpu < MODEL_CPUS; cpu++) {
        uint64_t last = model->running[cpu];
        if (last != 0 && model->intervals[(last - 1) % MODEL_INTERVALS].actor == number)
            return cpu;
    }
    return -1;
}

/* A message that was received is shown from when it was sent; one that nobody has received yet is not. */
static void sent(struct show_model *model, const struct record_event *event)
{
    if (event->to_actor == 0)
        return;
    model->messages[model->message_count++ % MODEL_MESSAGES] = (struct model_message){
        .number = event->event.number, .sent = event->event.time, .received = event->to_time, .from = event->event.actor,
        .to = event->to_actor, .port = event->to_port };
    actor_meet(model, event->to_actor, event->event.time);
}

static void apply(struct show_model *model, const struct record_event *event)
{
    struct model_actor *actor = actor_meet(model, event->event.actor, event->event.time);

    switch (event->event.kind) {
    case SHOW_RUN: run(model, &event->event); break;
    case SHOW_SENT: sent(model, event); break;
    case SHOW_CALL: model->calls++; break;
    case SHOW_FAULT: model->faults++; break;
    default: break;
    }
    if (actor == NULL)
        return;
    actor->sent += event->event.kind == SHOW_SENT;
    actor->received += event->event.kind == SHOW_RECEIVED;
    actor->calls += event->event.kind == SHOW_CALL;
    if (event->event.kind == SHOW_FAULT) {
        actor->faults++;
        actor->last_fault = event->event.time;
    }
    if (event->event.kind == SHOW_GONE) {
        actor->gone = true;
        actor->killed = event->event.cpu != 0;
        actor->ended = event->event.time;
    }
}

/* Forget who is long gone; learn how much memory the others have, as far as we show the present. */
static void settle(struct show_model *model, uint64_t fade)
{
    for (unsigned i = 0; i < MODEL_ACTORS; i++) {
        struct model_actor *actor = &model->actors[i];
        if (actor->number == 0)
            continue;
        if (actor->gone && model->now - actor->ended > (actor->killed ? 3 * fade : fade)) {
            *actor = (struct model_actor){ 0 };
            continue;
        }
        const struct show_actor *place = &model->share->actors[actor->number % SHOW_ACTORS];
        if (atomic_load(&place->actor) == actor->number) {
            actor->memory = place->memory;
            actor->supervisor = place->supervisor != 0;
        }
        name_take(model, actor);
    }
}

/* What the record no longer has is skipped. */
static void catch_up(struct show_model *model)
{
    uint64_t first = show_record_first(model->record);

    if (model->at >= first)
        return;
    model->missed += first - model->at;
    model->at = first;
    memset(model->running, 0, sizeof model->running);
}

void show_model_advance(struct show_model *model, uint64_t moment, uint64_t fade)
{
    catch_up(model);
    while (model->at < show_record_next(model->record)) {
        const struct record_event *event = show_record_at(model->record, model->at);
        if (event->event.time > moment)
            break;
        apply(model, event);
        model->at++;
    }
    model->now = moment;
    settle(model, fade);
}

bool show_model_step(struct show_model *model, uint64_t fade)
{
    catch_up(model);
    for (uint64_t at = model->at; at < show_record_next(model->record); at++) {
        const struct record_event *event = show_record_at(model->record, at);
        if (event->event.kind != SHOW_SENT || event->to_actor == 0)
            continue;
        show_model_advance(model, event->event.time, fade);
        return true;
    }
    return false;
}
