/* The framebuffer: see picture.h. It is on the screen while somebody has it open. */
#include "picture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool exists;
static struct tty_picture picture;      /* size 0: its driver is not there yet */
static unsigned opens;

void picture_start(bool there_is_a_framebuffer)
{
    exists = there_is_a_framebuffer;
    picture = (struct tty_picture){ 0 };
    opens = 0;
}

static void use(bool on)
{
    if (dm_host->picture_use != NULL)
        dm_host->picture_use(on);
}

void picture_ready(const struct picture_ready *ready)
{
    picture = (struct tty_picture){ .size = ready->size, .width = ready->width, .height = ready->height, .stride = ready->stride };
    if (opens > 0)                      /* the driver is another one, and does not know */
        use(true);
    dm_changed();
}

static void picture_close(struct dm_file *file)
{
    (void)file;
    if (--opens == 0)
        use(false);
}

static const struct dm_operations picture_operations = { .close = picture_close };

int picture_open(struct dm_file *file, struct dm_call *call)
{
    if (TTY_MINOR(call->request->device) != 0 || picture.size == 0)
        return -ENXIO;
    file->operations = &picture_operations;
    call->reply->flags |= TTY_IS_PICTURE;
    memcpy(call->reply->argument, &picture, sizeof picture);
    if (opens++ == 0)
        use(true);
    return 0;
}

bool picture_node(unsigned index, struct tty_node *node)
{
    if (!exists || index > 0)
        return false;
    *node = (struct tty_node){ .device = TTY_FRAMEBUFFER, .mode = 0660 };
    snprintf(node->name, sizeof node->name, "fb0");
    return true;
}
