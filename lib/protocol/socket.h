/* Socket protocol: what pm, the Process Manager, asks of sm, the Socket Manager: sockets of the Internet.
 *
 * sm is a member of the static system group with stamp SOCKET_GROUP_STAMP. Every request is an ipcCall in functional mode; the annex is a
 * struct socket_request, data are the body (at most SOCKET_BODY_MAX bytes, either way), the answer's annex is a struct socket_reply. Addresses are as
 * programs of Linux give them: struct sockaddr_in, sockaddr_in6, ... in their own byte order. So are the numbers of options,
 * flags (MSG_...), ioctls and events.
 *
 * sm never waits
 *   What cannot be done yet is answered -EAGAIN (SOCKET_CONNECT: -EINPROGRESS, then -EALREADY), and with SOCKET_NOTIFY and a `token` of pm's choice
 *   SOCKET_EVENT_READY with that token follows once, when it is worth trying again. Everything that is said of tokens in tty.h holds here, too:
 *   they are hints, a token is one wait, SOCKET_UNWATCH withdraws, unknown ones are ignored. So a wait can be given up at any moment, by a signal,
 *   an exit or a time-out, without asking anybody: forgetting a receive loses nothing. O_NONBLOCK, MSG_DONTWAIT, SO_RCVTIMEO and SO_SNDTIMEO are pm's.
 *
 * Who may
 *   sm knows no users. pm says with SOCKET_PRIVILEGED that the process may bind ports below 1024, open raw and packet sockets, and configure interfaces.
 *
 * When sm dies its ipcCalls fail and every handle is gone: a handle of an earlier life is answered -EBADF. pm tells its processes ECONNRESET, and begins with
 * SOCKET_CLIENT when somebody wants a socket again.
 */
#ifndef PROTOCOL_SOCKET_H
#define PROTOCOL_SOCKET_H

#include <stdint.h>

#define SOCKET_GROUP_STAMP  5           /* K_STAMP_SM */
#define SOCKET_BODY_MAX     65536
#define SOCKET_ADDRESS_ROOM 32

enum socket_operation {
    SOCKET_CLIENT = 0x900,  /* event_port: where this client wants its notifications. First call, and again after sm died.
                             * -> handle: names the client; the first 8 bytes of `address`: the KnUniqueId of sm's own port, for actorWatch */
    SOCKET_OPEN,            /* handle (the client), family, type, protocol -> handle. -EAFNOSUPPORT, -EPROTONOSUPPORT, -ESOCKTNOSUPPORT, -EPERM (raw), -ENFILE */
    SOCKET_CLOSE,           /* handle. Data that were accepted are still sent. Always 0 */
    SOCKET_BIND,            /* handle, address. -EADDRINUSE, -EADDRNOTAVAIL, -EACCES (port), -EINVAL (bound already) */
    SOCKET_CONNECT,         /* handle, address: 0 when it is connected; -EINPROGRESS: it has begun; -EALREADY: it had begun before; -EISCONN; then, once, how it
                             * failed: -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, ... AF_UNSPEC: disconnect */
    SOCKET_LISTEN,          /* handle, length: the backlog. -EADDRINUSE, -EINVAL, -EOPNOTSUPP */
    SOCKET_ACCEPT,          /* handle -> handle of the connection, address of its peer. -EAGAIN, -EINVAL (does not listen) */
    SOCKET_SEND,            /* handle, message_flags, address (size 0: the connected peer), body -> length accepted. Datagrams whole or not at all; streams
                             * as much as there is room. -EAGAIN, -EPIPE, -ENOTCONN, -EMSGSIZE, -EDESTADDRREQ, -EISCONN, -ENETUNREACH, ... */
    SOCKET_RECEIVE,         /* handle, message_flags (MSG_PEEK), length: bytes wanted -> length of the body, whole_length (of a datagram, as it was), address of the sender,
                             * arrival. The end of a stream is 0 bytes. -EAGAIN, -ENOTCONN, -ECONNRESET, ... */
    SOCKET_SHUTDOWN,        /* handle, length: how (0 receiving, 1 sending, 2 both). -ENOTCONN */
    SOCKET_NAME,            /* handle, flags SOCKET_OF_PEER -> address. -ENOTCONN */
    SOCKET_SET_OPTION,      /* handle, level, option, body: the value. -ENOPROTOOPT, -EINVAL, ... */
    SOCKET_GET_OPTION,      /* handle, level, option, length: room -> body: the value */
    SOCKET_IOCTL,           /* handle (the client: of no socket), command, body: the structure that the process gave -> body: what it becomes. -ENOTTY: not known. SIOCGIFCONF's
                             * body is the array of struct ifreq, as many as there are */
    SOCKET_WATCH,           /* handle, events -> events that hold now (POLLERR and POLLHUP always are among those that are asked for). When none does, and SOCKET_NOTIFY
                             * is set: SOCKET_EVENT_READY follows once. `wakes` counts what has happened to the socket, for edges. Never -EAGAIN */
    SOCKET_UNWATCH,         /* handle (the client), token: withdraw, if it is still there. Always 0 */
    SOCKET_TEXT,            /* option: enum socket_text -> body: the text of that file of /proc/net. `length`: from which byte on */
};

enum socket_text { SOCKET_TEXT_DEV, SOCKET_TEXT_ROUTE, SOCKET_TEXT_TCP, SOCKET_TEXT_TCP6, SOCKET_TEXT_UDP, SOCKET_TEXT_UDP6, SOCKET_TEXT_RAW,
                   SOCKET_TEXT_RAW6, SOCKET_TEXT_ARP, SOCKET_TEXT_IF_INET6, SOCKET_TEXT_IPV6_ROUTE, SOCKET_TEXT_PNP };

/* Request flags. */
#define SOCKET_NOTIFY       1u      /* on -EAGAIN and its like (SOCKET_WATCH: on no event) send SOCKET_EVENT_READY(token) */
#define SOCKET_PRIVILEGED   2u
#define SOCKET_OF_PEER      4u

/* Reply flags. */
#define SOCKET_TELL_INFO    1u      /* SOCKET_RECEIVE: IP_PKTINFO or IPV6_RECVPKTINFO is on */
#define SOCKET_TELL_TTL     2u      /* IP_RECVTTL, IPV6_RECVHOPLIMIT */
#define SOCKET_TELL_OLD_TTL 4u      /* IPV6_2292HOPLIMIT: the same by the number that it once had */

/* The annex of a request. Unused fields are zero. */
struct socket_request {
    uint32_t operation;         /* enum socket_operation */
    uint32_t flags;
    uint64_t handle;
    union {
        uint64_t token;         /* with SOCKET_NOTIFY, and SOCKET_UNWATCH */
        uint64_t event_port;    /* SOCKET_CLIENT: the 8 bytes of the port's KnUniqueId */
    };
    uint32_t length;
    uint32_t message_flags;     /* MSG_PEEK, MSG_MORE, MSG_TRUNC as in Linux; others mean nothing here */
    union {
        struct { int32_t family, type, protocol; };
        struct { int32_t level, option; };
        uint32_t command;       /* SOCKET_IOCTL */
        uint32_t events;        /* SOCKET_WATCH: POLLIN, POLLOUT, ... as in Linux */
    };
    uint32_t address_size;
    uint8_t  address[SOCKET_ADDRESS_ROOM];
    uint8_t  unused[40];
};

/* What is told about a datagram that arrived. */
struct socket_arrival {
    uint8_t  destination[16];   /* IPv4: the first 4 bytes */
    uint32_t interface;
    uint8_t  ttl, traffic_class;
    uint16_t unused;
};

/* The annex of a reply. */
struct socket_reply {
    int32_t  status;            /* 0, or an error of Linux made negative; -EBADF: no such handle; -ENOSYS: no such operation */
    uint32_t flags;
    uint64_t handle;            /* SOCKET_CLIENT, SOCKET_OPEN, SOCKET_ACCEPT */
    uint32_t length;            /* bytes accepted, or of the body */
    uint32_t whole_length;
    uint32_t events;            /* SOCKET_WATCH */
    uint32_t wakes;
    uint32_t address_size;
    uint8_t  address[SOCKET_ADDRESS_ROOM];
    struct socket_arrival arrival;
    uint8_t  unused[28];
};

enum socket_event_kind { SOCKET_EVENT_READY = 0x980 };

/* The annex of a notification, by ipcSend. */
struct socket_event {
    uint32_t kind;              /* enum socket_event_kind */
    uint32_t unused0;
    uint64_t token;
    uint8_t  unused[104];
};

_Static_assert(sizeof(struct socket_request) == 120, "a request fills the annex");
_Static_assert(sizeof(struct socket_reply) == 120, "a reply fills the annex");
_Static_assert(sizeof(struct socket_event) == 120, "a notification fills the annex");

#endif
