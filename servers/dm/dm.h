/* The Device Manager without its actor: what lib/protocol/tty.h asks for, as functions on plain data.
 *
 *   dm.c        clients, open files, waiting (watches), the dispatch of requests
 *   terminal.c  terminals: sessions, job control, ioctls, hang-up; the console
 *   pty.c       pseudo-terminals: masters, and how slaves come and go
 *   line.c      the line discipline
 *   memory.c    null, zero, full, random, urandom
 *   picture.c, evdev.c    framebuffer, keyboard and mouse
 *   rtc.c       the real-time clock
 *   hwrng.c     the entropy device
 *   stream.c    the command's standard input, output and error
 *   channel.c   what lies between all that and the console driver
 *
 * Nothing here calls the Nucleus or waits: main.c does, and tests do without. Not thread safe; main.c
 * holds one lock around every call.
 */
#ifndef DM_DM_H
#define DM_DM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/tty.h"

/* What the core needs of its actor; set before dm_start. */
struct dm_host {
    /* Send an event to a client. False: its queue is full, try again later. A client that is
     * gone counts as sent to. */
    bool (*send)(uint64_t port, const struct tty_event *event);
    int64_t (*now)(void);                               /* ns, never going back */
    void (*random)(void *bytes, size_t length);
    int64_t (*wall_clock)(void);                        /* ns since 1970, UTC, of the host; < 0: unknown. NULL: there is none */
    /* A channel has something to write, or room for input, or its drain was asked for (channel.h). */
    void (*attend)(unsigned channel);
    /* Show the framebuffer from now on, or the console. NULL: there is none. */
    void (*picture_use)(bool use);
    /* Ask the entropy driver for DM_ENTROPY_PIECE bytes: hwrng_give follows. NULL: there is no such device. */
    void (*entropy_ask)(void);
};

#define DM_ENTROPY_PIECE 512

void dm_start(const struct dm_host *host, uint32_t epoch);      /* epoch: another one for each life */
void dm_end(void);                                              /* free everything (tests) */

/* Carry out one request. `body` has `body_size` bytes of the request and room for TTY_BODY_MAX bytes of the
 * reply. Returns the size of the reply's body. */
size_t dm_request(const struct tty_request *request, struct tty_reply *reply, uint8_t *body,
                  size_t body_size);

/* Tell waiting clients of what has changed, and send what could not be sent before. To be called after
 * everything that may have changed something, and when the time has come that it returns: ns, INT64_MAX for none. */
int64_t dm_settle(void);

/* The client with this event port is dead: close what it had open. */
void dm_client_gone(uint64_t event_port);

/* What the entropy driver gave; nothing: it does not answer. */
void hwrng_give(const uint8_t *bytes, size_t length);

/* ---- between the parts ---- */

struct dm_file;

struct dm_call {
    const struct tty_request *request;
    struct tty_reply *reply;
    uint8_t *body;
    size_t body_size;
    int64_t now;
    unsigned client;
};

/* What a kind of device can do. A missing operation answers as the comment says. */
struct dm_operations {
    /* Bytes to body, their number to reply->length. Only when can_read. */
    int (*read)(struct dm_file *file, struct dm_call *call);            /* -EINVAL */
    bool (*can_read)(struct dm_file *file, const struct tty_request *request, uint64_t begun,
                     int64_t now, int64_t *ret_deadline);               /* always */
    /* Accepted bytes to reply->length. Only when can_write. */
    int (*write)(struct dm_file *file, struct dm_call *call);           /* -EINVAL */
    bool (*can_write)(struct dm_file *file);                            /* always */
    /* -EAGAIN: waits until drained. */
    int (*ioctl)(struct dm_file *file, struct dm_call *call);           /* -ENOTTY */
    bool (*drained)(struct dm_file *file);                              /* always */
    int (*failure)(struct dm_file *file);       /* of output accepted earlier, or 0: none */
    unsigned (*poll)(struct dm_file *file);                             /* readable and writable */
    /* Job control and hang-up: may this request be tried? 0, or its answer. */
    int (*check)(struct dm_file *file, struct dm_call *call);           /* always */
    void (*close)(struct dm_file *file);                                /* nothing */
};

/* An open file description (or a client: operations NULL). */
struct dm_file {
    const struct dm_operations *operations;
    void *object;
    uint64_t handle;
    unsigned client;            /* index of the client's own entry */
    uint64_t event_port;        /* of a client */
    uint32_t hangups;           /* the terminal's count when this was opened */
    uint32_t device;
};

extern const struct dm_host *dm_host;

/* Something changed: let dm_settle look at who waits. */
void dm_changed(void);

/* To the client: in order, and never lost. */
void dm_event(unsigned client, const struct tty_event *event);

/* Opening: fill in operations, object, hangups and device, and reply flags. 0 or an error made negative. */
int memory_open(struct dm_file *file, struct dm_call *call);
int stream_open(struct dm_file *file, struct dm_call *call);
int terminal_open(struct dm_file *file, struct dm_call *call);
int rtc_open(struct dm_file *file, struct dm_call *call);
void hwrng_start(void);
int hwrng_open(struct dm_file *file, struct dm_call *call);
int pty_master_open(struct dm_file *file, struct dm_call *call);

/* Nodes for TTY_LIST: the index-th, or false. */
bool memory_node(unsigned index, struct tty_node *node);
bool stream_node(unsigned index, struct tty_node *node);
bool terminal_node(unsigned index, struct tty_node *node);
bool rtc_node(unsigned index, struct tty_node *node);
bool hwrng_node(unsigned index, struct tty_node *node);
bool pty_node(unsigned index, struct tty_node *node);

#endif
