/* interface.h: the network interfaces: lo, and those of Ethernet: eth0, eth1, ... */
#ifndef SM_INTERFACE_H
#define SM_INTERFACE_H

#include <lwip/netif.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTERFACES_MOST 8

/* What a driver says of one; addresses of IPv4 as on the wire, zeros: not known. */
struct interface_description {
    uint8_t hardware[6];
    uint32_t mtu;
    bool link_up;
    uint8_t address[4], router[4], name_server[4];
    uint32_t prefix;
};

struct interface {
    struct netif netif;
    char name[8];
    unsigned number; /* of the driver's */
    uint8_t name_server[4];
    uint32_t mtu_most; /* what the driver bears */
    uint64_t sent, sent_bytes, received, received_bytes, dropped;
    /* Room for a frame that is to be sent, of <length> bytes; NULL: it is dropped. */
    uint8_t *(*frame_room)(unsigned number, size_t length);
};

extern struct interface *interfaces[INTERFACES_MOST]; /* of Ethernet; NULL: none */

/* A new one, up, with the address that the driver knows. NULL: no memory. */
struct interface *interface_add(unsigned number, const struct interface_description *description,
                                uint8_t *(*frame_room)(unsigned number, size_t length));
void interface_link(struct interface *interface, bool up);
/* Room for a frame of a program's own; NULL: there is none. */
uint8_t *interface_room(struct interface *interface, size_t length);
/* packet.c: a frame that came, before lwIP has it. */
void packet_arrived(struct interface *interface, const uint8_t *frame, size_t length);
void interface_receive(struct interface *interface, const uint8_t *frame, size_t length);

/* In the order of their numbers: the first one behind <netif>, which may be NULL; NULL: there is none. */
struct netif *interface_next(const struct netif *netif);
/* By name; 0 and NULL: there is none. */
unsigned interface_index(const char *name);
struct netif *interface_netif(const char *name);
void interface_name(const struct netif *netif, char name[16]);
/* Its counters; NULL: lo. */
struct interface *interface_of(const struct netif *netif);

unsigned interface_flags(const struct netif *netif); /* IFF_... */
uint32_t interface_mtu(const struct netif *netif);
ip4_addr_t interface_broadcast(const struct netif *netif);
void interface_set_up(struct netif *netif, bool up);
int interface_set_mtu(struct netif *netif, uint32_t mtu); /* -EINVAL: more than the driver bears, or lo's */
/* Zeros: none. Connections of the old address end, and routes by its routers. */
void interface_set_v4(struct netif *netif, const ip4_addr_t *address, const ip4_addr_t *mask);

#endif
