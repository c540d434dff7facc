/* Ports and messages. */
#include "site.h"

#include <string.h>

TestSuite(ipc, .init = site_start, .fini = site_end);

static struct thread *client, *server;
static KnUniqueId service;
static int service_li;

/* A client and a server with a port. */
static void two_actors(void)
{
    client = user_new();
    server = user_new();
    service = port_new(server->actor, &service_li);
}

static uint64_t to(struct thread *thread, const KnUniqueId *ui)
{
    return dest_to(thread->actor, ui, K_PORTMODE);
}

static int64_t send_word(struct thread *thread, const KnUniqueId *ui, uint64_t word)
{
    return DO(thread, ipcSend, message(thread->actor, word, NULL, 0, 0), 0, to(thread, ui));
}

static uint64_t reply_desc;

static int64_t call_word(struct thread *thread, const KnUniqueId *ui, uint64_t word, uint32_t flags,
                         KnTime delay)
{
    reply_desc = message(thread->actor, 0, NULL, 4096, 0);
    return DO(thread, ipcCall, message(thread->actor, word, NULL, 0, flags), 0, to(thread, ui),
              reply_desc, (uint64_t)delay);
}

/* ---- bad input ---- */

Test(ipc, bad_destinations_and_descriptors_are_refused)
{
    two_actors();
    struct actor *actor = client->actor;
    KnUniqueId nobody = { 0x08000001, 7 };
    cr_assert_eq(send_word(client, &nobody, 1), K_EUNKNOWN);
    cr_assert_eq(call_word(client, &nobody, 1, 0, K_FOREVER), K_EUNKNOWN);
    cr_assert_eq(DO(client, ipcSend, 0, 0, to(client, &service)), K_EINVAL);
    cr_assert_eq(DO(client, ipcSend, message(actor, 1, NULL, 0, 0), 0, 0), K_EINVAL);
    cr_assert_eq(DO(client, ipcSend, 0xdead0000, 0, to(client, &service)), K_EFAULT);
    cr_assert_eq(DO(client, ipcSend, message(actor, 1, NULL, 0, 0), 5, to(client, &service)),
                 K_EINVAL);
    cr_assert_eq(DO(client, ipcSend, message(actor, 1, NULL, 0, 0), 0, dest_to(actor, &service, 9)),
                 K_EINVAL);
    cr_assert_eq(
        DO(client, ipcSend, message(actor, 1, NULL, 0, 0), 0, dest_to(actor, &service, K_FUNCMODE)),
        K_EUNKNOWN);
    KnMsgDesc desc = { .bodySize = K_CMSGSIZEMAX + 1, .bodyAddr = (void *)0x10000000 };
    cr_assert_eq(DO(client, ipcSend, PUT(actor, desc), 0, to(client, &service)), K_ETOOMUCH);
    desc = (KnMsgDesc){ .bodySize = 100, .bodyAddr = (void *)0xdead0000 };
    cr_assert_eq(DO(client, ipcSend, PUT(actor, desc), 0, to(client, &service)), K_EFAULT);
    desc = (KnMsgDesc){ .annexAddr = (void *)UINT64_MAX };
    cr_assert_eq(DO(client, ipcSend, PUT(actor, desc), 0, to(client, &service)), K_EFAULT);
    cr_assert_eq(message_count(), 0);
}

Test(ipc, only_the_owner_receives)
{
    two_actors();
    cr_assert_eq(receive_by(client, service_li + 5, K_NODELAY, NULL), K_EUNKNOWN);
    cr_assert_eq(DO(client, ipcReceive, 0, 0, 0), K_EINVAL);
    cr_assert_eq(DO(client, ipcReply, message(client->actor, 0, NULL, 0, 0)), K_ENOMSG);
    cr_assert_eq(DO(client, ipcSave, room(client->actor, 8)), K_ENOMSG);
    KnMsgId id = 1;
    cr_assert_eq(DO(client, ipcRestore, PUT(client->actor, id)), K_EUNKNOWN);
    cr_assert_eq(DO(client, ipcGetData, message(client->actor, 0, NULL, 10, 0)), K_ENOMSG);
    cr_assert_eq(DO(client, ipcSysInfo, room(client->actor, sizeof(KnMsgHead))), K_ENOMSG);
    cr_assert_eq(receive_by(client, K_DEFAULTPORT, K_NODELAY, NULL), K_ETIMEOUT);
}

Test(ipc, the_default_port_can_be_neither_deleted_nor_migrated)
{
    two_actors();
    cr_assert_eq(DO(client, portDelete, 0, K_DEFAULTPORT), K_EINVAL);
    cr_assert_eq(
        DO(client, portMigrate, K_MIGRATE_KEEP, 0, 0, cap_of(server->actor, client->actor), 0),
        K_EINVAL);
    cr_assert_eq(DO(client, portDelete, 0, 99), K_EUNKNOWN);
    cr_assert_eq(DO(client, portEnable, 0, 0, 256), K_EINVAL);
}

/* ---- sending ---- */

Test(ipc, a_sent_message_waits_for_its_receiver)
{
    two_actors();
    cr_assert_eq(
        DO(client, ipcSend, message(client->actor, 77, "body", 5, 0), 0, to(client, &service)),
        K_OK);
    uint64_t desc;
    cr_assert_eq(receive_by(server, service_li, K_FOREVER, &desc), 5);
    char body[5];
    message_body(server->actor, desc, body, 5);
    cr_assert_str_eq(body, "body");
    cr_assert_eq(message_annex(server->actor, desc), 77);
    cr_assert_eq(message_desc(server->actor, desc).seqNum, 1);
    KnMsgHead head;
    uint64_t head_at = room(server->actor, sizeof head);
    cr_assert_eq(DO(server, ipcSysInfo, head_at), K_OK);
    get(server->actor, head_at, &head, sizeof head);
    cr_assert(uiEqual(&head.srcActor, &client->actor->cap.ui));
    cr_assert(uiEqual(&head.srcPort, &client->actor->default_port->ui));
    cr_assert(uiEqual(&head.target, &service));
    cr_assert_eq(head.transId, 0);
    cr_assert_eq(DO(server, ipcReply, message(server->actor, 0, NULL, 0, 0)), K_ENOMSG);
    receive_by(server, service_li, K_NODELAY, NULL);
}

Test(ipc, a_waiting_receiver_gets_the_message_at_once)
{
    two_actors();
    uint64_t desc;
    cr_assert_eq(receive_by(server, service_li, K_FOREVER, &desc), K_BLOCKED);
    cr_assert_eq(
        DO(client, ipcSend, message(client->actor, 5, "hello", 6, 0), 0, to(client, &service)),
        K_OK);
    cr_assert_eq(result_of(server), 6);
    cr_assert_eq(message_annex(server->actor, desc), 5);
    char body[6];
    message_body(server->actor, desc, body, 6);
    cr_assert_str_eq(body, "hello");
    receive_by(server, service_li, K_NODELAY, NULL);
}

static void large_body(bool waiting)
{
    static char out[65536], back[65536];
    two_actors();
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char)(i * 7 + (i >> 8));
    uint64_t desc = 0;
    if (waiting)
        cr_assert_eq(receive_by(server, service_li, K_FOREVER, &desc), K_BLOCKED);
    cr_assert_eq(
        DO(client, ipcSend, message(client->actor, 1, out, sizeof out, 0), 0, to(client, &service)),
        K_OK);
    if (!waiting)
        cr_assert_eq(receive_by(server, service_li, K_FOREVER, &desc), 65536);
    else
        cr_assert_eq(result_of(server), 65536);
    message_body(server->actor, desc, back, sizeof back);
    cr_assert_arr_eq(out, back, sizeof out);
    receive_by(server, service_li, K_NODELAY, NULL);
}

Test(ipc, the_largest_body_arrives_whole_at_a_waiting_receiver)
{
    large_body(true);
}
Test(ipc, the_largest_body_arrives_whole_from_the_queue)
{
    large_body(false);
}

Test(ipc, a_full_queue_refuses_and_says_so)
{
    two_actors();
    for (unsigned i = 0; i < K_CPORTQUEUE; i++)
        cr_assert_eq(send_word(client, &service, i), K_OK);
    cr_assert_eq(send_word(client, &service, 0), K_EFULL);
    cr_assert_eq(call_word(client, &service, 0, 0, K_FOREVER), K_EFULL);
    for (unsigned i = 0; i < K_CPORTQUEUE; i++) {
        uint64_t desc;
        cr_assert_eq(receive_by(server, service_li, K_NODELAY, &desc), 0);
        cr_assert_eq(message_annex(server->actor, desc), i, "messages overtook each other");
        if (i % 50 == 0)
            cr_assert_eq(send_word(client, &service, K_CPORTQUEUE + i), K_OK);
    }
}

Test(ipc, one_sender_cannot_fill_the_memory_of_the_site)
{
    static char body[65536];
    two_actors();
    uint64_t out = message(client->actor, 1, body, sizeof body, 0);
    int64_t status = K_OK;
    unsigned sent = 0;
    while (sent < 1000 && (status = DO(client, ipcSend, out, 0, to(client, &service))) == K_OK)
        sent++;
    cr_assert_eq(status, K_EFULL);
    cr_assert_eq(sent, ACTOR_QUEUED_MAX / (sizeof body + sizeof(struct message)));
    cr_assert_eq(receive_by(server, service_li, K_NODELAY, NULL), 65536);
    receive_by(server, service_li, K_NODELAY, NULL);
    cr_assert_eq(DO(client, ipcSend, out, 0, to(client, &service)), K_OK);
}

/* ---- calling ---- */

Test(ipc, a_call_gets_its_reply)
{
    two_actors();
    uint64_t desc;
    cr_assert_eq(receive_by(server, service_li, K_FOREVER, &desc), K_BLOCKED);
    cr_assert_eq(call_word(client, &service, 11, 0, K_FOREVER), K_BLOCKED);
    cr_assert_eq(result_of(server), 0);
    cr_assert_eq(message_annex(server->actor, desc), 11);
    cr_assert_eq(reply_by(server, 22, "answer", 7), K_OK);
    cr_assert_eq(result_of(client), 7);
    cr_assert_eq(message_annex(client->actor, reply_desc), 22);
    char body[7];
    message_body(client->actor, reply_desc, body, 7);
    cr_assert_str_eq(body, "answer");
    cr_assert_eq(reply_by(server, 1, NULL, 0), K_ENOMSG, "a request is answered once");
}

Test(ipc, a_call_and_its_reply_stay_on_one_cpu)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    cr_assert_eq(call_word(client, &service, 1, 0, K_FOREVER), K_BLOCKED);
    int cpu = client->cpu;
    cr_assert_eq(fake_host_cpu_of(server), cpu);
    int li = service_li;
    uint64_t reply = message(server->actor, 0, NULL, 0, 0),
             in = message(server->actor, 0, NULL, 0, 0);
    unsigned switches = fake_host_switches;
    DO(server, ipcReplyReceive, reply, in, PUT(server->actor, li), (uint64_t)K_FOREVER);
    cr_assert(waits(server));
    cr_assert_eq(fake_host_cpu_of(client), cpu);
    cr_assert_eq(fake_host_switches, switches + 1);
}

Test(ipc, a_reply_larger_than_the_room_is_cut_and_says_so)
{
    static char body[8192];
    two_actors();
    memset(body, 'x', sizeof body);
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    cr_assert_eq(reply_by(server, 0, body, sizeof body), K_OK);
    cr_assert_eq(result_of(client), K_ETOOMUCH);
    cr_assert_eq(message_desc(client->actor, reply_desc).bodySize, 8192);
}

Test(ipc, a_reply_into_a_hole_is_the_callers_fault_alone)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    KnMsgDesc into = { .annexAddr = (void *)0xbad000 };
    cr_assert_eq(DO(client, ipcCall, message(client->actor, 1, NULL, 0, 0), 0, to(client, &service),
                    PUT(client->actor, into), (uint64_t)K_FOREVER),
                 K_BLOCKED);
    cr_assert_eq(reply_by(server, 1, NULL, 0), K_OK);
    cr_assert_eq(result_of(client), K_EFAULT);
}

Test(ipc, a_bad_reply_leaves_the_request_unanswered)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    KnMsgDesc bad = { .bodySize = 10, .bodyAddr = (void *)0xbad000 };
    cr_assert_eq(DO(server, ipcReply, PUT(server->actor, bad)), K_EFAULT);
    bad.bodySize = K_CMSGSIZEMAX + 1;
    cr_assert_eq(DO(server, ipcReply, PUT(server->actor, bad)), K_ETOOMUCH);
    cr_assert(waits(client));
    cr_assert_eq(reply_by(server, 3, NULL, 0), K_OK);
    cr_assert_eq(result_of(client), 0);
}

Test(ipc, a_call_times_out_and_a_late_reply_goes_nowhere)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    cr_assert_eq(call_word(client, &service, 1, 0, 5 * MS), K_BLOCKED);
    pass(5 * MS);
    cr_assert_eq(result_of(client), K_ETIMEOUT);
    cr_assert_eq(reply_by(server, 3, NULL, 0), K_OK);
    cr_assert_eq(DO(server, threadAborted), 0);
    cr_assert_eq(call_record_count(), 0);
    cr_assert_eq(call_word(client, &service, 1, 0, K_NODELAY), K_ETIMEOUT);
}

Test(ipc, a_call_that_times_out_in_the_queue_is_never_received)
{
    two_actors();
    cr_assert_eq(call_word(client, &service, 1, 0, 5 * MS), K_BLOCKED);
    pass(5 * MS);
    cr_assert_eq(result_of(client), K_ETIMEOUT);
    cr_assert_eq(receive_by(server, service_li, K_NODELAY, NULL), K_ETIMEOUT);
}

Test(ipc, a_request_that_is_dropped_by_receiving_again_is_answered)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    cr_assert_eq(receive_by(server, service_li, K_FOREVER, NULL), K_BLOCKED);
    cr_assert_eq(result_of(client), K_EDEAD);
}

/* ---- death ---- */

Test(ipc, callers_of_a_dying_server_learn_it)
{
    two_actors();
    struct thread *second = thread_new(client->actor);
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER); /* received */
    call_word(second, &service, 2, 0, K_FOREVER); /* queued */
    actor_kill(server->actor, K_OK, NULL);
    cr_assert_eq(result_of(client), K_EDEAD);
    cr_assert_eq(result_of(second), K_EDEAD);
}

Test(ipc, a_deleted_port_answers_its_callers_and_wakes_its_receivers)
{
    two_actors();
    struct thread *worker = thread_new(server->actor);
    KnUniqueId second = port_new(server->actor, NULL);
    int second_li = port_find(&second)->li;
    receive_by(server, service_li, K_FOREVER, NULL);
    cr_assert_eq(call_word(client, &second, 1, 0, K_FOREVER), K_BLOCKED);
    cr_assert_eq(DO(worker, portDelete, 0, (uint64_t)second_li), K_OK);
    cr_assert_eq(result_of(client), K_EDEAD);
    cr_assert_eq(DO(worker, portDelete, 0, (uint64_t)service_li), K_OK);
    cr_assert_eq(result_of(server), K_EUNKNOWN);
    cr_assert_eq(send_word(client, &service, 1), K_EUNKNOWN);
}

Test(ipc, the_death_of_a_serving_thread_answers_its_request)
{
    two_actors();
    struct thread *worker = thread_new(server->actor);
    receive_by(worker, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    cr_assert_eq(DO(server, threadDelete, 0, (uint64_t)worker->li), K_OK);
    cr_assert_eq(result_of(client), K_EDEAD);
}

Test(ipc, the_receiver_that_came_last_is_served_first)
{
    two_actors();
    struct thread *worker = thread_new(server->actor);
    uint64_t first, last;
    receive_by(server, service_li, K_FOREVER, &first);
    receive_by(worker, service_li, K_FOREVER, &last);
    cr_assert_eq(send_word(client, &service, 1), K_OK);
    cr_assert_eq(result_of(worker), 0);
    cr_assert_eq(message_annex(server->actor, last), 1);
    cr_assert_eq(send_word(client, &service, 2), K_OK);
    cr_assert_eq(result_of(server), 0);
    cr_assert_eq(message_annex(server->actor, first), 2);
}

Test(ipc, a_message_is_not_lost_with_the_thread_that_was_woken_for_it)
{
    two_actors();
    struct thread *worker = thread_new(server->actor);
    uint64_t desc;
    receive_by(server, service_li, K_FOREVER, &desc);
    /* Room in a hole: the message cannot be handed over, the receiver that came last has to fetch it itself. */
    KnMsgDesc bad = { .annexAddr = (void *)0xbad000 };
    int li = service_li;
    DO(worker, ipcReceive, PUT(server->actor, bad), PUT(server->actor, li), (uint64_t)K_FOREVER);
    cr_assert_eq(send_word(client, &service, 99), K_OK);
    cr_assert_eq(result_of(worker), K_EFAULT);
    cr_assert_eq(result_of(server), 0);
    cr_assert_eq(message_annex(server->actor, desc), 99);
    receive_by(server, service_li, K_NODELAY, NULL);
}

/* ---- aborts ---- */

Test(ipc, an_abort_of_the_caller_aborts_the_thread_that_serves_it)
{
    two_actors();
    struct thread *second = thread_new(client->actor);
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, K_ABORTABLE, K_FOREVER);
    cr_assert_eq(DO(second, threadAbort, 0, (uint64_t)client->li), K_OK);
    cr_assert_eq(result_of(client), K_EABORT);
    cr_assert_eq(DO(server, threadAborted), 1);
    cr_assert_eq(reply_by(server, 0, NULL, 0), K_OK);
}

Test(ipc, an_abort_goes_through_a_chain_of_servers)
{
    two_actors();
    struct thread *second = thread_new(client->actor), *last = user_new();
    int last_li;
    KnUniqueId last_port = port_new(last->actor, &last_li);
    receive_by(last, last_li, K_FOREVER, NULL);
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, K_ABORTABLE, K_FOREVER);
    call_word(server, &last_port, 1, K_ABORTABLE, K_FOREVER);
    cr_assert_eq(DO(second, threadAbort, 0, (uint64_t)client->li), K_OK);
    cr_assert_eq(result_of(client), K_EABORT);
    cr_assert_eq(result_of(server), K_EABORT);
    cr_assert_eq(DO(last, threadAborted), 1);
}

Test(ipc, a_call_that_is_not_abortable_is_not_aborted)
{
    two_actors();
    struct thread *second = thread_new(client->actor);
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    cr_assert_eq(DO(second, threadAbort, 0, (uint64_t)client->li), K_OK);
    cr_assert(waits(client));
    reply_by(server, 0, NULL, 0);
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(DO(client, threadAborted), 1);
}

Test(ipc, an_aborted_request_that_is_queued_vanishes)
{
    two_actors();
    struct thread *second = thread_new(client->actor);
    call_word(client, &service, 1, K_ABORTABLE, K_FOREVER);
    DO(second, threadAbort, 0, (uint64_t)client->li);
    cr_assert_eq(result_of(client), K_EABORT);
    cr_assert_eq(receive_by(server, service_li, K_NODELAY, NULL), K_ETIMEOUT);
}

static KnMsgId save(struct thread *thread)
{
    KnMsgId id = 0;
    uint64_t at = room(thread->actor, sizeof id);
    cr_assert_eq(DO(thread, ipcSave, at), K_OK);
    get(thread->actor, at, &id, sizeof id);
    return id;
}

Test(ipc, the_port_of_a_parked_request_is_told_of_its_abort)
{
    two_actors();
    struct thread *second = thread_new(client->actor);
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, K_ABORTABLE, K_FOREVER);
    KnMsgId id = save(server);
    DO(second, threadAbort, 0, (uint64_t)client->li);
    cr_assert_eq(result_of(client), K_EABORT);
    uint64_t desc;
    cr_assert_eq(receive_by(server, service_li, K_NODELAY, &desc), 0);
    KnAbortedMsg note;
    get(server->actor, (uint64_t)message_desc(server->actor, desc).annexAddr, &note, sizeof note);
    cr_assert_eq(note.type, K_MSG_ABORTED);
    cr_assert_eq(note.id, id);
    cr_assert_eq(DO(server, ipcRestore, PUT(server->actor, id)), K_EUNKNOWN);
}

Test(ipc, the_port_of_a_parked_request_is_told_of_its_callers_death)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    KnMsgId id = save(server);
    actor_kill(client->actor, K_OK, NULL);
    uint64_t desc;
    cr_assert_eq(receive_by(server, service_li, K_NODELAY, &desc), 0);
    cr_assert_eq((uint32_t)message_annex(server->actor, desc), K_MSG_ABORTED);
    cr_assert_eq(DO(server, ipcRestore, PUT(server->actor, id)), K_EUNKNOWN);
}

Test(ipc, the_port_of_a_parked_request_is_told_when_its_caller_waits_no_longer)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, 5 * MS);
    KnMsgId id = save(server);
    pass(5 * MS);
    cr_assert_eq(result_of(client), K_ETIMEOUT);
    cr_assert_eq(receive_by(server, service_li, K_NODELAY, NULL), 0);
    cr_assert_eq(DO(server, ipcRestore, PUT(server->actor, id)), K_EUNKNOWN);
}

Test(ipc, a_request_whose_caller_is_gone_cannot_be_parked)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    actor_kill(client->actor, K_OK, NULL);
    cr_assert_eq(DO(server, ipcSave, room(server->actor, 8)), K_ENOMSG);
    cr_assert_eq(message_count(), 0);
}

/* ---- parking ---- */

Test(ipc, parked_requests_are_answered_in_any_order_by_any_thread)
{
    two_actors();
    struct thread *second = thread_new(client->actor), *worker = thread_new(server->actor);
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    uint64_t first_reply = reply_desc;
    KnMsgId first_id = save(server);
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(second, &service, 2, 0, K_FOREVER);
    KnMsgId second_id = save(server);
    cr_assert_neq(first_id, second_id);
    cr_assert_eq(DO(worker, ipcRestore, PUT(server->actor, second_id)), K_OK);
    cr_assert_eq(DO(server, ipcRestore, PUT(server->actor, second_id)), K_EUNKNOWN);
    cr_assert_eq(reply_by(worker, 222, NULL, 0), K_OK);
    cr_assert_eq(result_of(second), 0);
    cr_assert_eq(message_annex(client->actor, reply_desc), 222);
    cr_assert_eq(DO(worker, ipcRestore, PUT(server->actor, first_id)), K_OK);
    cr_assert_eq(reply_by(worker, 111, NULL, 0), K_OK);
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(message_annex(client->actor, first_reply), 111);
}

/* Receive with more flags; where the message is described. */
static uint64_t receive_with(struct thread *thread, uint32_t flags)
{
    uint64_t desc = message(thread->actor, 0, NULL, 65536, flags);
    DO(thread, ipcReceive, desc, PUT(thread->actor, service_li), (uint64_t)K_FOREVER);
    return desc;
}

static int64_t reply_by_id(struct thread *thread, KnMsgId id, uint64_t annex)
{
    uint64_t at = message(thread->actor, annex, NULL, 0, K_MSG_BYID);
    KnMsgDesc desc = message_desc(thread->actor, at);
    desc.id = id;
    return DO(thread, ipcReply, PUT(thread->actor, desc));
}

Test(ipc, a_request_can_be_parked_by_receiving_again_and_answered_by_its_id)
{
    two_actors();
    struct thread *second = thread_new(client->actor);
    call_word(client, &service, 1, 0, K_FOREVER);
    uint64_t first_reply = reply_desc, got = receive_with(server, 0);
    KnMsgId first = message_desc(server->actor, got).id;
    cr_assert_neq(first, 0);
    got = receive_with(server, K_MSG_PARK);
    cr_assert(waits(client) && waits(server));
    call_word(second, &service, 2, 0, K_FOREVER);
    KnMsgId other = message_desc(server->actor, got).id;
    cr_assert_eq(reply_by_id(server, first, 111), K_OK);
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(message_annex(client->actor, first_reply), 111);
    cr_assert_eq(reply_by_id(server, first, 111), K_ENOMSG, "it is answered");
    cr_assert(waits(second));
    cr_assert_eq(reply_by_id(server, other, 222), K_OK, "though it is the current one");
    cr_assert_eq(result_of(second), 0);
    cr_assert_eq(DO(server, ipcSysInfo, K_DO_NULL), K_ENOMSG, "it is no more");
}

Test(ipc, a_request_that_another_thread_holds_can_be_answered_by_its_id)
{
    two_actors();
    struct thread *worker = thread_new(server->actor);
    call_word(client, &service, 1, 0, K_FOREVER);
    KnMsgId id = message_desc(server->actor, receive_with(server, 0)).id;
    cr_assert_eq(reply_by_id(worker, id, 5), K_OK);
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(reply_by(server, 6, NULL, 0), K_ENOMSG);
}

Test(ipc, a_message_that_is_not_the_actors_or_not_received_is_not_answered_by_its_id)
{
    two_actors();
    struct thread *stranger = user_new(), *second = thread_new(client->actor);
    call_word(client, &service, 1, 0, K_FOREVER);
    KnMsgId id = message_desc(server->actor, receive_with(server, 0)).id;
    call_word(second, &service, 2, 0, K_FOREVER);
    cr_assert_eq(reply_by_id(stranger, id, 5), K_ENOMSG);
    cr_assert_eq(reply_by_id(server, 0, 5), K_ENOMSG);
    cr_assert_eq(reply_by_id(server, id + 1, 5), K_ENOMSG, "it is queued");
    cr_assert_eq(reply_by_id(server, id + 1000, 5), K_ENOMSG);
    cr_assert(waits(client) && waits(second));
}

Test(ipc, a_request_whose_caller_is_gone_is_dropped_when_it_is_to_be_parked)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, 5 * MS);
    pass(5 * MS);
    cr_assert_eq(result_of(client), K_ETIMEOUT);
    receive_with(server, K_MSG_PARK);
    cr_assert_eq(message_count(), 0u);
}

Test(ipc, another_actor_cannot_restore_it)
{
    two_actors();
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    KnMsgId id = save(server);
    struct thread *stranger = user_new();
    cr_assert_eq(DO(stranger, ipcRestore, PUT(stranger->actor, id)), K_EUNKNOWN);
}

Test(ipc, parked_messages_without_a_reply_are_bounded)
{
    two_actors();
    int64_t status = K_OK;
    unsigned parked = 0;
    for (; parked < 1000; parked++) {
        cr_assert_eq(send_word(client, &service, 1), K_OK);
        cr_assert_eq(receive_by(server, service_li, K_NODELAY, NULL), 0);
        status = DO(server, ipcSave, room(server->actor, 8));
        if (status != K_OK)
            break;
    }
    cr_assert_eq(status, K_EFULL);
    cr_assert_eq(parked, K_CPORTQUEUE);
}

Test(ipc, the_rest_of_a_body_is_fetched_later)
{
    two_actors();
    struct actor *actor = server->actor;
    char body[26];
    cr_assert_eq(DO(client, ipcSend, message(client->actor, 1, "abcdefghijklmnopqrstuvwxyz", 26, 0),
                    0, to(client, &service)),
                 K_OK);
    int li = service_li;
    uint64_t small = message(actor, 0, NULL, 10, 0);
    cr_assert_eq(DO(server, ipcReceive, small, PUT(actor, li), 0), 26);
    cr_assert_eq(message_desc(actor, small).bodySize, 26);
    message_body(actor, small, body, 10);
    cr_assert_arr_eq(body, "abcdefghij", 10);
    KnMsgDesc rest = { .bodySize = 100, .bodyAddr = (void *)room(actor, 100), .bodyOffset = 10 };
    uint64_t rest_at = PUT(actor, rest);
    cr_assert_eq(DO(server, ipcGetData, rest_at), 16);
    message_body(actor, rest_at, body, 16);
    cr_assert_arr_eq(body, "klmnopqrstuvwxyz", 16);
    rest.bodyOffset = 27;
    cr_assert_eq(DO(server, ipcGetData, PUT(actor, rest)), K_EOFFSET);
    receive_by(server, service_li, K_NODELAY, NULL);
}

/* ---- any enabled port ---- */

Test(ipc, any_enabled_takes_the_best_priority_and_the_oldest_of_equals)
{
    two_actors();
    int li[3];
    KnUniqueId port[3];
    for (int i = 0; i < 3; i++)
        port[i] = port_new(server->actor, &li[i]);
    const uint64_t order[] = { 0, 2, 1, 2, 1 };
    for (int i = 0; i < 5; i++)
        send_word(client, &port[order[i]], (uint64_t)i);
    cr_assert_eq(receive_by(server, K_ANYENABLED, K_NODELAY, NULL), K_ETIMEOUT);
    DO(server, portEnable, 0, (uint64_t)li[0], 9);
    DO(server, portEnable, 0, (uint64_t)li[1], 3);
    DO(server, portEnable, 0, (uint64_t)li[2], 3);
    const uint64_t expected[] = { 1, 2, 3, 4, 0 };
    for (int i = 0; i < 5; i++) {
        uint64_t desc = message(server->actor, 0, NULL, 0, 0);
        int any = K_ANYENABLED, from;
        uint64_t li_at = PUT(server->actor, any);
        cr_assert_eq(DO(server, ipcReceive, desc, li_at, 0), 0);
        cr_assert_eq(message_annex(server->actor, desc), expected[i]);
        get(server->actor, li_at, &from, sizeof from);
        cr_assert_eq(from, li[order[expected[i]]]);
    }
}

Test(ipc, who_waits_for_any_is_woken_when_a_port_is_enabled)
{
    two_actors();
    struct thread *worker = thread_new(server->actor);
    cr_assert_eq(receive_by(worker, K_ANYENABLED, K_FOREVER, NULL), K_BLOCKED);
    send_word(client, &service, 4);
    cr_assert(waits(worker));
    DO(server, portEnable, 0, (uint64_t)service_li, 0);
    cr_assert_eq(result_of(worker), 0);
    receive_by(worker, K_ANYENABLED, K_FOREVER, NULL);
    DO(server, portDisable, 0, (uint64_t)service_li);
    send_word(client, &service, 5);
    cr_assert(waits(worker));
}

/* ---- migration ---- */

Test(ipc, a_port_migrates_with_queued_and_parked_requests)
{
    two_actors();
    struct thread *second = thread_new(client->actor), *new_server = user_new();
    receive_by(server, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    uint64_t first_reply = reply_desc;
    KnMsgId id = save(server);
    call_word(second, &service, 2, 0, K_FOREVER);
    uint64_t seq_at = room(server->actor, 4);
    int64_t li = DO(server, portMigrate, K_MIGRATE_KEEP, 0, (uint64_t)service_li,
                    cap_of(new_server->actor, server->actor), seq_at);
    cr_assert_gt(li, 0);
    uint32_t seq;
    get(server->actor, seq_at, &seq, sizeof seq);
    cr_assert_eq(seq, 2);
    cr_assert_eq(DO(server, ipcRestore, PUT(server->actor, id)), K_EUNKNOWN);
    actor_kill(server->actor, K_OK, NULL);
    uint64_t desc;
    cr_assert_eq(receive_by(new_server, (int)li, K_NODELAY, &desc), 0);
    cr_assert_eq(message_annex(new_server->actor, desc), 2);
    cr_assert_eq(message_desc(new_server->actor, desc).seqNum, 1);
    reply_by(new_server, 20, NULL, 0);
    cr_assert_eq(result_of(second), 0);
    cr_assert_eq(DO(new_server, ipcRestore, PUT(new_server->actor, id)), K_OK);
    uint64_t again = message(new_server->actor, 0, NULL, 0, 0);
    cr_assert_eq(DO(new_server, ipcGetData, again), 0);
    cr_assert_eq(message_annex(new_server->actor, again), 1);
    reply_by(new_server, 10, NULL, 0);
    cr_assert_eq(result_of(client), 0);
    cr_assert_eq(message_annex(client->actor, first_reply), 10);
}

Test(ipc, a_migration_may_discard_what_is_queued)
{
    two_actors();
    struct thread *new_server = user_new(), *worker = thread_new(server->actor);
    call_word(client, &service, 1, 0, K_FOREVER);
    KnUniqueId other = port_new(server->actor, NULL);
    receive_by(worker, port_find(&other)->li, K_FOREVER, NULL);
    uint64_t cap = cap_of(new_server->actor, server->actor);
    cr_assert_gt(DO(server, portMigrate, K_MIGRATE_DISCARD, 0, (uint64_t)service_li, cap, 0), 0);
    cr_assert_eq(result_of(client), K_EDEAD);
    cr_assert_gt(
        DO(server, portMigrate, K_MIGRATE_KEEP, 0, (uint64_t)port_find(&other)->li, cap, 0), 0);
    cr_assert_eq(result_of(worker), K_EUNKNOWN);
    cr_assert_eq(DO(server, portMigrate, 2, 0, (uint64_t)service_li, cap, 0), K_EUNKNOWN);
}

Test(ipc, who_serves_a_request_answers_it_though_the_port_has_migrated)
{
    two_actors();
    struct thread *new_server = user_new(), *worker = thread_new(server->actor);
    receive_by(worker, service_li, K_FOREVER, NULL);
    call_word(client, &service, 1, 0, K_FOREVER);
    DO(server, portMigrate, K_MIGRATE_KEEP, 0, (uint64_t)service_li,
       cap_of(new_server->actor, server->actor), 0);
    cr_assert_eq(reply_by(worker, 8, NULL, 0), K_OK);
    cr_assert_eq(result_of(client), 0);
}

/* ---- names ---- */

Test(ipc, ports_are_made_declared_found_and_deleted)
{
    struct thread *thread = user_new(), *system = thread_new(actor_new(K_SYSTEMACTOR));
    struct actor *actor = thread->actor;
    uint64_t ui_at = room(actor, 8);
    int64_t li = DO(thread, portCreate, 0, ui_at);
    cr_assert_eq(li, 1);
    cr_assert_eq(DO(thread, portLi, 0, ui_at), 1);
    uint64_t back_at = room(actor, 8), ui, back;
    cr_assert_eq(DO(thread, portUi, 0, 1, back_at), K_OK);
    get(actor, ui_at, &ui, 8);
    get(actor, back_at, &back, 8);
    cr_assert_eq(ui, back);
    cr_assert_eq(DO(thread, portGetSeqNum, 0, 1), 1);
    KnUniqueId fixed = { .uiHead = (uint32_t)K_UISTATPORT << 27 | 123, .uiTail = 7 };
    cr_assert_eq(DO(thread, portDeclare, 0, PUT(actor, fixed)), K_EPRIV);
    cr_assert_eq(DO(system, portDeclare, 0, PUT(system->actor, fixed)), 1);
    cr_assert_eq(DO(system, portDeclare, 0, PUT(system->actor, fixed)), K_EBUSY);
    cr_assert_eq(DO(system, portDeclare, 0, put(system->actor, &ui, 8)), K_EINVAL);
    cr_assert_eq(DO(thread, portDelete, 0, 1), K_OK);
    cr_assert_eq(DO(thread, portLi, 0, ui_at), K_EUNKNOWN);
}

Test(ipc, the_number_of_ports_is_bounded)
{
    struct thread *thread = user_new();
    int64_t li;
    int made = 0;
    while ((li = DO(thread, portCreate, 0, 0)) > 0)
        made++;
    cr_assert_eq(li, K_ELIMIT);
    cr_assert_eq(made, ACTOR_PORTS_MAX);
}

Test(ipc, messages_carry_who_sent_them_and_only_the_trusted_change_that)
{
    two_actors();
    struct thread *system = thread_new(actor_new(K_SYSTEMACTOR));
    KnProtId pi = { .uid = 1000, .gid = 100 };
    uint64_t cap = cap_of(client->actor, system->actor);
    cr_assert_eq(DO(system, actorPi, cap, 0, PUT(system->actor, pi)), K_OK);
    cr_assert_eq(DO(client, portPi, 0, 0, 0, PUT(client->actor, pi)), K_EPRIV);
    send_word(client, &service, 1);
    receive_by(server, service_li, K_NODELAY, NULL);
    uint64_t head_at = room(server->actor, sizeof(KnMsgHead));
    DO(server, ipcSysInfo, head_at);
    KnMsgHead head;
    get(server->actor, head_at, &head, sizeof head);
    cr_assert_eq(head.actorId.uid, 1000);
    cr_assert_eq(head.portId.uid, 0);
    receive_by(server, service_li, K_NODELAY, NULL);
}

Test(ipc, a_watcher_is_told_of_an_end)
{
    two_actors();
    struct thread *watcher = user_new();
    uint64_t desc;
    cr_assert_eq(DO(watcher, actorWatch, PUT(watcher->actor, server->actor->cap.ui), 0, 5), K_OK);
    cr_assert_eq(DO(watcher, actorWatch, PUT(watcher->actor, service), 0, 6), K_OK);
    cr_assert_eq(DO(watcher, actorWatch, PUT(watcher->actor, client->actor->cap.ui), 0, 7), K_OK);
    cr_assert_eq(receive_by(watcher, 0, K_NODELAY, NULL), K_ETIMEOUT);
    actor_kill(server->actor, 9, NULL);
    uint64_t cookies = 0;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(receive_by(watcher, 0, K_NODELAY, &desc), 0);
        KnWatchMsg told;
        get(watcher->actor, (uint64_t)message_desc(watcher->actor, desc).annexAddr, &told,
            sizeof told);
        cr_assert_eq(told.type, K_MSG_WATCH);
        cr_assert_eq(told.reason, 9);
        cookies += told.cookie;
    }
    cr_assert_eq(cookies, 11);
    cr_assert_eq(DO(watcher, actorWatch, PUT(watcher->actor, service), 0, 8), K_OK);
    cr_assert_eq(receive_by(watcher, 0, K_NODELAY, NULL), 0, "it was gone already");
}
