/* Framebuffer and input devices: what their drivers and the Device Manager tell each other.
 *
 * The framebuffer's driver is a mapper: its pixels are a segment, whose capability has the static port PICTURE_MAPPER_STAMP and the key
 * PICTURE_KEY. Who has it maps it, or reads and writes it by sgRead and sgWrite; what was written is on the screen soon after. A driver that
 * dies is started again under the same port, and what was mapped stays so.
 *
 * All messages here are sent (ipcSend); nobody waits for an answer. Drivers begin, again after each start; dm's port is that of its group.
 */
#ifndef PROTOCOL_PICTURE_H
#define PROTOCOL_PICTURE_H

#include <stdint.h>

#define PICTURE_GROUP_STAMP  10     /* K_STAMP_SCREEN; the same number for the group and the mapper's port */
#define PICTURE_MAPPER_STAMP 10
#define PICTURE_KEY          1
#define INPUT_GROUP_STAMP    11     /* K_STAMP_INPUT */
#define INPUT_DEVICES        2

enum picture_operation {
    PICTURE_READY = 0x690,      /* driver -> dm: struct picture_ready */
    INPUT_READY,                /* driver -> dm: `device`; the body is a struct input_about */
    INPUT_HAPPENED,             /* driver -> dm: `device`, events */
    PICTURE_USE = 0x6a0,        /* dm -> driver: `use`: somebody has the framebuffer open, so it is to be shown; or nobody has */
};

struct picture_ready {
    uint32_t operation;
    uint32_t width, height;     /* pixels of 32 bits: blue, green, red, unused */
    uint32_t stride;            /* bytes from line to line */
    uint64_t size;              /* bytes of the segment, whole pages */
    uint8_t  unused[96];
};

struct picture_use {
    uint32_t operation;
    uint32_t use;
    uint8_t  unused[112];
};

/* An event of Linux's kind. */
struct input_entry {
    uint16_t type, code;
    int32_t  value;
};

#define INPUT_ENTRIES_MOST 13

struct input_happened {
    uint32_t operation;
    uint32_t device, count, unused;
    struct input_entry entry[INPUT_ENTRIES_MOST];
};

#define INPUT_TYPES      0x20
#define INPUT_BITS_BYTES 96
#define INPUT_RANGES     0x40

struct input_range {
    int32_t least, most, fuzz, flat, resolution;
};

/* What a device is and has, as EVIOCGNAME, EVIOCGID, EVIOCGBIT and EVIOCGABS tell it. */
struct input_about {
    char name[64];
    uint16_t bus, vendor, product, version;
    uint8_t bits[INPUT_TYPES][INPUT_BITS_BYTES];    /* [0]: types */
    struct input_range range[INPUT_RANGES];
};

_Static_assert(sizeof(struct picture_ready) == 120, "a message fills the annex");
_Static_assert(sizeof(struct picture_use) == 120, "a message fills the annex");
_Static_assert(sizeof(struct input_happened) == 120, "a message fills the annex");

#endif
