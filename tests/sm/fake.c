/* The client and the host of sm's core in tests. */

#include "fake.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

int64_t fake_due;
struct socket_reply fake_reply;
uint8_t fake_body[SOCKET_BODY_MAX];
uint32_t fake_size;
bool fake_unprivileged;

static int64_t now = 1000000000;
static uint64_t client, tokens[256];
static size_t token_count;

static bool host_send(uint64_t port, const struct socket_event *event)
{
    if (port != 77 || token_count == 256)
        abort();
    tokens[token_count++] = event->token;
    return true;
}

static int64_t host_now(void)
{
    return now;
}

bool fake_random_is_high;

static void host_random(void *bytes, size_t size)
{
    if (fake_random_is_high) {
        memset(bytes, 255, size);
        return;
    }
    static unsigned state = 1;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)((state = state * 1103515245 + 12345) >> 16);
}

static const struct sm_host host = { .send = host_send, .now = host_now, .random = host_random };

bool fake_came(uint64_t token)
{
    for (size_t i = 0; i < token_count; i++)
        if (tokens[i] == token) {
            tokens[i] = tokens[--token_count];
            return true;
        }
    return false;
}

void fake_begin(void)
{
    sm_start(&host);
    fake_ask((struct socket_request){ .operation = SOCKET_CLIENT, .event_port = 77 }, NULL, 0);
    client = fake_reply.handle;
}

void fake_pass(int64_t nanoseconds)
{
    int64_t end = now + nanoseconds;
    while (fake_due <= end) {
        now = fake_due > now ? fake_due : now;
        fake_due = sm_settle();
    }
    now = end;
}

int fake_ask(struct socket_request request, const void *body, uint32_t size)
{
    if (body != NULL)
        memcpy(fake_body, body, size);
    if (!fake_unprivileged)
        request.flags |= SOCKET_PRIVILEGED;
    sm_request(&request, &fake_reply, fake_body, size, &fake_size);
    fake_due = sm_settle();
    return fake_reply.status;
}

int64_t fake_open(int family, int type, int protocol)
{
    struct socket_request request = { .operation = SOCKET_OPEN, .handle = client };
    request.family = family;
    request.type = type;
    request.protocol = protocol;
    int status = fake_ask(request, NULL, 0);
    return status != 0 ? status : (int64_t)fake_reply.handle;
}

static void put_address(struct socket_request *request, const char *text, uint16_t port)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        request->address_size = sizeof v4;
        memcpy(request->address, &v4, sizeof v4);
    } else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        request->address_size = sizeof v6;
        memcpy(request->address, &v6, sizeof v6);
    }
}

int fake_bind(int64_t handle, const char *address, uint16_t port)
{
    struct socket_request request = { .operation = SOCKET_BIND, .handle = (uint64_t)handle };
    put_address(&request, address, port);
    return fake_ask(request, NULL, 0);
}

int fake_connect(int64_t handle, const char *address, uint16_t port, uint64_t token)
{
    struct socket_request request = { .operation = SOCKET_CONNECT, .handle = (uint64_t)handle, .token = token,
                                      .flags = token != 0 ? SOCKET_NOTIFY : 0 };
    put_address(&request, address, port);
    return fake_ask(request, NULL, 0);
}

int fake_listen(int64_t handle, uint32_t backlog)
{
    return fake_ask((struct socket_request){ .operation = SOCKET_LISTEN, .handle = (uint64_t)handle, .length = backlog }, NULL, 0);
}

static struct socket_request waiting(uint32_t operation, int64_t handle, uint64_t token)
{
    return (struct socket_request){ .operation = operation, .handle = (uint64_t)handle, .token = token,
                                    .flags = token != 0 ? SOCKET_NOTIFY : 0 };
}

int64_t fake_accept(int64_t handle, uint64_t token)
{
    int status = fake_ask(waiting(SOCKET_ACCEPT, handle, token), NULL, 0);
    return status != 0 ? status : (int64_t)fake_reply.handle;
}

int fake_send(int64_t handle, const void *data, uint32_t size, uint64_t token)
{
    int status = fake_ask(waiting(SOCKET_SEND, handle, token), data, size);
    return status != 0 ? status : (int)fake_reply.length;
}

int fake_receive(int64_t handle, uint32_t size, uint64_t token)
{
    struct socket_request request = waiting(SOCKET_RECEIVE, handle, token);
    request.length = size;
    int status = fake_ask(request, NULL, 0);
    return status != 0 ? status : (int)fake_reply.length;
}

int fake_close(int64_t handle)
{
    return fake_ask((struct socket_request){ .operation = SOCKET_CLOSE, .handle = (uint64_t)handle }, NULL, 0);
}

int fake_watch(int64_t handle, uint32_t events, uint64_t token)
{
    struct socket_request request = waiting(SOCKET_WATCH, handle, token);
    request.events = events;
    int status = fake_ask(request, NULL, 0);
    return status != 0 ? status : (int)fake_reply.events;
}

int fake_set(int64_t handle, int level, int option, int value)
{
    struct socket_request request = { .operation = SOCKET_SET_OPTION, .handle = (uint64_t)handle };
    request.level = level;
    request.option = option;
    return fake_ask(request, &value, sizeof value);
}

uint16_t fake_port(int64_t handle)
{
    struct sockaddr_in address;
    if (fake_ask((struct socket_request){ .operation = SOCKET_NAME, .handle = (uint64_t)handle }, NULL, 0) != 0)
        return 0;
    memcpy(&address, fake_reply.address, sizeof address);
    return ntohs(address.sin_port);
}
