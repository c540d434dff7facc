/* Pseudo-terminals: see pty.h.
 *
 * What the master writes is typed at the slave's line, and what the line puts out is what the master reads.
 */
#include "pty.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pty *ptys[PTYS_MAX];

struct pty *pty_find(unsigned number)
{
    return number < PTYS_MAX ? ptys[number] : NULL;
}

struct pty *pty_next(struct pty *pty)
{
    for (unsigned number = pty == NULL ? 0 : pty->number + 1; number < PTYS_MAX; number++)
        if (ptys[number] != NULL)
            return ptys[number];
    return NULL;
}

static void pty_release(struct pty *pty)
{
    if (pty->master_open || pty->slave.opens > 0)
        return;
    ptys[pty->number] = NULL;
    free(pty);
}

void pty_end(void)
{
    for (unsigned number = 0; number < PTYS_MAX; number++) {
        free(ptys[number]);
        ptys[number] = NULL;
    }
}

void pty_slave_opened(struct pty *pty)
{
    pty->slave_was_open = true;
    dm_changed();
}

void pty_slave_closed(struct pty *pty)
{
    dm_changed();
    pty_release(pty);
}

/* ---- the master ---- */

static struct pty *pty_of(struct dm_file *file)
{
    return file->object;
}

static bool slave_is_gone(const struct pty *pty)
{
    return pty->slave_was_open && pty->slave.opens == 0;
}

static bool master_can_read(struct dm_file *file, const struct tty_request *request, uint64_t begun,
                            int64_t now, int64_t *ret_deadline)
{
    const struct pty *pty = pty_of(file);

    (void)begun, (void)now, (void)ret_deadline;
    return request->length == 0 || line_takeable(&pty->slave.line) > 0 || slave_is_gone(pty)
        || (pty->packet && pty->packet_bits != 0);
}

/* In packet mode a read gives either one byte of status, or a 0 and then data. */
static int master_read(struct dm_file *file, struct dm_call *call)
{
    struct pty *pty = pty_of(file);
    size_t length = call->request->length, before = 0;

    if (length == 0)
        return 0;
    if (pty->packet && pty->packet_bits != 0) {
        call->body[0] = (uint8_t)pty->packet_bits;
        pty->packet_bits = 0;
        call->reply->length = 1;
        return 0;
    }
    if (line_takeable(&pty->slave.line) == 0)
        return slave_is_gone(pty) ? -EIO : -EAGAIN;
    if (pty->packet)
        call->body[before++] = TIOCPKT_DATA;
    call->reply->length = (uint32_t)(before + line_take(&pty->slave.line, call->body + before,
                                                        length - before));
    return 0;
}

static bool input_has_room(const struct pty *pty)
{
    const struct line *line = &pty->slave.line;

    return line->end - line->start < LINE_INPUT_SIZE - 2 || line->start == line->complete;
}

static bool master_can_write(struct dm_file *file)
{
    return slave_is_gone(pty_of(file)) || input_has_room(pty_of(file));
}

static int master_write(struct dm_file *file, struct dm_call *call)
{
    struct pty *pty = pty_of(file);

    if (slave_is_gone(pty))
        return -EIO;
    call->reply->length = (uint32_t)line_input(&pty->slave.line, call->body, call->body_size,
                                               call->now);
    return call->reply->length == 0 && call->body_size != 0 ? -EAGAIN : 0;
}

static int number_set(const struct dm_call *call, bool *flag)
{
    int32_t number;

    memcpy(&number, call->request->argument, sizeof number);
    *flag = number != 0;
    return 0;
}

static int answer_number(struct dm_call *call, int32_t number)
{
    memcpy(call->reply->argument, &number, sizeof number);
    return 0;
}

static int signal_send(struct pty *pty, const struct dm_call *call)
{
    uint64_t signal;

    memcpy(&signal, call->request->argument, sizeof signal);
    if (signal != SIGINT && signal != SIGQUIT && signal != SIGTSTP)
        return -EINVAL;
    terminal_signal(&pty->slave, (int)signal);
    return 0;
}

static int master_ioctl(struct dm_file *file, struct dm_call *call)
{
    struct pty *pty = pty_of(file);

    switch (call->request->command) {
    case TIOCGPTN: return answer_number(call, (int32_t)pty->number);
    case TIOCSPTLCK: return number_set(call, &pty->locked);
    case TIOCGPTLCK: return answer_number(call, pty->locked);
    case TIOCPKT: pty->packet_bits = 0; return number_set(call, &pty->packet);
    case TIOCGPKT: return answer_number(call, pty->packet);
    case TIOCSIG: return signal_send(pty, call);
    default: return terminal_ioctl(&pty->slave, true, call);
    }
}

static unsigned master_poll(struct dm_file *file)
{
    const struct pty *pty = pty_of(file);
    bool status = pty->packet && pty->packet_bits != 0, gone = slave_is_gone(pty);

    return (line_takeable(&pty->slave.line) > 0 || status || gone ? TTY_READABLE : 0)
         | (status ? TTY_PRIORITY : 0) | (gone ? TTY_HANGUP : 0)
         | (input_has_room(pty) ? TTY_WRITABLE : 0);
}

static void master_close(struct dm_file *file)
{
    struct pty *pty = pty_of(file);

    pty->master_open = false;
    terminal_hangup(&pty->slave);
    line_flush_output(&pty->slave.line);        /* nobody is left to see it */
    pty_release(pty);
}

static const struct dm_operations master_operations = {
    .read = master_read, .can_read = master_can_read, .write = master_write,
    .can_write = master_can_write, .ioctl = master_ioctl, .poll = master_poll,
    .close = master_close,
};

int pty_master_open(struct dm_file *file, struct dm_call *call)
{
    unsigned number = 0;

    while (number < PTYS_MAX && ptys[number] != NULL)
        number++;
    if (number == PTYS_MAX)
        return -ENOSPC;
    struct pty *pty = calloc(1, sizeof *pty);
    if (pty == NULL)
        return -ENOMEM;
    terminal_init(&pty->slave, TTY_PTS(number), pty);
    pty->number = number;
    pty->uid = call->request->identity.uid;
    pty->gid = call->request->identity.gid;
    pty->locked = pty->master_open = true;
    ptys[number] = pty;
    file->operations = &master_operations;
    file->object = pty;
    file->device = TTY_PTMX;
    call->reply->flags = TTY_IS_TERMINAL;
    memcpy(call->reply->argument, &number, sizeof number);
    return 0;
}

bool pty_node(unsigned index, struct tty_node *node)
{
    struct pty *pty = NULL;

    while ((pty = pty_next(pty)) != NULL)
        if (pty->master_open && index-- == 0)
            break;
    if (pty == NULL)
        return false;
    /* Group 5 is tty in Debian, and may write to it. */
    *node = (struct tty_node){ .device = TTY_PTS(pty->number), .mode = 0620, .uid = pty->uid,
                               .gid = 5 };
    snprintf(node->name, sizeof node->name, "pts/%u", pty->number);
    return true;
}
