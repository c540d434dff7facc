/* sm.h: the Socket Manager's core: pure logic on lwIP, without messages and threads. main.c makes a server of it, tests play its host.
 *
 *   stack.c      lwIP's time
 *   recovery.c   what lwIP lacks where many segments are lost;  bounds.c: what others can make us keep
 *   socket.c     the table of sockets, requests, who waits for what
 *   address.c    addresses of Linux and of lwIP
 *   option.c     options of sockets
 *   tcp.c, udp.c, raw.c, packet.c   the kinds of sockets
 *   netlink.c    sockets of AF_NETLINK;  rtnetlink.c: what is asked and changed by them
 *   interface.c  interfaces;  interface_control.c: ioctls;  route.c: routes;  text.c: /proc/net
 *   ether.c      Ethernet frames in and out;  offload.c: sums and segments that are left to the driver
 */
#ifndef SM_SM_H
#define SM_SM_H

#include <protocol/socket.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sm_host {
    bool (*send)(uint64_t port, const struct socket_event *event); /* false: its queue is full, try again */
    int64_t (*now)(void);                                          /* ns */
    void (*random)(void *bytes, size_t size);
};
extern const struct sm_host *sm_host;

void sm_start(const struct sm_host *host);
/* One request: its body (of <size> bytes) is in <body>, which has SOCKET_BODY_MAX bytes for the answer's. */
void sm_request(const struct socket_request *request, struct socket_reply *reply, uint8_t *body, uint32_t size, uint32_t *ret_size);
/* After requests, frames and time: let what has happened have its consequences. When it is to be called next; INT64_MAX. */
int64_t sm_settle(void);

#endif
