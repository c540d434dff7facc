/* A server is asked to hand over: on a script of messages to its default port. The successor is actor 7.8. */
#include "fake_ipc.h"

#include <criterion/criterion.h>
#include <server/handover.h>
#include <server/server.h>
#include <string.h>

enum { FIRST = 0x900 };
#define UNSUPPORTED (-95)

static int handed_over, resumed, status_of_it;

static void first(struct server_request *request)
{
    server_reply_status(request, 42);
}

static int hand_over(struct handover_state *state)
{
    handed_over++;
    handover_put(state, "state", 5);
    return status_of_it;
}

static void resume(void)
{
    resumed++;
}

static const struct server_operation operations[] = { { FIRST, first } };
static const struct server_handover handover = { .version = 3, .hand_over = hand_over, .resume = resume };
static struct server server = { .name = "test", .unsupported = UNSUPPORTED, .handover = &handover, SERVER_TABLE(operations) };

/* The annex of HANDOVER_BEGIN: protocol 1, successor 7.8 with a key, the server's name. */
#define NAME(name) (uint32_t)(name)[0] | (uint32_t)(name)[1] << 8 | (uint32_t)(name)[2] << 16 | (uint32_t)(name)[3] << 24
#define BEGIN(protocol, ui, name) .to_default_port = true, .annex = { HANDOVER_BEGIN, protocol, ui, 8, 11, 22, NAME(name) }
#define GOOD_BEGIN { .trusted = true, BEGIN(1, 7, "test") }
#define SIMPLE(operation) { .trusted = true, .to_default_port = true, .annex = { operation } }

static void run(const struct fake_message *script, unsigned count)
{
    handed_over = resumed = 0;
    fake_start(script, count);
    server_run(&server);
    cr_expect_eq(fake.next, count, "every message was taken");
}
#define RUN(...)                                                     \
    do {                                                             \
        static const struct fake_message script[] = { __VA_ARGS__ }; \
        run(script, sizeof script / sizeof *script);                 \
    } while (0)

static void expect_answer(unsigned index, int32_t status)
{
    cr_expect(fake.answers[index].answered, "message %u is answered", index);
    cr_expect_eq(fake.answers[index].status, status, "message %u: %d", index, fake.answers[index].status);
}

Test(handover, who_is_not_trusted_or_names_another_is_refused)
{
    RUN({ BEGIN(1, 7, "test") }, { .trusted = true, BEGIN(2, 7, "test") }, { .trusted = true, BEGIN(1, 6, "test") },
        { .trusted = true, BEGIN(1, 7, "tesT") }, { .annex = { FIRST } });
    expect_answer(0, K_EPRIV);
    expect_answer(1, K_EINVAL);
    expect_answer(2, K_EINVAL);
    expect_answer(3, K_EINVAL);
    expect_answer(4, 42);
    cr_expect_eq(handed_over, 0);
    cr_expect_eq(fake.ports_disabled, 0);
}

Test(handover, a_server_that_cannot_be_replaced_says_so)
{
    server.handover = NULL;
    RUN(GOOD_BEGIN, { .annex = { FIRST } });
    expect_answer(0, K_ENOSYS);
    expect_answer(1, 42);
}

Test(handover, without_a_beginning_there_is_no_end)
{
    RUN(SIMPLE(HANDOVER_COMMIT), SIMPLE(HANDOVER_CANCEL), SIMPLE(FIRST), { .annex = { FIRST } });
    expect_answer(0, K_EPRIV);
    expect_answer(1, K_EPRIV);
    expect_answer(2, UNSUPPORTED);
    expect_answer(3, 42);
    cr_expect_eq(fake.ports_moved, 0);
    cr_expect_not(fake.deleted);
}

Test(handover, the_default_port_serves_nothing_else_and_the_others_no_hand_over)
{
    RUN({ .trusted = true, .annex = { HANDOVER_BEGIN, 1, 7, 8, 11, 22, NAME("test") } }, { .to_default_port = true, .annex = { FIRST } });
    expect_answer(0, UNSUPPORTED);
    expect_answer(1, UNSUPPORTED);
    cr_expect_eq(handed_over, 0);
}

Test(handover, one_successor_at_a_time)
{
    RUN(GOOD_BEGIN, GOOD_BEGIN, SIMPLE(HANDOVER_CANCEL), GOOD_BEGIN);
    expect_answer(0, K_OK);
    expect_answer(1, K_EBUSY);
    expect_answer(2, K_OK);
    expect_answer(3, K_OK);
    cr_expect_eq(handed_over, 2);
    cr_expect_eq(resumed, 1);
}

Test(handover, a_server_that_fails_to_hand_over_goes_on)
{
    status_of_it = K_EIO;
    RUN(GOOD_BEGIN, { .annex = { FIRST } });
    expect_answer(0, K_EIO);
    expect_answer(1, 42);
    cr_expect_eq(resumed, 1);
    cr_expect_eq(fake.ports_disabled, 1);
}

Test(handover, a_successor_that_cancels_leaves_everything_as_it_was)
{
    RUN(GOOD_BEGIN, SIMPLE(HANDOVER_CANCEL), { .annex = { FIRST } });
    expect_answer(1, K_OK);
    expect_answer(2, 42);
    cr_expect_eq(resumed, 1);
}

#define WATCH(ui) .sent = true, .to_default_port = true, .annex = { K_MSG_WATCH, 0, ui, 8 }

Test(handover, a_forged_death_or_that_of_another_changes_nothing)
{
    RUN(GOOD_BEGIN, { WATCH(7) }, { .from_nucleus = true, WATCH(6) }, GOOD_BEGIN);
    expect_answer(3, K_EBUSY);
    cr_expect_eq(resumed, 0);
}

Test(handover, a_successor_that_dies_leaves_everything_as_it_was)
{
    RUN(GOOD_BEGIN, { .from_nucleus = true, WATCH(7) }, { .annex = { FIRST } });
    expect_answer(2, 42);
    cr_expect_eq(resumed, 1);
}

Test(handover, ports_go_to_the_successor_and_the_server_ends)
{
    RUN(GOOD_BEGIN, SIMPLE(HANDOVER_COMMIT));
    expect_answer(1, K_OK);
    cr_expect(fake.answers[1].later, "before it ends");
    struct handover_port moved;
    memcpy(&moved, fake.answers[1].body, sizeof moved);
    cr_expect_eq(moved.li, 11);
    cr_expect_eq(moved.priority, 128);
    cr_expect_eq(fake.ports_moved, 1);
    cr_expect(fake.deleted);
    cr_expect_eq(resumed, 0);
}

Test(handover, a_port_that_cannot_move_leaves_everything_as_it_was)
{
    static const struct fake_message script[] = { GOOD_BEGIN, SIMPLE(HANDOVER_COMMIT), { .annex = { FIRST } } };
    handed_over = resumed = 0;
    fake_start(script, 3);
    fake.migrate_status = K_ELIMIT;
    server_run(&server);
    expect_answer(1, K_ELIMIT);
    expect_answer(2, 42);
    cr_expect_eq(resumed, 1);
    cr_expect_not(fake.deleted);
}
