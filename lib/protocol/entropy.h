/* Entropy protocol: random bytes of the site's generator, by its virtio device.
 *
 * The driver is a member of the static system group with stamp ENTROPY_GROUP_STAMP. A request is an ipcCall in functional mode; bytes are the
 * reply's body. The driver is not booted with a site: the first call fails with K_EUNKNOWN and has it started. Requests may
 * be repeated, and who loses an answer because the driver died (K_EDEAD) asks the next one.
 */
#ifndef PROTOCOL_ENTROPY_H
#define PROTOCOL_ENTROPY_H

#include <stdint.h>

#define ENTROPY_GROUP_STAMP 13          /* K_STAMP_ENTROPY */
#define ENTROPY_BYTES_MOST  4096u       /* in one request */

enum entropy_operation {
    ENTROPY_READ = 0x6c0        /* length -> so many random bytes. -EINVAL: none, or too many. -EBUSY: too many requests are under way */
};

struct entropy_request {
    uint32_t operation;
    uint32_t length;
};

struct entropy_reply {
    int32_t status;             /* 0 or a negative errno */
    uint32_t length;            /* of the body */
};

#endif
