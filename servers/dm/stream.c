/* The command's standard streams: plain bytes, through a channel to what `chorus run` was given.
 *
 * Input is fetched from the host only when somebody reads, so what the command leaves unread stays for the
 * next one. Output is accepted before the host has it, and says so (TTY_UNCONFIRMED): an error of the host is the answer to
 * TTY_DRAIN and to every later write.
 */
#include <errno.h>
#include <stdio.h>

#include "channel.h"
#include "dm.h"

static struct channel *channel_of(struct dm_file *file)
{
    return file->object;
}

static unsigned number_of(struct dm_file *file)
{
    return CHANNEL_STDIN + TTY_MINOR(file->device);
}

/* Something to read, or the end; else ask for it. */
static bool input_is_there(struct dm_file *file)
{
    struct channel *from = channel_of(file);

    if (from->input_length > 0 || from->input_ended)
        return true;
    if (!from->input_wanted) {
        from->input_wanted = true;
        dm_host->attend(number_of(file));
    }
    return false;
}

static bool input_can_read(struct dm_file *file, const struct tty_request *request, uint64_t begun,
                           int64_t now, int64_t *ret_deadline)
{
    (void)begun, (void)now, (void)ret_deadline;
    return request->length == 0 || input_is_there(file);
}

static int input_read(struct dm_file *file, struct dm_call *call)
{
    call->reply->length = (uint32_t)channel_read(channel_of(file), call->body,
                                                 call->request->length);
    return 0;
}

static unsigned input_poll(struct dm_file *file)
{
    return input_is_there(file) ? TTY_READABLE : 0;
}

static bool output_can_write(struct dm_file *file)
{
    const struct channel *to = channel_of(file);

    return to->output_error != 0 || channel_room(to) > 0;
}

static int output_write(struct dm_file *file, struct dm_call *call)
{
    struct channel *to = channel_of(file);

    if (to->output_error != 0)
        return -to->output_error;
    call->reply->length = (uint32_t)channel_write(to, call->body, call->body_size);
    call->reply->flags = TTY_UNCONFIRMED;
    return 0;
}

static bool output_drained(struct dm_file *file)
{
    return channel_drained(channel_of(file), number_of(file));
}

static int output_failure(struct dm_file *file)
{
    return channel_of(file)->output_error;
}

static unsigned output_poll(struct dm_file *file)
{
    const struct channel *to = channel_of(file);

    return (output_can_write(file) ? TTY_WRITABLE : 0) | (to->output_error != 0 ? TTY_ERROR : 0);
}

static const struct dm_operations input_operations = {
    .read = input_read, .can_read = input_can_read, .poll = input_poll,
};

static const struct dm_operations output_operations = {
    .write = output_write, .can_write = output_can_write, .drained = output_drained,
    .failure = output_failure, .poll = output_poll,
};

int stream_open(struct dm_file *file, struct dm_call *call)
{
    unsigned number = CHANNEL_STDIN + TTY_MINOR(call->request->device);

    if (number >= CHANNELS || !channel(number)->exists)
        return -ENXIO;
    file->operations = number == CHANNEL_STDIN ? &input_operations : &output_operations;
    file->object = channel(number);
    return 0;
}

bool stream_node(unsigned index, struct tty_node *node)
{
    static const char *const names[] = { "host/stdin", "host/stdout", "host/stderr" };

    for (unsigned minor = 0; minor < 3; minor++) {
        if (!channel(CHANNEL_STDIN + minor)->exists || index-- != 0)
            continue;
        *node = (struct tty_node){ .device = TTY_STDIN + minor, .mode = 0600 };
        snprintf(node->name, sizeof node->name, "%s", names[minor]);
        return true;
    }
    return false;
}
