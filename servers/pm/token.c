/* Waits for servers. */

#include "token.h"

#include "call.h"
#include "deferred.h"

struct token {
    struct list link;
    uint64_t number;
    enum token_server server;
    struct thread *thread;
};

static struct list tokens = { &tokens, &tokens };

uint64_t token_new(struct call *call, enum token_server server)
{
    static uint64_t last;
    struct token *token = malloc(sizeof *token);
    if (token == NULL)
        return 0;
    token->number = ++last;
    token->server = server;
    token->thread = call_thread(call);
    list_append(&tokens, &token->link);
    call->awaits_sign = true;
    return token->number;
}

static struct token *find(uint64_t number)
{
    LIST_EACH(&tokens, at) {
        struct token *token = LIST_ENTRY(at, struct token, link);
        if (token->number == number)
            return token;
    }
    return NULL;
}

void token_drop(uint64_t number)
{
    struct token *token = find(number);
    if (token == NULL)
        return;
    list_remove(&token->link);
    free(token);
}

void token_came(uint64_t number)
{
    struct token *token = find(number);
    if (token == NULL)
        return;
    list_remove(&token->link);
    thread_wake(token->thread);
    free(token);
}

void token_forget(struct call *call)
{
    const struct thread *thread = call_thread(call);
    LIST_EACH(&tokens, at) {
        struct token *token = LIST_ENTRY(at, struct token, link);
        if (token->thread != thread)
            continue;
        if (token->server == TOKEN_OF_DM)
            deferred_unwatch(token->number);
        else
            deferred_unwatch_socket(token->number);
        list_remove(at);
        free(token);
    }
    call->awaits_sign = false;
}

void token_server_gone(enum token_server server)
{
    LIST_EACH(&tokens, at) {
        struct token *token = LIST_ENTRY(at, struct token, link);
        if (token->server != server)
            continue;
        list_remove(at);
        thread_wake(token->thread);
        free(token);
    }
}
