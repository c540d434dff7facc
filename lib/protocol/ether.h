/* Ether protocol: what the Socket Manager asks of a network driver. It moves Ethernet frames, whole, in batches, both ways.
 *
 * Each network device of the site is an interface; they are numbered from 0, in the order of the site's device table (deviceStat:
 * bus K_DEVICE_VIRTIO, type VIRTIO_TYPE_NETWORK), and named as there ("net0"). So a client knows how many there are, before any
 * driver runs. Interface n has a port in the static system group with stamp ETHER_GROUP_STAMP + 16 * n. The client calls it in
 * functional mode (K_FUNCMODE); a request is the annex, frames are the body.
 *
 * Sending
 *   ETHER_SEND takes the frames of its body from the first one on, as long as there is room, and says how many it took. They go out in
 *   that order. What is taken may be lost all the same, as on any Ethernet. When fewer were taken than given the rest is the client's
 *   to drop or to keep. With ETHER_WAIT the request is parked until all are taken (a back end that stalls may hold it for ever:
 *   so a client does that in a thread of its own), and a client that has no more than one such request under way
 *   needs no other flow control: frames that come while it waits make the next batch.
 *
 * Receiving
 *   ETHER_RECEIVE is answered with all frames that have come and fit into its reply, or, when there are none, parked until the first one comes.
 *   It is also answered, perhaps with no frame, when the interface's `state` is not the one that the request names: so link changes and new
 *   drivers are learnt by the same call, at once. Nothing is lost between two calls: the driver and the device keep what comes (some
 *   hundred frames; more are dropped, and counted). A client usually has one thread that calls, handles what came, and calls again. It may
 *   have several requests under way; `batch` then says in which order the replies belong.
 *
 * One client
 *   A frame is given out once, to whoever asks first. Who wants to watch captures on the host (chorus run --capture).
 *
 * When the driver dies, or is replaced
 *   The ipcCall fails (K_EDEAD or K_EUNKNOWN, K_EUNKNOWN also while there is no driver yet): the client repeats it until it is answered,
 *   with a pause of some milliseconds between (client_call_patiently). Frames that the dead driver had are lost, which protocols above know how to
 *   bear; a batch that is sent again may go out twice, which they bear, too. The next driver has another `state`, and knows nothing of ETHER_SET: the client reads
 *   ETHER_INFO and sets again what it wants. A driver that is replaced hands all of that, and requests that are parked, to its successor; clients notice nothing.
 *
 * Nothing but ETHER_SEND with ETHER_WAIT and ETHER_RECEIVE waits without bound. Aborting the calling thread (threadAbort) ends these.
 */
#ifndef PROTOCOL_ETHER_H
#define PROTOCOL_ETHER_H

#include <stdint.h>

#define ETHER_GROUP_STAMP   9           /* K_STAMP_NET; + 16 * number of the interface */
#define ETHER_INTERFACES_MAX 8

#define ETHER_BODY_MAX      65536       /* bytes in the body of one request or reply */
#define ETHER_BATCH_MAX     256         /* frames in it */
#define ETHER_FRAME_MIN     14          /* a header; shorter frames are not padded */
#define ETHER_FRAME_MAX     (ETHER_BODY_MAX - 16)   /* bytes of one frame, with its 14 bytes of header, without a check sequence */
#define ETHER_MTU_MAX       (ETHER_FRAME_MAX - 14)

enum ether_operation {
    ETHER_INFO = 0x700,     /* -> struct ether_info in the reply's body */
    ETHER_SET,              /* address, flags, features: struct ether_request's; all of them at once */
    ETHER_SEND,             /* flags, count, frames in the body -> count: how many were taken. The first `count` that are well formed;
                             * -EINVAL, and none taken: the body is not `count` frames */
    ETHER_RECEIVE,          /* state -> count, frames in the body; state, flags */
};

/* A frame in a body: this, and then `length` bytes from the destination's address on. The next one begins at the next
 * multiple of 8 bytes. The fields after `length` are zero unless a feature that was set gives them a meaning. */
struct ether_frame {
    uint32_t length;            /* ETHER_FRAME_MIN .. mtu + 14, or ETHER_FRAME_MAX with segmentation */
    uint8_t  flags;             /* ETHER_CHECKSUM_... */
    uint8_t  segmentation;      /* ETHER_SEGMENTS_... */
    uint16_t headers_length;    /* with segmentation: bytes of all headers, Ethernet's to TCP's */
    uint16_t segment_size;      /* with segmentation: bytes of TCP payload in one frame on the wire, but the last */
    uint16_t checksum_start;    /* ETHER_CHECKSUM_NEEDED: the ones' complement sum of the frame's bytes from this one to the end ... */
    uint16_t checksum_offset;   /* ... belongs at checksum_start + this; there is the sum of the pseudo header now */
    uint16_t unused;
};

/* ether_frame.flags: the transport's checksum (TCP's or UDP's) */
#define ETHER_CHECKSUM_NEEDED   1u      /* is still to be completed. Received: the frame never was on a wire, and is sound as it is */
#define ETHER_CHECKSUM_GOOD     2u      /* received: was looked at, and is right */
/* ether_frame.segmentation: a TCP segment that is larger than the wire carries; ETHER_CHECKSUM_NEEDED is set with it */
enum { ETHER_SEGMENTS_NONE = 0, ETHER_SEGMENTS_TCP4 = 1, ETHER_SEGMENTS_TCP6 = 2 };

/* Features. What the interface can do, in ether_info; what the client wants to use, in ETHER_SET. Until it was said,
 * none: all frames are complete, both ways. */
#define ETHER_SEND_CHECKSUM     1u      /* frames sent may have ETHER_CHECKSUM_NEEDED */
#define ETHER_SEND_TCP4         2u      /* ... ETHER_SEGMENTS_TCP4 */
#define ETHER_SEND_TCP6         4u      /* ... ETHER_SEGMENTS_TCP6 */
#define ETHER_RECEIVE_CHECKSUM  16u     /* frames received may have ETHER_CHECKSUM_NEEDED and ETHER_CHECKSUM_GOOD */
#define ETHER_RECEIVE_TCP4      32u     /* ... ETHER_SEGMENTS_TCP4; wants ETHER_RECEIVE_CHECKSUM */
#define ETHER_RECEIVE_TCP6      64u     /* ... ETHER_SEGMENTS_TCP6; wants ETHER_RECEIVE_CHECKSUM */

/* ETHER_SET's flags: which frames are received. Without any: those to the interface's address, broadcasts and multicasts. */
#define ETHER_PROMISCUOUS       1u      /* all */
/* ETHER_SEND's flags. */
#define ETHER_WAIT              1u      /* answer when all frames are taken */
/* The reply's flags, and ether_info's. */
#define ETHER_LINK_UP           1u      /* the back end is there. Without it frames sent are taken, and lost */

/* The annex of a request. Unused fields are zero. */
struct ether_request {
    uint32_t operation;         /* enum ether_operation */
    uint32_t flags;
    uint32_t count;             /* ETHER_SEND: frames in the body, 1 .. ETHER_BATCH_MAX */
    uint32_t room;              /* ETHER_RECEIVE: bytes that the reply's body may have; 0: ETHER_BODY_MAX. Frames that do not even fit alone are dropped */
    uint64_t state;             /* ETHER_RECEIVE: as the last reply had it; 0: never heard of one, answer at once */
    uint32_t features;          /* ETHER_SET: ETHER_SEND_..., ETHER_RECEIVE_... */
    uint8_t  address[6];        /* ETHER_SET: the interface's from now on; all zeros: the device's own */
    uint8_t  unused[86];
};

/* The annex of a reply. */
struct ether_reply {
    int32_t  status;            /* 0, or an error of Linux made negative:
                                 *   -EINVAL      a malformed body, a multicast address, a feature that the interface does not have, a frame that is
                                 *                too long or uses a feature that was not set
                                 *   -ENOSYS      no such operation
                                 *   -ENODEV      there is no such interface, or it is broken for good */
    uint32_t flags;             /* ETHER_LINK_UP */
    uint32_t count;             /* ETHER_SEND: frames taken; ETHER_RECEIVE: frames in the body */
    uint32_t unused0;
    uint64_t state;             /* never 0. Another one: the link went up or down, or another driver is there */
    uint64_t batch;             /* ETHER_RECEIVE: 1, 2, 3, ... since the driver started */
    uint8_t  unused[88];
};

/* The body of the reply to ETHER_INFO. */
struct ether_info {
    char     name[32];          /* "net0" */
    char     back_end[64];      /* "user", "tap:chorus0", "hub:/tmp/hub": for people */
    uint8_t  device_address[6]; /* the device's own MAC address */
    uint8_t  address[6];        /* the one in use */
    uint32_t mtu;               /* bytes behind the 14 of the header: 68 .. ETHER_MTU_MAX */
    uint32_t features;          /* that it has: ETHER_SEND_..., ETHER_RECEIVE_... */
    uint32_t features_set;      /* that the client wanted */
    uint32_t flags;             /* ETHER_LINK_UP */
    uint32_t receive_flags;     /* of ETHER_SET */
    uint32_t unused;
    uint64_t state;
    /* What the back end knows of the network behind it, so that nobody need ask by DHCP; zeros: nothing. IPv4 addresses as on the wire. */
    uint8_t  hint_address[4];   /* for this interface */
    uint8_t  hint_router[4];
    uint8_t  hint_name_server[4];
    uint32_t hint_prefix;       /* bits of the net in hint_address, e.g. 24 */
    /* Since the driver started. */
    uint64_t frames_sent, bytes_sent, frames_received, bytes_received;
    uint64_t send_dropped, receive_dropped;     /* by the driver and the device: no link, nobody took them, too long */
};

_Static_assert(sizeof(struct ether_frame) == 16, "frames begin 16 bytes behind their descriptions");
_Static_assert(sizeof(struct ether_request) == 120, "a request fills the annex");
_Static_assert(sizeof(struct ether_reply) == 120, "a reply fills the annex");
_Static_assert(sizeof(struct ether_info) == 208, "the layout has no holes");

/* Where the next frame begins, seen from this one. */
static inline uint32_t ether_frame_space(uint32_t length)
{
    return (uint32_t)(sizeof(struct ether_frame) + length + 7) & ~7u;
}

#endif
