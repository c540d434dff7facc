/* socket.h: sockets of every family, as descriptors see them.
 *
 * socket.c and socket_message.c take the calls of programs apart; a family does what they ask for. Local sockets (local.h) live
 * here; those of the Internet are the Socket Manager's (net.h).
 */
#ifndef PM_SOCKET_H
#define PM_SOCKET_H

#include <sys/socket.h>

#include "descriptor.h"

#define SOCKET_ADDRESS_MAX 128u
#define SOCKET_CONTROL_MAX 10240u /* bytes of control messages in one call */

struct socket_address {
    uint32_t size; /* 0: none */
    _Alignas(8) uint8_t bytes[SOCKET_ADDRESS_MAX];
};

/* What one send or receive is about. */
struct socket_message {
    struct user_io io;
    uint32_t flags;                /* MSG_; MSG_DONTWAIT also for a file with O_NONBLOCK */
    struct socket_address address; /* to whom, or from whom */
    uint8_t *control;              /* what was given, or room for what is received; NULL: none */
    uint32_t control_size;         /* bytes given, or filled so far */
    uint32_t control_room;
    uint32_t flags_out;            /* MSG_TRUNC, MSG_CTRUNC, MSG_EOR */
};

/* What a family does. Those that are missing answer EOPNOTSUPP. Each may give up the lock; those that return int64_t may return CALL_WAITS. */
struct socket_operations {
    int (*bind)(struct call *call, struct file *file, const struct socket_address *address);
    int64_t (*connect)(struct call *call, struct file *file, const struct socket_address *address);
    int (*listen)(struct call *call, struct file *file, int backlog);
    int64_t (*accept)(struct call *call, struct file *file, uint32_t flags, struct file **ret_file);
    int64_t (*send)(struct call *call, struct file *file, struct socket_message *message);
    int64_t (*receive)(struct call *call, struct file *file, struct socket_message *message);
    int (*shutdown)(struct call *call, struct file *file, int how);
    int (*name)(struct call *call, struct file *file, bool of_peer, struct socket_address *address);
    /* Options that socket.c does not know itself. <size> is of <value>; get: room, then what was put there. */
    int (*set_option)(struct call *call, struct file *file, int level, int option, const void *value, uint32_t size);
    int (*get_option)(struct call *call, struct file *file, int level, int option, void *value, uint32_t *size);
};

/* What the object of every socket's file begins with. */
struct socket {
    int family, type, protocol;
    KnTime receive_timeout, send_timeout; /* 0: none */
};

static inline struct socket *socket_of(const struct file *file)
{
    return file->operations->socket != NULL ? file->object : NULL;
}

/* What all of them have in their file_operations. */
int64_t socket_read(struct call *call, struct file *file, struct user_io *io, int64_t *offset);
int64_t socket_write(struct call *call, struct file *file, struct user_io *io, int64_t *offset);

/* A file for a socket, which becomes its object. NULL: no memory. */
struct file *socket_file_new(const struct file_operations *operations, struct socket *socket, uint32_t flags);
/* Of socketpair and socket: into a descriptor, or released. */
int socket_give(struct call *call, struct file *file, bool close_on_exec);

/* Nothing can be done now: what the call returns. -EAGAIN, or CALL_WAITS once it stands in <queue> (NULL: in some already). What
 * has been done already counts more. */
int64_t socket_waits(struct call *call, struct wait_queue *queue, uint32_t flags, KnTime timeout);
/* EPIPE, and SIGPIPE unless MSG_NOSIGNAL; what has been sent already counts more. */
int64_t socket_broken(struct call *call, uint32_t flags);

/* Add a control message to what is received; without room MSG_CTRUNC. False: there was none. */
bool socket_control_put(struct socket_message *message, int level, int type, const void *data, size_t size);

/* local.c */
int64_t local_socket_new(struct call *call, int type, int protocol, uint32_t flags, struct file **ret_file);
int64_t local_socket_pair(struct call *call, int type, int protocol, uint32_t flags, struct file *ret_files[2]);

#endif
