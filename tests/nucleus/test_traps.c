/* Traps, exceptions, reflection and what a handler may reply. */
#include "site.h"

#include <string.h>

static void eight_cpus(void)
{
    site_start_with(8);
}

TestSuite(traps, .init = eight_cpus, .fini = site_end);

static struct thread *program, *handler;
static const uint64_t arguments[6] = { 1, 2, 3, 4, 5, 6 };

/* <program> is handled by <handler>, through its default port. */
static void connected_pair(unsigned what)
{
    handler = thread_new(actor_new(K_SYSTEMACTOR));
    program = user_new();
    KnTrapConnect connect = { .what = what, .port = handler->actor->default_port->ui };
    uint64_t cap = cap_of(program->actor, handler->actor);
    cr_assert_eq(DO(handler, actorTrapConnect, cap, PUT(handler->actor, connect)), K_OK);
    cr_assert_eq(DO(handler, threadCookie, cap, (uint64_t)program->li, 4242), K_OK);
}

static KnTrapMsg take_trap(void)
{
    uint64_t desc;
    KnTrapMsg message;
    pass(SCHED_SPREAD_AFTER); /* what a thread is woken for is done when a CPU takes it */
    cr_assert_eq(receive_by(handler, 0, K_NODELAY, &desc), 0);
    get(handler->actor, (uint64_t)message_desc(handler->actor, desc).annexAddr, &message,
        sizeof message);
    return message;
}

static int64_t answer_with(const KnTrapReply *reply, const void *body, uint32_t size)
{
    uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    memcpy(annex, reply, sizeof *reply);
    KnMsgDesc desc = { .annexAddr = (void *)put(handler->actor, annex, sizeof annex),
                       .bodySize = size };
    if (size > 0)
        desc.bodyAddr = (void *)put(handler->actor, body, size);
    int64_t status = DO(handler, ipcReply, PUT(handler->actor, desc));
    pass(SCHED_SPREAD_AFTER); /* an idle CPU takes the program */
    return status;
}

static void answer(uint32_t action, int64_t value)
{
    cr_assert_eq(answer_with(&(KnTrapReply){ .action = action, .value = value }, NULL, 0), K_OK);
}

/* ---- bad input ---- */

Test(traps, who_may_connect_is_checked)
{
    struct thread *user = user_new(), *other = user_new();
    KnTrapConnect connect = { .what = K_CONNECT_TRAP, .handler = 0x400000 };
    cr_assert_eq(
        DO(user, actorTrapConnect, cap_of(other->actor, user->actor), PUT(user->actor, connect)),
        K_EPRIV);
    connect.what = 8;
    cr_assert_eq(DO(user, actorTrapConnect, 0, PUT(user->actor, connect)), K_EINVAL);
    connect = (KnTrapConnect){ .what = K_CONNECT_TRAP, .port = { 0x08000001, 7 } };
    cr_assert_eq(DO(user, actorTrapConnect, 0, PUT(user->actor, connect)), K_EUNKNOWN);
    connect.handler = 1;
    cr_assert_eq(DO(user, actorTrapConnect, 0, PUT(user->actor, connect)), K_EINVAL);
    cr_assert_eq(DO(user, actorTrapConnect, 0, 0), K_EINVAL);
}

Test(traps, a_reply_that_is_none_is_refused_and_the_trap_stays)
{
    connected_pair(K_CONNECT_TRAP);
    trap_by(program, 39, arguments);
    take_trap();
    cr_assert_eq(DO(handler, ipcReply, PUT(handler->actor, (KnMsgDesc){ 0 })), K_EINVAL);
    cr_assert_eq(answer_with(&(KnTrapReply){ .action = 0 }, NULL, 0), K_EINVAL);
    cr_assert_eq(answer_with(&(KnTrapReply){ .action = 99 }, NULL, 0), K_EINVAL);
    char large[CALL_SCRATCH + 1] = { 0 };
    cr_assert_eq(answer_with(&(KnTrapReply){ .action = K_DO_RETURN }, large, sizeof large),
                 K_ETOOMUCH);
    answer(K_DO_RETURN, 7);
    cr_assert_eq(result_of(program), 7);
}

/* ---- nobody ---- */

Test(traps, an_unhandled_system_call_returns_minus_38)
{
    program = user_new();
    trap_by(program, 39, arguments);
    cr_assert_eq(result_of(program), -38);
}

static int faults_seen;
static void see_fault(struct actor *actor, struct thread *thread, const KnThreadCtx *context,
                      int kind)
{
    faults_seen++;
    cr_assert_eq(thread->actor, actor);
    cr_assert_eq(context->rip, 0x400000);
    cr_assert_eq(kind, K_TRAP_FAULT);
}

Test(traps, an_unhandled_fault_deletes_the_actor_and_says_why)
{
    program = user_new();
    memcpy(program->actor->name, "wild", 5);
    nucleus_hooks.actor_fault = see_fault;
    fault_by(program, 0xbad123, true);
    cr_assert_eq(actor_count(), 0);
    cr_assert_eq(faults_seen, 1);
    cr_assert(strstr(fake_host_log, "wild") != NULL && strstr(fake_host_log, "bad123") != NULL);
}

Test(traps, a_fault_in_a_region_is_mended_without_a_word)
{
    program = user_new();
    fault_by(program, room(program->actor, 4096) + 100, true);
    cr_assert_geq(fake_host_cpu_of(program), 0);
    cr_assert_not(program->context->has_result);
}

/* ---- a handler's port ---- */

Test(traps, a_system_call_becomes_a_request_with_everything_in_it)
{
    connected_pair(K_CONNECT_TRAP);
    trap_by(program, 39, arguments);
    cr_assert(waits(program));
    KnTrapMsg message = take_trap();
    cr_assert_eq(message.kind, K_TRAP_SYSCALL);
    cr_assert_eq(message.number, 39);
    cr_assert_arr_eq(message.arg, arguments, sizeof arguments);
    cr_assert_eq(message.ip, 0x400000);
    cr_assert_eq(message.sp, 0x7000000);
    cr_assert_eq(message.cookie, 4242);
    cr_assert_eq(message.thread, program->li);
    cr_assert(uiEqual(&message.actor, &program->actor->cap.ui));
    answer(K_DO_RETURN, 1234);
    cr_assert_eq(result_of(program), 1234);
    cr_assert_geq(fake_host_cpu_of(program), 0);
}

Test(traps, exceptions_go_where_exceptions_are_connected)
{
    connected_pair(K_CONNECT_EXCEPTION);
    trap_by(program, 39, arguments);
    cr_assert_eq(result_of(program), -38);
    fault_by(program, 0xbad123, true);
    KnTrapMsg message = take_trap();
    cr_assert_eq(message.kind, K_TRAP_FAULT);
    cr_assert_eq(message.arg[0], 0xbad123);
    cr_assert_eq(message.arg[1], K_FAULT_WRITE);
    cr_assert_eq((int64_t)message.arg[2], K_EFAULT);
    answer(K_DO_CONTEXT, 0);
    cr_assert_geq(fake_host_cpu_of(program), 0);
}

Test(traps, a_handler_sets_a_context_while_it_holds_the_trap)
{
    connected_pair(K_CONNECT_TRAP);
    trap_by(program, 39, arguments);
    take_trap();
    uint64_t cap = cap_of(program->actor, handler->actor), li = (uint64_t)program->li;
    KnThreadCtx registers;
    uint64_t at = room(handler->actor, sizeof registers),
             xstate = room(handler->actor, K_XSTATEMAX);
    cr_assert_eq(DO(handler, threadContext, cap, li, at, 0, xstate), K_OK);
    get(handler->actor, at, &registers, sizeof registers);
    cr_assert_eq(registers.trap, K_TRAP_SYSCALL);
    registers.rip = 0x123456;
    registers.flags = K_CTX_GENERAL | K_CTX_XSTATE;
    cr_assert_eq(DO(handler, threadContext, cap, li, 0, PUT(handler->actor, registers), 0),
                 K_EINVAL);
    cr_assert_eq(DO(handler, threadContext, cap, li, 0, PUT(handler->actor, registers), xstate),
                 K_OK);
    answer(K_DO_CONTEXT, 0);
    settle();
    cr_assert_eq(program->context->registers.rip, 0x123456);
    cr_assert_not(program->context->has_result);
}

Test(traps, a_thread_can_be_copied_from_one_that_is_in_a_trap)
{
    connected_pair(K_CONNECT_TRAP);
    program->context->registers.rbx = 77;
    trap_by(program, 57, arguments);
    take_trap();
    KnThreadStart start = { .flags = K_START_COPY,
                            .sourceThread = program->li,
                            .sourceActor = program->actor->cap,
                            .argument = 0,
                            .cookie = 9 };
    uint64_t child_at = room(handler->actor, sizeof(KnCap));
    cr_assert_eq(DO(handler, actorCreate, cap_of(program->actor, handler->actor), child_at,
                    K_USERACTOR, K_ACTIVE),
                 K_OK);
    int64_t li = DO(handler, threadCreate, child_at, 0, K_INACTIVE, 0, PUT(handler->actor, start));
    cr_assert_eq(li, 1);
    KnCap child;
    get(handler->actor, child_at, &child, sizeof child);
    struct actor *actor = actor_by_ui(&child.ui);
    struct thread *copy = id_table_find(&actor->thread_ids, 1);
    cr_assert_eq(copy->context->registers.rbx, 77);
    cr_assert_eq(copy->context->registers.rax, 0);
    cr_assert_eq(copy->context->registers.rip, 0x400000);
    cr_assert(uiEqual(&actor->trap.port, &handler->actor->default_port->ui),
              "handlers are inherited");
    answer(K_DO_RETURN, 55);
}

Test(traps, restart_executes_the_instruction_again)
{
    connected_pair(K_CONNECT_TRAP);
    trap_by(program, 39, arguments);
    take_trap();
    answer(K_DO_RESTART, 0);
    cr_assert(program->context->restarted);
    cr_assert_eq(program->context->registers.rax, 39);
}

Test(traps, stop_keeps_it_until_it_is_started)
{
    connected_pair(K_CONNECT_TRAP);
    trap_by(program, 39, arguments);
    take_trap();
    answer(K_DO_STOP, 0);
    pass(MS);
    cr_assert_eq(fake_host_cpu_of(program), -1);
    uint64_t cap = cap_of(program->actor, handler->actor);
    cr_assert_eq(DO(handler, threadContext, cap, (uint64_t)program->li,
                    room(handler->actor, sizeof(KnThreadCtx)), 0, 0),
                 K_OK);
    cr_assert_eq(DO(handler, threadStart, cap, (uint64_t)program->li), K_OK);
    pass(MS);
    cr_assert_geq(fake_host_cpu_of(program), 0);
}

Test(traps, a_reply_may_delete_the_thread)
{
    connected_pair(K_CONNECT_TRAP);
    size_t before = thread_count();
    trap_by(program, 60, arguments);
    take_trap();
    answer(K_DO_DELETE, 0);
    cr_assert_eq(thread_count(), before - 1);
}

Test(traps, a_reply_may_ask_for_what_is_done_without_a_handler)
{
    connected_pair(K_CONNECT_TRAP | K_CONNECT_EXCEPTION);
    trap_by(program, 39, arguments);
    take_trap();
    answer(K_DO_REFLECT, 0);
    cr_assert_eq(result_of(program), -38);
    fault_by(program, 0xbad123, true);
    take_trap();
    answer(K_DO_REFLECT, 0);
    cr_assert_eq(actor_count(), 1);
}

/* ---- a call done as the thread ---- */

static void answer_call(unsigned number, uint32_t flags, const uint64_t arg[6], const void *body,
                        uint32_t size)
{
    KnTrapReply reply = { .action = K_DO_CALL, .flags = flags, .number = number };
    memcpy(reply.arg, arg, sizeof reply.arg);
    cr_assert_eq(answer_with(&reply, body, size), K_OK);
}

Test(traps, a_call_done_as_the_thread_gives_it_the_result)
{
    connected_pair(K_CONNECT_TRAP);
    trap_by(program, 1, arguments);
    take_trap();
    answer_call(CALL_threadSelf, 0, (const uint64_t[6]){ 0 }, NULL, 0);
    cr_assert_eq(result_of(program), program->li);
}

Test(traps, the_result_is_reported_when_it_is_an_error_or_asked_for)
{
    connected_pair(K_CONNECT_TRAP);
    trap_by(program, 1, arguments);
    take_trap();
    answer_call(CALL_threadDelay, 0, (const uint64_t[6]){ (uint64_t)K_FOREVER }, NULL, 0);
    cr_assert(waits(program));
    uint64_t cap = cap_of(program->actor, handler->actor);
    cr_assert_eq(DO(handler, threadAbort, cap, (uint64_t)program->li), K_OK);
    KnTrapMsg message = take_trap();
    cr_assert_eq(message.kind, K_TRAP_RESULT);
    cr_assert_eq(message.number, CALL_threadDelay);
    cr_assert_eq((int64_t)message.arg[0], K_EABORT);
    answer(K_DO_RESTART, 0);
    cr_assert_eq(program->context->registers.rax, 1, "the system call, not the nucleus call");
    trap_by(program, 1, arguments);
    take_trap();
    answer_call(CALL_threadSelf, K_DO_REPORT, (const uint64_t[6]){ 0 }, NULL, 0);
    message = take_trap();
    cr_assert_eq(message.kind, K_TRAP_RESULT);
    cr_assert_eq(message.arg[0], (uint64_t)program->li);
    answer(K_DO_RETURN, 3);
    cr_assert_eq(result_of(program), 3);
}

Test(traps, structures_of_a_call_come_from_the_reply)
{
    connected_pair(K_CONNECT_TRAP);
    struct thread *receiver = user_new();
    struct {
        KnIpcDest dest;
        KnMsgDesc desc;
    } body = { .dest = { .target = receiver->actor->default_port->ui } };
    uint64_t text = put(program->actor, "of the program", 15);
    body.desc = (KnMsgDesc){ .bodySize = 15, .bodyAddr = (void *)text };
    trap_by(program, 1, arguments);
    take_trap();
    answer_call(CALL_ipcSend, 0, (const uint64_t[6]){ offsetof(typeof(body), desc), 0, 0 }, &body,
                sizeof body);
    cr_assert_eq(result_of(program), K_OK);
    uint64_t desc;
    char back[15];
    cr_assert_eq(receive_by(receiver, 0, K_NODELAY, &desc), 15);
    message_body(receiver->actor, desc, back, 15);
    cr_assert_str_eq(back, "of the program");
    receive_by(receiver, 0, K_NODELAY, NULL);
    /* Offsets that lie outside of the reply. */
    trap_by(program, 1, arguments);
    take_trap();
    answer_call(CALL_ipcSend, 0, (const uint64_t[6]){ sizeof body - 1, 0, 0 }, &body, sizeof body);
    cr_assert_eq((int64_t)take_trap().arg[0], K_EFAULT);
    answer_call(CALL_actorSelf, 0, (const uint64_t[6]){ 0 }, &body, sizeof body);
    cr_assert_eq((int64_t)take_trap().arg[0], K_EINVAL, "out-structures are not possible");
    answer_call(999, 0, (const uint64_t[6]){ 0 }, NULL, 0);
    cr_assert_eq((int64_t)take_trap().arg[0], K_ENOSYS);
    answer(K_DO_RETURN, 0);
}

Test(traps, a_call_to_another_server_may_be_done_as_the_thread)
{
    connected_pair(K_CONNECT_TRAP);
    struct thread *server = user_new();
    receive_by(server, 0, K_FOREVER, NULL);
    struct {
        KnIpcDest dest;
        KnMsgDesc desc;
    } body = { .dest = { .target = server->actor->default_port->ui } };
    trap_by(program, 1, arguments);
    take_trap();
    answer_call(
        CALL_ipcCall, 0,
        (const uint64_t[6]){ offsetof(typeof(body), desc), 0, 0, K_DO_NULL, (uint64_t)K_FOREVER },
        &body, sizeof body);
    cr_assert(waits(program));
    cr_assert_eq(reply_by(server, 1, NULL, 0), K_OK);
    cr_assert_eq(result_of(program), 0);
}

/* ---- aborts ---- */

Test(traps, an_abort_is_told_to_its_handler_before_the_thread_goes_on)
{
    connected_pair(K_CONNECT_TRAP | K_CONNECT_ABORT);
    uint64_t cap = cap_of(program->actor, handler->actor);
    cr_assert_eq(DO(handler, threadAbort, cap, (uint64_t)program->li), K_OK);
    KnTrapMsg message = take_trap();
    cr_assert_eq(message.kind, K_TRAP_ABORT);
    cr_assert_eq(message.ip, 0x400000);
    cr_assert(waits(program));
    answer(K_DO_CONTEXT, 0);
    cr_assert_geq(fake_host_cpu_of(program), 0);
    cr_assert_not(program->context->has_result);
    cr_assert_not(program->aborted);
}

Test(traps, an_abort_while_the_trap_is_handled_comes_after_it)
{
    connected_pair(K_CONNECT_TRAP | K_CONNECT_ABORT);
    uint64_t cap = cap_of(program->actor, handler->actor);
    trap_by(program, 39, arguments);
    take_trap();
    cr_assert_eq(DO(handler, threadAbort, cap, (uint64_t)program->li), K_OK);
    answer(K_DO_RETURN, -4);
    cr_assert_eq(take_trap().kind, K_TRAP_ABORT);
    cr_assert_eq((int64_t)program->context->registers.rax, -4);
    answer(K_DO_CONTEXT, 0);
    cr_assert_geq(fake_host_cpu_of(program), 0);
}

Test(traps, a_stranger_s_abort_of_a_parked_trap_is_told_to_the_handler)
{
    connected_pair(K_CONNECT_TRAP);
    struct thread *stranger = thread_new(program->actor);
    trap_by(program, 39, arguments);
    take_trap();
    cr_assert_eq(DO(handler, ipcSave, room(handler->actor, 8)), K_OK);
    cr_assert_eq(DO(stranger, threadAbort, 0, (uint64_t)program->li), K_OK);
    cr_assert_eq(take_trap().kind, K_MSG_ABORTED);
    cr_assert(waits(program));
}

/* ---- a handler in the same actor ---- */

Test(traps, a_reply_may_end_the_actor_of_who_replies)
{
    program = user_new();
    handler = thread_new(program->actor);
    KnTrapConnect connect = { .what = K_CONNECT_EXCEPTION,
                              .port = program->actor->default_port->ui };
    cr_assert_eq(DO(handler, actorTrapConnect, 0, PUT(handler->actor, connect)), K_OK);
    fault_by(program, 0xbad123, true);
    take_trap();
    KnTrapReply reply = { .action = K_DO_REFLECT };
    uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    memcpy(annex, &reply, sizeof reply);
    KnMsgDesc desc = { .annexAddr = (void *)put(handler->actor, annex, sizeof annex) };
    int li = 0;
    cr_assert_eq(DO(handler, ipcReplyReceive, PUT(handler->actor, desc),
                    message(handler->actor, 0, NULL, 0, 0), PUT(handler->actor, li),
                    (uint64_t)K_FOREVER),
                 K_BLOCKED);
    cr_assert_eq(actor_count_existing(), 0);
}

Test(traps, a_trap_of_a_deleted_thread_is_gone_for_its_handler)
{
    connected_pair(K_CONNECT_TRAP);
    trap_by(program, 39, arguments);
    take_trap();
    KnMsgId id;
    uint64_t at = room(handler->actor, 8);
    cr_assert_eq(DO(handler, ipcSave, at), K_OK);
    get(handler->actor, at, &id, 8);
    cr_assert_eq(DO(handler, actorDelete, cap_of(program->actor, handler->actor)), K_OK);
    cr_assert_eq(receive_by(handler, 0, K_NODELAY, NULL), K_ETIMEOUT, "it did it itself");
    cr_assert_eq(DO(handler, ipcRestore, PUT(handler->actor, id)), K_EUNKNOWN);
    cr_assert_eq(message_count(), 0);
}

/* ---- the handler's death ---- */

Test(traps, an_actor_whose_handler_dies_is_deleted_at_its_next_trap_or_at_once)
{
    connected_pair(K_CONNECT_TRAP);
    struct thread *second = thread_new(actor_new(K_USERACTOR));
    second->actor->trap = program->actor->trap;
    trap_by(program, 39, arguments);
    actor_kill(handler->actor, K_OK, NULL);
    settle();
    cr_assert_eq(actor_count(), 1);
    trap_by(second, 39, arguments);
    cr_assert_eq(actor_count(), 0);
}

/* ---- reflection ---- */

static void reflecting_program(void)
{
    program = user_new();
    uint64_t stack = room(program->actor, 65536) + 65536;
    program->context->registers.rsp = stack - 24;
    KnTrapConnect connect = { .what = K_CONNECT_TRAP | K_CONNECT_EXCEPTION, .handler = 0x44444 };
    cr_assert_eq(DO(program, actorTrapConnect, 0, PUT(program->actor, connect)), K_OK);
}

Test(traps, a_reflected_trap_goes_to_the_handler_below_the_red_zone)
{
    reflecting_program();
    uint64_t sp = program->context->registers.rsp;
    program->context->registers.rbx = 5;
    trap_by(program, 9, arguments);
    const KnThreadCtx *now = &program->context->registers;
    cr_assert_geq(fake_host_cpu_of(program), 0);
    cr_assert_eq(now->rip, 0x44444);
    cr_assert_eq(now->rsp % 16, 0);
    cr_assert_leq(now->rsp, sp - 128 - sizeof(KnReflect));
    cr_assert_eq(now->rbx, 5);
    KnReflect frame;
    get(program->actor, now->rsp, &frame, sizeof frame);
    cr_assert_eq(frame.kind, K_TRAP_SYSCALL);
    cr_assert_eq(frame.number, 9);
    cr_assert_eq(frame.savedRip, 0x400000);
    cr_assert_eq(frame.savedRsp, sp);
}

Test(traps, a_handler_without_a_stack_ends_its_actor)
{
    reflecting_program();
    program->context->registers.rsp = 64;
    trap_by(program, 9, arguments);
    cr_assert_eq(actor_count(), 0);
    reflecting_program();
    program->context->registers.rsp = 0xffffffffffffff00;
    trap_by(program, 9, arguments);
    cr_assert_eq(actor_count(), 0);
}
