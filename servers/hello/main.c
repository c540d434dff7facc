/* main.c: the hello server: the smallest complete server, to be copied. */
#include "hello.h"

#include <server/handover.h>
#include <server/server.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* workers share what follows */
static uint32_t greeted;
static KnMsgId waiting; /* the saved HELLO_WAIT, 0 none */
static uint32_t awaited;

/* Answer who waits, if it is time. With <lock>. */
static void waiter_look(void)
{
    if (waiting == 0 || greeted < awaited)
        return;
    struct hello_reply answer = { .status = K_OK, .number = greeted };
    server_reply_later(waiting, &answer, sizeof answer, NULL, 0);
    waiting = 0;
}

static void hello_greet(struct server_request *request)
{
    if (request->body_size == 0 || request->body_size > HELLO_NAME_MAX) {
        server_reply_status(request, K_EINVAL);
        return;
    }
    char greeting[HELLO_NAME_MAX + 16];
    int size = snprintf(greeting, sizeof greeting, "Hello, %.*s!", (int)request->body_size,
                        (const char *)request->body);
    struct hello_reply answer = { .status = K_OK };
    pthread_mutex_lock(&lock);
    answer.number = ++greeted;
    waiter_look();
    pthread_mutex_unlock(&lock);
    memcpy(request->body, greeting, (size_t)size);
    server_reply_body(request, &answer, sizeof answer, request->body, (size_t)size);
}

static void hello_count(struct server_request *request)
{
    pthread_mutex_lock(&lock);
    struct hello_reply answer = { .status = K_OK, .number = greeted };
    pthread_mutex_unlock(&lock);
    server_reply(request, &answer, sizeof answer);
}

static void hello_wait(struct server_request *request)
{
    const struct hello_request *ask = (const void *)request->annex;
    pthread_mutex_lock(&lock);
    if (waiting != 0) {
        server_reply_status(request, K_EBUSY);
    } else if (server_save(request, &waiting) == K_OK) {
        awaited = ask->number;
        waiter_look();
    }
    pthread_mutex_unlock(&lock);
}

/* The caller of the saved request was aborted. */
static void hello_aborted(KnMsgId id)
{
    pthread_mutex_lock(&lock);
    if (waiting == id)
        waiting = 0;
    pthread_mutex_unlock(&lock);
}

static void hello_stop(struct server_request *request)
{
    KnMsgId id;
    struct hello_reply answer = { .status = K_OK, .number = greeted };
    if (server_save(request, &id) == K_OK)
        server_reply_later(id, &answer, sizeof answer, NULL, 0);
    exit(0);
}

static const struct server_operation operations[] = {
    { HELLO_GREET, hello_greet },
    { HELLO_COUNT, hello_count },
    { HELLO_WAIT, hello_wait },
    { HELLO_STOP, hello_stop },
};

/* Replacing it while it runs (docs/replace.md): what the next one must know. A saved request keeps its number. */
static int hello_hand_over(struct handover_state *state)
{
    handover_put(state, &greeted, sizeof greeted);
    handover_put(state, &waiting, sizeof waiting);
    return handover_put(state, &awaited, sizeof awaited);
}

static int hello_take_over(struct handover_state *state, uint32_t version)
{
    if (version != 1)
        return K_EINVAL;
    handover_get(state, &greeted, sizeof greeted);
    handover_get(state, &waiting, sizeof waiting);
    return handover_get(state, &awaited, sizeof awaited);
}

static const struct server_handover handover = { .version = 1, .hand_over = hello_hand_over, .take_over = hello_take_over };

static const struct server hello = {
    .name = "hello",
    .stamp = K_STAMP_HELLO,
    .workers = 2,
    .body_max = 4096,
    .unsupported = K_ENOSYS,
    .aborted = hello_aborted,
    .handover = &handover,
    SERVER_TABLE(operations),
};

int main(void)
{
    return server_run(&hello) == K_OK ? 0 : 1;
}
