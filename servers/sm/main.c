/* The Socket Manager's actor: messages, a timer, and one lock around the core. */

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <server/core.h>
#include <server/server.h>

#include "ether.h"
#include "lock.h"
#include "sm.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct server_alarm alarm_clock = { .timer = -1, .armed = INT64_MAX };

/* ---- what the core needs ---- */

static bool host_send(uint64_t port, const struct socket_event *event)
{
    return server_notify(port, event);
}

static const struct sm_host host = { .send = host_send, .now = server_now, .random = server_random };

/* ---- the lock ---- */

void sm_lock(void)
{
    pthread_mutex_lock(&lock);
}

void sm_unlock(void)
{
    int64_t next = sm_settle();
    ether_flush();
    server_alarm_set(&alarm_clock, next);
    pthread_mutex_unlock(&lock);
}

/* ---- messages ---- */

static void on_timer(int which, uint64_t cookie, uint32_t overruns)
{
    (void)which, (void)cookie, (void)overruns;
    sm_lock();
    sm_unlock();
}

/* So that a client can be told of our death. */
static void tell_port(struct socket_reply *reply)
{
    KnUniqueId port;
    if (portUi(K_MYACTOR, server_port(), &port) != K_OK)
        return;
    memcpy(reply->address, &port, sizeof port);
    reply->address_size = sizeof port;
}

static void serve(struct server_request *request)
{
    struct socket_reply reply;
    uint32_t size = 0;
    if (request->body_room < SOCKET_BODY_MAX) {
        server_reply_status(request, -EINVAL);
        return;
    }
    static bool started;
    sm_lock();
    if (request->operation == SOCKET_CLIENT && !started)
        ether_start(); /* not before: an idle network costs nothing */
    started |= request->operation == SOCKET_CLIENT;
    sm_request((const struct socket_request *)request->annex, &reply, request->body, request->body_size, &size);
    sm_unlock();
    if (request->operation == SOCKET_CLIENT && reply.status == 0)
        tell_port(&reply);
    server_reply_body(request, &reply, sizeof reply, request->body, size);
}

static int start(void)
{
    alarm_clock.timer = timerCreate(server_port(), 0);
    if (alarm_clock.timer < 0)
        return alarm_clock.timer;
    sm_start(&host);
    return K_OK;
}

int main(void)
{
    static struct server_operation operations[SOCKET_TEXT - SOCKET_CLIENT + 1];
    for (uint32_t i = 0; i < sizeof operations / sizeof *operations; i++)
        operations[i] = (struct server_operation){ SOCKET_CLIENT + i, serve };
    return server_run(&(struct server){ .name = "sm", .stamp = K_STAMP_SM, .workers = 2, .unsupported = -ENOSYS, SERVER_TABLE(operations),
                                        .start = start, .timer = on_timer });
}
