/* kcall_impl.h: what message.c and ipc.c know of the Nucleus's own calls. */
#ifndef NUCLEUS_KCALL_IMPL_H
#define NUCLEUS_KCALL_IMPL_H

#include "kcall.h"
#include "message.h"

/* The record is closed; whoever started it is told. */
void kcall_failed(struct call_record *record, int status);
size_t kcall_reply_max(const struct call_record *record);
/* The reply has come: closes the record. <annex> NULL: none. */
void kcall_replied(struct call_record *record, const uint8_t *annex, const uint8_t *body,
                   size_t size);

#endif
