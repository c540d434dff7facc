/* The framebuffer and the input devices, as far as dm has to do with them.
 *
 * The framebuffer's pixels never come by here: who opens /dev/fb0 is given the segment that the driver is the mapper of. What keys and mouse do comes
 * from the driver and is kept for each open file of /dev/input/event*, as Linux's evdev does.
 */
#ifndef DM_PICTURE_H
#define DM_PICTURE_H

#include "dm.h"
#include "protocol/picture.h"

/* What the site has; before anything else here. */
void picture_start(bool there_is_a_framebuffer);
void evdev_start(unsigned devices);

/* What the drivers tell. */
void picture_ready(const struct picture_ready *ready);
void input_ready(unsigned device, const struct input_about *about);
void input_happened(const struct input_happened *happened);

int picture_open(struct dm_file *file, struct dm_call *call);
int evdev_open(struct dm_file *file, struct dm_call *call);
bool picture_node(unsigned index, struct tty_node *node);
bool evdev_node(unsigned index, struct tty_node *node);

#endif
