/* Light actors: light.h. */
#include "light.h"

#include "actor.h"
#include "nucleus.h"
#include "sched.h"

static struct {
    int cpus;
    int64_t window; /* that <time> is of */
    KnTime time;    /* used by threads that went before their equals */
} light;

void light_init(int cpus)
{
    light.cpus = cpus;
    light.window = 0;
    light.time = 0;
}

static int64_t window_now(void)
{
    return nucleus_time() / SCHED_WINDOW;
}

KnTime light_used(const struct actor *actor)
{
    return actor->usage_window == window_now() ? actor->usage : 0;
}

bool light_is(const struct thread *thread)
{
    KnTime by_light = light.window == window_now() ? light.time : 0;
    return thread->sched.schedClass == K_SCHED_RR && light_used(thread->actor) < SCHED_LIGHT && by_light < SCHED_WINDOW / 10 * light.cpus;
}

void light_note(struct actor *actor, KnTime time, bool before_equals)
{
    int64_t window = window_now();
    actor->usage = light_used(actor) + time;
    actor->usage_window = window;
    if (!before_equals)
        return;
    if (light.window != window)
        light.time = 0;
    light.window = window;
    light.time += time;
}
