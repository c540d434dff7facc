/* local.h: local (Unix-domain) sockets.
 *
 *   local.c         what one is; making, connecting, closing
 *   local_data.c    what is under way: packets from a sender to a receiver's queue
 *   local_name.c    names: bound paths and abstract ones
 *   local_rights.c  descriptors under way in packets, and those that nobody can receive any more
 */
#ifndef PM_LOCAL_H
#define PM_LOCAL_H

#include <stdio.h>
#include <sys/un.h>

#include "socket.h"
#include "waiting.h"

#define LOCAL_BUFFER 212992u /* bytes that may wait at a receiver, unless SO_SNDBUF says another number */
#define LOCAL_PACKETS 512u   /* datagrams that may */

/* What a socket is bound to. Kept by whoever has received from it. */
struct local_name {
    unsigned references;
    struct list link;     /* in the table, while it can be found */
    struct local *socket; /* NULL: it is closed */
    bool is_path;
    struct file_node node; /* of a path */
    struct socket_address address;
};

/* Descriptors under way. */
struct rights {
    struct list link; /* of all */
    uint32_t uid;     /* whose */
    unsigned count;
    struct file *files[];
};

struct packet {
    struct list link;
    uint32_t room, size; /* bytes that fit, bytes that are there */
    uint32_t taken;      /* those that were received already, of a stream */
    struct ucred sender;
    bool sender_given;   /* by SCM_CREDENTIALS */
    struct rights *rights;
    struct local_name *from;
    uint8_t data[];
};

enum local_state { LOCAL_NEW, LOCAL_LISTENS, LOCAL_CONNECTED, LOCAL_CLOSED };

struct local {
    struct socket socket;
    unsigned references; /* of its file, of who is connected to it, of the listener at which it waits to be accepted */
    struct list link;    /* of all */
    enum local_state state;
    struct file *file;   /* NULL: not accepted yet, or closed. No reference */
    struct local *peer;  /* the other end; of a datagram socket: where it sends to. A reference */
    bool shut_read, shut_write;
    int error;           /* SO_ERROR, positive */
    struct local_name *name;
    struct ucred credentials, peer_credentials;
    bool pass_credentials;
    uint32_t send_buffer, receive_buffer;

    struct list packets; /* received */
    uint32_t packet_count, queued; /* queued: bytes that they take */
    bool reading;        /* somebody copies the first one out */

    struct list pending; /* of a listener: connections to be accepted, by pending_link */
    struct list pending_link;
    unsigned pending_count, backlog;

    bool marked;         /* local_rights.c */
    struct wait_queue changed;
};

extern struct list locals; /* all that are not closed */

static inline struct local *local_of(const struct file *file)
{
    return file->object;
}

static inline bool local_is_datagram(const struct local *local)
{
    return local->socket.type == SOCK_DGRAM;
}

/* local.c */
void local_reference(struct local *local);
void local_release(struct local *local);
/* Its error, once; 0. Negative. */
int local_take_error(struct local *local);
bool file_is_local(const struct file *file);

/* local_data.c */
int64_t local_send(struct call *call, struct file *file, struct socket_message *message);
int64_t local_receive(struct call *call, struct file *file, struct socket_message *message);
/* Bytes that wait to be received: all of a stream, or the first datagram. */
uint32_t local_readable(const struct local *local);
bool local_may_send(const struct local *local, const struct local *to);
void local_drop_packets(struct local *local);

/* local_name.c. Errors of Linux. */
/* /proc/net/unix */
int local_print(FILE *out);
int local_name_bind(struct call *call, struct local *local, const struct socket_address *address);
/* A name of its own, if it has none. */
int local_name_choose(struct local *local);
/* Who is bound to the address: a reference. -ECONNREFUSED, -EPROTOTYPE and what walking the path gives. Gives up the lock. */
int local_name_find(struct call *call, const struct socket_address *address, int type, struct local **ret_local);
/* The socket is closed, and no longer found. */
void local_name_close(struct local *local);
void local_name_release(struct local_name *name);

/* local_rights.c */
/* What the control messages of a send say; -EINVAL, -EBADF, -EPERM, -ETOOMANYREFS. */
int rights_fetch(struct call *call, const struct socket_message *message, struct packet *packet);
/* Nobody receives them: the files are let go of. */
void rights_drop(struct rights *rights);
/* Into the receiver's descriptors, and a control message; <keep>: they stay in the packet, too. */
void rights_deliver(struct call *call, struct socket_message *message, struct rights *rights, bool keep);
/* A file is only under way any more, or a socket was closed: let go of sockets that are only under way to each other. */
void rights_collect(void);

#endif
