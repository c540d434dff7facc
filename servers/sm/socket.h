/* socket.h: one socket, whatever its kind. */
#ifndef SM_SOCKET_H
#define SM_SOCKET_H

#include <lwip/ip.h>
#include <lwip/pbuf.h>
#include <poll.h>
#include <sys/socket.h>

#include "sm.h"

#define RECEIVE_BUFFER (256 * 1024) /* bytes of datagrams that wait, unless SO_RCVBUF says another number */
#define SEND_BUFFER (1024 * 1024)

struct tcp_pcb;
struct udp_pcb;
struct raw_pcb;
struct sock;

/* Something received: the bytes of a stream, or a datagram. */
struct received {
    struct received *next;
    struct pbuf *data;
    size_t taken; /* of a stream */
    ip_addr_t from;
    uint16_t port;
    struct socket_arrival arrival;
    uint8_t link[20]; /* struct sockaddr_ll or sockaddr_nl of the sender: of packet and netlink sockets */
};

struct watcher {
    struct watcher *next;
    uint64_t client, token;
    unsigned events;
};

/* A request while it is dealt with. */
struct sm_call {
    const struct socket_request *request;
    struct socket_reply *reply;
    uint8_t *body;      /* of the request, then of the answer */
    uint32_t size;      /* of the request's */
    uint32_t answer_size;
};

/* What a kind of sockets does; results are 0 or errors of Linux, negative. Missing ones: EOPNOTSUPP. */
struct sock_kind {
    int (*open)(struct sock *sock);
    void (*close)(struct sock *sock);
    int (*bind)(struct sock *sock, const ip_addr_t *address, uint16_t port);
    int (*connect)(struct sock *sock, const ip_addr_t *address, uint16_t port);
    int (*disconnect)(struct sock *sock);
    int (*listen)(struct sock *sock, unsigned backlog);
    int (*accept)(struct sock *sock, struct sock **ret_sock);
    int (*send)(struct sock *sock, struct sm_call *call);
    int (*receive)(struct sock *sock, struct sm_call *call);
    int (*shutdown)(struct sock *sock, int how);
    int (*name)(struct sock *sock, bool of_peer, ip_addr_t *address, uint16_t *port);
    int (*bind_link)(struct sock *sock, struct sm_call *call); /* of those whose addresses are not IP's */
    int (*connect_link)(struct sock *sock, struct sm_call *call);
    int (*name_link)(struct sock *sock, struct sm_call *call);
    unsigned (*events)(struct sock *sock);
    size_t (*unsent)(struct sock *sock);
    int (*set_option)(struct sock *sock, int level, int option, int number);       /* -ENOPROTOOPT: not known */
    /* A number, or <call>'s body and its answer_size. */
    int (*get_option)(struct sock *sock, int level, int option, struct sm_call *call, int *ret_number);
    void (*ip_options)(struct sock *sock); /* ttl, tos or SOF_ flags have changed */
};

struct sock {
    struct sock *next; /* of the same slot of the table */
    struct sock *all_next, **all_link;
    uint64_t handle;   /* 0: a connection that nobody has accepted yet */
    uint64_t client;
    const struct sock_kind *kind;
    int family, type, protocol;
    union {
        struct tcp_pcb *tcp;
        struct udp_pcb *udp;
        struct raw_pcb *raw;
    };
    struct watcher *watchers;
    struct sock *happened_next; /* in the list of those to be looked at */
    bool has_happened;
    uint32_t wakes;
    int error;         /* to be told once; positive */

    struct received *first, **last; /* received */
    size_t queued;                  /* bytes in it */
    size_t receive_buffer;
    bool shut_read, shut_write, ended; /* ended: the peer sends no more */

    /* Of TCP: tcp.c. */
    enum { TCP_FRESH, TCP_CONNECTING, TCP_CONNECTED, TCP_LISTENING, TCP_DEAD } state;
    struct sock *listener, *pending, **pending_last; /* accepted by lwIP, not by the program */
    unsigned pending_count, backlog;
    uint32_t window, send_room; /* bytes: bounds.c */
    bool linger;
    int linger_time;

    /* Options. */
    bool no_delay, cork;
    bool reuse_address, keep_alive, broadcast, only_v6, tell_info, tell_ttl, tell_old_ttl, header_included;
    int ttl, traffic_class, multicast_ttl;
    bool multicast_loop;
    uint32_t multicast_device; /* number of the interface; 0: by the route */
    struct membership *memberships;
    uint32_t device;   /* number of the interface; 0: any */
    uint16_t ping_id;  /* of a ping socket: raw.c */
    uint32_t icmp_filter;

    /* Of netlink: netlink.c. */
    uint32_t netlink_port, netlink_groups; /* 0: it has no name yet */
    bool netlink_cap_ack;
};

extern const struct sock_kind tcp_kind, udp_kind, raw_kind, packet_kind, netlink_kind;
uint8_t tcp_linux_state(int of_lwip); /* TCP_ESTABLISHED, ... as programs know it: in /proc/net and TCP_INFO */
extern struct sock *socks; /* all of them, by all_next */

/* A new one without a handle; NULL: no memory. */
struct sock *sock_new(const struct sock_kind *kind, int family, int type, int protocol);
void sock_free(struct sock *sock);
/* Somebody looks at frames or packets as they come, and may sum them up: packet and raw sockets. */
bool sock_looks_at_frames(void);
/* Its events may have changed: who watches it is told in the end. */
void sock_happened(struct sock *sock);
int sock_take_error(struct sock *sock);

/* Put at the end of what is received; takes the pbuf over. NULL: no memory, the pbuf stays the caller's. */
struct received *sock_put(struct sock *sock, struct pbuf *data, const ip_addr_t *from, uint16_t port);
/* The same with a datagram that lwIP delivers just now: its arrival is noted. Without room it is dropped. */
void sock_put_datagram(struct sock *sock, struct pbuf *data, const ip_addr_t *from, uint16_t port);
void sock_drop_first(struct sock *sock);
/* The receive of a kind whose messages are datagrams. */
int sock_receive_datagram(struct sock *sock, struct sm_call *call);
/* The same; the sender is the first <size> bytes of the datagram's link. */
int sock_receive_linked(struct sock *sock, struct sm_call *call, uint32_t size);

/* tcp.c: before each tick of lwIP's timers. */
void tcp_leave_time_wait(void);

/* address.c */
/* -EINVAL, -EAFNOSUPPORT. *ret_port in the machine's order. AF_INET6's ::ffff:1.2.3.4 is 1.2.3.4. */
int address_in(const struct sock *sock, const uint8_t *bytes, uint32_t size, ip_addr_t *ret_address, uint16_t *ret_port);
void address_out(const struct sock *sock, const ip_addr_t *address, uint16_t port, uint8_t *bytes, uint32_t *ret_size);
/* The type of a socket's address: IPv4, IPv6, or both. */
uint8_t address_type(const struct sock *sock);
/* Some interface has it, or it is the address of none. */
bool address_is_own(const ip_addr_t *address);
bool address_is_any(const ip_addr_t *address);
/* Who sends to no address means this machine, as in Linux. */
void address_to_here(ip_addr_t *address);

/* option.c */
int option_set(struct sock *sock, struct sm_call *call);
int option_get(struct sock *sock, struct sm_call *call);

/* multicast.c. -ENOPROTOOPT: it is none of its options */
int multicast_set(struct sock *sock, struct sm_call *call);
int multicast_get(const struct sock *sock, int level, int option, int *ret_number);
void multicast_close(struct sock *sock);
/* What it sends there is to come back to members on this machine. On the loopback interface it does so by itself. */
bool multicast_loops(const struct sock *sock, const ip_addr_t *to);

/* interface_control.c, text.c */
int interface_ioctl(struct sm_call *call);
int text_print(struct sm_call *call);

#endif
