/* A folder of the host, served by the file protocol (lib/protocol/file.h) in a host process of its own.
 *
 * Nobody gets out of the folder: a request names a node by its key, or a path below one; `..`, links and mounts are walked here,
 * one name at a time, and each name is opened by openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS. So whatever the host's programs or
 * others inside rename, replace by a link or move away meanwhile: what is opened lies in the folder at that moment, or nothing is.
 * Links are never followed here: their text goes back, and whoever asked resolves it in its own name space.
 *
 * What belongs to the user who runs the site is root's inside, the host's root is nobody (65534), other owners are as they are. Whoever
 * is inside, the host's user does it. No set-id bits go either way; device nodes cannot be made, and those of the host lead nowhere.
 *
 * Nothing that is read or written is cached, so changes of the host are seen at once (and what is mapped, see share_cache.h). A node stays known by its key wherever those inside move it; if the host
 * moves it, it is found again by its new name, and an open file stays open.
 */
#ifndef SHARE_H
#define SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "protocol/share.h"

struct share;

/* The folder as a descriptor (taken over). NULL and errno. */
struct share *share_new(int folder, bool read_only);
void share_free(struct share *share);

/* Serve one request: fills the answer; `reply_body` has room for FILE_BODY_MAX bytes, *ret_size of them are used. Never trusts the request.
 * The port in nodes of the reply is 0: it is filled in by who knows it. */
void share_serve(struct share *share, const struct file_request *request, const char *body, size_t body_size, struct share_answer *answer,
                 char *reply_body, size_t *ret_size);

/* Serve what comes over a socket, each message { number, request, body }, answered by { number, answer, body }, until the other end is closed.
 * Requests are sent as they are in the union, with what is behind them in it. */
struct share_message {
    uint64_t number;
    union {
        struct file_request request;
        struct share_answer answer;
    };
};
void share_run(struct share *share, int socket);

#endif
