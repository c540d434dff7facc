/* fake.h: a client of sm's core, and the host that it runs on: no messages, no threads, a clock that the test turns. */
#ifndef TESTS_SM_FAKE_H
#define TESTS_SM_FAKE_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "sm.h"


void fake_begin(void);
extern bool fake_random_is_high; /* all random bits are ones from now on */
/* Turn the clock: timers that are due run. */
void fake_pass(int64_t nanoseconds);
/* When the core wants to be called next; INT64_MAX: when something happens. */
extern int64_t fake_due;
/* Tokens that came, the newest last; true: this one has, and it is forgotten. */
bool fake_came(uint64_t token);

/* Each returns the status; what else there is is in fake_reply and fake_body. */
extern struct socket_reply fake_reply;
extern uint8_t fake_body[SOCKET_BODY_MAX];
extern uint32_t fake_size; /* of the answer's body */
extern bool fake_unprivileged;
int fake_ask(struct socket_request request, const void *body, uint32_t size);

int64_t fake_open(int family, int type, int protocol); /* the handle, or an error */
int fake_bind(int64_t handle, const char *address, uint16_t port);
int fake_connect(int64_t handle, const char *address, uint16_t port, uint64_t token);
int fake_listen(int64_t handle, uint32_t backlog);
int64_t fake_accept(int64_t handle, uint64_t token);
int fake_send(int64_t handle, const void *data, uint32_t size, uint64_t token);  /* bytes, or an error */
int fake_receive(int64_t handle, uint32_t size, uint64_t token);                 /* bytes, in fake_body */
int fake_close(int64_t handle);
int fake_watch(int64_t handle, uint32_t events, uint64_t token); /* events */
int fake_set(int64_t handle, int level, int option, int value);
uint16_t fake_port(int64_t handle);

#endif
