/* virtio-input: see virtio_input.h.
 *
 * Events are gathered until their EV_SYN, and then wait, in their order, until the driver has offered buffers for them; also while there is no driver, so
 * that nothing is lost when one takes over from another. When too many wait, a group is lost as a whole; but keys that
 * are known as pressed are told as released later, as soon as there is room: a key never stays down.
 */
#include "virtio_input.h"

#include <linux/input.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "screen_share.h"

#define QUEUE_SIZE 64
#define GROUP_MOST 16
#define KEPT_MOST  256
#define KEYS       0x200                /* codes that we know */

struct input {
    struct virtio_device virtio;        /* first */
    unsigned kind;
    uint8_t select, subselect;
    uint8_t keys[KEYS / 8];             /* that it has */
    uint8_t down[KEYS / 8];             /* told as pressed, or waiting to be */
    uint8_t lift[KEYS / 8];             /* released, and not told so */
    struct virtio_input_event group[GROUP_MOST];
    unsigned group_count;
    struct virtio_input_event kept[KEPT_MOST];  /* waiting, whole groups */
    unsigned kept_count;
};

static struct input *input_of(struct virtio_device *device)
{
    return (struct input *)device;
}

static bool bit(const uint8_t *bits, unsigned number)
{
    return bits[number / 8] >> (number % 8) & 1;
}

static void bit_set(uint8_t *bits, unsigned number, bool value)
{
    bits[number / 8] = (uint8_t)((bits[number / 8] & ~(1u << number % 8)) | (unsigned)value << number % 8);
}

/* ---- what it has ---- */

static bool is_mouse(const struct input *input)
{
    return input->kind == SCREEN_MOUSE;
}

static void keys_define(struct input *input)
{
    for (unsigned key = KEY_ESC; key <= KEY_MICMUTE && !is_mouse(input); key++)
        bit_set(input->keys, key, true);
    for (unsigned button = BTN_LEFT; button <= BTN_MIDDLE && is_mouse(input); button++)
        bit_set(input->keys, button, true);
}

/* Does it have such events? */
static bool has_event(const struct input *input, uint16_t type, uint16_t code)
{
    switch (type) {
    case EV_SYN: return code == SYN_REPORT;
    case EV_KEY: return code < KEYS && bit(input->keys, code);
    case EV_ABS: return is_mouse(input) && code <= ABS_Y;
    case EV_REL: return is_mouse(input) && (code == REL_WHEEL || code == REL_HWHEEL);
    case EV_LED: return !is_mouse(input) && code <= LED_SCROLLL;
    case EV_REP: return !is_mouse(input) && code <= REP_PERIOD;
    default: return false;
    }
}

/* ---- configuration ---- */

static size_t trimmed(const uint8_t *bits, size_t size)
{
    while (size > 0 && bits[size - 1] == 0)
        size--;
    return size;
}

static uint8_t event_bits(const struct input *input, uint8_t type, uint8_t *data)
{
    uint8_t bits[VIRTIO_INPUT_CFG_DATA_MAX] = { 0 };

    for (unsigned code = 0; code < KEYS && type != EV_SYN; code++)
        if (has_event(input, type, (uint16_t)code))
            bit_set(bits, code, true);
    memcpy(data, bits, sizeof bits);
    return (uint8_t)trimmed(bits, sizeof bits);
}

static uint8_t config_data(const struct input *input, uint8_t *data)
{
    struct virtio_input_ids ids = { .bus = BUS_VIRTUAL, .vendor = 0x4348, .product = (uint16_t)(1 + input->kind), .version = 1 };
    struct virtio_input_range range = { .most = SCREEN_MOUSE_RANGE - 1 };
    const char *name = is_mouse(input) ? "Chorus mouse" : "Chorus keyboard";

    switch (input->select) {
    case VIRTIO_INPUT_CFG_ID_NAME:
        memcpy(data, name, strlen(name));
        return (uint8_t)strlen(name);
    case VIRTIO_INPUT_CFG_ID_DEVIDS:
        memcpy(data, &ids, sizeof ids);
        return sizeof ids;
    case VIRTIO_INPUT_CFG_EV_BITS:
        return event_bits(input, input->subselect, data);
    case VIRTIO_INPUT_CFG_ABS_INFO:
        if (!has_event(input, EV_ABS, input->subselect))
            return 0;
        memcpy(data, &range, sizeof range);
        return sizeof range;
    default:
        return 0;
    }
}

static uint32_t input_read_config(struct virtio_device *device, uint32_t offset)
{
    const struct input *input = input_of(device);
    struct virtio_input_config config = { .select = input->select, .subselect = input->subselect };
    uint32_t word;

    if (offset > sizeof config - sizeof word)
        return 0;
    config.size = config_data(input, config.data);
    memcpy(&word, (const char *)&config + offset, sizeof word);
    return word;
}

static void input_write_config(struct virtio_device *device, uint32_t offset, uint32_t value)
{
    struct input *input = input_of(device);

    if (offset != 0)
        return;
    input->select = (uint8_t)value;
    input->subselect = (uint8_t)(value >> 8);
}

/* ---- events ---- */

/* One event to the driver; false: it has offered no buffer. */
static bool event_give(struct input *input, const struct virtio_input_event *event)
{
    struct virtio_chain chain;

    if (!virtqueue_take(&input->virtio, VIRTIO_INPUT_EVENTS, &chain))
        return false;
    size_t written = chain_write(&chain, 0, event, sizeof *event);
    virtqueue_put(&input->virtio, VIRTIO_INPUT_EVENTS, &chain, (uint32_t)written);
    return true;
}

/* Keys whose release was lost. */
static void keys_lift(struct input *input)
{
    bool any = false;

    for (unsigned code = 0; code < KEYS; code++) {
        if (!bit(input->lift, code))
            continue;
        if (!event_give(input, &(struct virtio_input_event){ .type = EV_KEY, .code = (uint16_t)code }))
            return;
        bit_set(input->lift, code, false);
        bit_set(input->down, code, false);
        any = true;
    }
    if (any)
        event_give(input, &(struct virtio_input_event){ .type = EV_SYN });
}

/* All of it waits, or nothing but the releases of keys. */
static void group_keep(struct input *input)
{
    bool fits = input->kept_count + input->group_count <= KEPT_MOST;

    for (unsigned i = 0; i < input->group_count; i++) {
        const struct virtio_input_event *event = &input->group[i];
        bool is_key = event->type == EV_KEY && event->code < KEYS;
        if (fits)
            input->kept[input->kept_count++] = *event;
        if (is_key && fits)
            bit_set(input->down, event->code, event->value != 0);
        if (is_key)
            bit_set(input->lift, event->code, !fits && event->value == 0 && bit(input->down, event->code));
    }
    input->group_count = 0;
}

static void kept_give(struct input *input)
{
    unsigned given = 0;

    while (given < input->kept_count && event_give(input, &input->kept[given]))
        given++;
    input->kept_count -= given;
    memmove(input->kept, input->kept + given, input->kept_count * sizeof *input->kept);
    if (input->kept_count == 0)
        keys_lift(input);
    virtqueue_signal(&input->virtio, VIRTIO_INPUT_EVENTS);
}

void virtio_input_event(struct device *device, uint16_t type, uint16_t code, int32_t value)
{
    struct input *input = (struct input *)device;

    if (!has_event(input, type, code))
        return;
    if (input->group_count == GROUP_MOST)
        input->group_count--;           /* no sensible group is so long: the last one counts */
    input->group[input->group_count++] = (struct virtio_input_event){ .type = type, .code = code, .value = (uint32_t)value };
    if (type != EV_SYN)
        return;
    group_keep(input);
    if (virtio_running(&input->virtio))
        kept_give(input);
}

/* Lights of the keyboard: there are none. */
static void input_notify(struct virtio_device *device, unsigned queue)
{
    struct virtio_chain chain;

    if (queue == VIRTIO_INPUT_EVENTS) {
        kept_give(input_of(device));
        return;
    }
    for (int i = 0; i < QUEUE_SIZE && virtqueue_take(device, VIRTIO_INPUT_STATUS, &chain); i++)
        virtqueue_put(device, VIRTIO_INPUT_STATUS, &chain, 0);
    virtqueue_signal(device, VIRTIO_INPUT_STATUS);
}

static void input_stop(struct virtio_device *device)
{
    struct input *input = input_of(device);

    input->select = input->subselect = 0;
}

static void input_destroy(struct virtio_device *device)
{
    free(device);
}

static const struct virtio_model input_model = {
    .queues = VIRTIO_INPUT_QUEUES,
    .notify = input_notify,
    .stop = input_stop,
    .read_config = input_read_config,
    .write_config = input_write_config,
    .destroy = input_destroy,
};

struct device *virtio_input_create(const char *name, const struct device_services *services, unsigned kind)
{
    struct input *input = calloc(1, sizeof *input);

    if (input == NULL)
        return NULL;
    virtio_init(&input->virtio, name, VIRTIO_TYPE_INPUT, &input_model, services, 0, QUEUE_SIZE);
    input->kind = kind;
    keys_define(input);
    return &input->virtio.device;
}
