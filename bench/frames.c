/* Full pictures on /dev/fb0, one each sixtieth of a second, for so many seconds: frames SECONDS. Each has one colour, so that who looks can count them.
 * Prints how many it drew, how many it began late by more than a frame, and the CPU time that it took, in ms. */
#include <fcntl.h>
#include <linux/fb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#define FRAME 16666667

static int64_t time_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int main(int argc, char **argv)
{
    int count = (argc > 1 ? atoi(argv[1]) : 1) * 60, late = 0, fd = open("/dev/fb0", O_RDWR);
    struct fb_fix_screeninfo memory;
    if (fd < 0 || ioctl(fd, FBIOGET_FSCREENINFO, &memory) != 0)
        return perror("/dev/fb0"), 1;
    uint32_t *pixels = mmap(NULL, memory.smem_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (pixels == MAP_FAILED)
        return perror("mmap"), 1;
    int64_t next = time_of(CLOCK_MONOTONIC), cpu = time_of(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 1; i <= count; i++) {
        uint32_t colour = (uint32_t)i * 40503u & 0xffffff;
        late += time_of(CLOCK_MONOTONIC) - next > FRAME;
        for (uint32_t at = 0; at < memory.smem_len / 4; at++)
            pixels[at] = colour;
        next += FRAME;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &(struct timespec){ next / 1000000000, next % 1000000000 }, NULL);
    }
    printf("drawn %d late %d cpu %lld\n", count, late, (long long)(time_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1000000);
    return 0;
}
