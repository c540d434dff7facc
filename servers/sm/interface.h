/* interface.h: the network interfaces: lo, and those of Ethernet: eth0, eth1, ... */
#ifndef SM_INTERFACE_H
#define SM_INTERFACE_H

#include <lwip/netif.h>
#include <protocol/ether.h>
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
    uint32_t offloads; /* ETHER_SEND_... that the driver does */
};

/* Where frames that are to be sent are put, for the driver. */
struct interface_wire {
    /* A place for a frame of <length> bytes, behind its description, which says the length and nothing else; NULL: it is dropped. */
    struct ether_frame *(*room)(unsigned number, size_t length);
    /* The frame that had the last place is <more> bytes longer from now on. False: it is on its way already, or there is no room behind it. */
    bool (*grow)(unsigned number, size_t more);
};

struct interface_counters {
    uint64_t sent, sent_bytes, received, received_bytes, dropped;
};

struct interface {
    struct netif netif;
    char name[8];
    unsigned number; /* of the driver's */
    uint8_t name_server[4];
    uint32_t mtu_most; /* what the driver bears */
    struct interface_counters counters;
    const struct interface_wire *wire; /* NULL: it is being made */
    uint32_t offloads;
    struct ether_frame *open; /* the last one to be sent, if the next segment may join it; NULL */
};

extern struct interface *interfaces[INTERFACES_MOST]; /* of Ethernet; NULL: none */

/* A new one, up, with the address that the driver knows. NULL: no memory. */
struct interface *interface_add(unsigned number, const struct interface_description *description, const struct interface_wire *wire);
void interface_link(struct interface *interface, bool up);
/* What the driver does from now on: ETHER_SEND_... */
void interface_set_offloads(struct interface *interface, uint32_t offloads);
/* Room for a frame of a program's own; NULL: there is none. */
uint8_t *interface_room(struct interface *interface, size_t length);
/* packet.c: a frame that came, before lwIP has it. */
void packet_arrived(struct interface *interface, const uint8_t *frame, size_t length);
void interface_receive(struct interface *interface, const struct ether_frame *about, const uint8_t *frame);

/* In the order of their numbers: the first one behind <netif>, which may be NULL; NULL: there is none. */
struct netif *interface_next(const struct netif *netif);
/* By name; 0 and NULL: there is none. */
unsigned interface_index(const char *name);
struct netif *interface_netif(const char *name);
void interface_name(const struct netif *netif, char name[16]);
const struct interface_counters *interface_counters(const struct netif *netif);
/* NULL: lo. */
struct interface *interface_of(const struct netif *netif);

unsigned interface_flags(const struct netif *netif); /* IFF_... */
uint32_t interface_mtu(const struct netif *netif);
ip4_addr_t interface_broadcast(const struct netif *netif);
void interface_set_up(struct netif *netif, bool up);
int interface_set_mtu(struct netif *netif, uint32_t mtu); /* -EINVAL: more than the driver bears, or lo's */
/* Zeros: none. Connections of the old address end, and routes by its routers. */
void interface_set_v4(struct netif *netif, const ip4_addr_t *address, const ip4_addr_t *mask);

#endif
