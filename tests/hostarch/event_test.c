/* Where the Nucleus waits, with nothing of the machine behind it: whatever never rests (mail, supervisor actors), nobody else waits for ever. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include "machine.h"

struct machine machine;

enum { MAIL = 1, SUPERVISOR, DEATH, POST };
static bool mail_never_rests, supervisors_never_rest;

/* The rest of the machine, as far as event.c calls it. */

bool cpu_poll(struct host_event *event)
{
    *event = (struct host_event){.kind = HOST_EVENT_TRAP, .code = MAIL};
    return mail_never_rests;
}

bool supervisor_ready(void) { return supervisors_never_rest; }

bool supervisor_poll(struct host_event *event)
{
    *event = (struct host_event){.kind = HOST_EVENT_TRAP, .code = SUPERVISOR};
    return supervisors_never_rest;
}

int64_t host_time(void)
{
    static int64_t now;
    return now += 1000;
}

int64_t cpu_watch(int64_t now, struct host_event *event, bool *ret_have)
{
    (void)now, (void)event;
    *ret_have = false;
    return INT64_MAX;
}

bool space_poll(struct host_event *event) { return (void)event, false; }
void reuse_poll(void) {}
void process_first_traps(void) {}
void process_handle_zygote(void) {}
void process_keep_spares(bool idle) { (void)idle; }
void liveness_audit(int64_t now) { (void)now; }
void liveness_empty_wake(struct process *process) { (void)process; }
void space_free(struct host_space *space) { (void)space; }
void host_panic(const char *format, ...)
{
    fprintf(stderr, "panic: %s\n", format);
    abort();
}

static void begin(void)
{
    list_init(&machine.batches);
    list_init(&machine.reused);
    mail_never_rests = supervisors_never_rest = false;
}

TestSuite(event, .init = begin, .timeout = 20);

static void posted(void *argument) { (void)argument; }

/* The next event: one of the four. */
static int next(void)
{
    struct host_event event;
    host_wait(&event, INT64_MAX);
    return event.kind == HOST_EVENT_FUNCTION ? POST : event.kind == HOST_EVENT_SPACE_DEAD ? DEATH : event.code;
}

/* How many events come before one of that kind, at most <most>. */
static int events_before(int kind, int most)
{
    for (int count = 0; count < most; count++)
        if (next() == kind)
            return count;
    return most;
}

Test(event, mail_that_never_rests_keeps_no_post_waiting)
{
    mail_never_rests = true;
    for (int i = 0; i < 100; i++)
        cr_assert_eq(next(), MAIL, "nothing else is there");
    for (int i = 0; i < 3; i++)
        host_post(posted, NULL);
    for (int i = 0; i < 3; i++)
        cr_assert_lt(events_before(POST, 100), 20, "post %d", i);
    cr_assert_eq(events_before(POST, 100), 100, "there were three");
}

Test(event, mail_that_never_rests_keeps_no_death_waiting)
{
    struct host_space space = {.owner = &space};
    mail_never_rests = true;
    event_queue_dead(&space, HOST_DEAD_KILLED);
    cr_assert_lt(events_before(DEATH, 100), 20);
}

Test(event, neither_do_mail_and_supervisor_actors_together)
{
    mail_never_rests = supervisors_never_rest = true;
    for (int i = 0; i < 5; i++) {
        host_post(posted, NULL);
        cr_assert_lt(events_before(POST, 100), 40);
    }
}

Test(event, mail_and_supervisor_actors_take_turns)
{
    mail_never_rests = supervisors_never_rest = true;
    int count[POST + 1] = {0};
    for (int i = 0; i < 1000; i++)
        count[next()]++;
    cr_assert(count[MAIL] >= 450 && count[SUPERVISOR] >= 450, "%d and %d", count[MAIL], count[SUPERVISOR]);
}

Test(event, a_post_goes_before_supervisor_actors_that_never_rest)
{
    supervisors_never_rest = true;
    cr_assert_eq(next(), SUPERVISOR);
    host_post(posted, NULL);
    cr_assert_eq(next(), POST);
    cr_assert_eq(next(), SUPERVISOR);
}
