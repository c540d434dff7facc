/* Channels: see channel.h. The terminal's bytes go straight to and from its line discipline; what the line has no room
 * for waits here. */
#include "channel.h"

#include <stdlib.h>
#include <string.h>

#include "dm.h"
#include "terminal.h"

static struct channel channels[CHANNELS];

struct channel *channel(unsigned number)
{
    return &channels[number];
}

void channels_start(void)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        free(channels[i].input);
        free(channels[i].output);
    }
    memset(channels, 0, sizeof channels);
}

bool channel_open(unsigned number)
{
    struct channel *open = &channels[number];

    if (open->exists)
        return true;
    open->input = malloc(CHANNEL_SIZE);
    open->output = malloc(CHANNEL_SIZE);
    open->exists = open->input != NULL && open->output != NULL;
    dm_changed();
    return open->exists;
}

/* ---- input ---- */

bool channel_wants_input(unsigned number)
{
    const struct channel *from = &channels[number];
    bool wanted = number == CHANNEL_TERMINAL || from->input_wanted;

    return from->exists && !from->input_ended && from->input_length == 0 && wanted;
}

/* Hand to the line what it takes. The line may ask for attention while it takes: once is enough. */
static void terminal_feed(struct channel *from)
{
    static bool feeding;

    if (feeding || from->input_length == 0)
        return;
    feeding = true;
    size_t taken = line_input(terminal_console_line(), from->input + from->input_start,
                              from->input_length, dm_host->now());
    feeding = false;
    from->input_start += (uint32_t)taken;
    from->input_length -= (uint32_t)taken;
}

void channel_give(unsigned number, const uint8_t *bytes, size_t length)
{
    struct channel *to = &channels[number];

    if (length > CHANNEL_SIZE || to->input_length != 0)
        return;                         /* against the contract: not asked for */
    memcpy(to->input, bytes, length);
    to->input_start = 0;
    to->input_length = (uint32_t)length;
    to->input_wanted = false;
    if (number == CHANNEL_TERMINAL)
        terminal_feed(to);
    dm_changed();
}

void channel_end_input(unsigned number)
{
    channels[number].input_ended = true;
    if (number == CHANNEL_TERMINAL)
        terminal_console_hangup();
    dm_changed();
}

size_t channel_read(struct channel *from, uint8_t *bytes, size_t length)
{
    if (length > from->input_length)
        length = from->input_length;
    memcpy(bytes, from->input + from->input_start, length);
    from->input_start += (uint32_t)length;
    from->input_length -= (uint32_t)length;
    return length;
}

/* ---- output ---- */

size_t channel_room(const struct channel *to)
{
    return CHANNEL_SIZE - to->output_length;
}

size_t channel_write(struct channel *to, const uint8_t *bytes, size_t length)
{
    if (length > channel_room(to))
        length = channel_room(to);
    for (size_t done = 0; done < length;) {
        uint32_t end = (to->output_start + to->output_length) % CHANNEL_SIZE;
        size_t run = CHANNEL_SIZE - end < length - done ? CHANNEL_SIZE - end : length - done;
        memcpy(to->output + end, bytes + done, run);
        to->output_length += (uint32_t)run;
        done += run;
    }
    dm_host->attend((unsigned)(to - channels));
    return length;
}

size_t channel_takeable(unsigned number)
{
    if (!channels[number].exists)
        return 0;
    return number == CHANNEL_TERMINAL ? line_takeable(terminal_console_line())
                                      : channels[number].output_length;
}

static size_t ring_take(struct channel *from, uint8_t *bytes, size_t length)
{
    size_t done = 0;

    while (done < length && from->output_length > 0) {
        size_t run = CHANNEL_SIZE - from->output_start;
        if (run > from->output_length)
            run = from->output_length;
        if (run > length - done)
            run = length - done;
        memcpy(bytes + done, from->output + from->output_start, run);
        from->output_start = (uint32_t)(from->output_start + run) % CHANNEL_SIZE;
        from->output_length -= (uint32_t)run;
        done += run;
    }
    return done;
}

size_t channel_take(unsigned number, uint8_t *bytes, size_t length)
{
    struct channel *from = &channels[number];
    size_t taken = !from->exists ? 0
                 : number == CHANNEL_TERMINAL ? line_take(terminal_console_line(), bytes, length)
                                              : ring_take(from, bytes, length);

    if (taken > 0) {
        from->unflushed = true;         /* until the driver says otherwise */
        dm_changed();
    }
    return taken;
}

void channel_fail_output(unsigned number, int error)
{
    struct channel *to = &channels[number];

    to->output_error = error;
    to->output_length = 0;
    to->unflushed = false;
    if (number == CHANNEL_TERMINAL)
        line_flush_output(terminal_console_line());
    dm_changed();
}

/* ---- draining ---- */

bool channel_drained(struct channel *of, unsigned number)
{
    if (of->output_error != 0 || (channel_takeable(number) == 0 && !of->unflushed))
        return true;
    of->drain_wanted = true;
    dm_host->attend(number);
    return false;
}

bool channel_wants_drain(unsigned number)
{
    return channels[number].drain_wanted && channels[number].unflushed
        && channel_takeable(number) == 0;
}

void channel_flushed(unsigned number)
{
    channels[number].unflushed = channels[number].drain_wanted = false;
    dm_changed();
}

void channel_resize(uint16_t columns, uint16_t rows)
{
    terminal_console_resize(columns, rows);
}

/* The line has room again. */
void channel_feed_terminal(void)
{
    terminal_feed(&channels[CHANNEL_TERMINAL]);
}
