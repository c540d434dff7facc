/* Terminal protocol: what the Process Manager asks of the Device Manager (dm).
 *
 * dm serves every character device: terminals, pseudo-terminals, the memory devices (null, zero,
 * full, random, urandom) and the command's standard streams. pm opens a device by its number, as
 * found in the inode, and gets a handle, which stands for one open file description.
 *
 * Every request is one ipcCall to dm's port (static system group, stamp TTY_GROUP_STAMP, K_FUNCMODE):
 * the request is the annex, data to be written is the body; the reply's annex says how it went,
 * data read is its body.
 *
 * Waiting: no call waits
 *   dm answers every call at once. What cannot be done yet is answered with -EAGAIN, and then
 *   NOTHING has happened: no byte was taken, put or changed. A byte is taken from a terminal only
 *   by the call whose reply carries it. So pm keeps the waiting itself, as a saved message of the
 *   process, and can end it at any moment (signal, exit, time-out) without asking anybody: forgetting
 *   a read loses no byte and repeating it doubles none. O_NONBLOCK is pm's business (and TTY_NO_WAIT).
 *     1. pm sends TTY_READ with TTY_NOTIFY and a `token` of its choice. -EAGAIN: it saves the trap.
 *     2. When it is worth trying again dm sends TTY_EVENT_READY with that token, once.
 *     3. pm sends TTY_READ again, with `begun` from the -EAGAIN reply (VTIME counts from the first try).
 *   A notification is a hint: another reader may have been faster, and then the answer is -EAGAIN
 *   once more. TTY_UNWATCH(token) withdraws a notification; one under way may still arrive, and pm
 *   ignores tokens that it does not know. A token is one wait: arming it again replaces it.
 *   The same goes for TTY_WRITE (which may accept a part: pm adds up and goes on with the rest), for
 *   the ioctls that wait for output to drain, and for TTY_WATCH, which is poll and select.
 *
 * Notifications
 *   dm sends them by ipcSend to the port that TTY_CONNECT gave; the annex is a struct tty_event, the
 *   body is empty. dm never drops one: it tries again while the port's queue is full. They arrive in
 *   the order in which dm sent them.
 *
 * Job control: dm has the facts, pm the rules
 *   dm knows each terminal's session and foreground process group. A call made for a process of the
 *   terminal's session but outside the foreground group, which POSIX says must be stopped for it (a read; a
 *   write under TOSTOP; an ioctl that changes the terminal), is answered -TTY_BACKGROUND_READ or
 *   -TTY_BACKGROUND_WRITE, and nothing has happened. pm then decides:
 *     - SIGTTIN (SIGTTOU) blocked or ignored: a read fails with EIO; anything else is sent again
 *       with TTY_PERMITTED;
 *     - the process group is orphaned: EIO;
 *     - otherwise the signal goes to the whole process group and the call is started anew.
 *
 * When dm dies its ipcCalls fail, and every handle is gone: a call with a handle of an earlier life is
 * answered -EIO, as after a hang-up, and pm calls TTY_CONNECT again.
 */
#ifndef PROTOCOL_TTY_H
#define PROTOCOL_TTY_H

#include <stdint.h>

#define TTY_GROUP_STAMP     4           /* K_STAMP_DM; + 16 for each further instance */

#define TTY_BODY_MAX        65536       /* bytes in one read or write */
#define TTY_ARGUMENT_MAX    60          /* bytes of an ioctl's argument, either way */

/* Statuses that Linux has no error for: pm never shows them to a process. */
#define TTY_BACKGROUND_READ   4001      /* reply status -TTY_BACKGROUND_READ: SIGTTIN is due */
#define TTY_BACKGROUND_WRITE  4002      /* reply status -TTY_BACKGROUND_WRITE: SIGTTOU is due */

/* Device numbers, major and minor as in Linux. */
#define TTY_DEVICE(major, minor)  ((uint32_t)(major) << 20 | (uint32_t)(minor))
#define TTY_MAJOR(device)         ((uint32_t)(device) >> 20)
#define TTY_MINOR(device)         ((uint32_t)(device) & 0xfffffu)

#define TTY_NULL     TTY_DEVICE(1, 3)
#define TTY_ZERO     TTY_DEVICE(1, 5)
#define TTY_FULL     TTY_DEVICE(1, 7)
#define TTY_RANDOM   TTY_DEVICE(1, 8)
#define TTY_URANDOM  TTY_DEVICE(1, 9)
#define TTY_CURRENT  TTY_DEVICE(5, 0)       /* /dev/tty: the caller's controlling terminal */
#define TTY_CONSOLE  TTY_DEVICE(5, 1)       /* /dev/console: another name of TTY_HVC */
#define TTY_PTMX     TTY_DEVICE(5, 2)       /* every open makes a new pty; the handle is its master */
#define TTY_HVC      TTY_DEVICE(229, 0)     /* /dev/hvc0: the terminal on the virtio console */
#define TTY_PTS(n)   TTY_DEVICE(136, (n))   /* /dev/pts/n */
#define TTY_FRAMEBUFFER TTY_DEVICE(29, 0)   /* /dev/fb0 */
#define TTY_INPUT(n) TTY_DEVICE(13, 64 + (n)) /* /dev/input/event<n> */
#define TTY_HWRNG    TTY_DEVICE(10, 183)    /* /dev/hwrng */
#define TTY_RTC      TTY_DEVICE(252, 0)     /* /dev/rtc0 */
#define TTY_STDIN    TTY_DEVICE(240, 0)     /* what `chorus run -- COMMAND` got as standard input, */
#define TTY_STDOUT   TTY_DEVICE(240, 1)     /* output and error: plain byte streams, no terminals. */
#define TTY_STDERR   TTY_DEVICE(240, 2)     /* The end of the input is a read of 0 bytes; a closed
                                             * output is -EPIPE (pm raises SIGPIPE). */

enum tty_operation {
    TTY_CONNECT = 0x500,    /* event_port: where this client wants its notifications. First call.
                             * -> `handle` names the client in later TTY_OPEN calls */
    TTY_OPEN,               /* handle (the client), device, flags, identity
                             * -> handle, device (the real one: never TTY_CURRENT or TTY_CONSOLE),
                             *    flags TTY_BECAME_CONTROLLING, TTY_IS_TERMINAL;
                             *    TTY_PTMX: argument = uint32_t number of the pts.
                             *    TTY_IS_PICTURE: argument = struct tty_picture, whose segment
                             *    (lib/protocol/picture.h) the caller reads, writes and maps itself
                             * -ENXIO no such device, no controlling terminal; -EIO pts locked or its
                             * master gone; -EBUSY exclusive (TIOCEXCL); -ENOSPC too many ptys */
    TTY_CLOSE,              /* handle. The last reference of an open file description is gone. The
                             * last close of a pty's master hangs its slave up. Output that was
                             * accepted is still put out. */
    TTY_READ,               /* handle, length -> the bytes in the body, fewer than asked perhaps;
                             * none: end of file. -EAGAIN, -EIO, -TTY_BACKGROUND_READ */
    TTY_WRITE,              /* handle, body -> length accepted, at least 1; flags TTY_UNCONFIRMED.
                             * -EAGAIN, -EIO, -EPIPE, -ENOSPC (full), -TTY_BACKGROUND_WRITE */
    TTY_IOCTL,              /* handle, command, argument -> argument. See TTY_IOCTLS. Of input
                             * devices: argument = the first bytes or the value -> `events` the
                             * call's result, the body: what goes to the process's memory.
                             * -ENOTTY: this device does not know it. -EAGAIN: waits for output. */
    TTY_WATCH,              /* handle, events -> events that hold now. When none does and TTY_NOTIFY is
                             * set: TTY_EVENT_READY follows once. TTY_HANGUP and TTY_ERROR
                             * are always watched for. Never -EAGAIN. */
    TTY_UNWATCH,            /* handle (the client), token: withdraw, if it is still there. Always 0 */
    TTY_SESSION_END,        /* handle (the client), identity.sid: the session's leader has exited. The
                             * foreground group of its terminal gets SIGHUP, the session loses it, and
                             * unless it is a pty it is hung up. 0 also when it had none. */
    TTY_DRAIN,              /* handle: 0 when everything written has left for the host, else -EAGAIN.
                             * The host's error (-EPIPE, -ENOSPC, ...) when it refused some. For every
                             * device; to be waited for before power off. */
    TTY_LIST,               /* handle (the client), length = index of the first -> the body: an
                             * array of struct tty_node for /dev and /dev/pts, at most as many as
                             * fit; reply's length = how many entries */
};

/* Request flags. */
#define TTY_NOTIFY          0x01u   /* on -EAGAIN (TTY_WATCH: on no event) send TTY_EVENT_READY(token) */
#define TTY_PERMITTED       0x02u   /* job control has been looked at: do not answer TTY_BACKGROUND_* */
#define TTY_NO_CONTROL      0x04u   /* TTY_OPEN: O_NOCTTY */
#define TTY_NO_WAIT         0x08u   /* TTY_READ: O_NONBLOCK: give what is there, though fewer than VMIN.
                                     * Never together with TTY_NOTIFY */

/* Reply flags. */
#define TTY_BECAME_CONTROLLING  0x01u   /* TTY_OPEN: this is now the session's controlling terminal */
#define TTY_IS_TERMINAL         0x02u   /* TTY_OPEN: a terminal (also the master of a pty) */
#define TTY_IS_PICTURE          0x08u   /* TTY_OPEN: a framebuffer */
#define TTY_UNCONFIRMED         0x04u   /* TTY_WRITE: the host may still refuse these bytes. Whoever wants to
                                         * know before the write returns waits by TTY_DRAIN */

/* Events, with the values that poll has in Linux. */
#define TTY_READABLE  0x0001u   /* POLLIN */
#define TTY_PRIORITY  0x0002u   /* POLLPRI: packet mode has a status byte */
#define TTY_WRITABLE  0x0004u   /* POLLOUT */
#define TTY_ERROR     0x0008u   /* POLLERR */
#define TTY_HANGUP    0x0010u   /* POLLHUP */

/* identity.flags: what dm must know of the process on whose behalf the call is. */
#define TTY_SESSION_LEADER  0x01u
#define TTY_HAS_TERMINAL    0x02u   /* its session has a controlling terminal already */
#define TTY_PRIVILEGED      0x04u   /* CAP_SYS_ADMIN or CAP_SYS_TTY_CONFIG: may take terminals away */

struct tty_identity {
    int32_t  pgrp;              /* process group */
    int32_t  sid;               /* session */
    uint32_t uid, gid;          /* effective; the owner of a new pts */
    uint32_t flags;
};

/* The annex of a request. Unused fields are zero. */
struct tty_request {
    uint32_t operation;         /* enum tty_operation */
    uint32_t flags;
    uint32_t length;            /* TTY_READ: bytes wanted; TTY_LIST: first index */
    union {
        uint32_t device;        /* TTY_OPEN */
        uint32_t command;       /* TTY_IOCTL: the number that the process gave */
        uint32_t events;        /* TTY_WATCH */
    };
    uint64_t handle;
    union {
        uint64_t token;         /* with TTY_NOTIFY, and TTY_UNWATCH */
        uint64_t event_port;    /* TTY_CONNECT: the 8 bytes of the port's KnUniqueId */
    };
    uint64_t begun;             /* TTY_READ: 0, or `begun` of the earlier -EAGAIN of this same read */
    struct tty_identity identity;
    uint8_t  argument[TTY_ARGUMENT_MAX];    /* TTY_IOCTL: what the table says */
};

/* The annex of a reply. */
struct tty_reply {
    int32_t  status;            /* 0, or an error of Linux made negative, or -TTY_BACKGROUND_* ;
                                 * -EBADF no such handle, -EINVAL malformed, -ENOSYS no such operation */
    uint32_t flags;
    uint32_t length;            /* bytes read (also the body's size), accepted, or entries listed */
    uint32_t device;            /* TTY_OPEN */
    uint64_t handle;            /* TTY_CONNECT, TTY_OPEN */
    uint64_t begun;             /* TTY_READ answered -EAGAIN */
    uint32_t events;            /* TTY_WATCH */
    uint32_t unused[6];
    uint8_t  argument[TTY_ARGUMENT_MAX];
};

struct tty_picture {
    uint64_t size;              /* bytes of the segment */
    uint32_t width, height;     /* pixels of 32 bits: blue, green, red, unused */
    uint32_t stride;            /* bytes */
    uint32_t unused;
};

enum tty_event_kind {
    TTY_EVENT_READY = 0x580,    /* token: try again. events: why, as far as known */
    TTY_EVENT_SIGNAL,           /* send `signal` (Linux number) to process group `pgrp`.
                                 * SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SIGHUP, SIGCONT */
    TTY_EVENT_HANGUP,           /* session `sid` has lost its controlling terminal `device`. signal not 0
                                 * (SIGHUP): its leader gets it, and then SIGCONT */
};

/* Hang-up: open files of the terminal are dead from then on: reads give end of file, writes and ioctls -EIO,
 * TTY_WATCH everything. Opening it anew gives a live one. */

/* The annex of a notification. */
struct tty_event {
    uint32_t kind;              /* enum tty_event_kind */
    uint32_t events;
    uint64_t token;
    int32_t  signal;
    int32_t  pgrp;
    int32_t  sid;
    uint32_t device;            /* the terminal that it comes from */
    uint8_t  unused[88];
};

#define TTY_NODE_NAME_MAX   23

/* What TTY_LIST gives: the devices that exist now, ptys last. */
struct tty_node {
    uint32_t device;
    uint32_t mode;              /* permissions, e.g. 0620; all are character devices */
    uint32_t uid, gid;
    char     name[TTY_NODE_NAME_MAX + 1];   /* below /dev, e.g. "null", "pts/0" */
};

/* The ioctls that dm knows, once: pm copies `in` bytes from the process's memory into `argument`
 * before the call and `out` bytes back after a 0. A VALUE ioctl has no memory behind it: its argument
 * is a number, passed as the first 8 bytes of `argument`.
 *   TIOCSPGRP: pm first checks that the group exists in the caller's session (ESRCH, EPERM).
 *   TIOCSCTTY, TIOCNOTTY: pm keeps what it knows of the session in step when they succeed.
 *   TIOCGPTPEER is pm's: TTY_OPEN of TTY_PTS(n). FIONBIO, FIOASYNC, FIOCLEX are pm's too. */
enum tty_ioctl_kind { TTY_BY_MEMORY, TTY_BY_VALUE };

#define TTY_IOCTLS(IOCTL)                                       \
    /*    name         number       kind           in  out */   \
    IOCTL(TCGETS,      0x5401,      TTY_BY_MEMORY,  0, 36)      \
    IOCTL(TCSETS,      0x5402,      TTY_BY_MEMORY, 36,  0)      \
    IOCTL(TCSETSW,     0x5403,      TTY_BY_MEMORY, 36,  0)      \
    IOCTL(TCSETSF,     0x5404,      TTY_BY_MEMORY, 36,  0)      \
    IOCTL(TCGETA,      0x5405,      TTY_BY_MEMORY,  0, 18)      \
    IOCTL(TCSETA,      0x5406,      TTY_BY_MEMORY, 18,  0)      \
    IOCTL(TCSETAW,     0x5407,      TTY_BY_MEMORY, 18,  0)      \
    IOCTL(TCSETAF,     0x5408,      TTY_BY_MEMORY, 18,  0)      \
    IOCTL(TCSBRK,      0x5409,      TTY_BY_VALUE,   0,  0)      \
    IOCTL(TCXONC,      0x540a,      TTY_BY_VALUE,   0,  0)      \
    IOCTL(TCFLSH,      0x540b,      TTY_BY_VALUE,   0,  0)      \
    IOCTL(TIOCEXCL,    0x540c,      TTY_BY_VALUE,   0,  0)      \
    IOCTL(TIOCNXCL,    0x540d,      TTY_BY_VALUE,   0,  0)      \
    IOCTL(TIOCSCTTY,   0x540e,      TTY_BY_VALUE,   0,  0)      \
    IOCTL(TIOCGPGRP,   0x540f,      TTY_BY_MEMORY,  0,  4)      \
    IOCTL(TIOCSPGRP,   0x5410,      TTY_BY_MEMORY,  4,  0)      \
    IOCTL(TIOCOUTQ,    0x5411,      TTY_BY_MEMORY,  0,  4)      \
    IOCTL(TIOCSTI,     0x5412,      TTY_BY_MEMORY,  1,  0)      \
    IOCTL(TIOCGWINSZ,  0x5413,      TTY_BY_MEMORY,  0,  8)      \
    IOCTL(TIOCSWINSZ,  0x5414,      TTY_BY_MEMORY,  8,  0)      \
    IOCTL(FIONREAD,    0x541b,      TTY_BY_MEMORY,  0,  4)      \
    IOCTL(TIOCPKT,     0x5420,      TTY_BY_MEMORY,  4,  0)      \
    IOCTL(TIOCNOTTY,   0x5422,      TTY_BY_VALUE,   0,  0)      \
    IOCTL(TIOCSETD,    0x5423,      TTY_BY_MEMORY,  4,  0)      \
    IOCTL(TIOCGETD,    0x5424,      TTY_BY_MEMORY,  0,  4)      \
    IOCTL(TCSBRKP,     0x5425,      TTY_BY_VALUE,   0,  0)      \
    IOCTL(TIOCGSID,    0x5429,      TTY_BY_MEMORY,  0,  4)      \
    IOCTL(TIOCVHANGUP, 0x5437,      TTY_BY_VALUE,   0,  0)      \
    IOCTL(TCGETS2,     0x802c542a,  TTY_BY_MEMORY,  0, 44)      \
    IOCTL(TCSETS2,     0x402c542b,  TTY_BY_MEMORY, 44,  0)      \
    IOCTL(TCSETSW2,    0x402c542c,  TTY_BY_MEMORY, 44,  0)      \
    IOCTL(TCSETSF2,    0x402c542d,  TTY_BY_MEMORY, 44,  0)      \
    IOCTL(TIOCGPTN,    0x80045430,  TTY_BY_MEMORY,  0,  4)      \
    IOCTL(TIOCSPTLCK,  0x40045431,  TTY_BY_MEMORY,  4,  0)      \
    IOCTL(TIOCGDEV,    0x80045432,  TTY_BY_MEMORY,  0,  4)      \
    IOCTL(TIOCSIG,     0x40045436,  TTY_BY_VALUE,   0,  0)      \
    IOCTL(TIOCGPKT,    0x80045438,  TTY_BY_MEMORY,  0,  4)      \
    IOCTL(TIOCGPTLCK,  0x80045439,  TTY_BY_MEMORY,  0,  4)      \
    IOCTL(TIOCGEXCL,   0x80045440,  TTY_BY_MEMORY,  0,  4)      \
    IOCTL(RTC_RD_TIME, 0x80247009,  TTY_BY_MEMORY,  0, 36)      \
    IOCTL(RTC_SET_TIME, 0x4024700a, TTY_BY_MEMORY, 36,  0)

_Static_assert(sizeof(struct tty_picture) <= TTY_ARGUMENT_MAX, "a picture fits into an argument");
_Static_assert(sizeof(struct tty_identity) == 20, "the layout has no holes");
_Static_assert(sizeof(struct tty_request) == 120, "a request fills the annex");
_Static_assert(sizeof(struct tty_reply) == 120, "a reply fills the annex");
_Static_assert(sizeof(struct tty_event) == 120, "a notification fills the annex");
_Static_assert(sizeof(struct tty_node) == 40, "the layout has no holes");

#endif
