/* What a driver and its virtual device have agreed upon: numbers and layouts of the OASIS specification
 * "Virtual I/O Device (VIRTIO) Version 1.2", with the registers of its MMIO transport, version 2. All
 * is little endian. src/devices/ has the devices, servers/drivers/ the drivers.
 */
#ifndef PROTOCOL_VIRTIO_H
#define PROTOCOL_VIRTIO_H

#include <stdint.h>

/* ---- all devices ---- */

/* Register offsets. */
enum {
    VIRTIO_MAGIC = 0x000, VIRTIO_VERSION = 0x004, VIRTIO_DEVICE_ID = 0x008, VIRTIO_VENDOR_ID = 0x00c,
    VIRTIO_DEVICE_FEATURES = 0x010, VIRTIO_DEVICE_FEATURES_SELECT = 0x014,
    VIRTIO_DRIVER_FEATURES = 0x020, VIRTIO_DRIVER_FEATURES_SELECT = 0x024,
    VIRTIO_QUEUE_SELECT = 0x030, VIRTIO_QUEUE_SIZE_LIMIT = 0x034, VIRTIO_QUEUE_SIZE = 0x038,
    VIRTIO_QUEUE_READY = 0x044, VIRTIO_QUEUE_NOTIFY = 0x050,
    VIRTIO_INTERRUPT_STATUS = 0x060, VIRTIO_INTERRUPT_ACK = 0x064, VIRTIO_STATUS = 0x070,
    VIRTIO_QUEUE_DESCRIPTORS_LOW = 0x080, VIRTIO_QUEUE_DESCRIPTORS_HIGH = 0x084,
    VIRTIO_QUEUE_DRIVER_LOW = 0x090, VIRTIO_QUEUE_DRIVER_HIGH = 0x094,
    VIRTIO_QUEUE_DEVICE_LOW = 0x0a0, VIRTIO_QUEUE_DEVICE_HIGH = 0x0a4,
    VIRTIO_CONFIG_GENERATION = 0x0fc, VIRTIO_CONFIG = 0x100,
};

#define VIRTIO_MAGIC_VALUE  0x74726976u
#define VIRTIO_VENDOR       0x53524843u     /* "CHRS" */

/* Device types. */
enum { VIRTIO_TYPE_NETWORK = 1, VIRTIO_TYPE_BLOCK = 2, VIRTIO_TYPE_CONSOLE = 3, VIRTIO_TYPE_ENTROPY = 4, VIRTIO_TYPE_GPU = 16,
       VIRTIO_TYPE_INPUT = 18 };

/* Status bits. */
enum {
    VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64, VIRTIO_FAILED = 128,
};

/* Bits of the interrupt status. */
enum { VIRTIO_INTERRUPT_QUEUE = 1, VIRTIO_INTERRUPT_CONFIG = 2 };

/* Features of every device here. */
#define VIRTIO_F_INDIRECT_DESC  (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX      (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1      (UINT64_C(1) << 32)     /* must be accepted */

/* Descriptor flags, ring flags. */
enum { VIRTQ_NEXT = 1, VIRTQ_WRITE = 2, VIRTQ_INDIRECT = 4 };
enum { VIRTQ_NO_NOTIFY = 1, VIRTQ_NO_INTERRUPT = 1 };

struct virtq_descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
};

/* Where things are in a queue, in bytes. The available ring: flags, index, heads, used_event.
 * The used ring: flags, index, elements {id, length}, available_event. */
#define VIRTQ_AVAILABLE_FLAGS       0u
#define VIRTQ_AVAILABLE_INDEX       2u
#define VIRTQ_AVAILABLE_HEAD(i)     (4u + 2u * (i))
#define VIRTQ_USED_FLAGS            0u
#define VIRTQ_USED_INDEX            2u
#define VIRTQ_USED_ID(i)            (4u + 8u * (i))
#define VIRTQ_USED_LENGTH(i)        (8u + 8u * (i))
#define VIRTQ_USED_EVENT(size)      VIRTQ_AVAILABLE_HEAD(size)
#define VIRTQ_AVAILABLE_EVENT(size) VIRTQ_USED_ID(size)

/* ---- block device ---- */

#define VIRTIO_BLK_ID_LENGTH 20

/* The protocol between driver and device, section 5.2 of the specification. */
enum { VIRTIO_BLK_IN = 0, VIRTIO_BLK_OUT = 1, VIRTIO_BLK_FLUSH = 4, VIRTIO_BLK_GET_ID = 8,
       VIRTIO_BLK_DISCARD = 11, VIRTIO_BLK_WRITE_ZEROES = 13 };
enum { VIRTIO_BLK_OK = 0, VIRTIO_BLK_IOERR = 1, VIRTIO_BLK_UNSUPPORTED = 2 };

#define VIRTIO_BLK_F_SEG_MAX        (UINT64_C(1) << 2)
#define VIRTIO_BLK_F_RO             (UINT64_C(1) << 5)
#define VIRTIO_BLK_F_BLK_SIZE       (UINT64_C(1) << 6)
#define VIRTIO_BLK_F_FLUSH          (UINT64_C(1) << 9)
#define VIRTIO_BLK_F_DISCARD        (UINT64_C(1) << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES   (UINT64_C(1) << 14)

struct virtio_blk_header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};

struct virtio_blk_range {       /* of VIRTIO_BLK_DISCARD and VIRTIO_BLK_WRITE_ZEROES */
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};

struct virtio_blk_config {
    uint64_t capacity;          /* sectors */
    uint32_t size_max, seg_max;
    uint32_t geometry;
    uint32_t blk_size;
    uint8_t  topology[8];
    uint8_t  writeback, unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t  write_zeroes_may_unmap, unused1[3];
};

/* ---- console ---- */

enum { VIRTIO_CONSOLE_TERMINAL, VIRTIO_CONSOLE_STDIN, VIRTIO_CONSOLE_STDOUT,
       VIRTIO_CONSOLE_STDERR, VIRTIO_CONSOLE_PORTS };

#define VIRTIO_CONSOLE_F_SIZE       (UINT64_C(1) << 0)
#define VIRTIO_CONSOLE_F_MULTIPORT  (UINT64_C(1) << 1)

/* Queues: port 0 has 0 and 1, the control queues are 2 and 3, port n > 0 has 2n + 2 and 2n + 3. */
enum { VIRTIO_CONSOLE_CONTROL_IN = 2, VIRTIO_CONSOLE_CONTROL_OUT = 3 };

/* A message on a control queue; RESIZE is followed by columns and rows (16 bits each), NAME by the name. */
struct virtio_console_control {
    uint32_t port;
    uint16_t event;
    uint16_t value;
};

enum { VIRTIO_CONSOLE_DEVICE_READY, VIRTIO_CONSOLE_PORT_ADD, VIRTIO_CONSOLE_PORT_REMOVE,
       VIRTIO_CONSOLE_PORT_READY, VIRTIO_CONSOLE_CONSOLE_PORT, VIRTIO_CONSOLE_RESIZE,
       VIRTIO_CONSOLE_PORT_OPEN, VIRTIO_CONSOLE_PORT_NAME,
       VIRTIO_CONSOLE_PORT_ERROR = 64,  /* not in the specification: value is the Linux error that an
                                         * output failed with; PORT_OPEN 0 follows */
};

struct virtio_console_config {
    uint16_t columns, rows;
    uint32_t ports;
    uint32_t emergency_write;
    /* Not in the specification: a driver that takes the place of one that died learns where each port is. Bytes since the site began, modulo 2^32: of
     * input before the first that this driver gets, which may be some that the last one had; of output that the host has. */
    struct virtio_console_position {
        uint32_t in, out;
    } position[VIRTIO_CONSOLE_PORTS];
};

/* ---- network device ---- */

/* Queues. */
enum { VIRTIO_NET_RECEIVE = 0, VIRTIO_NET_SEND = 1, VIRTIO_NET_CONTROL = 2, VIRTIO_NET_QUEUES };

#define VIRTIO_NET_F_CSUM           (UINT64_C(1) << 0)      /* the device completes checksums */
#define VIRTIO_NET_F_GUEST_CSUM     (UINT64_C(1) << 1)      /* the driver bears incomplete ones */
#define VIRTIO_NET_F_GUEST_OFFLOADS (UINT64_C(1) << 2)      /* ... and may say later which of these it wants */
#define VIRTIO_NET_F_MTU            (UINT64_C(1) << 3)
#define VIRTIO_NET_F_MAC            (UINT64_C(1) << 5)
#define VIRTIO_NET_F_GUEST_TSO4     (UINT64_C(1) << 7)
#define VIRTIO_NET_F_GUEST_TSO6     (UINT64_C(1) << 8)
#define VIRTIO_NET_F_HOST_TSO4      (UINT64_C(1) << 11)
#define VIRTIO_NET_F_HOST_TSO6      (UINT64_C(1) << 12)
#define VIRTIO_NET_F_MRG_RXBUF      (UINT64_C(1) << 15)
#define VIRTIO_NET_F_STATUS         (UINT64_C(1) << 16)
#define VIRTIO_NET_F_CTRL_VQ        (UINT64_C(1) << 17)
#define VIRTIO_NET_F_CTRL_RX        (UINT64_C(1) << 18)
#define VIRTIO_NET_F_CTRL_MAC_ADDR  (UINT64_C(1) << 23)

/* Before each frame, both ways. */
struct virtio_net_header {
    uint8_t  flags;             /* VIRTIO_NET_NEEDS_CSUM, VIRTIO_NET_DATA_VALID */
    uint8_t  gso_type;          /* VIRTIO_NET_GSO_... */
    uint16_t header_length;
    uint16_t gso_size;
    uint16_t csum_start, csum_offset;
    uint16_t buffers;           /* received: that the frame lies in */
};

enum { VIRTIO_NET_NEEDS_CSUM = 1, VIRTIO_NET_DATA_VALID = 2 };
enum { VIRTIO_NET_GSO_NONE = 0, VIRTIO_NET_GSO_TCPV4 = 1, VIRTIO_NET_GSO_TCPV6 = 4 };

struct virtio_net_config {
    uint8_t  mac[6];
    uint16_t status;            /* VIRTIO_NET_LINK_UP */
    uint16_t queue_pairs;
    uint16_t mtu;
    /* Not in the specification, whose fields end before: what the back end knows of the network behind it. Zeros: nothing. */
    uint8_t  unused[52];
    uint8_t  hint_address[4], hint_router[4], hint_name_server[4];
    uint32_t hint_prefix;
    uint32_t dropped_sent, dropped_received;    /* frames, since the device was made */
    char     back_end[64];
};

enum { VIRTIO_NET_LINK_UP = 1 };

/* The control queue: class and command, then what they say, then a byte for the answer. */
struct virtio_net_control {
    uint8_t class, command;
};

enum { VIRTIO_NET_CONTROL_RX = 0, VIRTIO_NET_CONTROL_MAC = 1, VIRTIO_NET_CONTROL_OFFLOADS = 5 };
enum { VIRTIO_NET_RX_PROMISCUOUS = 0,           /* uint8_t: on or off */
       VIRTIO_NET_RX_ALL_MULTICASTS = 1 };      /* the same; all are received in any case */
enum { VIRTIO_NET_MAC_TABLE = 0,                /* two tables: ignored, all multicasts are received */
       VIRTIO_NET_MAC_ADDRESS = 1 };            /* 6 bytes */
enum { VIRTIO_NET_OFFLOADS_SET = 0 };           /* uint64_t: of the VIRTIO_NET_F_GUEST_ bits those that are wanted */
enum { VIRTIO_NET_CONTROL_OK = 0, VIRTIO_NET_CONTROL_ERROR = 1 };

/* ---- picture: section 5.7 of the specification, its 2D part ---- */

enum { VIRTIO_GPU_CONTROL, VIRTIO_GPU_CURSOR, VIRTIO_GPU_QUEUES };

enum virtio_gpu_type {
    VIRTIO_GPU_GET_DISPLAY_INFO = 0x0100, VIRTIO_GPU_RESOURCE_CREATE_2D, VIRTIO_GPU_RESOURCE_UNREF, VIRTIO_GPU_SET_SCANOUT,
    VIRTIO_GPU_RESOURCE_FLUSH, VIRTIO_GPU_TRANSFER_TO_HOST_2D, VIRTIO_GPU_RESOURCE_ATTACH_BACKING, VIRTIO_GPU_RESOURCE_DETACH_BACKING,
    VIRTIO_GPU_UPDATE_CURSOR = 0x0300, VIRTIO_GPU_MOVE_CURSOR,
    VIRTIO_GPU_OK_NODATA = 0x1100, VIRTIO_GPU_OK_DISPLAY_INFO,
    VIRTIO_GPU_ERR_UNSPEC = 0x1200, VIRTIO_GPU_ERR_OUT_OF_MEMORY, VIRTIO_GPU_ERR_INVALID_SCANOUT_ID, VIRTIO_GPU_ERR_INVALID_RESOURCE_ID,
    VIRTIO_GPU_ERR_INVALID_CONTEXT_ID, VIRTIO_GPU_ERR_INVALID_PARAMETER,
};

#define VIRTIO_GPU_FLAG_FENCE       1u
#define VIRTIO_GPU_SCANOUTS_MAX     16
enum { VIRTIO_GPU_FORMAT_B8G8R8A8 = 1, VIRTIO_GPU_FORMAT_B8G8R8X8 = 2 };

struct virtio_gpu_header {
    uint32_t type, flags;
    uint64_t fence;
    uint32_t context, padding;
};

struct virtio_gpu_rectangle {
    uint32_t x, y, width, height;
};

struct virtio_gpu_display_info {
    struct virtio_gpu_header header;
    struct {
        struct virtio_gpu_rectangle rectangle;
        uint32_t enabled, flags;
    } scanout[VIRTIO_GPU_SCANOUTS_MAX];
};

struct virtio_gpu_create_2d {
    struct virtio_gpu_header header;
    uint32_t resource, format, width, height;
};

struct virtio_gpu_resource {        /* UNREF, DETACH_BACKING */
    struct virtio_gpu_header header;
    uint32_t resource, padding;
};

struct virtio_gpu_set_scanout {
    struct virtio_gpu_header header;
    struct virtio_gpu_rectangle rectangle;
    uint32_t scanout, resource;
};

struct virtio_gpu_flush {
    struct virtio_gpu_header header;
    struct virtio_gpu_rectangle rectangle;
    uint32_t resource, padding;
};

struct virtio_gpu_transfer {
    struct virtio_gpu_header header;
    struct virtio_gpu_rectangle rectangle;
    uint64_t offset;
    uint32_t resource, padding;
};

struct virtio_gpu_backing {         /* followed by `entries` struct virtio_gpu_piece */
    struct virtio_gpu_header header;
    uint32_t resource, entries;
};

struct virtio_gpu_piece {
    uint64_t address;
    uint32_t length, padding;
};

struct virtio_gpu_config {
    uint32_t events_read, events_clear, scanouts, capsets;
};

/* ---- keyboard and mouse: section 5.8 ---- */

enum { VIRTIO_INPUT_EVENTS, VIRTIO_INPUT_STATUS, VIRTIO_INPUT_QUEUES };

enum virtio_input_select {
    VIRTIO_INPUT_CFG_UNSET = 0, VIRTIO_INPUT_CFG_ID_NAME = 1, VIRTIO_INPUT_CFG_ID_SERIAL = 2, VIRTIO_INPUT_CFG_ID_DEVIDS = 3,
    VIRTIO_INPUT_CFG_PROP_BITS = 0x10, VIRTIO_INPUT_CFG_EV_BITS = 0x11, VIRTIO_INPUT_CFG_ABS_INFO = 0x12,
};

/* The configuration: select and subselect are written (as one register), size and data are then there to be read. */
#define VIRTIO_INPUT_CFG_DATA_MAX 128
struct virtio_input_config {
    uint8_t select, subselect, size, reserved[5];
    uint8_t data[VIRTIO_INPUT_CFG_DATA_MAX];
};

struct virtio_input_ids {
    uint16_t bus, vendor, product, version;
};

struct virtio_input_range {
    uint32_t least, most, fuzz, flat, resolution;
};

struct virtio_input_event {
    uint16_t type, code;            /* of Linux's input events */
    uint32_t value;
};

/* ---- the clock, which is no virtio device ---- */

enum { CLOCK_DEVICE_MAGIC = 0x0, CLOCK_DEVICE_NOW = 0x8 };

#define CLOCK_DEVICE_MAGIC_VALUE 0x314b4c43u    /* "CLK1" */

#endif
