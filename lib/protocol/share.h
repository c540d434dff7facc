/* Shared folders: what the server `share` and its device say to each other.
 *
 * The device has one queue. A request is a struct file_request (lib/protocol/file.h) and the body that goes with it, in the readable part of a
 * chain; the writable part has room for a struct share_answer and FILE_BODY_MAX bytes. The device hands them to a process of the host that
 * has the folder, and completes the chain when that has answered; several may be under way, and are answered in their order.
 *
 * Files that are mapped
 *   Reads and writes are requests, and nothing of them is kept inside. For mmap and exec a regular file is also a segment, with `share` as its mapper:
 *   the Nucleus caches its pages. The process notes which caches there are (they outlive the server), and holds the file open for each.
 *   Whenever it answers about such a file and finds another size or time than it had when pages were read, or has written to the file itself,
 *   it says so in the answer: the server has the cache set to the new size and its pages dropped before it hands the answer on. So who opens, or
 *   looks at, a file sees what the host has made of it, also in memory.
 * A folder has no number in the virtio specification; the device has one of its own, and is otherwise as that says. (9P over virtio has one: it
 * would take a walk, an open and a clunk, each a round trip, and state that dies with its server, where this takes one request and none.)
 */
#ifndef PROTOCOL_SHARE_H
#define PROTOCOL_SHARE_H

#include "file.h"

#define SHARE_DEVICE_TYPE   0x5368u     /* virtio device type */
#define SHARE_GROUP_STAMP   12          /* K_STAMP_SHARE; + 16 * number of the folder */
#define SHARE_MAPPER_STAMP  12          /* of its mapper's static port; + 16 * number */
#define SHARES_MAX          8

/* Beside those of the file protocol, of the server alone. All but the first name a cache in `words`: struct share_cache. */
enum share_operation {
    SHARE_BEGIN = 0x280,    /* a server starts: whatever is cached counts as outdated */
    SHARE_CACHE,            /* key: there is this cache -> attributes. The file is held. -ESTALE, -EACCES */
    SHARE_UNCACHE,          /* key: it is gone */
    SHARE_PULL,             /* key, offset, length -> attributes; body: the bytes. As SHARE_CACHE if the cache is not known */
    SHARE_OPERATION_END
};
struct share_cache {
    struct file_node cache;     /* a KnCap as it stands: it means nothing to the process */
    uint64_t offset, length;
};

/* Caches whose pages are to be dropped before the answer is handed on. */
#define SHARE_CHANGED_MAX   4
struct share_changed {
    uint32_t count;
    struct {
        struct file_node cache;
        uint64_t key;
        uint64_t size;          /* of the file now */
        uint32_t gone;          /* nobody can open it any more: the cache itself may go, if nobody maps it */
    } cache[SHARE_CHANGED_MAX];
};

struct share_answer {
    struct file_reply reply;
    struct share_changed changed;
};

#endif
