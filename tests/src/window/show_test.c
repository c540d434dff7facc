/* The live picture: what is kept of a site's events, and what is made of it. What is drawn was told. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "canvas.h"
#include "show_draw.h"
#include "show_model.h"
#include "show_record.h"

static struct show_share *share;
static struct show_record *record;
static struct show_model *model;

static void actor_name(uint32_t actor, const char *name)
{
    strcpy(share->actors[actor % SHOW_ACTORS].name, name);
    share->actors[actor % SHOW_ACTORS].actor = actor;
}

static void start(void)
{
    share = calloc(1, sizeof *share);
    model = calloc(1, sizeof *model);
    share->cpus = 2;
    actor_name(1, "Nucleus");
    actor_name(2, "om");
    actor_name(3, "disk0");
    record = show_record_create(share);
    show_model_start(model, record, share);
}

static void end(void)
{
    show_record_free(record);
    free(model);
    free(share);
}

TestSuite(show, .init = start, .fini = end, .timeout = 20);

static void happen(uint64_t time, enum show_kind kind, uint32_t actor, uint64_t number, uint32_t thread, unsigned cpu)
{
    uint64_t head = share->head;

    share->events[head % SHOW_EVENTS] = (struct show_event){ .time = time, .kind = (uint16_t)kind, .actor = actor, .number = number,
                                                             .thread = thread, .cpu = (uint16_t)cpu };
    share->head = head + 1;
}

static void advance(uint64_t moment)
{
    show_record_read(record);
    show_model_advance(model, moment, 1000);
}

Test(show, a_message_has_both_its_ends)
{
    happen(10, SHOW_SENT, 2, 77, 0, 0);
    happen(20, SHOW_RECEIVED, 3, 77, 5, 0);
    happen(30, SHOW_SENT, 2, 78, 0, 0);
    happen(40, SHOW_RECEIVED, 3, 99, 5, 0);
    advance(15);
    cr_assert_eq(model->message_count, 1u);
    const struct model_message *message = &model->messages[0];
    cr_expect(message->from == 2 && message->to == 3 && message->port == 5 && message->sent == 10 && message->received == 20);
    advance(50);
    cr_expect_eq(model->message_count, 1u, "one that nobody received, and one that nobody sent, are none");
    cr_expect(show_model_actor(model, 2)->sent == 2 && show_model_actor(model, 3)->received == 2);
}

Test(show, time_goes_no_further_than_it_is_told)
{
    for (uint64_t i = 1; i <= 100; i++)
        happen(i * 10, SHOW_FAULT, 2, i, 0, 0);
    advance(500);
    cr_expect_eq(model->faults, 50u);
    advance(505);
    cr_expect_eq(model->faults, 50u);
    advance(2000);
    cr_expect_eq(model->faults, 100u);
}

Test(show, a_step_goes_to_the_next_message)
{
    happen(10, SHOW_FAULT, 2, 1, 0, 0);
    happen(20, SHOW_SENT, 2, 5, 0, 0);
    happen(25, SHOW_RECEIVED, 3, 5, 0, 0);
    happen(30, SHOW_SENT, 3, 6, 0, 0);
    happen(35, SHOW_RECEIVED, 2, 6, 0, 0);
    show_record_read(record);
    cr_expect(show_model_step(model, 1000) && model->now == 20 && model->message_count == 1);
    cr_expect(show_model_step(model, 1000) && model->now == 30 && model->message_count == 2);
    cr_expect(!show_model_step(model, 1000) && model->now == 30);
}

Test(show, who_runs_where_is_known)
{
    happen(10, SHOW_RUN, 2, 0, 0, 1);
    happen(20, SHOW_RUN, 3, 0, 0, 1);
    happen(30, SHOW_RUN, 0, 0, 0, 1);
    happen(40, SHOW_RUN, 2, 0, 0, 60000);
    advance(15);
    cr_expect_eq(show_model_cpu_of(model, 2), 1);
    advance(25);
    cr_expect(show_model_cpu_of(model, 2) == -1 && show_model_cpu_of(model, 3) == 1);
    advance(50);
    cr_expect_eq(show_model_cpu_of(model, 3), -1);
    cr_expect(model->interval_count == 2 && model->intervals[0].from == 10 && model->intervals[0].to == 20);
}

Test(show, actors_come_and_go)
{
    actor_name(9, "ls");
    happen(10, SHOW_CALL, 9, 1, 0, 0);
    happen(20, SHOW_GONE, 9, 0, 0, 1);
    advance(15);
    cr_assert_not_null(show_model_actor(model, 9));
    cr_expect(strcmp(show_model_actor(model, 9)->name, "ls") == 0 && show_model_actor(model, 9)->tier == TIER_PROCESS);
    cr_expect(show_model_actor(model, 2)->tier == TIER_SERVER && show_model_actor(model, 3)->tier == TIER_DRIVER);
    advance(100);
    cr_expect(show_model_actor(model, 9)->gone && show_model_actor(model, 9)->killed);
    advance(2000);
    cr_expect_not_null(show_model_actor(model, 9), "who was killed is seen longer");
    advance(4000);
    cr_expect_null(show_model_actor(model, 9));
}

Test(show, what_was_overwritten_is_counted)
{
    for (uint64_t i = 0; i < SHOW_EVENTS + 1000; i++)
        happen(i, SHOW_FAULT, 2, i, 0, 0);
    advance(1u << 30);
    cr_expect_eq(show_record_lost(record), 1001u, "%lu", show_record_lost(record));
    cr_expect_eq(model->faults + show_record_lost(record), SHOW_EVENTS + 1000);
}

Test(show, a_record_that_is_full_forgets_the_oldest)
{
    for (uint64_t round = 0, time = 0; round < 40; round++) {
        for (uint64_t i = 0; i < 50000; i++)
            happen(++time, SHOW_FAULT, 2, i, 0, 0);
        show_record_read(record);
    }
    advance(1u << 30);
    cr_expect_eq(show_record_lost(record), 0u);
    cr_expect_eq(model->missed + model->faults, 40u * 50000u);
    cr_expect_gt(model->missed, 0u);
}

Test(show, many_actors_and_nonsense_are_drawn_without_harm)
{
    struct canvas canvas = { 0 };
    struct show_view view = { .slower = 1 };
    char problem[120];

    srand(3);
    cr_assert(canvas_resize(&canvas, 640, 360));
    cr_assert(show_view_fonts(&view, 360, problem, sizeof problem), "%s", problem);
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 500; i++) {
            uint32_t actor = (uint32_t)(rand() % 300);
            actor_name(actor == 0 ? 1 : actor, rand() % 2 ? "a process with a long n" : "pm");
            happen((uint64_t)(round * 500 + i) * 1000000u, (enum show_kind)(rand() % 8), actor, (uint64_t)(rand() % 100), (uint32_t)rand(), (unsigned)rand() % 70);
        }
        advance((uint64_t)round * 500000000u);
        view.picked = (uint32_t)(rand() % 300);
        show_draw(&view, model, &canvas);
    }
    show_hit(&view, 20, 40);
    canvas_free(&canvas);
    show_view_free(&view);
}

Test(show, an_actor_that_was_drawn_can_be_hit)
{
    struct canvas canvas = { 0 };
    struct show_view view = { .slower = 1 };
    char problem[120];
    uint32_t hit = 0;

    cr_assert(canvas_resize(&canvas, 640, 360) && show_view_fonts(&view, 360, problem, sizeof problem));
    advance(10);
    show_draw(&view, model, &canvas);
    for (unsigned i = 0; i < view.hits; i++)
        if (view.hit[i].actor == 2)
            hit = show_hit(&view, view.hit[i].box.left + 1, view.hit[i].box.top + 1);
    cr_expect_eq(hit, 2u);
    cr_expect_eq(show_hit(&view, -1, -1), 0u);
    canvas_free(&canvas);
    show_view_free(&view);
}
