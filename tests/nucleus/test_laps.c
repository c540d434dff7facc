/* Local access points: calls into supervisor actors, their rights and ends, and their names. */
#include "site.h"

#include <string.h>
#include "lap.h"
#include "message.h"

static void laps_end(void)
{
    site_end();
    cr_assert_eq(lap_count(), 0, "LAPs are left over");
}

TestSuite(laps, .init = site_start, .fini = laps_end);

#define ROUTINE 0x1234560
#define RESTART 0x7654320
#define COOKIE  77

static struct actor *server;
static struct thread *maker, *client;

struct lender {
    struct thread *thread;
    uint64_t block;
};

static KnHandlerBlock look(const struct lender *lender)
{
    KnHandlerBlock block;
    get(lender->thread->actor, lender->block, &block, sizeof block);
    return block;
}

static void say(const struct lender *lender, const KnHandlerBlock *block)
{
    cr_assert_eq(vm_copy_out(NULL, lender->thread->actor, lender->block, block, sizeof *block),
                 K_OK);
}

static int64_t lend(const struct lender *lender)
{
    return DO(lender->thread, svHandlerWait, lender->block);
}

static struct lender lender_new(void)
{
    struct lender lender = { .thread = thread_new(server) };
    lender.block = (room(server, 3 * PAGE_SIZE) + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    say(&lender, &(KnHandlerBlock){ .restart = RESTART, .stack = lender.block + 4096 });
    cr_assert_eq(lend(&lender), K_BLOCKED);
    return lender;
}

static int64_t lap_return_by(const struct lender *lender, int64_t result)
{
    KnHandlerBlock block = look(lender);
    block.result = result;
    say(lender, &block);
    return lend(lender);
}

static KnLapDesc lap_new(unsigned options)
{
    uint64_t at = room(server, sizeof(KnLapDesc));
    KnLapDesc lap;
    cr_assert_eq(DO(maker, svLapCreate, 0, ROUTINE, COOKIE, options, at), K_OK);
    get(server, at, &lap, sizeof lap);
    return lap;
}

/* A supervisor actor with a thread for its own calls, and a client. */
static void start(void)
{
    server = actor_new(K_SUPACTOR);
    maker = thread_new(server);
    client = user_new();
}

static int64_t enter(struct thread *thread, const KnLapDesc *lap, uint64_t argument)
{
    return DO(thread, lapEnter, put(thread->actor, lap, sizeof *lap), argument);
}

static int64_t delete_by(struct thread *thread, const KnLapDesc *lap)
{
    return DO(thread, svLapDelete, put(thread->actor, lap, sizeof *lap));
}

/* ---- bad input ---- */

Test(laps, only_supervisor_actors_make_them)
{
    start();
    struct thread *system = thread_new(actor_new(K_SYSTEMACTOR));
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    uint64_t user_room = room(client->actor, sizeof lap), system_room = room(system->actor, sizeof lap);
    uint64_t user_name = PUT(client->actor, "name"), user_lap = PUT(client->actor, lap);
    cr_assert_eq(DO(client, svLapCreate, 0, ROUTINE, 0, K_LAP_SAFE, user_room), K_EPRIV);
    cr_assert_eq(DO(system, svLapCreate, 0, ROUTINE, 0, K_LAP_SAFE, system_room), K_EPRIV);
    cr_assert_eq(DO(client, svLapDelete, user_lap), K_EPRIV);
    cr_assert_eq(DO(client, svLapBind, user_name, user_lap), K_EPRIV);
    cr_assert_eq(DO(client, svLapUnbind, user_name), K_EPRIV);
    cr_assert_eq(DO(maker, svLapCreate, cap_of(client->actor, server), ROUTINE, 0, K_LAP_SAFE,
                    room(server, sizeof lap)),
                 K_EINVAL, "of a user actor");
}

Test(laps, bad_arguments_make_none)
{
    start();
    uint64_t at = room(server, sizeof(KnLapDesc));
    cr_assert_eq(DO(maker, svLapCreate, 0, 0, 0, K_LAP_SAFE, at), K_EINVAL);
    cr_assert_eq(DO(maker, svLapCreate, 0, ROUTINE, 0, K_LAP_SETJMP, at), K_EINVAL);
    cr_assert_eq(DO(maker, svLapCreate, 0, ROUTINE, 0, 4, at), K_EINVAL);
    cr_assert_eq(DO(maker, svLapCreate, 0, ROUTINE, 0, K_LAP_SAFE, 0), K_EINVAL);
    cr_assert_eq(DO(maker, svLapCreate, 0, ROUTINE, 0, K_LAP_SAFE, 0x100000001000), K_EFAULT);
    KnCap wrong = { client->actor->cap.ui, 1 };
    cr_assert_eq(DO(maker, svLapCreate, PUT(server, wrong), ROUTINE, 0, K_LAP_SAFE, at), K_EUNKNOWN);
    cr_assert_eq(lap_count(), 0);
    for (int i = 0; i < 1024; i++)
        cr_assert_eq(DO(maker, svLapCreate, 0, ROUTINE, 0, K_LAP_SAFE, at), K_OK);
    cr_assert_eq(DO(maker, svLapCreate, 0, ROUTINE, 0, K_LAP_SAFE, at), K_ELIMIT);
}

Test(laps, a_forged_descriptor_calls_nothing)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE), forged = lap;
    forged.key ^= 1;
    cr_assert_eq(enter(client, &forged, 1), K_EUNKNOWN);
    forged = lap;
    forged.id++;
    cr_assert_eq(enter(client, &forged, 1), K_EUNKNOWN);
    forged = lap;
    forged.options = 0;
    cr_assert_eq(enter(client, &forged, 1), K_EINVAL);
    forged = (KnLapDesc){ .options = K_LAP_SAFE };
    cr_assert_eq(enter(client, &forged, 1), K_EUNKNOWN);
    cr_assert_eq(DO(client, lapEnter, 0, 0), K_EINVAL);
    cr_assert_eq(DO(client, lapEnter, 0x100001000, 0), K_EFAULT);
    forged = lap;
    forged.handler = (KnLapHdl)0x666;
    forged.cookie = NULL;
    cr_assert_eq(enter(client, &forged, 1), K_BLOCKED);
    KnHandlerBlock block = look(&lender);
    cr_assert_eq(block.routine, ROUTINE, "the Nucleus's own words count");
    cr_assert_eq(block.cookie, COOKIE);
    lap_return_by(&lender, 0);
}

Test(laps, only_its_own_actor_deletes_a_lap)
{
    start();
    struct thread *stranger = thread_new(actor_new(K_SUPACTOR));
    KnLapDesc lap = lap_new(K_LAP_SAFE), wrong = lap, unsafe = lap_new(0);
    wrong.key ^= 1;
    cr_assert_eq(delete_by(stranger, &lap), K_EPRIV);
    cr_assert_eq(delete_by(maker, &wrong), K_EUNKNOWN);
    cr_assert_eq(delete_by(maker, &unsafe), K_EINVAL);
    cr_assert_eq(delete_by(maker, &lap), K_OK);
    cr_assert_eq(delete_by(maker, &lap), K_EUNKNOWN);
}

/* ---- calls ---- */

Test(laps, a_call_runs_the_routine_without_a_switch)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    pass(MS);
    int cpu = fake_host_cpu_of(client);
    uint64_t switches = nucleus_counters.switches;
    for (uint64_t i = 0; i < 50; i++) {
        cr_assert_eq(enter(client, &lap, i), K_BLOCKED);
        cr_assert_eq(fake_host_cpu_of(lender.thread), cpu);
        KnHandlerBlock block = look(&lender);
        cr_assert_eq(block.kind, K_INVOKE_LAP);
        cr_assert_eq(block.routine, ROUTINE);
        cr_assert_eq(block.cookie, COOKIE);
        cr_assert_eq(block.argument, i);
        cr_assert_eq(lap_return_by(&lender, -(int64_t)i * 1000), K_BLOCKED);
        cr_assert_eq(result_of(client), -(int64_t)i * 1000);
    }
    cr_assert_eq(nucleus_counters.switches, switches);
    cr_assert_eq(nucleus_counters.direct, 50);
}

Test(laps, supervisor_actors_call_them_too_and_calls_nest)
{
    start();
    struct lender outer = lender_new(), inner;
    KnLapDesc outer_lap = lap_new(K_LAP_SAFE);
    server = actor_new(K_SUPACTOR);
    maker = thread_new(server);
    inner = lender_new();
    KnLapDesc inner_lap = lap_new(K_LAP_SAFE);
    cr_assert_eq(enter(client, &outer_lap, 1), K_BLOCKED);
    cr_assert_eq(enter(outer.thread, &inner_lap, 2), K_BLOCKED);
    cr_assert_eq(lap_return_by(&inner, 5), K_BLOCKED);
    cr_assert_eq(result_of(outer.thread), 5);
    cr_assert_eq(lap_return_by(&outer, 6), K_BLOCKED);
    cr_assert_eq(result_of(client), 6);
}

Test(laps, when_all_lenders_are_busy_calls_wait_in_order)
{
    start();
    struct thread *second = user_new(), *third = user_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    cr_assert_eq(enter(client, &lap, 1), K_BLOCKED, "there is no lender yet");
    struct lender lender = { .thread = thread_new(server) };
    lender.block = (room(server, 3 * PAGE_SIZE) + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    cr_assert_eq(lend(&lender), K_OK);
    cr_assert_eq(enter(second, &lap, 2), K_BLOCKED);
    cr_assert_eq(enter(third, &lap, 3), K_BLOCKED);
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert_eq(look(&lender).argument, i);
        cr_assert_eq(lap_return_by(&lender, (int64_t)i), i < 3 ? K_OK : K_BLOCKED);
    }
    cr_assert_eq(result_of(client), 1);
    cr_assert_eq(result_of(second), 2);
    cr_assert_eq(result_of(third), 3);
}

Test(laps, messages_and_laps_are_served_in_the_order_in_which_they_came)
{
    start();
    struct lender lender = lender_new();
    int li;
    KnUniqueId service = port_new(server, &li);
    cr_assert_eq(DO(maker, svMsgHandler, 0, (uint64_t)li, ROUTINE, 0, 0), K_OK);
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    struct thread *second = user_new(), *third = user_new();
    enter(client, &lap, 1);
    cr_assert_eq(DO(second, ipcCall, message(second->actor, 2, NULL, 0, 0), 0,
                    dest_to(second->actor, &service, K_PORTMODE),
                    message(second->actor, 0, NULL, 0, 0), (uint64_t)K_FOREVER),
                 K_BLOCKED);
    enter(third, &lap, 3);
    cr_assert_eq(lap_return_by(&lender, 1), K_OK);
    cr_assert_eq(look(&lender).kind, K_INVOKE_MESSAGE);
    cr_assert_eq(lend(&lender), K_OK);
    cr_assert_eq(look(&lender).kind, K_INVOKE_LAP);
    cr_assert_eq(lap_return_by(&lender, 3), K_BLOCKED);
    cr_assert_eq(result_of(client), 1);
    cr_assert_eq(result_of(second), K_EDEAD);
    cr_assert_eq(result_of(third), 3);
}

Test(laps, the_invoker_is_known_and_its_memory_can_be_read)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    uint64_t cap_at = room(server, sizeof(KnCap)), to = room(server, 8), back;
    uint64_t word = 0x1122334455667788, from = PUT(client->actor, word);
    enter(client, &lap, from);
    cr_assert_eq(DO(lender.thread, svGetInvoker, cap_at), K_OK);
    cr_assert_eq(DO(lender.thread, vmCopy, cap_at, look(&lender).argument, 0, to, 8), K_OK);
    get(server, to, &back, 8);
    cr_assert_eq(back, word);
    lap_return_by(&lender, 0);
    cr_assert_eq(result_of(client), 0);
}

Test(laps, a_routine_may_use_messages_of_its_own)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    enter(client, &lap, 1);
    cr_assert_eq(DO(lender.thread, ipcReply, message(server, 1, NULL, 0, 0)), K_ENOMSG);
    cr_assert_eq(DO(lender.thread, ipcSave, room(server, 8)), K_ENOMSG);
    cr_assert_eq(receive_by(lender.thread, K_DEFAULTPORT, K_NODELAY, NULL), K_ETIMEOUT);
    lap_return_by(&lender, 3);
    cr_assert_eq(result_of(client), 3);
}

/* ---- ends ---- */

Test(laps, deletion_waits_for_the_routines_under_way_and_aborts_them)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    enter(client, &lap, 1);
    cr_assert_eq(delete_by(lender.thread, &lap), K_EBUSY, "it would wait for itself");
    DO(lender.thread, threadDelay, K_FOREVER);
    cr_assert_eq(delete_by(maker, &lap), K_BLOCKED);
    pass(MS);
    cr_assert_eq(result_of(lender.thread), K_EABORT);
    struct thread *other = user_new();
    cr_assert_eq(enter(other, &lap, 2), K_EUNKNOWN, "no call gets in any more");
    cr_assert_eq(lap_return_by(&lender, 7), K_BLOCKED);
    cr_assert_eq(result_of(maker), K_OK);
    cr_assert_eq(result_of(client), 7);
}

Test(laps, deletion_refuses_calls_that_wait_for_a_lender)
{
    start();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    cr_assert_eq(enter(client, &lap, 1), K_BLOCKED);
    cr_assert_eq(delete_by(maker, &lap), K_OK);
    cr_assert_eq(result_of(client), K_EUNKNOWN);
}

Test(laps, who_deletes_may_be_ended_meanwhile)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    enter(client, &lap, 1);
    cr_assert_eq(delete_by(maker, &lap), K_BLOCKED);
    cr_assert_eq(DO(lender.thread, threadDelete, 0, (uint64_t)maker->li), K_OK);
    cr_assert_eq(lap_return_by(&lender, 7), K_BLOCKED);
    cr_assert_eq(result_of(client), 7);
}

Test(laps, a_dead_actor_has_none)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    struct thread *second = user_new();
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "lap"), PUT(server, lap)), K_OK);
    enter(client, &lap, 1);
    enter(second, &lap, 2);
    fault_by(lender.thread, 0x10, true);
    cr_assert_eq(result_of(client), K_EDEAD);
    cr_assert_eq(result_of(second), K_EDEAD);
    cr_assert_eq(enter(client, &lap, 1), K_EUNKNOWN);
    cr_assert_eq(DO(client, lapResolve, room(client->actor, sizeof lap), PUT(client->actor, "lap"), 0),
                 K_EUNKNOWN);
}

Test(laps, a_caught_fault_is_its_callers_error)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE | K_LAP_SETJMP);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(enter(client, &lap, 1), K_BLOCKED);
        fault_by(lender.thread, 0x10, true);
        cr_assert_eq(result_of(client), K_EFAULT);
        cr_assert_eq(lender.thread->context->registers.rip, RESTART);
        cr_assert_eq(lender.thread->context->registers.rdi, lender.block);
        cr_assert_eq(lend(&lender), K_BLOCKED);
    }
    cr_assert_eq(enter(client, &lap, 1), K_BLOCKED);
    cr_assert_eq(lap_return_by(&lender, 2), K_BLOCKED);
    cr_assert_eq(result_of(client), 2);
    fault_by(maker, 0x10, true);
    cr_assert_eq(enter(client, &lap, 1), K_EUNKNOWN, "faults outside of routines are not caught");
}

Test(laps, an_abort_of_the_caller_is_the_routines)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    struct thread *other = thread_new(client->actor);
    enter(client, &lap, 1);
    DO(lender.thread, threadDelay, K_FOREVER);
    DO(other, threadAbort, 0, (uint64_t)client->li);
    pass(MS);
    cr_assert(waits(client), "it waits until the routine has returned");
    cr_assert_eq(result_of(lender.thread), K_EABORT);
    lap_return_by(&lender, 4);
    cr_assert_eq(result_of(client), 4);
    cr_assert_eq(DO(client, threadAborted), 0);
    enter(client, &lap, 1);
    DO(other, threadAbort, 0, (uint64_t)client->li);
    lap_return_by(&lender, 4);
    cr_assert_eq(result_of(client), 4);
    cr_assert_eq(DO(client, threadAborted), 1, "an abort that the routine did not notice is the caller's");
}

Test(laps, a_caller_that_waits_for_a_lender_is_aborted_at_once)
{
    start();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    struct thread *other = thread_new(client->actor);
    cr_assert_eq(enter(client, &lap, 1), K_BLOCKED);
    DO(other, threadAbort, 0, (uint64_t)client->li);
    cr_assert_eq(result_of(client), K_EABORT);
}

Test(laps, a_routine_outlives_its_caller)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    uint64_t cap_at = room(server, sizeof(KnCap));
    enter(client, &lap, 1);
    cr_assert_eq(DO(maker, actorDelete, cap_of(client->actor, server)), K_OK);
    pass(MS);
    cr_assert_eq(DO(lender.thread, threadAborted), 1);
    cr_assert_eq(DO(lender.thread, svGetInvoker, cap_at), K_EUNKNOWN);
    cr_assert_eq(lap_return_by(&lender, 4), K_BLOCKED);
}

Test(laps, a_lender_that_ends_tells_its_caller)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE);
    enter(client, &lap, 1);
    DO(lender.thread, threadExit);
    cr_assert_eq(result_of(client), K_EDEAD);
}

/* ---- names ---- */

Test(laps, bad_names_are_refused)
{
    start();
    KnLapDesc lap = lap_new(K_LAP_SAFE), unsafe = lap_new(0), gone = lap_new(K_LAP_SAFE);
    uint64_t at = PUT(server, lap);
    delete_by(maker, &gone);
    cr_assert_eq(DO(maker, svLapBind, PUT(server, ""), at), K_EINVAL);
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "12345678"), at), K_ETOOMUCH);
    cr_assert_eq(DO(maker, svLapBind, 0x100000001000, at), K_EFAULT);
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "x"), 0), K_EINVAL);
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "x"), PUT(server, unsafe)), K_EINVAL);
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "x"), PUT(server, gone)), K_EUNKNOWN);
    cr_assert_eq(DO(maker, svLapUnbind, PUT(server, "x")), K_EUNKNOWN);
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "1234567"), at), K_OK);
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "1234567"), at), K_EBUSY);
    struct thread *stranger = thread_new(actor_new(K_SUPACTOR));
    cr_assert_eq(DO(stranger, svLapUnbind, PUT(stranger->actor, "1234567")), K_EPRIV);
    uint64_t to = room(client->actor, sizeof lap);
    cr_assert_eq(DO(client, lapResolve, to, PUT(client->actor, "12345678"), 0), K_ETOOMUCH);
    cr_assert_eq(DO(client, lapResolve, 0, PUT(client->actor, "1234567"), 0), K_EINVAL);
    cr_assert_eq(DO(client, lapResolve, to, PUT(client->actor, "123456"), 0), K_EUNKNOWN);
}

Test(laps, a_name_leads_to_the_lap_until_it_goes)
{
    start();
    struct lender lender = lender_new();
    KnLapDesc lap = lap_new(K_LAP_SAFE), found;
    uint64_t to = room(client->actor, sizeof lap), name = PUT(client->actor, "hello");
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "hello"), PUT(server, lap)), K_OK);
    cr_assert_eq(DO(client, lapResolve, to, name, 0), K_OK);
    get(client->actor, to, &found, sizeof found);
    cr_assert_eq(memcmp(&found, &lap, sizeof lap), 0);
    cr_assert_eq(enter(client, &found, 1), K_BLOCKED);
    lap_return_by(&lender, 1);
    cr_assert_eq(DO(maker, svLapUnbind, PUT(server, "hello")), K_OK);
    cr_assert_eq(DO(client, lapResolve, to, name, 0), K_EUNKNOWN);
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "hello"), PUT(server, lap)), K_OK);
    cr_assert_eq(delete_by(maker, &lap), K_OK);
    cr_assert_eq(DO(client, lapResolve, to, name, 0), K_EUNKNOWN);
}

Test(laps, who_asks_for_a_name_may_wait_for_it)
{
    start();
    struct thread *late = user_new(), *aborted = thread_new(client->actor);
    uint64_t to = room(client->actor, sizeof(KnLapDesc)), name = PUT(client->actor, "hello");
    cr_assert_eq(DO(aborted, lapResolve, to, name, (uint64_t)K_FOREVER), K_BLOCKED);
    cr_assert_eq(DO(late, lapResolve, room(late->actor, sizeof(KnLapDesc)),
                    PUT(late->actor, "hello"), 2 * MS),
                 K_BLOCKED);
    cr_assert_eq(DO(client, threadAbort, 0, (uint64_t)aborted->li), K_OK);
    cr_assert_eq(result_of(aborted), K_EABORT);
    cr_assert_eq(DO(client, lapResolve, to, name, (uint64_t)K_FOREVER), K_BLOCKED);
    pass(3 * MS);
    cr_assert_eq(result_of(late), K_ETIMEOUT);
    KnLapDesc lap = lap_new(K_LAP_SAFE), found;
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "other"), PUT(server, lap)), K_OK);
    pass(MS);
    cr_assert(waits(client));
    cr_assert_eq(DO(maker, svLapBind, PUT(server, "hello"), PUT(server, lap)), K_OK);
    pass(MS);
    cr_assert_eq(result_of(client), K_OK);
    get(client->actor, to, &found, sizeof found);
    cr_assert_eq(found.id, lap.id);
}
