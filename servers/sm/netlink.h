/* netlink.h: sockets of AF_NETLINK: messages taken apart, answers put together. What they are about is rtnetlink's (rtnetlink.c). */
#ifndef SM_NETLINK_H
#define SM_NETLINK_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "socket.h"

/* One message of a program, which is as long as it says it is. */
struct netlink_request {
    struct sock *sock;
    struct nlmsghdr header;
    const uint8_t *payload;
    uint32_t size; /* of the payload */
    bool privileged;
};

/* An attribute of a request; data NULL: not given. */
struct netlink_attribute {
    const uint8_t *data;
    uint32_t size;
};
/* Those of a request behind <skip> bytes of payload, by their numbers up to <most>; others are left out. <least>: how many bytes each must have. As Linux
 * does it of old: what lies about its length ends the list. -EINVAL: the payload is shorter than <skip>; -ERANGE: an attribute is too short. */
int netlink_attributes(const struct netlink_request *request, size_t skip, const uint8_t *least, struct netlink_attribute *found, unsigned most);
uint32_t netlink_u32(const struct netlink_attribute *attribute); /* 0 if it is not given */

/* Messages for a socket, or for all that are in a group. */
#define NETLINK_DATAGRAM 3584u /* what programs have room for at least */
#define NETLINK_MESSAGE_MOST 1024u
struct netlink_writer {
    struct sock *sock;  /* NULL: all those of <group> */
    unsigned group;
    uint32_t sequence;
    uint16_t flags;     /* NLM_F_MULTI */
    bool failed;        /* the socket had no room */
    uint32_t size, begun;
    _Alignas(8) uint8_t bytes[NETLINK_DATAGRAM + NETLINK_MESSAGE_MOST];
};
void netlink_answer(struct netlink_writer *writer, const struct netlink_request *request, uint16_t flags);
void netlink_publish(struct netlink_writer *writer, unsigned group);
void netlink_begin(struct netlink_writer *writer, uint16_t type, const void *header, size_t size);
void netlink_put(struct netlink_writer *writer, uint16_t type, const void *data, size_t size);
void netlink_put_u32(struct netlink_writer *writer, uint16_t type, uint32_t number);
void netlink_put_string(struct netlink_writer *writer, uint16_t type, const char *text);
void netlink_end(struct netlink_writer *writer);
/* What is left goes to the socket. */
void netlink_flush(struct netlink_writer *writer);

#endif
