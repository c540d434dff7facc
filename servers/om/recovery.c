/* Recovery: what a crash left in the journal is brought home before the image is used.
 *
 * Three passes over the ring, from the oldest transaction on: *scan* finds the last one that is
 * whole (each block carries the expected number, the commit block is there and its checksum is
 * right); *revoke* collects the blocks whose older copies are void; *replay* hands out the
 * copies. All is read from a damaged disk perhaps: every number is checked before it is used.
 */
#include "journal.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ext2fs/ext2fs.h>

#define FAST_COMMIT_HEAD_TAG 9      /* first thing in a fast commit: tag, length, features, number */

enum pass { PASS_SCAN, PASS_REVOKE, PASS_REPLAY };

struct revoked {
    uint64_t block;
    uint32_t sequence;
};

struct recovery {
    struct blockdev *device;
    const struct journal_place *place;
    uint32_t block_size;
    const struct jbd2_superblock *superblock;
    uint32_t first, end;
    uint32_t seed;
    bool     checksums;
    enum pass pass;
    uint32_t sequence_end;      /* first number that is not whole (after the scan) */
    uint32_t position;          /* next block of the ring to be read */
    uint32_t steps;             /* blocks read in this pass: a ring has no more than that */
    bool     damaged;           /* the transaction being scanned has a copy that cannot be used */
    uint32_t crc;               /* running CRC32 of a transaction, for JBD2_COMPAT_CHECKSUM */
    uint8_t *header_buffer, *data_buffer;
    struct revoked *revoked;
    size_t   revoked_count, revoked_room;
    journal_write_fn write;
    void    *context;
    uint64_t replayed;
    const char *why;
};

static bool has_incompat(const struct jbd2_superblock *superblock, uint32_t feature)
{
    return superblock->header.type == htobe32(JBD2_SUPERBLOCK_V2) &&
           (superblock->incompat & htobe32(feature)) != 0;
}

bool journal_has_checksums(const struct jbd2_superblock *superblock)
{
    return has_incompat(superblock, JBD2_INCOMPAT_CSUM_V2 | JBD2_INCOMPAT_CSUM_V3);
}

uint32_t journal_seed(const struct jbd2_superblock *superblock)
{
    return ext2fs_crc32c_le(~0u, superblock->uuid, sizeof superblock->uuid);
}

uint32_t journal_tag_size(const struct jbd2_superblock *superblock)
{
    uint32_t size = sizeof(struct jbd2_tag);

    if (has_incompat(superblock, JBD2_INCOMPAT_CSUM_V3))
        return sizeof(struct jbd2_tag3);
    if (has_incompat(superblock, JBD2_INCOMPAT_CSUM_V2))
        size += 2;
    if (!has_incompat(superblock, JBD2_INCOMPAT_64BIT))
        size -= 4;
    return size;
}

static uint32_t superblock_checksum(struct jbd2_superblock superblock)
{
    superblock.checksum = 0;
    return ext2fs_crc32c_le(~0u, (const unsigned char *)&superblock, sizeof superblock);
}

static int superblock_check(const struct jbd2_superblock *superblock,
                            const struct journal_place *place, uint32_t block_size,
                            const char **ret_why)
{
    uint32_t type = be32toh(superblock->header.type);
    uint32_t count = be32toh(superblock->block_count), first = be32toh(superblock->first);
    uint32_t fast = 0;

    *ret_why = "its superblock is damaged";
    if (superblock->header.magic != htobe32(JBD2_MAGIC) ||
        (type != JBD2_SUPERBLOCK_V1 && type != JBD2_SUPERBLOCK_V2))
        return -EUCLEAN;
    if (be32toh(superblock->block_size) != block_size)
        return -EUCLEAN;
    if (type == JBD2_SUPERBLOCK_V2) {
        if ((be32toh(superblock->incompat) & ~JBD2_INCOMPAT_KNOWN) != 0 ||
            superblock->ro_compat != 0) {
            *ret_why = "it has features that are not supported";
            return -EOPNOTSUPP;
        }
        if (journal_has_checksums(superblock) &&
            (superblock->checksum_type != JBD2_CHECKSUM_CRC32C ||
             be32toh(superblock->checksum) != superblock_checksum(*superblock))) {
            *ret_why = "the checksum of its superblock is wrong";
            return -EUCLEAN;
        }
        if (has_incompat(superblock, JBD2_INCOMPAT_FAST_COMMIT)) {
            fast = be32toh(superblock->fast_commit_blocks);
            if (fast == 0)
                fast = 256;
        }
    }
    if (count > place->count || count < 16 || first == 0 || fast >= count || first >= count - fast ||
        be32toh(superblock->start) >= count - fast)
        return -EUCLEAN;
    *ret_why = NULL;
    return 0;
}

int journal_read_superblock(struct blockdev *device, const struct journal_place *place,
                            uint32_t block_size, struct jbd2_superblock *ret, const char **ret_why)
{
    uint8_t *buffer;
    int error;

    *ret_why = "it cannot be read";
    if (place->count == 0)
        return -EUCLEAN;
    buffer = malloc(block_size);
    if (buffer == NULL)
        return -ENOMEM;
    error = blockdev_read(device, place->blocks[0] * block_size, buffer, block_size);
    if (error == 0) {
        memcpy(ret, buffer, sizeof *ret);
        error = superblock_check(ret, place, block_size, ret_why);
    }
    free(buffer);
    return error;
}

int journal_write_superblock(struct blockdev *device, const struct journal_place *place,
                             uint32_t block_size, struct jbd2_superblock *superblock)
{
    int error;

    if (journal_has_checksums(superblock))
        superblock->checksum = htobe32(superblock_checksum(*superblock));
    error = blockdev_write(device, place->blocks[0] * block_size, superblock, sizeof *superblock);
    return error != 0 ? error : blockdev_flush(device);
}

/* Revoked blocks ---------------------------------------------------------------- */

static int revoked_compare(const void *one, const void *two)
{
    const struct revoked *a = one, *b = two;

    if (a->block != b->block)
        return a->block < b->block ? -1 : 1;
    return (int32_t)(a->sequence - b->sequence) < 0 ? -1 : a->sequence != b->sequence;
}

static int revoked_add(struct recovery *recovery, uint64_t block, uint32_t sequence)
{
    if (recovery->revoked_count == recovery->revoked_room) {
        size_t room = recovery->revoked_room * 2 + 64;
        struct revoked *bigger = realloc(recovery->revoked, room * sizeof *bigger);

        if (bigger == NULL)
            return -ENOMEM;
        recovery->revoked = bigger;
        recovery->revoked_room = room;
    }
    recovery->revoked[recovery->revoked_count++] = (struct revoked){ block, sequence };
    return 0;
}

/* Has `block` been revoked in transaction `sequence` or a later one? */
static bool is_revoked(const struct recovery *recovery, uint64_t block, uint32_t sequence)
{
    size_t low = 0, high = recovery->revoked_count;

    while (low < high) {        /* behind the last entry of this block */
        size_t middle = (low + high) / 2;

        if (recovery->revoked[middle].block <= block)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && recovery->revoked[low - 1].block == block &&
           (int32_t)(recovery->revoked[low - 1].sequence - sequence) >= 0;
}

/* The ring ---------------------------------------------------------------- */

static int ring_read(struct recovery *recovery, uint8_t *buffer)
{
    uint64_t block = recovery->place->blocks[recovery->position];

    if (++recovery->steps > recovery->end - recovery->first)
        return -ENODATA;        /* all the way round */
    recovery->position++;
    if (recovery->position == recovery->end)
        recovery->position = recovery->first;
    return blockdev_read(recovery->device, block * recovery->block_size, buffer,
                         recovery->block_size);
}

/* Checksum in the last word of a descriptor or revoke block. */
static bool tail_is_right(struct recovery *recovery, uint8_t *buffer)
{
    struct jbd2_tail *tail = (void *)(buffer + recovery->block_size - sizeof *tail);
    uint32_t stored = tail->checksum, sum;

    if (!recovery->checksums)
        return true;
    tail->checksum = 0;
    sum = ext2fs_crc32c_le(recovery->seed, buffer, recovery->block_size);
    tail->checksum = stored;
    return be32toh(stored) == sum;
}

struct tag {
    uint64_t block;
    uint32_t flags;
    uint32_t checksum;          /* as wide as it is stored */
};

/* The tag at *offset of the descriptor; false at the end. */
static bool tag_next(const struct recovery *recovery, uint32_t *offset, struct tag *ret)
{
    uint32_t size = journal_tag_size(recovery->superblock);
    uint32_t limit = recovery->block_size - (recovery->checksums ? sizeof(struct jbd2_tail) : 0);
    const uint8_t *at = recovery->header_buffer + *offset;

    if (*offset + size > limit)
        return false;
    if (has_incompat(recovery->superblock, JBD2_INCOMPAT_CSUM_V3)) {
        struct jbd2_tag3 tag;

        memcpy(&tag, at, sizeof tag);
        ret->block = be32toh(tag.block);
        if (has_incompat(recovery->superblock, JBD2_INCOMPAT_64BIT))
            ret->block |= (uint64_t)be32toh(tag.block_high) << 32;
        ret->flags = be32toh(tag.flags);
        ret->checksum = be32toh(tag.checksum);
    } else {
        struct jbd2_tag tag = { 0 };

        memcpy(&tag, at, size < sizeof tag ? size : sizeof tag);
        ret->block = be32toh(tag.block);
        if (has_incompat(recovery->superblock, JBD2_INCOMPAT_64BIT))
            ret->block |= (uint64_t)be32toh(tag.block_high) << 32;
        ret->flags = be16toh(tag.flags);
        ret->checksum = be16toh(tag.checksum);
    }
    *offset += size;
    if ((ret->flags & JBD2_TAG_SAME_UUID) == 0)
        *offset += JBD2_UUID_SIZE;
    return true;
}

static bool copy_is_right(struct recovery *recovery, const struct tag *tag, uint32_t sequence)
{
    uint32_t number = htobe32(sequence), sum;

    if (!recovery->checksums)
        return true;
    sum = ext2fs_crc32c_le(recovery->seed, (unsigned char *)&number, sizeof number);
    sum = ext2fs_crc32c_le(sum, recovery->data_buffer, recovery->block_size);
    if (!has_incompat(recovery->superblock, JBD2_INCOMPAT_CSUM_V3))
        sum &= 0xffff;
    return tag->checksum == sum;
}

/* So that nothing is written when a later copy turns out to be damaged. */
static bool copy_is_usable(struct recovery *recovery, const struct tag *tag, uint32_t sequence)
{
    return copy_is_right(recovery, tag, sequence) &&
           tag->block < recovery->device->size / recovery->block_size;
}

static int copy_replay(struct recovery *recovery, const struct tag *tag, uint32_t sequence)
{
    if ((tag->flags & JBD2_TAG_DELETED) != 0 || is_revoked(recovery, tag->block, sequence))
        return 0;
    if ((tag->flags & JBD2_TAG_ESCAPED) != 0) {
        uint32_t magic = htobe32(JBD2_MAGIC);

        memcpy(recovery->data_buffer, &magic, sizeof magic);
    }
    recovery->replayed++;
    return recovery->write(recovery->context, tag->block, recovery->data_buffer);
}

/* A descriptor is in header_buffer; go through the copies behind it. */
static int descriptor_pass(struct recovery *recovery, uint32_t sequence)
{
    bool old_sum = recovery->superblock->header.type == htobe32(JBD2_SUPERBLOCK_V2) &&
                   (recovery->superblock->compat & htobe32(JBD2_COMPAT_CHECKSUM)) != 0;
    uint32_t offset = sizeof(struct jbd2_header);
    struct tag tag = { 0 };

    if (recovery->pass == PASS_SCAN && old_sum)
        recovery->crc = ext2fs_crc32_be(recovery->crc, recovery->header_buffer,
                                        recovery->block_size);
    while ((tag.flags & JBD2_TAG_LAST) == 0 && tag_next(recovery, &offset, &tag)) {
        int error = ring_read(recovery, recovery->data_buffer);

        if (error != 0)
            return error;
        if (recovery->pass == PASS_SCAN && old_sum)
            recovery->crc = ext2fs_crc32_be(recovery->crc, recovery->data_buffer,
                                            recovery->block_size);
        if (recovery->pass == PASS_SCAN && !copy_is_usable(recovery, &tag, sequence))
            recovery->damaged = true;
        if (recovery->pass == PASS_REPLAY) {
            error = copy_replay(recovery, &tag, sequence);
            if (error != 0)
                return error;
        }
    }
    return 0;
}

static int revoke_pass(struct recovery *recovery, uint32_t sequence)
{
    struct jbd2_revoke *revoke = (void *)recovery->header_buffer;
    uint32_t width = has_incompat(recovery->superblock, JBD2_INCOMPAT_64BIT) ? 8 : 4;
    uint32_t limit = recovery->block_size - (recovery->checksums ? sizeof(struct jbd2_tail) : 0);
    uint32_t used = be32toh(revoke->used);

    if (recovery->pass != PASS_REVOKE)
        return 0;
    if (used > limit) {
        recovery->why = "a revoke block in it is damaged";
        return -EUCLEAN;
    }
    for (uint32_t offset = sizeof *revoke; offset + width <= used; offset += width) {
        uint64_t wide;
        uint32_t narrow;
        int error;

        memcpy(&narrow, recovery->header_buffer + offset, sizeof narrow);
        wide = be32toh(narrow);
        if (width == 8) {
            memcpy(&wide, recovery->header_buffer + offset, sizeof wide);
            wide = be64toh(wide);
        }
        error = revoked_add(recovery, wide, sequence);
        if (error != 0)
            return error;
    }
    return 0;
}

static bool commit_is_right(struct recovery *recovery)
{
    struct jbd2_commit *commit = (void *)recovery->header_buffer;
    uint32_t stored = commit->checksum[0], sum;

    if (recovery->checksums) {
        commit->checksum[0] = 0;
        sum = ext2fs_crc32c_le(recovery->seed, recovery->header_buffer, recovery->block_size);
        commit->checksum[0] = stored;
        return be32toh(stored) == sum;
    }
    if (recovery->superblock->header.type == htobe32(JBD2_SUPERBLOCK_V2) &&
        (recovery->superblock->compat & htobe32(JBD2_COMPAT_CHECKSUM)) != 0 &&
        !(commit->checksum_type == 0 && commit->checksum_size == 0 && stored == 0))
        return commit->checksum_type == JBD2_CHECKSUM_CRC32 && commit->checksum_size == 4 &&
               be32toh(stored) == recovery->crc;
    return true;
}

/* A commit block of the scan: does the log go on behind it? 1 yes, 0 no, or an error. */
static int commit_scan(struct recovery *recovery)
{
    if (!commit_is_right(recovery))
        return 0;
    if (!recovery->damaged)
        return 1;
    if (has_incompat(recovery->superblock, JBD2_INCOMPAT_ASYNC_COMMIT))
        return 0;               /* written before its copies: it was never answered */
    recovery->why = "a committed block in it is damaged";
    return -EUCLEAN;
}

/* One pass over the ring. In the scan a block that does not fit ends the log; later it cannot
 * happen, unless the disk changes under our hands. */
static int pass_run(struct recovery *recovery, enum pass pass)
{
    uint32_t sequence = be32toh(recovery->superblock->sequence);
    int error = 0;

    recovery->pass = pass;
    recovery->position = be32toh(recovery->superblock->start);
    recovery->steps = 0;
    recovery->crc = ~0u;
    recovery->damaged = false;
    while (pass == PASS_SCAN || sequence != recovery->sequence_end) {
        struct jbd2_header *header = (void *)recovery->header_buffer;
        uint32_t type;

        error = ring_read(recovery, recovery->header_buffer);
        if (error != 0)
            break;
        type = be32toh(header->type);
        if (be32toh(header->magic) != JBD2_MAGIC || be32toh(header->sequence) != sequence)
            break;
        if (type == JBD2_COMMIT) {
            int good = pass == PASS_SCAN ? commit_scan(recovery) : 1;

            if (good <= 0) {
                error = good;
                break;
            }
            sequence++;
            recovery->crc = ~0u;
        } else if (type == JBD2_DESCRIPTOR && tail_is_right(recovery, recovery->header_buffer)) {
            error = descriptor_pass(recovery, sequence);
        } else if (type == JBD2_REVOKE && tail_is_right(recovery, recovery->header_buffer)) {
            error = revoke_pass(recovery, sequence);
        } else {
            break;
        }
        if (error != 0)
            break;
    }
    if (pass == PASS_SCAN) {
        recovery->sequence_end = sequence;
        return error == -ENODATA ? 0 : error;
    }
    if (error == 0 && sequence != recovery->sequence_end)
        error = -EIO;
    return error == -ENODATA ? -EIO : error;
}

/* Fast commits follow the last whole transaction in a place of their own (it begins one block
 * behind the ring's end); we cannot replay them. */
static bool fast_commits_wait(struct recovery *recovery)
{
    struct { uint16_t tag, length; uint32_t features, sequence; } head;

    if (!has_incompat(recovery->superblock, JBD2_INCOMPAT_FAST_COMMIT))
        return false;
    if (blockdev_read(recovery->device, recovery->place->blocks[recovery->end + 1] *
                      recovery->block_size, recovery->data_buffer, recovery->block_size) != 0)
        return true;
    memcpy(&head, recovery->data_buffer, sizeof head);
    return le16toh(head.tag) == FAST_COMMIT_HEAD_TAG &&
           le32toh(head.sequence) == recovery->sequence_end;
}

static int recovery_run(struct recovery *recovery)
{
    int error = pass_run(recovery, PASS_SCAN);

    if (error != 0)
        return error;
    if (fast_commits_wait(recovery)) {
        recovery->why = "it holds fast commits, which only Linux or e2fsck can replay";
        return -EOPNOTSUPP;
    }
    error = pass_run(recovery, PASS_REVOKE);
    if (error != 0)
        return error;
    if (recovery->revoked_count != 0)
        qsort(recovery->revoked, recovery->revoked_count, sizeof *recovery->revoked,
              revoked_compare);
    return pass_run(recovery, PASS_REPLAY);
}

int journal_replay(struct blockdev *device, const struct journal_place *place, uint32_t block_size,
                   const struct jbd2_superblock *superblock, journal_write_fn write, void *context,
                   uint32_t *ret_next, uint64_t *ret_blocks, const char **ret_why)
{
    struct recovery recovery = {
        .device = device, .place = place, .block_size = block_size, .superblock = superblock,
        .first = be32toh(superblock->first), .end = be32toh(superblock->block_count),
        .seed = journal_seed(superblock), .checksums = journal_has_checksums(superblock),
        .write = write, .context = context, .why = "it cannot be read",
    };
    int error = 0;

    if (has_incompat(superblock, JBD2_INCOMPAT_FAST_COMMIT)) {
        uint32_t fast = be32toh(superblock->fast_commit_blocks);

        recovery.end -= fast != 0 ? fast : 256;
    }
    recovery.sequence_end = be32toh(superblock->sequence);
    if (superblock->start != 0) {
        recovery.header_buffer = malloc(block_size);
        recovery.data_buffer = malloc(block_size);
        error = recovery.header_buffer == NULL || recovery.data_buffer == NULL ? -ENOMEM
                                                                              : recovery_run(&recovery);
    }
    *ret_next = recovery.sequence_end;
    *ret_blocks = recovery.replayed;
    *ret_why = error != 0 ? recovery.why : NULL;
    free(recovery.header_buffer);
    free(recovery.data_buffer);
    free(recovery.revoked);
    return error;
}
