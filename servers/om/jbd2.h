/* JBD2: how the journal of an ext3 or ext4 image looks on the disk.
 *
 * The journal is a file (inode 8) used as a ring of blocks behind its own superblock. A
 * transaction is a row of blocks that carry its number: descriptor blocks, each followed by the
 * copies of the blocks that its tags name; revoke blocks, which name blocks whose older copies
 * must not be replayed; and a commit block at the end. All numbers are big-endian.
 *
 * A copy that begins with JBD2_MAGIC would look like a block of the journal's own: its first word
 * is stored as zero and its tag carries JBD2_TAG_ESCAPED.
 */
#ifndef OM_JBD2_H
#define OM_JBD2_H

#include <stdint.h>

#define JBD2_MAGIC 0xc03b3998u

enum jbd2_block_type {
    JBD2_DESCRIPTOR = 1,
    JBD2_COMMIT = 2,
    JBD2_SUPERBLOCK_V1 = 3,
    JBD2_SUPERBLOCK_V2 = 4,
    JBD2_REVOKE = 5,
};

#define JBD2_COMPAT_CHECKSUM        0x01u
#define JBD2_INCOMPAT_REVOKE        0x01u
#define JBD2_INCOMPAT_64BIT         0x02u
#define JBD2_INCOMPAT_ASYNC_COMMIT  0x04u
#define JBD2_INCOMPAT_CSUM_V2       0x08u
#define JBD2_INCOMPAT_CSUM_V3       0x10u
#define JBD2_INCOMPAT_FAST_COMMIT   0x20u
#define JBD2_INCOMPAT_KNOWN         0x3fu

#define JBD2_CHECKSUM_CRC32         1
#define JBD2_CHECKSUM_CRC32C        4

#define JBD2_TAG_ESCAPED    1u
#define JBD2_TAG_SAME_UUID  2u      /* otherwise 16 bytes of UUID follow the tag */
#define JBD2_TAG_DELETED    4u
#define JBD2_TAG_LAST       8u

struct jbd2_header {
    uint32_t magic;
    uint32_t type;
    uint32_t sequence;          /* the transaction's number */
};

struct jbd2_superblock {
    struct jbd2_header header;
    uint32_t block_size;
    uint32_t block_count;       /* of the journal */
    uint32_t first;             /* first block of the ring */
    uint32_t sequence;          /* number of the oldest transaction in the ring */
    uint32_t start;             /* where it begins; 0: the ring is empty */
    uint32_t error;
    /* version 2 only */
    uint32_t compat, incompat, ro_compat;
    uint8_t  uuid[16];
    uint32_t user_count;
    uint32_t dynamic_superblock;
    uint32_t transaction_max, transaction_data_max;
    uint8_t  checksum_type;
    uint8_t  unused1[3];
    uint32_t fast_commit_blocks;    /* at the end of the journal, outside of the ring */
    uint32_t head;
    uint32_t unused2[40];
    uint32_t checksum;          /* CRC32C of this structure with this field zero */
    uint8_t  users[768];
};
_Static_assert(sizeof(struct jbd2_superblock) == 1024, "as on the disk");

/* A tag without and with the third version of checksums. */
struct jbd2_tag {
    uint32_t block;
    uint16_t checksum;          /* version 2: the lower half of the CRC32C */
    uint16_t flags;
    uint32_t block_high;        /* only with 64BIT */
};

struct jbd2_tag3 {
    uint32_t block;
    uint32_t flags;
    uint32_t block_high;        /* always there */
    uint32_t checksum;
};

#define JBD2_UUID_SIZE 16

/* The last word of descriptor and revoke blocks, with checksums of version 2 and 3. */
struct jbd2_tail {
    uint32_t checksum;
};

struct jbd2_revoke {
    struct jbd2_header header;
    uint32_t used;              /* bytes in use, this header included */
    /* then numbers of blocks, each 4 bytes, or 8 with 64BIT */
};

struct jbd2_commit {
    struct jbd2_header header;
    uint8_t  checksum_type;     /* with JBD2_COMPAT_CHECKSUM */
    uint8_t  checksum_size;
    uint8_t  unused[2];
    uint32_t checksum[8];
    uint64_t seconds;
    uint32_t nanoseconds;
};

#endif
