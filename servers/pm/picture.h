/* picture.h: /dev/fb0. */
#ifndef PM_PICTURE_H
#define PM_PICTURE_H

#include "descriptor.h"

/* The file is a framebuffer; <about>: the argument of TTY_OPEN's reply, a struct tty_picture. */
void picture_make(struct file *file, const uint8_t *about);

/* A page of the framebuffer that the thread touches was not to be had. True: its driver is being started again, and the thread tries again soon. */
bool picture_fault(struct thread *thread, VmAddr address);

#endif
