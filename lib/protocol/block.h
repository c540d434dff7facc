/* Block protocol: what a file system asks of a disk driver.
 *
 * A client (om) sends one ipcCall for each request to the driver's port: the request is the annex,
 * the data to be written is the body; the reply's annex says how it went, its body is the data read.
 * Or the data is in pages that the disk itself reads and writes (BLOCK_DATA_IN_PAGES).
 * Several requests may be outstanding, one for each calling thread; the driver passes all of them
 * to the disk and answers each when the disk has finished it, in whatever order that is.
 *
 * The driver's port is in the static system group with stamp BLOCK_GROUP_STAMP + 16 * n for disk n
 * (disk 0 is the root image). The client calls in functional mode (K_FUNCMODE).
 *
 * Order and durability
 *   Requests that are outstanding at the same time may be carried out in any order, overlapping
 *   ones too: a client that needs an order waits for the first reply before it sends the second.
 *   A write that was answered is seen by every later read, but is on the disk for good only when a
 *   BLOCK_FLUSH that was sent after that answer has been answered with 0.
 *
 * When the driver dies
 *   The ipcCall fails (K_EDEAD or K_EUNKNOWN); the driver is started again and joins the same
 *   group. Every request of this protocol is idempotent: the client sends the same request again,
 *   until it is answered or until the client gives up. No request of a dead driver is carried out
 *   after the first answer of its successor: the successor resets the disk, and a reset waits until
 *   the disk has let go of everything.
 *
 * Nothing here waits without bound, so a client may let a worker wait for the reply.
 */
#ifndef PROTOCOL_BLOCK_H
#define PROTOCOL_BLOCK_H

#include <stdint.h>

#define BLOCK_GROUP_STAMP   6           /* K_STAMP_DISK; + 16 * number of the disk, 0..63 */
#define BLOCK_DISKS_MAX     64

#define BLOCK_UNIT          512         /* offsets and lengths are multiples of this many bytes */
#define BLOCK_BODY_MAX      65536       /* bytes in the body of one request or reply */
#define BLOCK_RANGE_MAX     (UINT64_C(1) << 30)     /* bytes in one BLOCK_DISCARD or BLOCK_WRITE_ZEROES */
#define BLOCK_ID_LENGTH     20          /* a disk's name, filled with zeros, perhaps without one */

enum block_operation {
    BLOCK_GEOMETRY = 0x400,     /* -> struct block_geometry in the reply's body */
    BLOCK_READ,                 /* offset, length -> `length` bytes in the reply's body */
    BLOCK_WRITE,                /* offset, length; `length` bytes in the request's body */
    BLOCK_FLUSH,                /* what was answered before is on the disk when this is answered */
    BLOCK_DISCARD,              /* offset, length (at most BLOCK_RANGE_MAX): the contents are no longer
                                 * needed; reading them gives zeros or the old bytes */
    BLOCK_WRITE_ZEROES,         /* offset, length (at most BLOCK_RANGE_MAX): reads give zeros from now on */
};

/* Request flags. */
#define BLOCK_DATA_IN_PAGES 1u          /* BLOCK_READ and BLOCK_WRITE: the data is not in a body but in pages of a mapper's
                                         * request, `pages` (<mem/chMapper.h>). If that has been answered meanwhile: -EIO */
#define BLOCK_PAGES_MAX     262144      /* bytes in such a request */

/* The annex of a request. Unused fields are zero. */
struct block_request {
    uint32_t operation;         /* enum block_operation */
    uint32_t flags;
    uint64_t tag;               /* the client's own; comes back in the reply */
    uint64_t offset;            /* bytes from the start of the disk */
    uint64_t length;            /* bytes; at most BLOCK_BODY_MAX for BLOCK_READ and BLOCK_WRITE, BLOCK_PAGES_MAX in pages */
    uint64_t pages;             /* with BLOCK_DATA_IN_PAGES: where in the pages the data begins */
    uint8_t  unused[80];
};

/* The annex of a reply. */
struct block_reply {
    int32_t  status;            /* 0, or an error of Linux made negative:
                                 *   -EINVAL      offset or length no multiple of BLOCK_UNIT, length
                                 *                zero or too large, body of another size than length
                                 *   -ENXIO       the range ends beyond the end of the disk
                                 *   -EROFS       writing to a read-only disk
                                 *   -EIO         the disk reports an error; what a failed write
                                 *                left in its range is undefined
                                 *   -EOPNOTSUPP  the disk cannot do this
                                 *   -ENOSYS      no such operation
                                 *   -ENODEV      there is no such disk, or it is broken for good */
    uint32_t flags;             /* zero */
    uint64_t tag;
    uint64_t length;            /* bytes read or written: all or, after an error, 0 */
    uint8_t  unused[96];
};

#define BLOCK_READ_ONLY         1u
#define BLOCK_CAN_DISCARD       2u
#define BLOCK_CAN_WRITE_ZEROES  4u

/* The body of the reply to BLOCK_GEOMETRY. */
struct block_geometry {
    uint64_t size;              /* bytes, a multiple of BLOCK_UNIT */
    uint32_t flags;             /* BLOCK_READ_ONLY, ... */
    uint32_t block_size;        /* the size in bytes that the disk likes best, e.g. 4096 */
    uint32_t transfer_max;      /* bytes in one BLOCK_READ or BLOCK_WRITE: at most BLOCK_BODY_MAX */
    char     id[BLOCK_ID_LENGTH];
};

_Static_assert(sizeof(struct block_request) == 120, "a request fills the annex");
_Static_assert(sizeof(struct block_reply) == 120, "a reply fills the annex");
_Static_assert(sizeof(struct block_geometry) == 40, "the layout has no holes");

#endif
