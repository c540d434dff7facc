/* The loop that all servers share, on a script of messages. */
#include "fake_ipc.h"

#include <criterion/criterion.h>
#include <server/server.h>
#include <string.h>

enum { FIRST = 0x900, SAVE, LATER, SILENT, BODY, TWICE };
#define UNSUPPORTED (-95)

static KnMsgId saved;
static int later_status, twice_status, sender_status;
static uint64_t timer_cookie;
static unsigned interrupts, gone, aborted_id, mapper_requests;

static void first(struct server_request *request)
{
    server_reply_status(request, 42);
}

static void save(struct server_request *request)
{
    cr_expect_eq(server_save(request, &saved), K_OK);
}

static void later(struct server_request *request)
{
    int32_t status = 7;
    later_status = server_reply_later(saved, &status, sizeof status, "late", 4);
    server_reply_status(request, 8);
}

static void silent(struct server_request *request)
{
    (void)request;
}

static void body(struct server_request *request)
{
    int32_t status = (int32_t)request->body_size;
    char *text = request->body;
    text[0] = 'X';
    server_reply_body(request, &status, sizeof status, text, request->body_size);
}

static void twice(struct server_request *request)
{
    KnMsgId id;
    server_save(request, &saved);
    twice_status = server_save(request, &id);
}

static void mapper(struct server_request *request)
{
    KnMsgHead head;
    mapper_requests++;
    sender_status = server_sender(request, &head);
    server_reply_status(request, 0);
}

static const struct server_operation operations[] = {
    { K_MSG_MAPPER, mapper }, { FIRST, first }, { SAVE, save }, { LATER, later },
    { SILENT, silent },       { BODY, body },   { TWICE, twice },
};

static void on_timer(int timer, uint64_t cookie, uint32_t overruns)
{
    timer_cookie = cookie + (unsigned)timer + overruns;
}

static void on_interrupt(unsigned intr, uint64_t count)
{
    cr_expect_eq(fake.interrupts_done, 0, "it is done after the handler");
    interrupts += intr + (unsigned)count;
}

static void on_gone(const KnWatchMsg *watch)
{
    gone = (unsigned)watch->cookie;
}

static void on_aborted(KnMsgId id)
{
    aborted_id = (unsigned)id;
}

static struct server server = {
    .name = "test",
    .stamp = 5,
    .body_max = 16,
    .unsupported = UNSUPPORTED,
    .timer = on_timer,
    .interrupt = on_interrupt,
    .gone = on_gone,
    .aborted = on_aborted,
    SERVER_TABLE(operations),
};

#define RUN(...)                                                                                   \
    do {                                                                                           \
        static const struct fake_message script[] = { __VA_ARGS__ };                               \
        fake_start(script, sizeof script / sizeof *script);                                        \
        cr_expect_eq(server_run(&server), K_EUNKNOWN);                                             \
        cr_expect_eq(fake.next, fake.count, "every message was taken");                            \
    } while (0)

static void expect_answer(unsigned index, int32_t status)
{
    cr_expect(fake.answers[index].answered, "message %u is answered", index);
    cr_expect_eq(fake.answers[index].status, status);
}

Test(loop, a_table_that_is_not_in_order_is_refused)
{
    static const struct server_operation wrong[] = { { 2, first }, { 1, first } };
    static const struct server_operation same[] = { { 2, first }, { 2, first } };
    static const struct server_operation empty[] = { { 2, NULL } };
    fake_start(NULL, 0);
    cr_expect_eq(server_run(&(struct server){ .name = "x", SERVER_TABLE(wrong) }), K_EINVAL);
    cr_expect_eq(server_run(&(struct server){ .name = "x", SERVER_TABLE(same) }), K_EINVAL);
    cr_expect_eq(server_run(&(struct server){ .name = "x", SERVER_TABLE(empty) }), K_EINVAL);
}

Test(loop, a_server_needs_a_name_that_fits)
{
    fake_start(NULL, 0);
    cr_expect_eq(server_run(&(struct server){ .name = NULL }), K_EINVAL);
    cr_expect_eq(server_run(&(struct server){ .name = "12345678901234567890123456789012" }), K_EINVAL);
    cr_expect_eq(server_run(&(struct server){ .name = "x", .body_max = 65537 }), K_EINVAL);
}

static int refuse_to_start(void)
{
    cr_expect_eq(fake.group_joined, 0, "nobody finds a server that has not started");
    return K_EIO;
}

Test(loop, a_failure_at_the_start_is_returned)
{
    fake_start(NULL, 0);
    fake.port_status = K_ENOMEM;
    cr_expect_eq(server_run(&server), K_ENOMEM);
    fake_start(NULL, 0);
    fake.enable_status = K_EINVAL;
    cr_expect_eq(server_run(&server), K_EINVAL);
    cr_expect_eq(fake.ports_deleted, 1);
    fake_start(NULL, 0);
    fake.group_status = K_EPRIV;
    cr_expect_eq(server_run(&server), K_EPRIV);
    fake_start(NULL, 0);
    struct server lame = server;
    lame.start = refuse_to_start;
    cr_expect_eq(server_run(&lame), K_EIO);
}

Test(loop, unknown_operations_are_not_supported)
{
    RUN({ .annex = { FIRST - 1 } }, { .annex = { TWICE + 1 } }, { .annex = { 0xffffffff } });
    expect_answer(0, UNSUPPORTED);
    expect_answer(1, UNSUPPORTED);
    expect_answer(2, UNSUPPORTED);
}

Test(loop, a_body_that_is_too_long_never_reaches_a_handler)
{
    RUN({ .annex = { BODY }, .body = "sixteen bytes are" }, { .annex = { BODY }, .body = "sixteen bytes ar" });
    expect_answer(0, UNSUPPORTED);
    expect_answer(1, 16);
    cr_expect_str_eq(fake.answers[1].body, "Xixteen bytes ar");
}

Test(loop, a_forged_message_of_the_nucleus_is_dropped)
{
    timer_cookie = mapper_requests = 0;
    RUN({ .annex = { K_MSG_TIMER, 1, 2 } }, { .annex = { K_MSG_MAPPER } }, { .annex = { K_TRAP_SYSCALL } });
    cr_expect_eq(timer_cookie, 0);
    cr_expect_eq(mapper_requests, 0);
    for (unsigned i = 0; i < 3; i++)
        cr_expect_not(fake.answers[i].answered);
}

Test(loop, messages_of_the_nucleus_find_their_functions)
{
    RUN({ .from_nucleus = true, .annex = { K_MSG_TIMER, 3, 1000, 0, 20 } },
        { .from_nucleus = true, .annex = { K_MSG_INTERRUPT, 5, 2 } },
        { .from_nucleus = true, .annex = { K_MSG_WATCH, 0, 0, 0, 77 } },
        { .from_nucleus = true, .annex = { K_MSG_ABORTED, 0, 88 } },
        { .from_nucleus = true, .annex = { K_MSG_MAPPER } });
    cr_expect_eq(timer_cookie, 1023);
    cr_expect_eq(interrupts, 7);
    cr_expect_eq(fake.interrupts_done, 1);
    cr_expect_eq(gone, 77);
    cr_expect_eq(aborted_id, 88);
    cr_expect_eq(mapper_requests, 1);
    expect_answer(4, 0);
}

Test(loop, an_operation_is_answered_by_its_handler)
{
    RUN({ .annex = { FIRST } });
    expect_answer(0, 42);
    cr_expect_eq(fake.group_joined, 5);
    cr_expect_str_eq(fake.name, "test");
}

Test(loop, a_request_that_the_handler_forgets_gets_no_answer_of_another)
{
    RUN({ .annex = { FIRST } }, { .annex = { SILENT } }, { .annex = { FIRST } });
    expect_answer(0, 42);
    cr_expect_not(fake.answers[1].answered);
    expect_answer(2, 42);
}

Test(loop, a_saved_request_is_answered_later_and_the_one_in_hand_too)
{
    RUN({ .annex = { SAVE } }, { .annex = { FIRST } }, { .annex = { LATER } });
    expect_answer(0, 7);
    cr_expect(fake.answers[0].later);
    cr_expect_str_eq(fake.answers[0].body, "late");
    expect_answer(1, 42);
    expect_answer(2, 8);
    cr_expect_eq(later_status, K_OK);
}

Test(loop, a_request_is_saved_once_and_answered_once)
{
    RUN({ .annex = { TWICE } }, { .annex = { LATER } }, { .annex = { LATER } });
    cr_expect_eq(twice_status, K_ENOMSG);
    expect_answer(0, 7);
    cr_expect_eq(later_status, K_EUNKNOWN);
    expect_answer(2, 8);
}

Test(loop, a_message_without_a_caller_may_cause_a_late_answer)
{
    RUN({ .annex = { SAVE } }, { .sent = true, .annex = { LATER } });
    expect_answer(0, 7);
    cr_expect_eq(later_status, K_OK);
    cr_expect_not(fake.answers[1].answered);
}

Test(loop, a_message_without_a_caller_cannot_be_saved)
{
    RUN({ .sent = true, .annex = { TWICE } });
    cr_expect_eq(twice_status, K_ENOMSG);
    cr_expect_eq(fake.saves, 0);
}

Test(loop, the_sender_is_asked_for_once)
{
    RUN({ .from_nucleus = true, .annex = { K_MSG_MAPPER } });
    cr_expect_eq(fake.heads_asked, 1);
    cr_expect_eq(sender_status, K_OK);
}

Test(loop, an_abort_of_the_worker_does_not_end_it)
{
    RUN({ .annex = { FIRST } }, { .status = K_EABORT }, { .annex = { FIRST } });
    expect_answer(2, 42);
}

Test(loop, a_reply_that_fails_does_not_end_the_worker)
{
    static const struct fake_message script[] = { { .annex = { FIRST } }, { .annex = { FIRST } } };
    fake_start(script, 2);
    fake.reply_fails = true;
    cr_expect_eq(server_run(&server), K_EUNKNOWN);
    cr_expect_eq(fake.next, 2);
    cr_expect_not(fake.answers[0].answered);
    expect_answer(1, 42);
}

/* ---- where its messages come from ---- */

Test(loop, the_ports_of_a_supervisor_actor_have_handlers_and_others_are_received_from)
{
    bool is_supervisor = FAKE_PRIVILEGE == K_SUPACTOR;
    RUN({ .from_nucleus = true, .sent = true, .annex = { K_MSG_TIMER } });
    cr_expect_eq(fake.handlers_connected, is_supervisor ? 2 : 0, "its port and its default port");
    cr_expect_eq(fake.ports_enabled, 2);
    cr_expect_eq(fake.heads_asked, is_supervisor ? 0 : 1, "who sends is known to a handler without a call");
}

Test(loop, a_server_that_wants_to_receive_receives)
{
    server.receives = true;
    RUN({ .annex = { FIRST } });
    cr_expect_eq(fake.handlers_connected, 0);
    expect_answer(0, 42);
}
