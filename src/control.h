/* The control socket: how `chorus ps`, `top`, `stop`, `load`, `kill` and `replace` speak with a running site.
 *
 * The site opens it by name. All its work is done without blocking in control_handle, which the
 * interrupt thread calls whenever control_fd is readable (one descriptor for the listening socket
 * and every client). A client's request is one line, "ps", "stop" or "do SIZE"; "ps" is answered by a
 * snapshot, "stop" by the end of the connection when the site is gone. After "do SIZE" come SIZE bytes: words,
 * each with a final zero, the command's name first; the answer is one line, "done TEXT" or "failed TEXT". A descriptor may go along
 * with either (SCM_RIGHTS, with any byte of the request, with the first of the answer).
 *
 * The Nucleus alone can take a snapshot, in its own time: `snapshot_wanted` asks for one, and
 * control_answer, which may be called from any thread, hands it over. One is asked for at a time,
 * however many clients wait.
 *
 * Open it after the zygote was forked: a process that inherited the descriptor would make a dead
 * site look alive. System calls used after control_open: accept4, getsockopt, read, recvfrom,
 * sendto, recvmsg, sendmsg, fcntl, write, epoll_ctl, epoll_wait, close, unlink. */

#ifndef CHORUS_CONTROL_H
#define CHORUS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct control;
struct site_snapshot;

#define CONTROL_WORDS_MAX 65536u /* bytes of a command's words */

/* What "do" asks for. Who gets it owns it: control_command_free. */
struct control_command {
    uint64_t ticket; /* for the answer: control_reply */
    size_t count;
    char **words; /* ends with NULL */
    int descriptor; /* that came along; -1: none. control_command_free closes it */
};
void control_command_free(struct control_command *command);

/* All are called in control_handle, and must not call back into control but by control_answer and control_reply. */
struct control_callbacks {
    void (*snapshot_wanted)(void *context);
    void (*stop_wanted)(void *context);
    void *context;
    void (*command_wanted)(void *context, struct control_command *command); /* NULL: all are refused */
};

/* NULL when it fails; errno says why, EADDRINUSE that a site of this name is running. */
struct control *control_open(const char *name, const struct control_callbacks *callbacks);

int control_fd(const struct control *control); /* readable: call control_handle */
void control_handle(struct control *control);

/* Answer all who wait for a snapshot; it is control's from here on. NULL: there is none, and they
 * are told so. From any thread; never blocks. */
void control_answer(struct control *control, struct site_snapshot *snapshot);

/* Answer a command, once; <text> is copied, and lines become one. If its client has gone nothing happens. From any thread; never
 * blocks. */
void control_reply(struct control *control, uint64_t ticket, bool done, const char *text);
/* The same with a descriptor for the client, which is copied; -1: none. */
void control_reply_with(struct control *control, uint64_t ticket, bool done, const char *text, int descriptor);

/* Ends every connection and takes the socket away. Takes NULL. */
void control_close(struct control *control);

#endif
