/* /dev/input/event*: what keyboard and mouse do, to be read as Linux's evdev tells it.
 *
 * Each open file has a queue of its own. When it is full the oldest events go, and the reader is told (SYN_DROPPED) to look anew. Numbers and
 * layouts are those of <linux/input.h>.
 */
#include <errno.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "picture.h"

#define QUEUE 512               /* events */

struct reader {
    struct reader *next;        /* of the same device */
    clockid_t clock;
    unsigned first, count;
    bool holds_all;             /* it has grabbed the device: nobody else gets events */
    struct input_event event[QUEUE];
};

static struct {
    struct input_about about;
    bool ready;                 /* there was a driver */
    uint8_t down[INPUT_BITS_BYTES];
    struct reader *readers;
} devices[INPUT_DEVICES];
static unsigned device_count;

_Static_assert(sizeof(struct input_event) == 24, "the layout is Linux's");
_Static_assert(sizeof(struct input_range) + 4 == sizeof(struct input_absinfo), "the layout is Linux's, but for the value");

void evdev_start(unsigned count)
{
    device_count = count < INPUT_DEVICES ? count : INPUT_DEVICES;
    memset(devices, 0, sizeof devices);
    for (unsigned i = 0; i < INPUT_DEVICES; i++)
        devices[i].about.bits[0][0] = 1;
}

/* ---- what comes ---- */

static void reader_append(struct reader *reader, const struct input_event *event)
{
    if (reader->count == QUEUE) {
        reader->first = 0;
        reader->count = 1;
        reader->event[0] = *event;
        reader->event[0].type = EV_SYN;
        reader->event[0].code = SYN_DROPPED;
        reader->event[0].value = 0;
    }
    reader->event[(reader->first + reader->count++) % QUEUE] = *event;
}

static bool is_grabbed(unsigned device)
{
    for (const struct reader *reader = devices[device].readers; reader != NULL; reader = reader->next)
        if (reader->holds_all)
            return true;
    return false;
}

static void note_key(unsigned device, const struct input_entry *entry)
{
    if (entry->type != EV_KEY || entry->code / 8 >= INPUT_BITS_BYTES)
        return;
    uint8_t *byte = &devices[device].down[entry->code / 8], mask = (uint8_t)(1u << entry->code % 8);
    *byte = (uint8_t)(entry->value != 0 ? *byte | mask : *byte & ~mask);
}

static void reader_tell(struct reader *reader, const struct input_entry *entry)
{
    struct timespec now;

    clock_gettime(reader->clock, &now);
    reader_append(reader, &(struct input_event){ .time = { now.tv_sec, now.tv_nsec / 1000 }, .type = entry->type, .code = entry->code,
                                                 .value = entry->value });
}

static void tell(unsigned device, const struct input_entry *entry)
{
    bool grabbed = is_grabbed(device);

    note_key(device, entry);
    for (struct reader *reader = devices[device].readers; reader != NULL; reader = reader->next)
        if (!grabbed || reader->holds_all)
            reader_tell(reader, entry);
}

void input_happened(const struct input_happened *happened)
{
    if (happened->device >= device_count || happened->count > INPUT_ENTRIES_MOST)
        return;
    for (uint32_t i = 0; i < happened->count; i++)
        tell(happened->device, &happened->entry[i]);
    dm_changed();
}

/* What happened while there was no driver is lost: readers are told to look anew. Keys that are down when it starts again are told as released: it has
 * forgotten them. */
void input_ready(unsigned device, const struct input_about *about)
{
    if (device >= device_count)
        return;
    if (devices[device].ready)
        for (struct reader *reader = devices[device].readers; reader != NULL; reader = reader->next) {
            reader_tell(reader, &(struct input_entry){ .type = EV_SYN, .code = SYN_DROPPED });
            reader_tell(reader, &(struct input_entry){ .type = EV_SYN, .code = SYN_REPORT });
        }
    devices[device].ready = true;
    devices[device].about = *about;
    for (unsigned code = 0; code < 8 * INPUT_BITS_BYTES; code++)
        if (devices[device].down[code / 8] >> code % 8 & 1) {
            tell(device, &(struct input_entry){ .type = EV_KEY, .code = (uint16_t)code });
            tell(device, &(struct input_entry){ .type = EV_SYN });
        }
    dm_changed();
}

/* ---- open files ---- */

static struct reader *reader_of(struct dm_file *file)
{
    return file->object;
}

static unsigned device_of(const struct dm_file *file)
{
    return TTY_MINOR(file->device) - TTY_MINOR(TTY_INPUT(0));
}

static bool evdev_can_read(struct dm_file *file, const struct tty_request *request, uint64_t begun, int64_t now, int64_t *ret_deadline)
{
    (void)begun, (void)now, (void)ret_deadline;
    return reader_of(file)->count > 0 || request->length < sizeof(struct input_event);
}

static int evdev_read(struct dm_file *file, struct dm_call *call)
{
    struct reader *reader = reader_of(file);
    size_t room = call->request->length / sizeof *reader->event, done = 0;

    if (room == 0)
        return -EINVAL;
    for (; done < room && reader->count > 0; done++, reader->count--) {
        memcpy(call->body + done * sizeof *reader->event, &reader->event[reader->first], sizeof *reader->event);
        reader->first = (reader->first + 1) % QUEUE;
    }
    call->reply->length = (uint32_t)(done * sizeof *reader->event);
    return 0;
}

/* Whole events; the lights that they would switch are not there. */
static int evdev_write(struct dm_file *file, struct dm_call *call)
{
    (void)file;
    if (call->body_size < sizeof(struct input_event))
        return -EINVAL;
    call->reply->length = (uint32_t)(call->body_size - call->body_size % sizeof(struct input_event));
    return 0;
}

static unsigned evdev_poll(struct dm_file *file)
{
    return TTY_WRITABLE | (reader_of(file)->count > 0 ? TTY_READABLE : 0);
}

/* An answer of <size> bytes, as many as were asked for. */
static int give(struct dm_call *call, const void *bytes, size_t size, bool count_is_result)
{
    size_t room = _IOC_SIZE(call->request->command);

    call->reply->length = (uint32_t)(size < room ? size : room);
    memcpy(call->body, bytes, call->reply->length);
    call->reply->events = count_is_result ? call->reply->length : 0;
    return 0;
}

static int give_range(struct dm_call *call, const struct input_about *about, unsigned axis)
{
    const struct input_range *range = &about->range[axis];
    struct input_absinfo info = { .minimum = range->least, .maximum = range->most, .fuzz = range->fuzz, .flat = range->flat,
                                  .resolution = range->resolution };

    return (about->bits[EV_ABS][axis / 8] >> axis % 8 & 1) != 0 ? give(call, &info, sizeof info, false) : -EINVAL;
}

static int set_clock(struct reader *reader, const struct dm_call *call)
{
    int32_t clock;

    memcpy(&clock, call->request->argument, sizeof clock);
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
        return -EINVAL;
    reader->clock = clock;
    return 0;
}

static int grab(struct dm_file *file, const struct dm_call *call)
{
    struct reader *reader = reader_of(file);
    uint64_t on;

    memcpy(&on, call->request->argument, sizeof on);
    if (on != 0 && is_grabbed(device_of(file)))
        return -EBUSY;
    if (on == 0 && !reader->holds_all)
        return -EINVAL;
    reader->holds_all = on != 0;
    return 0;
}

/* Those with a length of their own. */
static int ioctl_sized(const struct input_about *about, unsigned device, struct dm_call *call)
{
    static const uint8_t nothing[INPUT_BITS_BYTES];
    unsigned number = _IOC_NR(call->request->command);
    uint16_t ids[] = { about->bus, about->vendor, about->product, about->version };

    if (number >= 0x20 && number < 0x20 + INPUT_TYPES)
        return give(call, about->bits[number - 0x20], INPUT_BITS_BYTES, true);
    if (number >= 0x40 && number < 0x40 + INPUT_RANGES)
        return give_range(call, about, number - 0x40);
    switch (number) {
    case 0x01: return give(call, &(int){ EV_VERSION }, sizeof(int), false);
    case 0x02: return give(call, ids, sizeof ids, false);
    case 0x03: return give(call, &(unsigned[2]){ 250, 33 }, 2 * sizeof(unsigned), false);
    case 0x06: return give(call, about->name, strlen(about->name) + 1, true);
    case 0x07:
    case 0x08: return -ENOENT;          /* no place, no serial number */
    case 0x18: return give(call, devices[device].down, INPUT_BITS_BYTES, true);
    case 0x09:
    case 0x19:
    case 0x1a:
    case 0x1b: return give(call, nothing, sizeof nothing, true);
    default: return -EINVAL;
    }
}

static int evdev_ioctl(struct dm_file *file, struct dm_call *call)
{
    unsigned device = device_of(file);

    if (_IOC_TYPE(call->request->command) != 'E')
        return -ENOTTY;
    if (call->request->command == EVIOCSCLOCKID)
        return set_clock(reader_of(file), call);
    if (call->request->command == EVIOCGRAB)
        return grab(file, call);
    return _IOC_DIR(call->request->command) == _IOC_READ ? ioctl_sized(&devices[device].about, device, call) : -EINVAL;
}

static void evdev_close(struct dm_file *file)
{
    struct reader **link = &devices[device_of(file)].readers;

    while (*link != file->object)
        link = &(*link)->next;
    *link = (*link)->next;
    free(file->object);
}

static const struct dm_operations evdev_operations = { .read = evdev_read, .can_read = evdev_can_read, .write = evdev_write,
                                                       .poll = evdev_poll, .ioctl = evdev_ioctl, .close = evdev_close };

int evdev_open(struct dm_file *file, struct dm_call *call)
{
    unsigned device = device_of(file);

    if (TTY_MINOR(call->request->device) < TTY_MINOR(TTY_INPUT(0)) || device >= device_count)
        return -ENXIO;
    struct reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL)
        return -ENOMEM;
    reader->next = devices[device].readers;
    devices[device].readers = reader;
    file->operations = &evdev_operations;
    file->object = reader;
    return 0;
}

bool evdev_node(unsigned index, struct tty_node *node)
{
    if (index >= device_count)
        return false;
    *node = (struct tty_node){ .device = TTY_INPUT(index), .mode = 0660 };
    snprintf(node->name, sizeof node->name, "input/event%u", index);
    return true;
}
