/* Timers: see <etimer/chEtimer.h>. A timer has at most one message on the way; expiries that find
 * it unreceived are counted in it. */
#include "timer.h"

#include <chorus.h>
#include <stdlib.h>
#include <string.h>
#include "actor.h"
#include "call.h"
#include "deadline.h"
#include "message.h"
#include "nucleus.h"
#include "port.h"

/* Shorter periods could keep the Nucleus busy for ever; who is trusted is believed to know. */
#define PERIOD_LEAST         1000000
#define PERIOD_LEAST_TRUSTED 50000

struct timer {
    struct list of_actor;
    struct actor *actor;
    int li;
    KnUniqueId port;
    uint64_t cookie;
    KnTime period;
    int64_t next; /* expiry */
    struct deadline deadline;
    KnMsgId message; /* the last one sent */
    uint32_t overruns;
};

static size_t timers_alive;

size_t timer_count(void)
{
    return timers_alive;
}

static void write_annex(const struct timer *timer, struct message *message)
{
    KnTimerMsg annex = { .type = K_MSG_TIMER,
                         .timer = timer->li,
                         .cookie = timer->cookie,
                         .overruns = timer->overruns };
    memset(message->annex, 0, sizeof message->annex);
    memcpy(message->annex, &annex, sizeof annex);
}

static void timer_notify(struct timer *timer)
{
    struct message *message = message_find(timer->message);
    if (message != NULL && message->place == MESSAGE_QUEUED) {
        timer->overruns++;
        write_annex(timer, message);
        return;
    }
    struct port *port = port_find(&timer->port);
    message = port == NULL ? NULL : message_new();
    if (message == NULL) {
        timer->overruns++;
        return;
    }
    message->flags = K_HEAD_NUCLEUS;
    message->target = port->ui;
    message->has_annex = true;
    write_annex(timer, message);
    timer->overruns = 0;
    timer->message = message->id;
    port_deliver(port, message);
}

/* Expiries that passed while nobody looked are overruns of this one. */
static void timer_passed(struct deadline *deadline)
{
    struct timer *timer = LIST_OWNER(deadline, struct timer, deadline);
    int64_t now = nucleus_time();
    if (timer->period > 0) {
        int64_t missed = (now - timer->next) / timer->period;
        timer->overruns += (uint32_t)missed;
        timer->next += (missed + 1) * timer->period;
        deadline_set(&timer->deadline, timer->next);
    }
    timer_notify(timer);
}

static struct timer *timer_find(struct thread *thread)
{
    return id_table_find(&thread->actor->timer_ids, (int32_t)thread->call.arg[0]);
}

int64_t call_timerCreate(struct thread *thread)
{
    struct actor *actor = thread->actor;
    struct port *port = port_by_li(actor, (int32_t)thread->call.arg[0]);
    if (port == NULL)
        return K_EUNKNOWN;
    struct timer *timer = calloc(1, sizeof *timer);
    if (timer == NULL)
        return K_ENOMEM;
    int status = deadline_init(&timer->deadline, timer_passed);
    if (status != K_OK) {
        free(timer);
        return status;
    }
    timer->li = id_table_insert(&actor->timer_ids, timer);
    if (timer->li < 0) {
        status = timer->li;
        deadline_fini(&timer->deadline);
        free(timer);
        return status;
    }
    timer->actor = actor;
    timer->port = port->ui;
    timer->cookie = thread->call.arg[1];
    list_append(&actor->timers, &timer->of_actor);
    timers_alive++;
    return timer->li;
}

static int64_t plus(int64_t time, KnTime length)
{
    return length > INT64_MAX - time ? INT64_MAX : time + length;
}

int64_t call_timerSet(struct thread *thread)
{
    struct timer *timer = timer_find(thread);
    KnTime first = (KnTime)thread->call.arg[1], period = (KnTime)thread->call.arg[2];
    if (timer == NULL)
        return K_EUNKNOWN;
    if (first < 0 || period < 0)
        return K_EINVAL;
    int64_t now = nucleus_time();
    KnTimerStat old = { .period = timer->period, .overruns = timer->overruns };
    if (deadline_is_set(&timer->deadline))
        old.remaining = timer->next > now ? timer->next - now : 1;
    int status = call_out(thread, thread->call.arg[3], &old, sizeof old);
    if (status < 0)
        return status;
    KnTime least = call_is_trusted(thread) ? PERIOD_LEAST_TRUSTED : PERIOD_LEAST;
    timer->period = period > 0 && period < least ? least : period;
    timer->overruns = 0;
    timer->next = first == 0 ? INT64_MAX : plus(now, first);
    deadline_set(&timer->deadline, timer->next);
    return K_OK;
}

static void timer_free(struct timer *timer)
{
    struct message *message = message_find(timer->message);
    if (message != NULL && message->place == MESSAGE_QUEUED)
        message_free(message);
    deadline_fini(&timer->deadline);
    id_table_remove(&timer->actor->timer_ids, timer->li);
    list_remove(&timer->of_actor);
    timers_alive--;
    free(timer);
}

int64_t call_timerDelete(struct thread *thread)
{
    struct timer *timer = timer_find(thread);
    if (timer == NULL)
        return K_EUNKNOWN;
    timer_free(timer);
    return K_OK;
}

void timers_delete_all(struct actor *actor)
{
    while (!list_is_empty(&actor->timers))
        timer_free(LIST_OWNER(actor->timers.next, struct timer, of_actor));
}
