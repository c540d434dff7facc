/* A network back end on a stream socket (frame_stream.h): the hub, or the helper process of `--net user`.
 *
 * The Nucleus's process may not make sockets once it runs; another process, the keeper (src/net_keeper.h), does it. The link asks it by the byte 'c' on
 * `control`, and gets a struct net_link_answer with a connected socket. It asks when its connection is lost; the lazy one (NET_LINK_LAZY) also
 * when the first frame is to be sent, and counts as up all the time.
 */
#ifndef DEVICES_NET_LINK_H
#define DEVICES_NET_LINK_H

#include "bus.h"
#include "net_back_end.h"

struct net_link_answer {
    int32_t error;              /* 0: a socket comes along; else why there is none. The link may ask again */
    char text[156];             /* the error in words */
};

struct net_link_options {
    const char *name;           /* for people: "hub:/tmp/hub" */
    uint16_t mtu;
    bool lazy;
    int control, descriptor;    /* taken over, when it succeeds. -1: there is no keeper; not connected yet */
    uint8_t address[4], router[4], name_server[4]; /* what to hint at; prefix 0: nothing */
    uint32_t prefix;
};

/* NULL and errno: no memory, or the host refuses. */
struct net_back_end *net_link_open(struct bus *bus, const struct net_link_options *options);

/* The keeper's answer, without waiting, and the socket that came along, or -1. answer->error EAGAIN: there is none yet. False: the keeper is gone. */
bool net_link_answer_receive(int control, struct net_link_answer *answer, int *ret_descriptor);

#endif
