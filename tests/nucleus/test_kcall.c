/* Calls that the Nucleus makes itself. */
#include "kcall.h"
#include "site.h"

#include <string.h>

TestSuite(kcall, .init = site_start, .fini = site_end);

static struct thread *server;
static struct {
    int count, status;
    uint64_t annex;
    char body[16];
    size_t size;
    unsigned fills;
} told;

static void done(void *cookie, int status, const void *annex, const void *body, size_t size)
{
    cr_assert_eq(cookie, &told);
    told.count++;
    told.status = status;
    told.size = size;
    if (annex != NULL)
        memcpy(&told.annex, annex, sizeof told.annex);
    if (size > 0)
        memcpy(told.body, body, size < 16 ? size : 16);
}

static void fill(void *cookie, void *to, size_t size)
{
    cr_assert_eq(cookie, &told);
    told.fills++;
    memset(to, 'q', size);
}

static struct kcall *ask(size_t body, size_t reply_max)
{
    uint8_t annex[K_CMSGANNEXSIZE] = { 9 };
    struct kcall *call = NULL;
    cr_assert_eq(kcall_start(&call, &server->actor->default_port->ui, annex, body, fill, reply_max,
                             done, &told),
                 K_OK);
    return call;
}

static void start(void)
{
    memset(&told, 0, sizeof told);
    server = user_new();
}

Test(kcall, to_nobody_is_refused)
{
    uint8_t annex[K_CMSGANNEXSIZE] = { 0 };
    struct kcall *call;
    KnUniqueId nobody = { 1, 2 };
    cr_assert_eq(kcall_start(&call, &nobody, annex, 0, NULL, 0, done, NULL), K_EUNKNOWN);
    cr_assert_eq(kcall_send(&nobody, annex, NULL, 0), K_EUNKNOWN);
}

Test(kcall, its_body_is_made_when_it_is_received_and_its_reply_comes_back)
{
    start();
    ask(50000, 100);
    cr_assert_eq(told.fills, 0);
    uint64_t desc;
    char last;
    cr_assert_eq(receive_by(server, 0, K_NODELAY, &desc), 50000);
    cr_assert_eq(told.fills, 1);
    get(server->actor, (uint64_t)message_desc(server->actor, desc).bodyAddr + 49999, &last, 1);
    cr_assert_eq(last, 'q');
    KnMsgHead head;
    uint64_t head_at = room(server->actor, sizeof head);
    DO(server, ipcSysInfo, head_at);
    get(server->actor, head_at, &head, sizeof head);
    cr_assert_eq(head.flags, K_HEAD_CALL | K_HEAD_NUCLEUS);
    char large[101] = { 0 };
    cr_assert_eq(reply_by(server, 1, large, 101), K_ETOOMUCH);
    cr_assert_eq(told.count, 0);
    cr_assert_eq(reply_by(server, 77, "the answer", 11), K_OK);
    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.status, K_OK);
    cr_assert_eq(told.annex, 77);
    cr_assert_eq(told.size, 11);
    cr_assert_str_eq(told.body, "the answer");
}

Test(kcall, the_death_of_its_server_is_told_wherever_it_is)
{
    for (int place = 0; place < 3; place++) {
        start();
        ask(10, 0);
        if (place > 0)
            receive_by(server, 0, K_NODELAY, NULL);
        if (place > 1)
            DO(server, ipcSave, room(server->actor, 8));
        actor_kill(server->actor, K_OK, NULL);
        cr_assert_eq(told.count, 1);
        cr_assert_eq(told.status, K_EDEAD);
    }
}

Test(kcall, a_cancelled_one_is_never_done_and_never_asked_for_its_body)
{
    start();
    kcall_cancel(ask(10, 0));
    cr_assert_eq(receive_by(server, 0, K_NODELAY, NULL), K_ETIMEOUT);
    struct kcall *call = ask(10, 0);
    receive_by(server, 0, K_NODELAY, NULL);
    kcall_cancel(call);
    unsigned fills = told.fills;
    KnMsgDesc desc = { .bodySize = 10, .bodyAddr = (void *)room(server->actor, 10) };
    cr_assert_eq(DO(server, ipcGetData, PUT(server->actor, desc)), K_EUNKNOWN);
    cr_assert_eq(reply_by(server, 1, NULL, 0), K_OK);
    cr_assert_eq(told.count, 0);
    cr_assert_eq(told.fills, fills);
}

Test(kcall, its_own_calls_are_queued_though_the_queue_is_full_and_its_sends_are_not)
{
    start();
    uint8_t annex[K_CMSGANNEXSIZE] = { 1 };
    for (unsigned i = 0; i < K_CPORTQUEUE; i++)
        cr_assert_eq(kcall_send(&server->actor->default_port->ui, annex, "x", 1), K_OK);
    cr_assert_eq(kcall_send(&server->actor->default_port->ui, annex, "x", 1), K_EFULL);
    ask(0, 0);
    cr_assert_eq(server->actor->default_port->queued, K_CPORTQUEUE + 1);
}
