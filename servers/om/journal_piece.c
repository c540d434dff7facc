/* Building a transaction's piece of the log; jbd2.h tells how it looks. */
#include "journal_piece.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ext2fs/ext2fs.h>

static uint32_t wide(const struct journal *journal)
{
    return (journal->superblock.incompat & htobe32(JBD2_INCOMPAT_64BIT)) != 0;
}

static uint32_t tail_size(const struct journal *journal)
{
    return journal_has_checksums(&journal->superblock) ? sizeof(struct jbd2_tail) : 0;
}

static uint32_t tags_per_descriptor(const struct journal *journal)
{
    uint32_t space = journal->cache->block_size - sizeof(struct jbd2_header) - tail_size(journal);

    return (space - JBD2_UUID_SIZE) / journal_tag_size(&journal->superblock);
}

static uint32_t revokes_per_block(const struct journal *journal)
{
    uint32_t space = journal->cache->block_size - sizeof(struct jbd2_revoke) - tail_size(journal);

    return space / (wide(journal) ? 8 : 4);
}

void freed_visit(struct journal *journal, const struct journal_ranges *freed, freed_visitor *visit,
                 void *context)
{
    for (size_t i = 0; i < freed->count; i++)
        for (uint64_t n = 0; n < freed->items[i].count; n++) {
            struct cache_block *block = cache_find(journal->cache, freed->items[i].start + n);

            if (block != NULL)
                visit(journal, block, context);
        }
}

static uint8_t *piece_next(struct journal *journal, struct log_piece *piece)
{
    uint32_t size = journal->cache->block_size;

    if (piece->count == piece->room) {
        uint32_t room = piece->room * 2 + 16;
        uint8_t *bigger = realloc(piece->blocks, (size_t)room * size);

        if (bigger == NULL)
            return NULL;
        piece->blocks = bigger;
        piece->room = room;
    }
    return memset(piece->blocks + (size_t)piece->count++ * size, 0, size);
}

static void header_fill(void *block, uint32_t type, uint32_t sequence)
{
    struct jbd2_header *header = block;

    header->magic = htobe32(JBD2_MAGIC);
    header->type = htobe32(type);
    header->sequence = htobe32(sequence);
}

static void tail_fill(struct journal *journal, uint8_t *block)
{
    uint32_t size = journal->cache->block_size;
    struct jbd2_tail *tail = (void *)(block + size - sizeof *tail);

    if (tail_size(journal) == 0)
        return;
    tail->checksum = 0;
    tail->checksum = htobe32(ext2fs_crc32c_le(journal->seed, block, size));
}

struct revoke_writer {
    struct log_piece *piece;
    uint32_t index;             /* of the block being filled, in the piece */
    uint32_t filled;            /* numbers in it; 0: none begun */
    int      error;
};

static void revoke_finish(struct journal *journal, struct revoke_writer *writer)
{
    struct jbd2_revoke *revoke;

    if (writer->filled == 0)
        return;
    revoke = (void *)(writer->piece->blocks + (size_t)writer->index * journal->cache->block_size);
    header_fill(revoke, JBD2_REVOKE, journal->running);
    revoke->used = htobe32(sizeof *revoke + writer->filled * (wide(journal) ? 8 : 4));
    tail_fill(journal, (uint8_t *)revoke);
    writer->filled = 0;
}

/* A freed block that the log has a copy of: the copy must not be replayed. */
static void revoke_add(struct journal *journal, struct cache_block *block, void *context)
{
    struct revoke_writer *writer = context;
    uint8_t *at;

    if (!block->logged || writer->error != 0)
        return;
    if (writer->filled == revokes_per_block(journal))
        revoke_finish(journal, writer);
    if (writer->filled == 0) {
        if (piece_next(journal, writer->piece) == NULL) {
            writer->error = -ENOMEM;
            return;
        }
        writer->index = writer->piece->count - 1;
    }
    at = writer->piece->blocks + (size_t)writer->index * journal->cache->block_size +
         sizeof(struct jbd2_revoke) + writer->filled * (wide(journal) ? 8 : 4);
    if (wide(journal)) {
        uint64_t number = htobe64(block->number);

        memcpy(at, &number, sizeof number);
    } else {
        uint32_t number = htobe32((uint32_t)block->number);

        memcpy(at, &number, sizeof number);
    }
    writer->filled++;
}

static int piece_add_revokes(struct journal *journal, struct log_piece *piece,
                             const struct journal_ranges *freed)
{
    struct revoke_writer writer = { .piece = piece };

    freed_visit(journal, freed, revoke_add, &writer);
    revoke_finish(journal, &writer);
    return writer.error;
}

/* One tag at `at`; the copy is `data`, escaped already. Returns the tag's size with its UUID. */
static uint32_t tag_fill(struct journal *journal, uint8_t *at, uint64_t number, uint32_t flags,
                         const uint8_t *data)
{
    uint32_t size = journal_tag_size(&journal->superblock);

    if (tail_size(journal) != 0) {
        uint32_t sequence = htobe32(journal->running);
        uint32_t sum = ext2fs_crc32c_le(journal->seed, (unsigned char *)&sequence, sizeof sequence);
        struct jbd2_tag3 tag = {
            .block = htobe32((uint32_t)number), .flags = htobe32(flags),
            .block_high = wide(journal) ? htobe32((uint32_t)(number >> 32)) : 0,
            .checksum = htobe32(ext2fs_crc32c_le(sum, data, journal->cache->block_size)),
        };

        memcpy(at, &tag, size);
    } else {
        struct jbd2_tag tag = {
            .block = htobe32((uint32_t)number), .flags = htobe16((uint16_t)flags),
            .block_high = htobe32((uint32_t)(number >> 32)),
        };

        memcpy(at, &tag, size);
    }
    if ((flags & JBD2_TAG_SAME_UUID) != 0)
        return size;
    memcpy(at + size, journal->superblock.uuid, JBD2_UUID_SIZE);
    return size + JBD2_UUID_SIZE;
}

/* A descriptor and the copies of up to `limit` dirty blocks, which become frozen. */
static int piece_add_descriptor(struct journal *journal, struct log_piece *piece,
                                struct cache_block **frozen, uint32_t count)
{
    uint32_t size = journal->cache->block_size, offset = sizeof(struct jbd2_header);
    uint32_t index = piece->count;
    uint8_t *descriptor;

    if (piece_next(journal, piece) == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t flags = (i > 0 ? JBD2_TAG_SAME_UUID : 0) | (i + 1 == count ? JBD2_TAG_LAST : 0);
        uint8_t *copy = piece_next(journal, piece);
        uint32_t first;

        if (copy == NULL)
            return -ENOMEM;
        descriptor = piece->blocks + (size_t)index * size;
        memcpy(copy, frozen[i]->data, size);
        memcpy(&first, copy, sizeof first);
        if (first == htobe32(JBD2_MAGIC)) {
            memset(copy, 0, sizeof first);
            flags |= JBD2_TAG_ESCAPED;
        }
        offset += tag_fill(journal, descriptor + offset, frozen[i]->number, flags, copy);
    }
    descriptor = piece->blocks + (size_t)index * size;
    header_fill(descriptor, JBD2_DESCRIPTOR, journal->running);
    tail_fill(journal, descriptor);
    return 0;
}

static int piece_add_commit(struct journal *journal, struct log_piece *piece)
{
    struct jbd2_commit *commit = (void *)piece_next(journal, piece);
    int64_t seconds = 0;
    uint32_t nanoseconds = 0;

    if (commit == NULL)
        return -ENOMEM;
    journal->client.now(journal->client.context, &seconds, &nanoseconds);
    header_fill(commit, JBD2_COMMIT, journal->running);
    commit->seconds = htobe64((uint64_t)seconds);
    commit->nanoseconds = htobe32(nanoseconds);
    if (tail_size(journal) != 0)
        commit->checksum[0] = htobe32(ext2fs_crc32c_le(journal->seed, (uint8_t *)commit,
                                                       journal->cache->block_size));
    return 0;
}

int piece_build(struct journal *journal, struct log_piece *piece,
                       const struct journal_ranges *freed, struct cache_block **frozen,
                       uint32_t count)
{
    uint32_t most = tags_per_descriptor(journal);
    int error = piece_add_revokes(journal, piece, freed);

    for (uint32_t i = 0; i < count && error == 0; i += most)
        error = piece_add_descriptor(journal, piece, frozen + i,
                                     count - i < most ? count - i : most);
    return error != 0 ? error : piece_add_commit(journal, piece);
}
