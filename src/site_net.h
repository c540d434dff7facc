/* The site's network devices before there is a site: what must be opened while the program may still open anything. */

#ifndef CHORUS_SITE_NET_H
#define CHORUS_SITE_NET_H

#include <stdbool.h>
#include <stdint.h>

#include <devices/net_link.h>

#include "net_options.h"

/* One device, ready to be made. */
struct site_net {
    enum net_kind kind;
    struct net_link_options link;   /* not for a tap */
    char label[64];
    int tap;                        /* its descriptor */
    int capture;                    /* the file; -1: none */
    uint8_t mac[6];
};

/* Before the machine starts, and before any thread: forks the keeper. False, and a message on standard error. */
bool site_net_prepare(const struct net_options *options);
unsigned site_net_count(void);
/* Whoever makes the device takes its descriptors over. */
struct site_net *site_net_at(unsigned index);
/* After the devices are gone, or were never made. */
void site_net_stop(void);

#endif
