/* The real-time clock, /dev/rtc0: the site's time of day, in UTC. It can be read and not set. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dm.h"

#define RD_TIME  0x80247009u
#define SET_TIME 0x4024700au

/* Linux's struct rtc_time, which is struct tm. */
struct rtc_time {
    int32_t second, minute, hour, day, month, year, week_day, year_day, is_summer;
};

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static struct rtc_time calendar(int64_t seconds)
{
    static const uint8_t lengths[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t days = seconds / 86400;
    int32_t rest = (int32_t)(seconds % 86400), year = 1970, month = 0;
    struct rtc_time time = { .second = rest % 60, .minute = rest / 60 % 60, .hour = rest / 3600, .week_day = (int32_t)((days + 4) % 7) };

    for (; days >= 365 + is_leap(year); year++)
        days -= 365 + is_leap(year);
    time.year = year - 1900;
    time.year_day = (int32_t)days;
    for (int length; days >= (length = lengths[month] + (month == 1 && is_leap(year))); month++)
        days -= length;
    time.month = month;
    time.day = (int32_t)days + 1;
    return time;
}

static int rtc_ioctl(struct dm_file *file, struct dm_call *call)
{
    int64_t now = dm_host->wall_clock();

    (void)file;
    if (call->request->command == SET_TIME)
        return -EPERM;                  /* it is the host's */
    if (call->request->command != RD_TIME)
        return -ENOTTY;
    if (now < 0)
        return -EIO;
    struct rtc_time time = calendar(now / 1000000000);
    memcpy(call->reply->argument, &time, sizeof time);
    return 0;
}

static const struct dm_operations rtc_operations = { .ioctl = rtc_ioctl };

int rtc_open(struct dm_file *file, struct dm_call *call)
{
    if (call->request->device != TTY_RTC || dm_host->wall_clock == NULL)
        return -ENXIO;
    file->operations = &rtc_operations;
    return 0;
}

bool rtc_node(unsigned index, struct tty_node *node)
{
    if (index > 0 || dm_host->wall_clock == NULL)
        return false;
    *node = (struct tty_node){ .device = TTY_RTC, .mode = 0600 };
    snprintf(node->name, sizeof node->name, "rtc0");
    return true;
}
