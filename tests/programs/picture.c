/* Draws into /dev/fb0, which it has mapped, until it has drawn as many pictures as its argument says; the last one is white but for a black corner.
 * Prints what the device says it is, waits for a line of input, and ends. */
#include <fcntl.h>
#include <linux/fb.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

int main(int argc, char **argv)
{
    int pictures = argc > 1 ? atoi(argv[1]) : 1, fd = open("/dev/fb0", O_RDWR);
    struct fb_var_screeninfo mode, other;
    struct fb_fix_screeninfo memory;
    EXPECT(fd >= 0 && ioctl(fd, FBIOGET_VSCREENINFO, &mode) == 0 && ioctl(fd, FBIOGET_FSCREENINFO, &memory) == 0);
    EXPECT(ioctl(fd, FBIOPUT_VSCREENINFO, &mode) == 0 && ioctl(fd, FBIOPAN_DISPLAY, &mode) == 0);
    other = mode;
    other.xres++;
    EXPECT(ioctl(fd, FBIOPUT_VSCREENINFO, &other) == -1 && errno == EINVAL);
    EXPECT(ioctl(fd, 0x46ff, &other) == -1 && errno == ENOTTY);
    EXPECT(ioctl(fd, FBIOGET_VSCREENINFO, 8) == -1 && errno == EFAULT);
    uint32_t *pixels = mmap(NULL, memory.smem_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT(pixels != MAP_FAILED);
    printf("%u x %u, %u bits, red at %u, lines of %u bytes\n", mode.xres, mode.yres, mode.bits_per_pixel, mode.red.offset, memory.line_length);
    fflush(stdout);
    for (int i = 1; i <= pictures; i++) {
        uint32_t colour = i == pictures ? 0xffffff : (uint32_t)i * 40503u & 0xffffff;
        for (uint32_t at = 0; at < memory.line_length / 4 * mode.yres; at++)
            pixels[at] = colour;
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    }
    pixels[0] = 0;
    EXPECT(pixels[0] == 0 && pixels[1] == 0xffffff);
    printf("drawn\n");
    fflush(stdout);
    getchar(); /* as long as it has the device open it is shown */
    return 0;
}
