/* Programs and their handler at random: traps, faults, aborts, stops, deletions, calls done as the
 * thread. Nothing breaks, and whoever's traps are all answered runs again. */
#include "site.h"

#include <stdlib.h>
#include <string.h>

#define PROGRAMS   3
#define THREADS    2
#define HANDLERS   3
#define PARKED_MAX 64

static void eight_cpus(void)
{
    site_start_with(8);
}
TestSuite(stress_traps, .init = eight_cpus, .fini = site_end);

static unsigned chance(unsigned of)
{
    return (unsigned)rand() % of;
}

struct program {
    KnUniqueId ui;
    uint64_t word;
};
static struct program programs[PROGRAMS];
struct handler {
    struct thread *thread;
    uint64_t in, annex;
    bool receiving, holds;
};
static struct handler handlers[HANDLERS];
static struct actor *handler_actor, *echo_actor;
static KnMsgId parked[PARKED_MAX];
static unsigned parked_count, answered;
static uint64_t last_cookie;

static bool on_cpu(const struct thread *thread)
{
    return fake_host_cpu_of(thread) >= 0;
}

static void enter(struct thread *thread, const struct host_trap *trap)
{
    fake_host_trap(fake_host_cpu_of(thread), trap);
}

static void enter_call(struct thread *thread, unsigned number, const uint64_t arg[6])
{
    struct host_trap trap = { .kind = HOST_TRAP_CALL, .number = number };
    memcpy(trap.arg, arg, sizeof trap.arg);
    enter(thread, &trap);
}

static void program_make(struct program *program)
{
    struct actor *actor = actor_new(K_USERACTOR);
    KnTrapConnect connect = { .what = 7, .port = handler_actor->default_port->ui };
    actor->trap = actor->exception = actor->abort = connect;
    program->ui = actor->cap.ui;
    program->word = room(actor, 64);
    for (int i = 0; i < THREADS; i++)
        thread_new(actor)->cookie = ++last_cookie;
}

static struct thread *any_thread(struct actor *actor)
{
    unsigned which = chance((unsigned)actor->thread_ids.used);
    struct list *link = actor->threads.next;
    while (which-- > 0)
        link = link->next;
    return LIST_OWNER(link, struct thread, of_actor);
}

static void program_step(struct program *program)
{
    struct actor *actor = actor_by_ui(&program->ui);
    if (actor == NULL || actor->thread_ids.used == 0) {
        if (actor != NULL)
            actor_kill(actor, K_OK, NULL);
        program_make(program);
        return;
    }
    struct thread *thread = any_thread(actor);
    if (!on_cpu(thread))
        return;
    switch (chance(6)) {
    case 0:
        enter(thread, &(struct host_trap){
                          .kind = HOST_TRAP_FAULT, .address = 0xbad000, .write = chance(2) });
        break;
    case 1:
        enter_call(thread, CALL_threadDelay, (const uint64_t[6]){ chance(100) * US });
        break;
    case 2:
        enter_call(thread, CALL_threadAborted, (const uint64_t[6]){ 0 });
        break;
    case 3:
        enter(thread, &(struct host_trap){ .kind = HOST_TRAP_EXCEPTION, .number = K_TRAP_ILLEGAL });
        break;
    default:
        enter(thread,
              &(struct host_trap){ .kind = chance(5) ? HOST_TRAP_SYSCALL : HOST_TRAP_SYSCALL32,
                                   .number = chance(400) });
        break;
    }
}

/* A reply of some kind into the handler's annex; the size of its body, which is filled. */
static uint32_t make_reply(uint8_t annex[K_CMSGANNEXSIZE], uint8_t body[CALL_SCRATCH], bool gently)
{
    static const unsigned calls[] = {
        CALL_threadDelay, CALL_threadSelf,    CALL_sysNull,   999,
        CALL_syncWait,    CALL_ipcCall,       CALL_ipcSend,   CALL_actorSelf,
        CALL_threadExit,  CALL_threadSemWait, CALL_ipcReceive
    };
    KnTrapReply reply = { .action = gently ? K_DO_RETURN : 1 + chance(7),
                          .flags = chance(2),
                          .value = chance(1000) };
    if (!gently && (reply.action == K_DO_DELETE || reply.action == K_DO_REFLECT) && chance(8))
        reply.action = K_DO_CONTEXT;
    struct {
        KnIpcDest dest;
        KnMsgDesc desc;
    } parts = { .dest = { .target = echo_actor->default_port->ui } };
    memcpy(body, &parts, sizeof parts);
    reply.number = calls[chance(sizeof calls / sizeof *calls)];
    switch (reply.number) {
    case CALL_threadDelay:
    case CALL_threadSemWait:
        reply.arg[0] = chance(300) * US;
        break;
    case CALL_syncWait:
        reply.arg[0] = 0x10000000;
        reply.arg[2] = chance(300) * US;
        reply.arg[3] = UINT32_MAX;
        break;
    case CALL_ipcCall:
        reply.arg[4] = chance(300) * US;
        reply.arg[3] = K_DO_NULL;
        /* fall through */
    case CALL_ipcSend:
        reply.arg[0] = offsetof(typeof(parts), desc);
        break;
    case CALL_ipcReceive:
        reply.arg[0] = offsetof(typeof(parts), desc);
        reply.arg[1] = 200; /* an LI of 0 */
        reply.arg[2] = chance(300) * US;
        break;
    }
    memset(body + 200, 0, 8);
    memset(annex, 0, K_CMSGANNEXSIZE);
    memcpy(annex, &reply, sizeof reply);
    return 208;
}

static void handler_reply(struct handler *handler, bool gently)
{
    uint8_t annex[K_CMSGANNEXSIZE], body[CALL_SCRATCH] = { 0 };
    KnMsgDesc desc = { .bodySize = make_reply(annex, body, gently) };
    desc.annexAddr = (void *)put(handler_actor, annex, sizeof annex);
    desc.bodyAddr = (void *)put(handler_actor, body, desc.bodySize);
    handler->holds = false;
    answered++;
    enter_call(handler->thread, CALL_ipcReply, (const uint64_t[6]){ PUT(handler_actor, desc) });
}

static void handler_step(struct handler *handler, bool gently)
{
    struct thread *thread = handler->thread;
    if (!on_cpu(thread))
        return;
    if (handler->receiving && thread->context->has_result) {
        handler->receiving = false;
        handler->holds = thread->context->result >= 0;
    }
    if (handler->holds && !gently && parked_count < PARKED_MAX && chance(4) == 0) {
        uint64_t at = room(handler_actor, 8);
        if (DO(thread, ipcSave, at) == K_OK)
            get(handler_actor, at, &parked[parked_count++], 8);
        handler->holds = false;
    } else if (handler->holds) {
        handler_reply(handler, gently);
    } else if (parked_count > 0 && chance(2)) {
        KnMsgId id = parked[--parked_count];
        handler->holds = DO(thread, ipcRestore, PUT(handler_actor, id)) == K_OK;
    } else {
        int li = 0;
        handler->receiving = true;
        enter_call(thread, CALL_ipcReceive,
                   (const uint64_t[6]){ message(handler_actor, 0, NULL, 0, 0),
                                        PUT(handler_actor, li), gently ? 0 : chance(100) * US });
    }
}

static void misfortune(void)
{
    struct actor *actor = actor_by_ui(&programs[chance(PROGRAMS)].ui);
    if (actor == NULL || actor->thread_ids.used == 0)
        return;
    struct thread *thread = any_thread(actor);
    switch (chance(30)) {
    case 0:
        thread_abort(thread);
        break;
    case 1:
        thread_stop(thread, STOPPED_BY_THREADSTOP);
        break;
    case 2:
    case 3:
        thread_start(thread, STOPPED_BY_THREADSTOP | STOPPED_BY_TRAP);
        break;
    case 4:
        if (chance(10) == 0)
            actor_kill(actor, K_OK, NULL);
        break;
    case 5:
        if (chance(5) == 0)
            thread_kill(thread);
        break;
    }
}

static void for_each_program_thread(void act(struct thread *thread))
{
    for (int i = 0; i < PROGRAMS; i++) {
        struct actor *actor = actor_by_ui(&programs[i].ui);
        if (actor == NULL)
            continue;
        LIST_FOR_EACH_SAFE (link, following, &actor->threads)
            act(LIST_OWNER(link, struct thread, of_actor));
    }
}

static void start(struct thread *thread)
{
    thread_start(thread, STOPPED_BY_THREADSTOP | STOPPED_BY_TRAP);
}

static void expect_running(struct thread *thread)
{
    cr_assert(!thread->in_trap, "a trap was never answered");
    cr_assert(thread->state == THREAD_RUNNING || thread->state == THREAD_READY, "state %d, call %u",
              thread->state, thread->call.number);
}

static void everybody_comes_to_rest(void)
{
    for_each_program_thread(start);
    for (int i = 0; i < 3000; i++) {
        handler_step(&handlers[chance(HANDLERS)], true);
        settle();
        pass(20 * US);
    }
    for_each_program_thread(expect_running);
}

static void run(unsigned seed)
{
    srand(seed);
    handler_actor = actor_new(K_SYSTEMACTOR);
    echo_actor = actor_new(K_USERACTOR);
    for (int i = 0; i < HANDLERS; i++)
        handlers[i] = (struct handler){ .thread = thread_new_with(handler_actor, K_SCHED_FIFO,
                                                                  K_PRIO_SERVER) };
    for (int i = 0; i < PROGRAMS; i++)
        program_make(&programs[i]);
    for (int step = 0; step < 20000; step++) {
        if (chance(2))
            program_step(&programs[chance(PROGRAMS)]);
        else
            handler_step(&handlers[chance(HANDLERS)], false);
        misfortune();
        if (chance(2) == 0)
            settle();
        if (chance(4) == 0)
            pass(chance(100) * US);
    }
    cr_assert_gt(answered, 1000, "only %u traps were answered", answered);
    everybody_comes_to_rest();
}

Test(stress_traps, programs_and_their_handler_1)
{
    run(1);
}
Test(stress_traps, programs_and_their_handler_2)
{
    run(2);
}
Test(stress_traps, programs_and_their_handler_3)
{
    run(getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : 3);
}
