/* internal.h: what the files of lib/server share: the ports of the server, and its hand-over. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include "handover.h"
#include "server.h"
#include "variables.h"

/* ---- ports: server.c ---- */

struct server_port {
    KnUniqueId ui;
    int li;
    unsigned priority; /* PORT_NOT_ENABLED: the server receives from it itself */
};
#define PORT_NOT_ENABLED UINT32_MAX
/* All that the server has opened, or named to server_port_add; more than HANDOVER_PORTS_MAX are only counted. */
extern struct server_port server_ports[HANDOVER_PORTS_MAX];
extern unsigned server_port_count;
/* The workers serve the port, or leave it alone. */
int server_port_attach(int port, unsigned priority);
void server_port_detach(int port);
/* No more workers are started, until the pool is open again. Returns how many there are. */
unsigned server_pool_close(void);
void server_pool_open(void);

/* ---- hand-over: handover.c ---- */

/* A message of the default port: it is dealt with. */
void handover_dispatch(const struct server *server, struct server_request *request);
/* Is this actor started as the successor of another? */
bool handover_is_wanted(void);
/* Take over, all but the ports: K_OK, or an error after which the predecessor goes on. */
int handover_prepare(const struct server *server);
/* The ports too. An error: the predecessor has gone, or goes on. */
int handover_finish(const struct server *server);

#endif
