/* Message handlers: routines that run on lent threads, on their callers' CPUs. */
#include "site.h"

#include <string.h>
#include "handler.h"
#include "message.h"

TestSuite(handlers, .init = site_start, .fini = site_end);

#define ROUTINE 0x1234560
#define COOKIE  77

static struct actor *server;
static struct thread *client;
static KnUniqueId service;
static int service_li;

struct lender {
    struct thread *thread;
    uint64_t block, body;
};

static void put_at(struct actor *actor, uint64_t address, const void *bytes, size_t size)
{
    cr_assert_eq(vm_copy_out(NULL, actor, address, bytes, size), K_OK);
}

static KnHandlerBlock look(const struct lender *lender)
{
    KnHandlerBlock block;
    get(lender->thread->actor, lender->block, &block, sizeof block);
    return block;
}

static void say(const struct lender *lender, const KnHandlerBlock *block)
{
    put_at(lender->thread->actor, lender->block, block, sizeof *block);
}

/* A thread of the server that lends itself, with room for a body of 8192 bytes. */
static struct lender lender_new(void)
{
    struct lender lender = { .thread = thread_new(server) };
    lender.block = (room(server, 3 * PAGE_SIZE) + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    lender.body = room(server, 8192);
    say(&lender, &(KnHandlerBlock){ .bodyRoom = 8192, .body = (void *)lender.body });
    return lender;
}

static int64_t lend(const struct lender *lender)
{
    return DO(lender->thread, svHandlerWait, lender->block);
}

static int64_t connect_handler(struct thread *thread)
{
    return DO(thread, svMsgHandler, 0, (uint64_t)service_li, ROUTINE, 0, COOKIE);
}

/* A supervisor actor with a port and its handler, and a client. */
static struct lender start(void)
{
    server = actor_new(K_SUPACTOR);
    struct lender lender = lender_new();
    service = port_new(server, &service_li);
    cr_assert_eq(connect_handler(lender.thread), K_OK);
    cr_assert_eq(lend(&lender), K_BLOCKED);
    client = user_new();
    return lender;
}

static uint64_t reply_desc;

static int64_t ask_with(struct thread *thread, uint64_t word, const char *body, uint32_t size,
                        uint32_t flags, KnTime delay)
{
    reply_desc = message(thread->actor, 0, NULL, 4096, 0);
    return DO(thread, ipcCall, message(thread->actor, word, body, size, flags), 0,
              dest_to(thread->actor, &service, K_PORTMODE), reply_desc, (uint64_t)delay);
}

static int64_t ask(struct thread *thread, uint64_t word)
{
    return ask_with(thread, word, NULL, 0, 0, K_FOREVER);
}

static int64_t answer_with(const struct lender *lender, uint64_t word, const char *body,
                           uint32_t size)
{
    KnHandlerBlock block = look(lender);
    block.answered = 1;
    memcpy(block.replyAnnex, &word, sizeof word);
    block.reply = (KnMsgDesc){ .annexAddr = (void *)1, .bodySize = size };
    if (size > 0)
        block.reply.bodyAddr = (void *)put(lender->thread->actor, body, size);
    say(lender, &block);
    return lend(lender);
}

static int64_t answer(const struct lender *lender, uint64_t word)
{
    return answer_with(lender, word, NULL, 0);
}

static bool runs(const struct lender *lender)
{
    return fake_host_cpu_of(lender->thread) >= 0;
}

/* ---- bad input ---- */

Test(handlers, only_supervisor_actors_have_them)
{
    start();
    struct thread *user = user_new(), *system = thread_new(actor_new(K_SYSTEMACTOR));
    cr_assert_eq(DO(user, svMsgHandler, 0, 0, ROUTINE, 0, 0), K_EPRIV);
    cr_assert_eq(DO(system, svMsgHandler, 0, 0, ROUTINE, 0, 0), K_EPRIV);
    cr_assert_eq(DO(user, svHandlerWait, room(user->actor, 4096)), K_EPRIV);
    cr_assert_eq(DO(system, svHandlerWait, room(system->actor, 4096)), K_EPRIV);
    cr_assert_eq(DO(user, svGetInvoker, room(user->actor, sizeof(KnCap))), K_EPRIV);
    struct thread *other = thread_new(server);
    cr_assert_eq(DO(other, svMsgHandler, cap_of(user->actor, server), 0, ROUTINE, 0, 0), K_EINVAL);
    KnCap wrong = { user->actor->cap.ui, 1 };
    cr_assert_eq(DO(other, svMsgHandler, PUT(server, wrong), 0, ROUTINE, 0, 0), K_EUNKNOWN);
    cr_assert_eq(DO(other, svMsgHandler, 0, 99, ROUTINE, 0, 0), K_EUNKNOWN);
    cr_assert_eq(DO(other, svGetInvoker, room(server, sizeof(KnCap))), K_ENOMSG);
}

Test(handlers, a_bad_block_is_refused)
{
    server = actor_new(K_SUPACTOR);
    struct thread *thread = thread_new(server);
    uint64_t page = (room(server, 2 * PAGE_SIZE) + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    cr_assert_eq(DO(thread, svHandlerWait, 0), K_EINVAL);
    cr_assert_eq(DO(thread, svHandlerWait, page + 1), K_EINVAL);
    cr_assert_eq(DO(thread, svHandlerWait, page + PAGE_SIZE - 64), K_EFAULT, "across two pages");
    cr_assert_eq(DO(thread, svHandlerWait, 0x100000001000), K_EFAULT, "nothing is there");
}

Test(handlers, a_port_with_a_handler_is_neither_received_from_nor_migrated)
{
    struct lender lender = start();
    struct thread *thread = thread_new(server);
    struct actor *target = actor_new(K_SUPACTOR);
    cr_assert_eq(receive_by(thread, service_li, K_NODELAY, NULL), K_EINVAL);
    cr_assert_eq(DO(thread, portMigrate, K_MIGRATE_KEEP, 0, (uint64_t)service_li,
                    cap_of(target, server), room(server, 4)),
                 K_EINVAL);
    cr_assert_eq(connect_handler(thread), K_EBUSY, "it has one");
    cr_assert_eq(DO(thread, svMsgHandler, 0, (uint64_t)service_li, 0, 0, 0), K_OK);
    cr_assert_gt(DO(thread, portMigrate, K_MIGRATE_KEEP, 0, (uint64_t)service_li,
                    cap_of(target, server), room(server, 4)),
                 0, "without its handler it migrates");
    cr_assert(waits(lender.thread));
}

Test(handlers, a_port_that_threads_receive_from_gets_no_handler)
{
    start();
    struct thread *thread = thread_new(server), *receiver = thread_new(server);
    port_new(server, &service_li);
    cr_assert_eq(receive_by(receiver, service_li, K_FOREVER, NULL), K_BLOCKED);
    cr_assert_eq(connect_handler(thread), K_EBUSY);
    port_new(server, &service_li);
    cr_assert_eq(DO(thread, portEnable, 0, (uint64_t)service_li, 3), K_OK);
    cr_assert_eq(connect_handler(thread), K_EBUSY);
}

Test(handlers, a_bad_reply_is_refused_and_its_caller_still_waits)
{
    struct lender lender = start();
    cr_assert_eq(ask(client, 1), K_BLOCKED);
    KnHandlerBlock block = look(&lender);
    block.answered = 1;
    block.reply = (KnMsgDesc){ .bodySize = K_CMSGSIZEMAX + 1 };
    say(&lender, &block);
    cr_assert_eq(lend(&lender), K_ETOOMUCH);
    block.reply = (KnMsgDesc){ .bodySize = 100, .bodyAddr = (void *)0x100000001000 };
    say(&lender, &block);
    cr_assert_eq(lend(&lender), K_EFAULT);
    cr_assert(waits(client));
    cr_assert_eq(answer(&lender, 9), K_BLOCKED);
    cr_assert_eq(result_of(client), 0);
}

/* ---- the call ---- */

Test(handlers, a_call_runs_the_routine_on_its_own_cpu_without_a_switch)
{
    struct lender lender = start();
    int cpu = fake_host_cpu_of(client);
    uint64_t switches = nucleus_counters.switches, own = client->switches + lender.thread->switches;
    for (uint64_t i = 1; i <= 100; i++) {
        cr_assert_eq(ask(client, i), K_BLOCKED);
        cr_assert_eq(fake_host_cpu_of(lender.thread), cpu);
        KnHandlerBlock block = look(&lender);
        uint64_t word;
        memcpy(&word, block.annex, sizeof word);
        cr_assert_eq(word, i);
        cr_assert_eq(block.kind, K_INVOKE_MESSAGE);
        cr_assert_eq(block.routine, ROUTINE);
        cr_assert_eq(block.cookie, COOKIE);
        cr_assert_eq(block.port, service_li);
        cr_assert_eq(block.message.flags, K_HEAD_CALL);
        cr_assert_eq(block.message.seqNum, i);
        cr_assert_eq(answer(&lender, i + 1000), K_BLOCKED);
        cr_assert_eq(result_of(client), 0);
        cr_assert_eq(message_annex(client->actor, reply_desc), i + 1000);
        cr_assert_eq(fake_host_cpu_of(client), cpu);
    }
    cr_assert_eq(nucleus_counters.switches, switches);
    cr_assert_eq(client->switches + lender.thread->switches, own);
    cr_assert_eq(nucleus_counters.routines, 100);
    cr_assert_eq(nucleus_counters.direct, 100);
    cr_assert_eq(nucleus_counters.passes, 200);
    KnSysInfo info;
    nucleus_view_site(&info);
    cr_assert_eq(info.routines, 100);
    cr_assert_eq(info.direct, 100);
}

Test(handlers, its_time_is_its_callers)
{
    struct lender lender = start();
    KnTime of_client = client->cpu_time, of_server = lender.thread->cpu_time;
    ask(client, 1);
    pass(3 * MS);
    answer(&lender, 1);
    result_of(client);
    sched_account(client);
    cr_assert_geq(client->cpu_time - of_client, 3 * MS);
    cr_assert_eq(lender.thread->cpu_time, of_server);
}

Test(handlers, bodies_go_both_ways)
{
    struct lender lender = start();
    static char large[8192], back[4096];
    memset(large, 'x', sizeof large);
    cr_assert_eq(ask_with(client, 1, "small", 6, 0, K_FOREVER), K_BLOCKED);
    KnHandlerBlock block = look(&lender);
    char text[6];
    cr_assert_eq(block.message.bodySize, 6);
    get(server, (uint64_t)block.message.bodyAddr, text, 6);
    cr_assert_str_eq(text, "small");
    cr_assert_eq(answer_with(&lender, 2, "answer", 7), K_BLOCKED);
    cr_assert_eq(result_of(client), 7);
    message_body(client->actor, reply_desc, back, 7);
    cr_assert_str_eq(back, "answer");
    cr_assert_eq(ask_with(client, 1, large, sizeof large, 0, K_FOREVER), K_BLOCKED);
    static char got[8192];
    get(server, lender.body, got, sizeof got);
    cr_assert_eq(memcmp(got, large, sizeof got), 0);
    cr_assert_eq(answer(&lender, 3), K_BLOCKED);
    cr_assert_eq(result_of(client), 0);
}

Test(handlers, a_body_without_room_is_fetched)
{
    struct lender lender = start();
    static char large[20000];
    memset(large, 'y', sizeof large);
    cr_assert_eq(ask_with(client, 1, large, sizeof large, 0, K_FOREVER), K_BLOCKED);
    cr_assert_eq(look(&lender).message.bodySize, sizeof large);
    KnMsgDesc desc = { .bodySize = sizeof large, .bodyAddr = (void *)room(server, sizeof large) };
    cr_assert_eq(DO(lender.thread, ipcGetData, PUT(server, desc)), sizeof large);
    cr_assert_eq(answer(&lender, 3), K_BLOCKED);
    result_of(client);
}

Test(handlers, no_reply_is_a_dead_call)
{
    struct lender lender = start();
    ask(client, 1);
    cr_assert_eq(lend(&lender), K_BLOCKED);
    cr_assert_eq(result_of(client), K_EDEAD);
}

Test(handlers, a_sent_message_is_handled_beside_its_sender)
{
    struct lender lender = start();
    cr_assert_eq(DO(client, ipcSend, message(client->actor, 5, NULL, 0, 0), 0,
                    dest_to(client->actor, &service, K_PORTMODE)),
                 K_OK);
    pass(MS);
    cr_assert(runs(&lender));
    cr_assert(fake_host_cpu_of(client) >= 0);
    cr_assert_eq(look(&lender).message.flags, 0);
    cr_assert_eq(nucleus_counters.direct, 0);
    cr_assert_eq(lend(&lender), K_BLOCKED);
}

Test(handlers, when_all_lenders_are_busy_calls_wait_in_order)
{
    struct lender lender = start();
    struct thread *second = user_new(), *third = user_new();
    uint64_t word;
    ask(client, 1);
    uint64_t client_reply = reply_desc;
    cr_assert_eq(ask(second, 2), K_BLOCKED);
    cr_assert_eq(ask(third, 3), K_BLOCKED);
    for (uint64_t i = 1; i <= 3; i++) {
        KnHandlerBlock block = look(&lender);
        memcpy(&word, block.annex, sizeof word);
        cr_assert_eq(word, i);
        cr_assert_eq(answer(&lender, i), i < 3 ? K_OK : K_BLOCKED);
    }
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(result_of(second), 0);
    cr_assert_eq(result_of(third), 0);
    cr_assert_eq(message_annex(client->actor, client_reply), 1);
}

Test(handlers, two_lenders_run_two_routines_at_once)
{
    struct lender first = start(), second = lender_new();
    struct thread *other = user_new();
    cr_assert_eq(lend(&second), K_BLOCKED);
    ask(client, 1);
    ask(other, 2);
    cr_assert(runs(&first) && runs(&second));
    answer(&first, 1);
    answer(&second, 2);
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(result_of(other), 0);
    cr_assert_eq(nucleus_counters.direct, 2);
}

Test(handlers, messages_that_came_before_the_handler_are_handled)
{
    server = actor_new(K_SUPACTOR);
    struct lender lender = lender_new();
    service = port_new(server, &service_li);
    client = user_new();
    cr_assert_eq(ask(client, 1), K_BLOCKED);
    cr_assert_eq(connect_handler(lender.thread), K_OK);
    cr_assert_eq(lend(&lender), K_OK);
    cr_assert_eq(answer(&lender, 4), K_BLOCKED);
    cr_assert_eq(result_of(client), 0);
}

Test(handlers, a_disconnected_port_is_received_from_again)
{
    struct lender lender = start();
    struct thread *thread = thread_new(server);
    cr_assert_eq(DO(thread, svMsgHandler, 0, (uint64_t)service_li, 0, 0, 0), K_OK);
    cr_assert_eq(ask(client, 1), K_BLOCKED);
    cr_assert(waits(lender.thread));
    cr_assert_eq(receive_by(thread, service_li, K_NODELAY, NULL), 0);
    cr_assert_eq(reply_by(thread, 1, NULL, 0), K_OK);
    cr_assert_eq(result_of(client), 0);
}

Test(handlers, the_priority_of_portEnable_orders_the_queues)
{
    struct lender lender = start();
    struct thread *second = user_new(), *third = user_new();
    KnUniqueId first_service = service, better;
    int first_li = service_li;
    ask(client, 1);
    ask(second, 2);
    better = port_new(server, &service_li);
    struct thread *thread = thread_new(server);
    cr_assert_eq(connect_handler(thread), K_OK);
    cr_assert_eq(DO(thread, portEnable, 0, (uint64_t)first_li, 9), K_OK);
    cr_assert_eq(DO(thread, portEnable, 0, (uint64_t)service_li, 1), K_OK);
    cr_assert_eq(DO(thread, portDisable, 0, (uint64_t)service_li), K_OK, "which changes nothing");
    service = better;
    ask(third, 3);
    cr_assert_eq(answer(&lender, 0), K_OK);
    cr_assert_eq(look(&lender).port, service_li);
    cr_assert_eq(answer(&lender, 0), K_OK);
    cr_assert_eq(look(&lender).port, first_li);
    cr_assert_eq(answer(&lender, 0), K_BLOCKED);
    cr_assert_eq(result_of(second), 0);
    service = first_service;
}

Test(handlers, a_saved_request_is_answered_later)
{
    struct lender lender = start();
    ask(client, 1);
    uint64_t id = room(server, sizeof(KnMsgId));
    cr_assert_eq(DO(lender.thread, ipcSave, id), K_OK);
    cr_assert_eq(lend(&lender), K_BLOCKED);
    cr_assert(waits(client));
    struct thread *thread = thread_new(server);
    cr_assert_eq(DO(thread, ipcRestore, id), K_OK);
    cr_assert_eq(reply_by(thread, 8, NULL, 0), K_OK);
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(message_annex(client->actor, reply_desc), 8);
}

Test(handlers, the_sender_is_known)
{
    struct lender lender = start();
    ask(client, 1);
    uint64_t head_at = room(server, sizeof(KnMsgHead)), cap_at = room(server, sizeof(KnCap));
    KnMsgHead head;
    KnCap cap;
    cr_assert_eq(DO(lender.thread, ipcSysInfo, head_at), K_OK);
    get(server, head_at, &head, sizeof head);
    cr_assert(uiEqual(&head.srcActor, &client->actor->cap.ui));
    cr_assert_eq(DO(lender.thread, svGetInvoker, 0), K_EINVAL);
    cr_assert_eq(DO(lender.thread, svGetInvoker, cap_at), K_OK);
    get(server, cap_at, &cap, sizeof cap);
    cr_assert_eq(cap.key, client->actor->cap.key);
    answer(&lender, 1);
}

/* ---- waiting, nesting, priorities ---- */

Test(handlers, a_routine_may_wait_and_others_run_meanwhile)
{
    site_end();
    site_start_with(1);
    struct lender lender = start();
    ask(client, 1);
    struct thread *other = user_new();
    cr_assert(!runs(&lender) || fake_host_cpu_of(other) < 0);
    DO(lender.thread, threadDelay, 5 * MS);
    pass(MS);
    cr_assert(fake_host_cpu_of(other) >= 0);
    DO(other, threadDelay, 100 * MS);
    pass(5 * MS);
    cr_assert(runs(&lender));
    cr_assert_eq(answer(&lender, 1), K_BLOCKED);
    cr_assert_eq(result_of(client), 0);
}

Test(handlers, handlers_nest)
{
    struct lender outer = start();
    struct actor *outer_server = server;
    KnUniqueId outer_service = service;
    server = actor_new(K_SUPACTOR);
    struct lender inner = lender_new();
    service = port_new(server, &service_li);
    cr_assert_eq(connect_handler(inner.thread), K_OK);
    cr_assert_eq(lend(&inner), K_BLOCKED);
    KnUniqueId inner_service = service;
    uint64_t switches = nucleus_counters.switches;
    service = outer_service;
    ask(client, 1);
    service = inner_service;
    cr_assert_eq(ask(outer.thread, 2), K_BLOCKED);
    cr_assert(runs(&inner));
    server = outer_server;
    cr_assert_eq(answer(&inner, 3), K_BLOCKED);
    cr_assert_eq(result_of(outer.thread), 0);
    cr_assert_eq(answer(&outer, 4), K_BLOCKED);
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(nucleus_counters.switches, switches);
    cr_assert_eq(nucleus_counters.direct, 2);
}

Test(handlers, a_routine_runs_at_the_better_priority)
{
    struct lender lender = start();
    struct thread *urgent = thread_new_with(client->actor, K_SCHED_FIFO, 10);
    int own = lender.thread->sched.priority;
    ask(urgent, 1);
    cr_assert_eq(lender.thread->sched.priority, 10);
    answer(&lender, 1);
    cr_assert_eq(lender.thread->sched.priority, own);
    struct thread *idle = thread_new_with(client->actor, K_SCHED_FIFO, 200);
    ask(idle, 1);
    cr_assert_eq(lender.thread->sched.priority, own);
    answer(&lender, 1);
}

Test(handlers, a_caller_that_is_bound_elsewhere_goes_on_there)
{
    struct lender lender = start();
    cr_assert_eq(DO(client, threadBind, 0, 0, 2), K_OK);
    pass(MS);
    struct thread *binder = thread_new(server);
    ask(client, 1);
    cr_assert_eq(fake_host_cpu_of(lender.thread), 2);
    cr_assert_eq(DO(binder, threadBind, 0, (uint64_t)lender.thread->li, 1), K_OK);
    pass(MS);
    cr_assert_eq(fake_host_cpu_of(lender.thread), 1);
    answer(&lender, 1);
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(fake_host_cpu_of(client), 2);
    cr_assert_eq(ask(client, 2), K_BLOCKED, "nor can the routine run on the caller's CPU");
    pass(MS);
    cr_assert_eq(fake_host_cpu_of(lender.thread), 1);
    answer(&lender, 1);
    cr_assert_eq(result_of(client), 0);
}

/* ---- traps ---- */

Test(handlers, a_trap_runs_its_handlers_routine_without_a_switch)
{
    struct lender lender = start();
    KnTrapConnect connect = { .what = K_CONNECT_TRAP, .port = service };
    cr_assert_eq(DO(client, actorTrapConnect, 0, PUT(client->actor, connect)), K_OK);
    uint64_t switches = nucleus_counters.switches;
    for (int64_t i = 0; i < 10; i++) {
        trap_by(client, 39, (const uint64_t[6]){ 1, 2, 3 });
        cr_assert(runs(&lender));
        KnHandlerBlock block = look(&lender);
        KnTrapMsg trap;
        memcpy(&trap, block.annex, sizeof trap);
        cr_assert_eq(trap.number, 39);
        cr_assert_eq(block.message.flags, K_HEAD_CALL | K_HEAD_NUCLEUS);
        KnTrapReply reply = { .action = K_DO_RETURN, .value = i };
        block.answered = 1;
        block.reply = (KnMsgDesc){ .annexAddr = (void *)1 };
        memcpy(block.replyAnnex, &reply, sizeof reply);
        say(&lender, &block);
        cr_assert_eq(lend(&lender), K_BLOCKED);
        cr_assert_eq(result_of(client), i);
    }
    cr_assert_eq(nucleus_counters.switches, switches);
    cr_assert_eq(nucleus_counters.direct, 10);
}

Test(handlers, a_trap_that_is_answered_by_a_call_does_the_call_at_once)
{
    struct lender lender = start();
    KnTrapConnect connect = { .what = K_CONNECT_TRAP, .port = service };
    cr_assert_eq(DO(client, actorTrapConnect, 0, PUT(client->actor, connect)), K_OK);
    uint64_t switches = nucleus_counters.switches;
    trap_by(client, 39, (const uint64_t[6]){ 0 });
    KnHandlerBlock block = look(&lender);
    KnTrapReply reply = { .action = K_DO_CALL, .number = CALL_threadSelf };
    block.answered = 1;
    block.reply = (KnMsgDesc){ .annexAddr = (void *)1 };
    memcpy(block.replyAnnex, &reply, sizeof reply);
    say(&lender, &block);
    cr_assert_eq(lend(&lender), K_BLOCKED);
    cr_assert_eq(result_of(client), client->li);
    cr_assert_eq(nucleus_counters.switches, switches);
}

/* ---- ends ---- */

Test(handlers, an_aborted_caller_returns_and_its_routine_is_aborted)
{
    struct lender lender = start();
    struct thread *other = thread_new(client->actor);
    ask_with(client, 1, NULL, 0, K_ABORTABLE, K_FOREVER);
    cr_assert_eq(DO(other, threadAbort, 0, (uint64_t)client->li), K_OK);
    pass(MS);
    cr_assert_eq(result_of(client), K_EABORT);
    cr_assert(runs(&lender));
    cr_assert_eq(DO(lender.thread, threadDelay, MS), K_EABORT);
    cr_assert_eq(answer(&lender, 1), K_BLOCKED, "its reply goes nowhere");
    cr_assert_eq(ask(client, 2), K_BLOCKED);
    cr_assert_eq(DO(lender.thread, threadAborted), 0, "the next routine is not aborted");
    answer(&lender, 2);
    cr_assert_eq(result_of(client), 0);
}

Test(handlers, a_caller_that_waits_no_longer_leaves_the_routine_alone)
{
    struct lender lender = start();
    ask_with(client, 1, NULL, 0, 0, 2 * MS);
    pass(3 * MS);
    cr_assert_eq(result_of(client), K_ETIMEOUT);
    cr_assert(runs(&lender));
    cr_assert_eq(DO(lender.thread, threadAborted), 0);
    cr_assert_eq(answer(&lender, 1), K_BLOCKED);
}

Test(handlers, a_routine_outlives_its_caller)
{
    struct lender lender = start();
    struct thread *other = user_new();
    ask(client, 1);
    cr_assert_eq(DO(other, actorDelete, cap_of(client->actor, other->actor)), K_OK);
    settle();
    cr_assert(runs(&lender));
    pass(MS);
    cr_assert_eq(answer(&lender, 1), K_BLOCKED);
    cr_assert_eq(ask(other, 2), K_BLOCKED);
    cr_assert_eq(answer(&lender, 2), K_BLOCKED);
    cr_assert_eq(result_of(other), 0);
}

Test(handlers, a_caller_that_went_on_and_ended_is_charged_no_more)
{
    struct lender lender = start();
    struct thread *other = thread_new(client->actor);
    ask_with(client, 1, NULL, 0, K_ABORTABLE, K_FOREVER);
    DO(other, threadAbort, 0, (uint64_t)client->li);
    pass(MS);
    cr_assert_eq(result_of(client), K_EABORT);
    DO(client, threadExit);
    pass(5 * MS);
    cr_assert_eq(answer(&lender, 1), K_BLOCKED);
    cr_assert_geq(lender.thread->cpu_time, 5 * MS);
}

Test(handlers, a_fault_ends_the_server_and_its_caller_is_told)
{
    struct lender lender = start();
    ask(client, 1);
    fault_by(lender.thread, 0x10, true);
    cr_assert_eq(result_of(client), K_EDEAD);
    cr_assert_eq(ask(client, 2), K_EUNKNOWN);
}

Test(handlers, a_lender_that_ends_tells_its_caller)
{
    struct lender lender = start();
    ask(client, 1);
    DO(lender.thread, threadExit);
    cr_assert_eq(result_of(client), K_EDEAD);
    cr_assert_eq(ask_with(client, 2, NULL, 0, 0, MS), K_BLOCKED, "nobody is left to be lent");
    pass(2 * MS);
    cr_assert_eq(result_of(client), K_ETIMEOUT);
}

Test(handlers, a_lender_that_waits_may_be_deleted)
{
    struct lender lender = start();
    struct thread *thread = thread_new(server);
    cr_assert_eq(DO(thread, threadDelete, 0, (uint64_t)lender.thread->li), K_OK);
    struct lender next = lender_new();
    cr_assert_eq(lend(&next), K_BLOCKED);
    ask(client, 1);
    answer(&next, 1);
    cr_assert_eq(result_of(client), 0);
}

Test(handlers, a_stopped_server_handles_when_it_is_started)
{
    struct lender lender = start();
    struct thread *other = user_new();
    uint64_t cap = cap_of(server, other->actor);
    cr_assert_eq(DO(other, actorStop, cap), K_OK);
    cr_assert_eq(ask(client, 1), K_BLOCKED);
    pass(MS);
    cr_assert(!runs(&lender));
    cr_assert_eq(DO(other, actorStart, cap), K_OK);
    pass(MS);
    cr_assert(runs(&lender));
    answer(&lender, 1);
    cr_assert_eq(result_of(client), 0);
}

Test(handlers, a_caller_that_was_stopped_meanwhile_stays_stopped)
{
    struct lender lender = start();
    struct thread *other = thread_new(client->actor);
    ask(client, 1);
    DO(other, threadStop, 0, (uint64_t)client->li);
    answer(&lender, 1);
    pass(MS);
    cr_assert_lt(fake_host_cpu_of(client), 0);
    DO(other, threadStart, 0, (uint64_t)client->li);
    pass(MS);
    cr_assert_eq(result_of(client), 0);
    cr_assert_geq(fake_host_cpu_of(client), 0);
}

Test(handlers, a_deleted_port_tells_the_caller_while_the_routine_runs)
{
    struct lender lender = start();
    struct thread *thread = thread_new(server);
    ask(client, 1);
    cr_assert_eq(DO(thread, portDelete, 0, (uint64_t)service_li), K_OK);
    pass(MS);
    cr_assert_eq(result_of(client), K_EDEAD);
    cr_assert_eq(answer(&lender, 1), K_BLOCKED);
}

Test(handlers, a_group_reaches_a_handler)
{
    struct lender lender = start();
    struct thread *system = thread_new(actor_new(K_SYSTEMACTOR));
    uint64_t group_at = room(system->actor, sizeof(KnCap));
    KnCap group;
    cr_assert_eq(DO(system, grpAllocate, K_DYNAMIC, group_at, 0), K_OK);
    get(system->actor, group_at, &group, sizeof group);
    cr_assert_eq(DO(system, grpPortInsert, group_at, PUT(system->actor, service)), K_OK);
    reply_desc = message(client->actor, 0, NULL, 64, 0);
    cr_assert_eq(DO(client, ipcCall, message(client->actor, 1, NULL, 0, 0), 0,
                    dest_to(client->actor, &group.ui, K_FUNCMODE), reply_desc, (uint64_t)K_FOREVER),
                 K_BLOCKED);
    cr_assert_eq(nucleus_counters.direct, 1);
    answer(&lender, 1);
    cr_assert_eq(result_of(client), 0);
}
