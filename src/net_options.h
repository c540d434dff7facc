/* Network devices as the command line asks for them: --net, --forward and --capture of `chorus run`. */

#ifndef CHORUS_NET_OPTIONS_H
#define CHORUS_NET_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NETS_MOST = 8, FORWARDS_MOST = 32 };

enum net_kind { NET_USER, NET_HUB, NET_TAP };

struct net_option {
    enum net_kind kind;
    char where[108];        /* the hub's socket, the tap's name */
    uint16_t mtu;           /* 0: the back end's own */
    bool mac_given;
    uint8_t mac[6];
    bool loopback;          /* user: the host's own loopback may be reached */
    const char *capture;    /* the file; NULL: none */
    bool assumed;           /* nobody asked for it: without its helper there is none */
};

struct net_options {
    struct net_option nets[NETS_MOST];
    unsigned count;
    char *forwards[FORWARDS_MOST + 1]; /* "tcp:127.0.0.1:8080:80"; for the first `user`; ours */
    unsigned forward_count;
    bool said;              /* --net was given, were it `none` */
};

/* "user", "hub:/tmp/hub,mtu=9000", "none". False: `problem` says what is wrong. */
bool net_options_add(struct net_options *nets, const char *text, char *problem, size_t size);
/* "[tcp:|udp:][ADDRESS:]HOSTPORT:PORT". */
bool net_options_forward(struct net_options *nets, const char *text, char *problem, size_t size);
/* The last net's; without one, that of the default. */
bool net_options_capture(struct net_options *nets, const char *path, char *problem, size_t size);
/* After all options: the default, and what cannot be together. */
bool net_options_complete(struct net_options *nets, char *problem, size_t size);
void net_options_free(struct net_options *nets);

#endif
