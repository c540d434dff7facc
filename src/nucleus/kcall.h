/* kcall.h: ipcCalls that the Nucleus makes itself: upcalls to mappers, traps to their handlers. */
#ifndef NUCLEUS_KCALL_H
#define NUCLEUS_KCALL_H

#include <chorus.h>

struct kcall;
/* status K_OK: <annex> and <body> are the reply, valid during the call of this function only.
 * K_EDEAD, K_EUNKNOWN: the port or its actor is gone. Called once, unless kcall_cancel was called
 * before. Never called from within kcall_start. */
typedef void kcall_done(void *cookie, int status, const void *annex, const void *body,
                        size_t body_size);

/* Send a request. The annex (K_CMSGANNEXSIZE bytes) is copied; the body is given by <fill>, which
 * is called when it is received and writes <body_size> bytes to <to> in the Nucleus's memory (NULL
 * with body_size 0), so that a body costs no memory while it is queued. The reply's body is
 * accepted up to <reply_max> bytes. <fill> may be called more than once (ipcGetData, ipcRestore by
 * another thread), never after <done> or kcall_cancel. K_EUNKNOWN, K_EFULL never (the Nucleus's own
 * calls are always queued), K_ENOMEM. */
typedef void kcall_fill(void *cookie, void *to, size_t size);
int kcall_start(struct kcall **ret_call, const KnUniqueId *port, const void *annex,
                size_t body_size, kcall_fill *fill, size_t reply_max, kcall_done *done,
                void *cookie);
void kcall_cancel(struct kcall *call);
/* Like ipcSend, from the Nucleus; a full queue drops it (returns K_EFULL). */
int kcall_send(const KnUniqueId *port, const void *annex, const void *body, size_t body_size);

#endif
