/* Clients, servers, aborts, deaths and migrations at random: every request is received at most
 * once, every reply belongs to its request, nobody waits for ever, nothing is left. */
#include "site.h"

#include <stdlib.h>
#include <string.h>

#define CLIENTS  6
#define WORKERS  4
#define SERVERS  2
#define PORTS    3
#define REQUESTS 100000

static void eight_cpus(void)
{
    site_start_with(8);
}
TestSuite(stress, .init = eight_cpus, .fini = site_end);

static uint8_t served[REQUESTS];
static uint64_t next_request = 1000; /* not like the type of a note */

struct client {
    KnUniqueId actor;
    struct thread *thread;
    uint64_t number;
    uint64_t request, out, in, out_annex;
    bool waiting;
};
struct worker {
    KnUniqueId actor;
    struct thread *thread;
    uint64_t number;
    uint64_t in, li_at, reply, reply_annex;
    bool receiving;
    uint64_t holds; /* the request that is current */
};
static struct client clients[CLIENTS];
static struct worker workers[WORKERS * SERVERS];
static KnUniqueId ports[PORTS], server_ui[SERVERS];
struct parked {
    KnMsgId id;
    uint64_t request;
};
static struct parked parked[256];
static unsigned parked_count;

static unsigned chance(unsigned of)
{
    return (unsigned)rand() % of;
}
/* A thread is known by a number of ours: its place and its identifier may be another's by now. */
static uint64_t last_number, answered;

static bool alive(const KnUniqueId *ui, const struct thread *thread, uint64_t number)
{
    struct actor *actor = actor_by_ui(ui);
    if (actor == NULL)
        return false;
    LIST_FOR_EACH (link, &actor->threads)
        if (LIST_OWNER(link, struct thread, of_actor) == thread)
            return thread->cookie == number;
    return false;
}
static bool on_cpu(const struct thread *thread)
{
    return fake_host_cpu_of(thread) >= 0;
}

static void enter(struct thread *thread, unsigned number, const uint64_t arg[6])
{
    struct host_trap trap = { .kind = HOST_TRAP_CALL, .number = number };
    memcpy(trap.arg, arg, sizeof trap.arg);
    fake_host_trap(fake_host_cpu_of(thread), &trap);
}

static void client_make(struct client *client)
{
    struct actor *actor = actor_new(K_USERACTOR);
    *client = (struct client){ .actor = actor->cap.ui, .thread = thread_new(actor) };
    client->thread->cookie = client->number = ++last_number;
    client->out = message(actor, 0, NULL, chance(2) ? 0 : 6000, K_ABORTABLE);
    client->in = message(actor, 0, NULL, 8192, 0);
    client->out_annex = (uint64_t)message_desc(actor, client->out).annexAddr;
}

static void worker_make(struct worker *worker, struct actor *actor)
{
    *worker = (struct worker){ .actor = actor->cap.ui, .thread = thread_new(actor) };
    worker->thread->cookie = worker->number = ++last_number;
    int any = K_ANYENABLED;
    worker->in = message(actor, 0, NULL, chance(2) ? 8192 : 0, 0);
    worker->li_at = PUT(actor, any);
    worker->reply = message(actor, 0, NULL, chance(3) * 5000, 0);
    worker->reply_annex = (uint64_t)message_desc(actor, worker->reply).annexAddr;
}

static void server_make(int number)
{
    struct actor *actor = actor_new(K_SYSTEMACTOR);
    server_ui[number] = actor->cap.ui;
    for (int i = 0; i < WORKERS; i++)
        worker_make(&workers[number * WORKERS + i], actor);
}

static void ports_make(void)
{
    for (int i = 0; i < PORTS; i++) {
        if (port_find(&ports[i]) != NULL)
            continue;
        ports[i] = port_new(actor_by_ui(&server_ui[chance(SERVERS)]), NULL);
        port_find(&ports[i])->enabled = true;
        port_find(&ports[i])->priority = (uint8_t)i;
    }
}

static void client_step(struct client *client)
{
    struct actor *actor = actor_by_ui(&client->actor);
    if (!alive(&client->actor, client->thread, client->number)) {
        client_make(client);
        return;
    }
    if (!on_cpu(client->thread))
        return;
    if (client->waiting && client->thread->context->has_result) {
        int64_t result = client->thread->context->result;
        client->waiting = false;
        if (result >= 0 || result == K_ETOOMUCH) {
            cr_assert_eq(message_annex(actor, client->in), client->request * 2 + 1,
                         "%lu is not the reply to %lu", message_annex(actor, client->in),
                         client->request);
            cr_assert_eq(served[client->request], 1);
            answered++;
        } else {
            cr_assert(result == K_ETIMEOUT || result == K_EABORT || result == K_EDEAD ||
                          result == K_EUNKNOWN || result == K_EFULL,
                      "%ld", result);
        }
    }
    if (next_request == REQUESTS)
        return;
    client->request = next_request++;
    client->waiting = true;
    cr_assert_eq(vm_copy_out(NULL, actor, client->out_annex, &client->request, 8), K_OK);
    KnTime delay = chance(3) ? K_FOREVER : (KnTime)chance(200) * US;
    enter(client->thread, CALL_ipcCall,
          (const uint64_t[6]){ client->out, 0, dest_to(actor, &ports[chance(PORTS)], 0), client->in,
                               (uint64_t)delay });
}

static void worker_received(struct worker *worker, struct actor *actor)
{
    uint64_t word = message_annex(actor, worker->in);
    if ((uint32_t)word == K_MSG_ABORTED)
        return;
    cr_assert_lt(word, next_request);
    served[word]++;
    cr_assert_eq(served[word], 1, "request %lu was received twice", word);
    worker->holds = word + 1;
}

static void worker_answer(struct worker *worker, struct actor *actor, bool and_receive)
{
    uint64_t word = (worker->holds - 1) * 2 + 1;
    cr_assert_eq(vm_copy_out(NULL, actor, worker->reply_annex, &word, 8), K_OK);
    worker->holds = 0;
    worker->receiving = and_receive;
    int any = K_ANYENABLED;
    cr_assert_eq(vm_copy_out(NULL, actor, worker->li_at, &any, 4), K_OK);
    if (and_receive)
        enter(worker->thread, CALL_ipcReplyReceive,
              (const uint64_t[6]){ worker->reply, worker->in, worker->li_at, (uint64_t)K_FOREVER });
    else
        enter(worker->thread, CALL_ipcReply, (const uint64_t[6]){ worker->reply });
}

static void worker_restore(struct worker *worker, struct actor *actor)
{
    unsigned which = chance(parked_count);
    struct parked chosen = parked[which];
    struct message *message = message_find(chosen.id);
    bool mine = message != NULL && message->port->actor == actor;
    int64_t status = DO(worker->thread, ipcRestore, PUT(actor, chosen.id));
    cr_assert_eq(status, mine ? K_OK : K_EUNKNOWN);
    if (mine)
        worker->holds = chosen.request + 1;
    if (mine || message == NULL)
        parked[which] = parked[--parked_count];
}

static void worker_step(struct worker *worker)
{
    struct actor *actor = actor_by_ui(&worker->actor);
    if (!alive(&worker->actor, worker->thread, worker->number)) {
        if (actor != NULL)
            worker_make(worker, actor);
        return;
    }
    if (!on_cpu(worker->thread))
        return;
    if (worker->receiving && worker->thread->context->has_result) {
        worker->receiving = false;
        if (worker->thread->context->result >= 0)
            worker_received(worker, actor);
    }
    if (worker->holds == 0 && parked_count > 0 && chance(3) == 0) {
        worker_restore(worker, actor);
    } else if (worker->holds != 0 && parked_count < 200 && chance(4) == 0) {
        KnMsgId id;
        uint64_t at = room(actor, 8);
        int64_t status = DO(worker->thread, ipcSave, at);
        cr_assert(status == K_OK || status == K_ENOMSG, "%ld", status); /* its port was deleted */
        get(actor, at, &id, 8);
        if (status == K_OK)
            parked[parked_count++] = (struct parked){ id, worker->holds - 1 };
        worker->holds = 0;
    } else if (worker->holds != 0) {
        worker_answer(worker, actor, chance(2));
    } else {
        int any = K_ANYENABLED;
        cr_assert_eq(vm_copy_out(NULL, actor, worker->li_at, &any, 4), K_OK);
        worker->receiving = true;
        enter(worker->thread, CALL_ipcReceive,
              (const uint64_t[6]){ worker->in, worker->li_at,
                                   chance(2) ? (uint64_t)K_FOREVER : 50 * US });
    }
}

static void misfortune(void)
{
    struct client *client = &clients[chance(CLIENTS)];
    struct worker *worker = &workers[chance(WORKERS * SERVERS)];
    switch (chance(40)) {
    case 0:
        if (alive(&client->actor, client->thread, client->number))
            thread_abort(client->thread);
        break;
    case 1:
        if (alive(&worker->actor, worker->thread, worker->number))
            thread_kill(worker->thread);
        break;
    case 2:
        if (chance(4) == 0 && actor_by_ui(&client->actor) != NULL)
            actor_kill(actor_by_ui(&client->actor), K_OK, NULL);
        break;
    case 3: {
        int which = (int)chance(SERVERS);
        if (chance(10) == 0) {
            actor_kill(actor_by_ui(&server_ui[which]), K_OK, NULL);
            settle();
            server_make(which);
        }
        break;
    }
    case 4: {
        struct port *port = port_find(&ports[chance(PORTS)]);
        if (port != NULL && chance(4) == 0)
            port_delete(port, K_OK);
        break;
    }
    case 5: { /* migrate, by any thread that runs */
        struct port *port = port_find(&ports[chance(PORTS)]);
        struct actor *target = actor_by_ui(&server_ui[chance(SERVERS)]);
        if (port != NULL && port->actor != target &&
            alive(&worker->actor, worker->thread, worker->number) && on_cpu(worker->thread) &&
            worker->holds == 0 && !worker->receiving) {
            struct actor *by = actor_by_ui(&worker->actor);
            int64_t li = DO(worker->thread, portMigrate, chance(2), cap_of(port->actor, by),
                            (uint64_t)port->li, cap_of(target, by), 0);
            cr_assert_gt(li, 0);
            port->enabled = true;
            if (!list_is_empty(&port->queue) && list_is_empty(&port->pending_link))
                list_append(&target->pending_ports, &port->pending_link);
            port_kick(port);
        }
        break;
    }
    }
}

static void run(unsigned seed)
{
    srand(seed);
    for (int i = 0; i < SERVERS; i++)
        server_make(i);
    ports_make();
    for (int i = 0; i < CLIENTS; i++)
        client_make(&clients[i]);
    for (int step = 0; step < 30000; step++) {
        ports_make();
        if (chance(2))
            client_step(&clients[chance(CLIENTS)]);
        else
            worker_step(&workers[chance(WORKERS * SERVERS)]);
        misfortune();
        if (chance(3) == 0)
            settle();
        if (chance(5) == 0)
            pass(chance(100) * US);
    }
    cr_assert_gt(answered, 1000, "only %lu requests were answered", answered);
}

Test(stress, requests_and_replies_stay_together_1)
{
    run(1);
}
Test(stress, requests_and_replies_stay_together_2)
{
    run(2);
}
Test(stress, requests_and_replies_stay_together_3)
{
    run(3);
}
Test(stress, requests_and_replies_stay_together_4)
{
    run(getenv("SEED") != NULL ? (unsigned)atoi(getenv("SEED")) : 4);
}
