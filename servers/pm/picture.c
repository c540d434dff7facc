/* /dev/fb0: its pixels are a segment of the framebuffer's driver (lib/protocol/picture.h), which the process reads, writes and maps as it does that of
 * a file. What the ioctls tell is fixed: one mode, 32 bits a pixel.
 */
#include "picture.h"

#include <linux/fb.h>
#include <stdlib.h>
#include <string.h>

#include <protocol/picture.h>
#include <protocol/tty.h>

#include "call.h"
#include "device.h"
#include "memory_short.h"
#include "process.h"
#include "regular.h"
#include "user.h"

#define PIXEL 4u
#define PATIENCE (2 * NANOSECONDS) /* with a driver that is gone */
#define BACK     (NANOSECONDS / 10) /* who misses it tries again sooner: when nobody has missed it for so long it was there meanwhile */
#define DOTS_PER_MM 4u /* some 100 a inch */

static const struct tty_picture *picture_of(const struct file *file)
{
    return file->object;
}

static void describe_mode(const struct tty_picture *picture, struct fb_var_screeninfo *mode)
{
    *mode = (struct fb_var_screeninfo){ .xres = picture->width, .yres = picture->height, .xres_virtual = picture->width,
                                        .yres_virtual = picture->height, .bits_per_pixel = 8 * PIXEL, .blue = { 0, 8, 0 },
                                        .green = { 8, 8, 0 }, .red = { 16, 8, 0 }, .activate = FB_ACTIVATE_NOW,
                                        .width = picture->width / DOTS_PER_MM, .height = picture->height / DOTS_PER_MM };
}

static void describe_memory(const struct tty_picture *picture, struct fb_fix_screeninfo *memory)
{
    *memory = (struct fb_fix_screeninfo){ .id = "chorus", .smem_len = (uint32_t)picture->size, .type = FB_TYPE_PACKED_PIXELS,
                                          .visual = FB_VISUAL_TRUECOLOR, .line_length = picture->stride };
}

/* There is one mode: who asks for another gets EINVAL, who leaves things open learns what there is. */
static int64_t set_mode(struct call *call, const struct tty_picture *picture, uint64_t argument)
{
    struct fb_var_screeninfo mode, wish;
    int error = copy_in(call, &wish, argument, sizeof wish);
    describe_mode(picture, &mode);
    if (error != 0)
        return error;
    if (wish.xres > mode.xres || wish.yres > mode.yres || wish.xres_virtual > mode.xres || wish.yres_virtual > mode.yres ||
        wish.xoffset != 0 || wish.yoffset != 0 || (wish.bits_per_pixel != 0 && wish.bits_per_pixel != mode.bits_per_pixel))
        return -EINVAL;
    return copy_out(call, argument, &mode, sizeof mode);
}

/* The only place to pan to. */
static int64_t pan(struct call *call, uint64_t argument)
{
    struct fb_var_screeninfo wish;
    int error = copy_in(call, &wish, argument, sizeof wish);
    return error != 0 ? error : wish.xoffset == 0 && wish.yoffset == 0 ? 0 : -EINVAL;
}

static int64_t picture_ioctl(struct call *call, struct file *file, uint32_t command, uint64_t argument)
{
    const struct tty_picture *picture = picture_of(file);
    struct fb_var_screeninfo mode;
    struct fb_fix_screeninfo memory;
    switch (command) {
    case FBIOGET_VSCREENINFO: describe_mode(picture, &mode); return copy_out(call, argument, &mode, sizeof mode);
    case FBIOGET_FSCREENINFO: describe_memory(picture, &memory); return copy_out(call, argument, &memory, sizeof memory);
    case FBIOPUT_VSCREENINFO: return set_mode(call, picture, argument);
    case FBIOPAN_DISPLAY: return pan(call, argument);
    case FBIOBLANK: return argument == FB_BLANK_UNBLANK ? 0 : -EINVAL;
    case FBIOGETCMAP:
    case FBIOPUTCMAP: return -EINVAL; /* true colour has none */
    default: return -ENOTTY;
    }
}

static int64_t picture_read(struct call *call, struct file *file, struct user_io *io, int64_t *offset)
{
    return regular_operations.read(call, file, io, offset);
}

/* As Linux: what does not fit is not written, and ENOSPC if that is all. */
static int64_t picture_write(struct call *call, struct file *file, struct user_io *io, int64_t *offset)
{
    uint64_t size = picture_of(file)->size;
    if (*offset < 0 || (uint64_t)*offset > size)
        return -EFBIG;
    uint64_t room = size - (uint64_t)*offset, length = io->total < room ? io->total : room;
    if (length == 0)
        return io->total == 0 ? 0 : -ENOSPC;
    return regular_write_at(call, file, io, (uint64_t)*offset, length, offset, false);
}

static int64_t picture_seek(struct call *call, struct file *file, int64_t offset, int whence)
{
    (void)call;
    int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? file->offset : (int64_t)picture_of(file)->size;
    int64_t to;
    if ((whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END) || __builtin_add_overflow(base, offset, &to) || to < 0)
        return -EINVAL;
    return file->offset = to;
}

static void picture_release(struct file *file)
{
    device_release(file);
    free(file->object);
}

/* All who draw miss the driver together; it is back within milliseconds, or it is not. */
bool picture_fault(struct thread *thread, VmAddr address)
{
    static KnTime missed, last;
    KnUniqueId mapper;
    KnRgnStat region;
    KnTime now = time_now();
    if (uiBuild(&mapper, K_UISTATPORT, 0, PICTURE_MAPPER_STAMP) != K_OK ||
        rgnStat(&thread->process->space->actor, address, &region) != K_OK || !uiEqual(&region.dataObject.ui, &mapper))
        return false;
    if (now - last > BACK)
        missed = now;
    last = now;
    if (now - missed > PATIENCE)
        return false;
    memory_again_later(thread);
    return true;
}

static const struct file_operations picture_operations = {
    .seekable = true, .read = picture_read, .write = picture_write, .ioctl = picture_ioctl, .release = picture_release, .seek = picture_seek,
};

void picture_make(struct file *file, const uint8_t *about)
{
    struct tty_picture *picture = malloc(sizeof *picture);
    if (picture == NULL)
        return; /* it can be opened and closed, and nothing else */
    memcpy(picture, about, sizeof *picture);
    file->object = picture;
    file->operations = &picture_operations;
    file->has_segment = uiBuild(&file->segment.ui, K_UISTATPORT, 0, PICTURE_MAPPER_STAMP) == K_OK;
    file->segment.key = PICTURE_KEY;
    file->attributes.size = 0;
}
