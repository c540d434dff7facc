/* The site's hardware: makes the devices of src/devices/ and shows them to the Nucleus. */

#ifndef CHORUS_SITE_DEVICES_H
#define CHORUS_SITE_DEVICES_H

#include <stdbool.h>
#include <stdint.h>

struct disk_image;
struct site_net;
struct screen;
enum { SITE_DISKS = 26, SITE_SHARES = 8 };

struct site_devices_options {
    int terminal_in, terminal_out; /* -1: the site has no terminal */
    uint16_t columns, rows;
    int stdin_fd, stdout_fd, stderr_fd; /* the command's own streams; -1: they are the terminal */
    struct disk_image *disks[SITE_DISKS]; /* the root first; taken over */
    unsigned disk_count;
    int shares[SITE_SHARES];              /* sockets to the processes of shared folders; taken over */
    unsigned share_count;
    struct site_net *nets;         /* their descriptors are taken over, one after the other */
    unsigned net_count;
    bool window;                   /* the terminal is a window: the descriptors above are -1 */
    uint16_t picture_width, picture_height; /* of the framebuffer; 0: there is none, nor keyboard and mouse */
    void (*escape)(void *cookie);  /* ^A x */
    void *cookie;
};

/* After nucleus_init. False, and a message on standard error: the host refuses. */
bool site_devices_start(const struct site_devices_options *options);
void site_devices_resize(uint16_t columns, uint16_t rows);
/* What can be seen of it. */
struct screen *site_devices_screen(void);
/* After the last actor is gone. Waits for what the host still does. */
void site_devices_stop(void);

#endif
