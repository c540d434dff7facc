/* Channels: what lies between the devices and the console driver. Channel n is port n of the console
 * device: the terminal, standard input, output and error.
 *
 * The actor (main.c) moves the bytes, in a thread that may wait for the driver:
 *   - it fetches input from the driver when channel_wants_input, and hands it in by channel_give;
 *   - it takes output by channel_take, and passes it on until the driver has accepted all of it;
 *   - when channel_wants_drain it asks the driver whether everything has reached the host.
 * The device behind a channel gives it functions for its side.
 */
#ifndef DM_CHANNEL_H
#define DM_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHANNEL_TERMINAL, CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNELS };

#define CHANNEL_SIZE 65536              /* bytes that a channel holds, either way */

struct channel {
    bool exists;
    bool input_ended;                   /* no more will come */
    int output_error;                   /* the host takes no more, and why */
    bool input_wanted;                  /* somebody reads */
    bool unflushed, drain_wanted;       /* the driver has bytes that the host may not have */
    uint8_t *input;                     /* came, and not yet consumed */
    uint32_t input_start, input_length;
    uint8_t *output;                    /* a ring; not for the terminal, whose line has it */
    uint32_t output_start, output_length;
};

struct channel *channel(unsigned number);

void channels_start(void);

/* ---- the actor's side ---- */

/* The device exists from now on. False: no memory. */
bool channel_open(unsigned number);
bool channel_wants_input(unsigned number);
/* At most CHANNEL_SIZE bytes, only when channel_wants_input. */
void channel_give(unsigned number, const uint8_t *bytes, size_t length);
void channel_end_input(unsigned number);
size_t channel_takeable(unsigned number);
size_t channel_take(unsigned number, uint8_t *bytes, size_t length);
void channel_fail_output(unsigned number, int error);
bool channel_wants_drain(unsigned number);
/* Everything has reached the host. */
void channel_flushed(unsigned number);
/* The person's terminal has another size. */
void channel_resize(uint16_t columns, uint16_t rows);

/* ---- the devices' side ---- */

size_t channel_read(struct channel *channel, uint8_t *bytes, size_t length);
size_t channel_write(struct channel *channel, const uint8_t *bytes, size_t length);
size_t channel_room(const struct channel *channel);
/* The line of the terminal may have room again. */
void channel_feed_terminal(void);
/* Everything has reached the host? If not, ask for it. */
bool channel_drained(struct channel *channel, unsigned number);

#endif
