/* net.h: sockets of the Internet, which sm serves (lib/protocol/socket.h). */
#ifndef PM_NET_H
#define PM_NET_H

#include <protocol/socket.h>
#include <stdio.h>

#include "socket.h"

#define NET_WATCH UINT64_MAX /* the cookie of sm's actorWatch message */

/* -EAFNOSUPPORT: no such family, or there is no sm. */
int64_t net_socket_new(struct call *call, int family, int type, int protocol, uint32_t flags, struct file **ret_file);
/* sm is dead: its sockets are reset. */
void net_server_gone(void);
void net_server_close(uint64_t handle);
void net_server_unwatch(uint64_t token);

/* One request. <send> goes along, what comes back goes to <body> (may be NULL). The status of sm; -ECONNRESET: it is gone. */
struct net_exchange {
    struct socket_request request;
    struct socket_reply reply;
    const void *send;
    uint32_t send_size;
    void *body;
    uint32_t body_room, body_size;
};
int net_ask(struct net_exchange *exchange);
/* The same for a socket: its handle and the process's rights are filled in. NULL: for none, as the client. */
int net_ask_of(struct call *call, struct file *file, uint32_t operation, struct net_exchange *exchange);
/* A client of sm's: waits for it for some seconds if it has not been there yet. -EAFNOSUPPORT. */
int net_server_find(void);

/* net_control.c */
int64_t net_ioctl(struct call *call, struct file *file, uint32_t command, uint64_t argument);
/* The same on a socket that is not sm's: what is asked about interfaces and routes. */
int64_t net_ioctl_elsewhere(struct call *call, uint32_t command, uint64_t argument);
/* The text of a file of /proc/net. */
int net_print(enum socket_text text, FILE *out);

#endif
