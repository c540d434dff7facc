/* What a site's screen is made of, as those who look at it see it: the layout of its shared memory, and the messages of a window.
 *
 * The memory is one memfd. The site writes it, everybody else maps it for reading only, and nobody can make it shorter. It holds what the console
 * printed last, as bytes, and the pictures of the framebuffer. Who looks draws from that, at its own pace: the site never waits for it.
 *
 *   offset 0                        struct screen_share
 *   SCREEN_CONSOLE_AT               a ring: byte number n of all that the console printed is at n % SCREEN_CONSOLE_SIZE
 *   SCREEN_PICTURES_AT              pictures (a site with a framebuffer only)
 *
 * A window has a socket besides (SOCK_SEQPACKET): it sends struct screen_message; a single byte comes back when there is news.
 */
#ifndef DEVICES_SCREEN_SHARE_H
#define DEVICES_SCREEN_SHARE_H

#include <stdatomic.h>
#include <stdint.h>

#define SCREEN_MAGIC            0x4e524353u     /* "SCRN" */
#define SCREEN_VERSION          1u
#define SCREEN_CONSOLE_AT       4096u
#define SCREEN_CONSOLE_SIZE     262144u
#define SCREEN_PICTURES_AT      (SCREEN_CONSOLE_AT + SCREEN_CONSOLE_SIZE)
#define SCREEN_PICTURES_SIZE    (64u << 20)
#define SCREEN_DAMAGES          64u             /* remembered */

struct screen_rectangle {
    uint16_t x, y, width, height;
};

/* Pixels are 32 bits: blue, green, red, and one byte that does not count. */
struct screen_share {
    uint32_t magic, version;
    uint32_t has_console;                       /* fixed after the boot */
    uint32_t window_decides;                    /* the console has the size that a window asks for; else the host's terminal has its own */
    _Atomic uint32_t columns, rows;
    _Atomic uint64_t changes;                   /* grows with everything below */
    _Atomic uint64_t console_head;              /* bytes printed so far */

    /* The picture. `picture_lock` is odd while the rest is being written. */
    _Atomic uint32_t picture_lock;
    _Atomic uint32_t picture_on;
    _Atomic uint32_t width, height, stride;     /* stride in bytes */
    _Atomic uint32_t picture_at;                /* offset in the memory */
    /* What has been redrawn: rectangle number n is at n % SCREEN_DAMAGES; damage_head of them so far. */
    _Atomic uint64_t damage_head;
    _Atomic uint64_t damage[SCREEN_DAMAGES];    /* struct screen_rectangle */
};

_Static_assert(sizeof(struct screen_share) <= SCREEN_CONSOLE_AT, "the head has one page");

/* What a window says. */
enum screen_message_kind {
    SCREEN_AWAIT = 1,           /* number: `changes` as it was seen. A byte comes as soon as it is another */
    SCREEN_TYPED,               /* bytes: the person typed them at the console */
    SCREEN_RESIZE,              /* columns, rows: so large should the console be */
    SCREEN_INPUT,               /* events: what keys and mouse did */
};

struct screen_input {
    uint16_t device;            /* SCREEN_KEYBOARD, SCREEN_MOUSE */
    uint16_t type, code;        /* of Linux's input events */
    uint16_t unused;
    int32_t value;
};

enum { SCREEN_KEYBOARD, SCREEN_MOUSE, SCREEN_INPUTS };
#define SCREEN_MOUSE_RANGE 32768    /* the mouse is absolute: 0 to this less one, both ways */
#define SCREEN_BYTES_MOST  1024u
#define SCREEN_EVENTS_MOST 32u

struct screen_message {
    uint32_t kind;
    uint32_t count;             /* of bytes or events */
    union {
        uint64_t number;
        struct {
            uint16_t columns, rows;
        };
        uint8_t bytes[SCREEN_BYTES_MOST];
        struct screen_input events[SCREEN_EVENTS_MOST];
    };
};

#endif
