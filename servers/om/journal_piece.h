/* A piece of the log, as one transaction adds it: built in memory, then written by journal.c. */
#ifndef OM_JOURNAL_PIECE_H
#define OM_JOURNAL_PIECE_H

#include "journal.h"

/* A piece of the log while it is built. */
struct log_piece {
    uint8_t *blocks;
    uint32_t count, room;
};

/* The running transaction: revoke blocks for what it freed, descriptors with the copies of the
 * frozen blocks behind them, and at the end the commit block. 0 or -ENOMEM; `piece->blocks` is
 * the caller's to free. */
int piece_build(struct journal *journal, struct log_piece *piece, const struct journal_ranges *freed,
                struct cache_block **frozen, uint32_t count);

/* Call `visit` for each cached block of the freed ranges. */
typedef void freed_visitor(struct journal *journal, struct cache_block *block, void *context);
void freed_visit(struct journal *journal, const struct journal_ranges *freed, freed_visitor *visit,
                 void *context);

#endif
