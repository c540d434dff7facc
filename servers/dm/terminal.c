/* Terminals: see terminal.h. Job control follows Linux's tty_jobctrl: dm says what is the case, pm what
 * follows for the process. */
#include "terminal.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <stdio.h>

#include "channel.h"
#include "pty.h"

static struct terminal console;

/* ---- what a terminal tells ---- */

void terminal_signal(struct terminal *terminal, int signal)
{
    if (terminal->foreground > 0)
        dm_event(terminal->client, &(struct tty_event){
            .kind = TTY_EVENT_SIGNAL, .signal = signal, .pgrp = terminal->foreground,
            .sid = terminal->session, .device = terminal->device });
}

static void line_signal(struct line *line, int signal)
{
    terminal_signal((struct terminal *)line, signal);
}

static void line_changed(struct line *line)
{
    (void)line;
    dm_changed();
}

static void line_attend(struct line *line)
{
    const struct terminal *terminal = (struct terminal *)line;

    dm_changed();
    if (terminal->pty != NULL)
        return;
    channel_feed_terminal();
    dm_host->attend(CHANNEL_TERMINAL);
}

static void line_packet(struct line *line, unsigned bits)
{
    struct pty *pty = ((struct terminal *)line)->pty;

    if (pty == NULL || !pty->packet)
        return;
    /* Of two that are opposite the newer one counts. */
    if (bits & (TIOCPKT_STOP | TIOCPKT_START))
        pty->packet_bits &= ~(TIOCPKT_STOP | TIOCPKT_START);
    if (bits & (TIOCPKT_NOSTOP | TIOCPKT_DOSTOP))
        pty->packet_bits &= ~(TIOCPKT_NOSTOP | TIOCPKT_DOSTOP);
    pty->packet_bits |= bits;
    dm_changed();
}

static const struct line_hooks terminal_hooks = {
    .signal = line_signal, .changed = line_changed, .attend = line_attend, .packet = line_packet,
};

void terminal_init(struct terminal *terminal, uint32_t device, struct pty *pty)
{
    memset(terminal, 0, sizeof *terminal);
    terminal->device = device;
    terminal->pty = pty;
    line_init(&terminal->line, &terminal_hooks);
}

/* ---- sessions ---- */

static void session_set(struct terminal *terminal, const struct dm_call *call)
{
    terminal->session = call->request->identity.sid;
    terminal->foreground = call->request->identity.pgrp;
    terminal->client = call->client;
}

static void session_clear(struct terminal *terminal, int leader_signal)
{
    if (terminal->session == 0)
        return;
    dm_event(terminal->client, &(struct tty_event){
        .kind = TTY_EVENT_HANGUP, .sid = terminal->session, .device = terminal->device,
        .signal = leader_signal });
    terminal->session = terminal->foreground = 0;
}

static bool controls(const struct terminal *terminal, const struct dm_call *call)
{
    return terminal->session != 0 && terminal->session == call->request->identity.sid
        && terminal->client == call->client;
}

void terminal_hangup(struct terminal *terminal)
{
    terminal_signal(terminal, SIGHUP);
    session_clear(terminal, SIGHUP);
    terminal->hangups++;
    terminal->exclusive = false;
    line_reset(&terminal->line);        /* whoever opens it next finds it usable */
    dm_changed();
}

/* Every terminal, the console first; NULL ends. */
static struct terminal *terminal_next(struct terminal *terminal)
{
    if (terminal == NULL)
        return &console;
    return (struct terminal *)pty_next(terminal->pty);
}

static struct terminal *terminal_of_session(unsigned client, int32_t sid)
{
    struct terminal *terminal = NULL;

    while (sid > 0 && (terminal = terminal_next(terminal)) != NULL)
        if (terminal->session == sid && terminal->client == client)
            return terminal;
    return NULL;
}

void terminal_session_end(unsigned client, int32_t sid)
{
    struct terminal *terminal = terminal_of_session(client, sid);

    if (terminal == NULL)
        return;
    if (terminal->pty == NULL) {
        terminal_hangup(terminal);
        return;
    }
    terminal_signal(terminal, SIGHUP);
    session_clear(terminal, 0);
}

void terminal_client_gone(unsigned client)
{
    for (struct terminal *terminal = NULL; (terminal = terminal_next(terminal)) != NULL;)
        if (terminal->client == client)
            terminal->session = terminal->foreground = 0;
}

/* ---- operations of open files ---- */

static struct terminal *terminal_of(struct dm_file *file)
{
    return file->object;
}

static bool is_dead(struct dm_file *file)
{
    return file->hangups != terminal_of(file)->hangups;
}

/* Ioctls that change a terminal, and so are not for the background. */
static bool changes_terminal(uint32_t command)
{
    switch (command) {
    case TCSETS: case TCSETSW: case TCSETSF: case TCSETA: case TCSETAW: case TCSETAF:
    case TCSETS2: case TCSETSW2: case TCSETSF2:
    case TIOCSPGRP: case TCFLSH: case TCSBRK: case TCSBRKP: case TCXONC: case TIOCSETD:
        return true;
    default:
        return false;
    }
}

/* -ESHUTDOWN: hung up. */
static int terminal_check(struct dm_file *file, struct dm_call *call)
{
    const struct tty_request *request = call->request;
    struct terminal *terminal = terminal_of(file);
    bool background = controls(terminal, call) && terminal->foreground != 0
                   && terminal->foreground != request->identity.pgrp
                   && !(request->flags & TTY_PERMITTED);

    if (is_dead(file))
        return -ESHUTDOWN;
    if (!background)
        return 0;
    if (request->operation == TTY_READ)
        return -TTY_BACKGROUND_READ;
    if (request->operation == TTY_WRITE)
        return terminal->line.settings.lflag & TOSTOP ? -TTY_BACKGROUND_WRITE : 0;
    return changes_terminal(request->command) ? -TTY_BACKGROUND_WRITE : 0;
}

static bool file_can_read(struct dm_file *file, const struct tty_request *request, uint64_t begun,
                          int64_t now, int64_t *ret_deadline)
{
    return is_dead(file) || line_can_read(&terminal_of(file)->line, request->length,
                                          (int64_t)begun, now, ret_deadline);
}

static int file_read(struct dm_file *file, struct dm_call *call)
{
    struct line *line = &terminal_of(file)->line;

    call->reply->length = (uint32_t)line_read(line, call->body, call->request->length);
    return 0;
}

static bool file_can_write(struct dm_file *file)
{
    return is_dead(file) || line_can_write(&terminal_of(file)->line);
}

static int file_write(struct dm_file *file, struct dm_call *call)
{
    struct terminal *terminal = terminal_of(file);

    if (terminal->pty != NULL && !terminal->pty->master_open)
        return -EIO;
    if (terminal->pty == NULL && channel(CHANNEL_TERMINAL)->output_error != 0)
        return -EIO;
    call->reply->length = (uint32_t)line_write(&terminal->line, call->body, call->body_size);
    return 0;
}

static bool terminal_drained(struct terminal *terminal)
{
    if (line_output_count(&terminal->line) > 0 && terminal->pty == NULL
        && channel(CHANNEL_TERMINAL)->output_error == 0)
        return false;
    if (terminal->pty != NULL)
        return line_output_count(&terminal->line) == 0 || !terminal->pty->master_open;
    return channel_drained(channel(CHANNEL_TERMINAL), CHANNEL_TERMINAL);
}

static bool file_drained(struct dm_file *file)
{
    return is_dead(file) || terminal_drained(terminal_of(file));
}

static int file_ioctl(struct dm_file *file, struct dm_call *call)
{
    return terminal_ioctl(terminal_of(file), false, call);
}

static unsigned file_poll(struct dm_file *file)
{
    const struct line *line = &terminal_of(file)->line;

    if (is_dead(file))
        return TTY_READABLE | TTY_WRITABLE | TTY_ERROR | TTY_HANGUP;
    return (line_readable(line) ? TTY_READABLE : 0) | (line_writable(line) ? TTY_WRITABLE : 0);
}

static void file_close(struct dm_file *file)
{
    struct terminal *terminal = terminal_of(file);

    if (--terminal->opens == 0)
        terminal->exclusive = false;
    if (terminal->pty != NULL)
        pty_slave_closed(terminal->pty);
}

static const struct dm_operations terminal_operations = {
    .read = file_read, .can_read = file_can_read, .write = file_write, .can_write = file_can_write,
    .ioctl = file_ioctl, .drained = file_drained, .poll = file_poll, .check = terminal_check,
    .close = file_close,
};

/* ---- opening ---- */

static int terminal_find(const struct dm_call *call, struct terminal **ret_terminal)
{
    uint32_t device = call->request->device;
    struct terminal *terminal = &console;

    if (device == TTY_CURRENT) {
        terminal = terminal_of_session(call->client, call->request->identity.sid);
    } else if (TTY_MAJOR(device) == TTY_MAJOR(TTY_PTS(0))) {
        struct pty *pty = pty_find(TTY_MINOR(device));
        terminal = pty == NULL ? NULL : &pty->slave;
        if (pty != NULL && (pty->locked || !pty->master_open))
            return -EIO;
    } else if (device != TTY_CONSOLE && device != TTY_HVC) {
        return -ENXIO;
    }
    if (terminal == NULL || (terminal == &console && !channel(CHANNEL_TERMINAL)->exists))
        return -ENXIO;
    *ret_terminal = terminal;
    return 0;
}

static bool takes_control(const struct terminal *terminal, const struct dm_call *call)
{
    const struct tty_request *request = call->request;

    return !(request->flags & TTY_NO_CONTROL) && request->device != TTY_CONSOLE
        && request->device != TTY_CURRENT && terminal->session == 0
        && request->identity.flags & TTY_SESSION_LEADER
        && !(request->identity.flags & TTY_HAS_TERMINAL);
}

int terminal_open(struct dm_file *file, struct dm_call *call)
{
    struct terminal *terminal;
    int status = terminal_find(call, &terminal);

    if (status != 0)
        return status;
    if (terminal->exclusive && !(call->request->identity.flags & TTY_PRIVILEGED))
        return -EBUSY;
    file->operations = &terminal_operations;
    file->object = terminal;
    file->hangups = terminal->hangups;
    file->device = terminal->device;
    terminal->opens++;
    if (terminal->pty != NULL)
        pty_slave_opened(terminal->pty);
    call->reply->flags = TTY_IS_TERMINAL;
    if (takes_control(terminal, call)) {
        session_set(terminal, call);
        call->reply->flags |= TTY_BECAME_CONTROLLING;
    }
    return 0;
}

/* ---- ioctls ---- */

/* struct termio of System V, as Linux still has it: 18 bytes. */
struct termio_settings {
    uint16_t iflag, oflag, cflag, lflag;
    uint8_t line;
    uint8_t cc[8];
    uint8_t unused;
};
_Static_assert(sizeof(struct termio_settings) == 18, "as the table of ioctls says");
_Static_assert(sizeof(struct line_settings) == 44, "as the table of ioctls says");

static void settings_to_termio(const struct line_settings *settings, struct termio_settings *old)
{
    *old = (struct termio_settings){
        .iflag = (uint16_t)settings->iflag, .oflag = (uint16_t)settings->oflag,
        .cflag = (uint16_t)settings->cflag, .lflag = (uint16_t)settings->lflag,
        .line = settings->line };
    memcpy(old->cc, settings->cc, sizeof old->cc);
}

/* The low halves of the flags, and the first control characters. */
static void settings_from_termio(struct line_settings *settings, const struct termio_settings *old)
{
    settings->iflag = (settings->iflag & 0xffff0000u) | old->iflag;
    settings->oflag = (settings->oflag & 0xffff0000u) | old->oflag;
    settings->cflag = (settings->cflag & 0xffff0000u) | old->cflag;
    settings->lflag = (settings->lflag & 0xffff0000u) | old->lflag;
    settings->line = old->line;
    memcpy(settings->cc, old->cc, sizeof old->cc);
}

static const uint32_t baud_rates[] = {
    0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400,
};
static const uint32_t high_baud_rates[] = {
    0, 57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000,
    2500000, 3000000, 3500000, 4000000,
};

/* The speeds follow the code in cflag, unless that is BOTHER. */
static void speeds_set(struct line_settings *settings)
{
    uint32_t code = settings->cflag & CBAUD;

    if (code == BOTHER)
        return;
    settings->output_speed = code & CBAUDEX ? high_baud_rates[code & 0xf]
                                            : baud_rates[code & 0xf];
    settings->input_speed = settings->output_speed;
}

/* A set command: what form its argument has, whether it waits for output, whether it drops input. */
static int settings_command(struct terminal *terminal, uint32_t command, const uint8_t *argument)
{
    struct line_settings settings = terminal->line.settings;
    bool waits = command != TCSETS && command != TCSETA && command != TCSETS2;
    bool drops = command == TCSETSF || command == TCSETAF || command == TCSETSF2;

    if (waits && !terminal_drained(terminal))
        return -EAGAIN;
    if (command == TCSETA || command == TCSETAW || command == TCSETAF) {
        struct termio_settings old;
        memcpy(&old, argument, sizeof old);
        settings_from_termio(&settings, &old);
    } else {
        bool full = command == TCSETS2 || command == TCSETSW2 || command == TCSETSF2;
        memcpy(&settings, argument, full ? 44 : 36);
    }
    speeds_set(&settings);
    if (drops)
        line_flush_input(&terminal->line);
    line_set(&terminal->line, &settings);
    return 0;
}

static int size_set(struct terminal *terminal, const uint8_t *argument)
{
    struct window_size size;

    memcpy(&size, argument, sizeof size);
    if (memcmp(&size, &terminal->size, sizeof size) == 0)
        return 0;
    terminal->size = size;
    terminal_signal(terminal, SIGWINCH);
    return 0;
}

static int flow_control(struct terminal *terminal, uint64_t action)
{
    struct line *line = &terminal->line;

    switch (action) {
    case TCOOFF: line_stop(line); return 0;
    case TCOON: line_start(line); return 0;
    case TCIOFF: line_put_byte(line, line->settings.cc[VSTOP]); return 0;
    case TCION: line_put_byte(line, line->settings.cc[VSTART]); return 0;
    default: return -EINVAL;
    }
}

/* `master`: its input is the slave's output. */
static int flush(struct terminal *terminal, bool master, uint64_t which)
{
    if (which != TCIFLUSH && which != TCOFLUSH && which != TCIOFLUSH)
        return -EINVAL;
    if (which == TCIOFLUSH || (which == TCIFLUSH) != master)
        line_flush_input(&terminal->line);
    if (which == TCIOFLUSH || (which == TCOFLUSH) != master)
        line_flush_output(&terminal->line);
    return 0;
}

static int control_take(struct terminal *terminal, const struct dm_call *call, uint64_t force)
{
    const struct tty_identity *who = &call->request->identity;

    if (who->flags & TTY_SESSION_LEADER && controls(terminal, call))
        return 0;
    if (!(who->flags & TTY_SESSION_LEADER) || who->flags & TTY_HAS_TERMINAL)
        return -EPERM;
    if (terminal->session != 0) {
        if (force != 1 || !(who->flags & TTY_PRIVILEGED))
            return -EPERM;
        session_clear(terminal, 0);
    }
    session_set(terminal, call);
    return 0;
}

static int control_give_up(struct terminal *terminal, const struct dm_call *call)
{
    if (!controls(terminal, call))
        return -ENOTTY;
    if (!(call->request->identity.flags & TTY_SESSION_LEADER))
        return 0;                           /* the process alone: pm's matter */
    terminal_signal(terminal, SIGHUP);
    terminal_signal(terminal, SIGCONT);
    session_clear(terminal, 0);
    return 0;
}

static int foreground_set(struct terminal *terminal, const struct dm_call *call)
{
    int32_t pgrp;

    memcpy(&pgrp, call->request->argument, sizeof pgrp);
    if (!controls(terminal, call))
        return -ENOTTY;
    if (pgrp <= 0)
        return -EINVAL;
    terminal->foreground = pgrp;
    dm_changed();
    return 0;
}

static void answer(struct dm_call *call, const void *bytes, size_t length)
{
    memcpy(call->reply->argument, bytes, length);
}

static int answer_number(struct dm_call *call, int32_t number)
{
    answer(call, &number, sizeof number);
    return 0;
}

/* TIOCGPGRP, TIOCGSID: for the members of the session, and for a pty's master. */
static int answer_group(struct terminal *terminal, bool master, struct dm_call *call, int32_t group)
{
    if (!master && !controls(terminal, call))
        return -ENOTTY;
    if (call->request->command == TIOCGSID && terminal->session == 0)
        return -ENOTTY;
    return answer_number(call, group);
}

static int simulate_input(struct terminal *terminal, const struct dm_call *call)
{
    if (!controls(terminal, call) && !(call->request->identity.flags & TTY_PRIVILEGED))
        return -EPERM;
    line_input(&terminal->line, call->request->argument, 1, call->now);
    return 0;
}

/* What concerns session and job control. 1: the command is none of these. */
static int control_ioctl(struct terminal *terminal, bool master, struct dm_call *call,
                         uint64_t value)
{
    switch (call->request->command) {
    case TIOCSCTTY: return master ? -EIO : control_take(terminal, call, value);
    case TIOCNOTTY: return master ? -ENOTTY : control_give_up(terminal, call);
    case TIOCGPGRP: return answer_group(terminal, master, call, terminal->foreground);
    case TIOCGSID: return answer_group(terminal, master, call, terminal->session);
    case TIOCSPGRP: return foreground_set(terminal, call);
    case TIOCSTI: return simulate_input(terminal, call);
    case TIOCEXCL: terminal->exclusive = true; return 0;
    case TIOCNXCL: terminal->exclusive = false; return 0;
    case TIOCGEXCL: return answer_number(call, terminal->exclusive);
    case TIOCVHANGUP:
        if (!(call->request->identity.flags & TTY_PRIVILEGED))
            return -EPERM;
        terminal_hangup(terminal);
        return 0;
    default: return 1;
    }
}

static int settings_get(struct terminal *terminal, struct dm_call *call)
{
    struct termio_settings old;

    if (call->request->command == TCGETA) {
        settings_to_termio(&terminal->line.settings, &old);
        answer(call, &old, sizeof old);
    } else {
        answer(call, &terminal->line.settings, call->request->command == TCGETS2 ? 44 : 36);
    }
    return 0;
}

static int discipline_set(const struct dm_call *call)
{
    int32_t number;

    memcpy(&number, call->request->argument, sizeof number);
    return number == 0 ? 0 : -EINVAL;       /* N_TTY is all there is */
}

int terminal_ioctl(struct terminal *terminal, bool master, struct dm_call *call)
{
    const uint8_t *argument = call->request->argument;
    struct line *line = &terminal->line;
    uint64_t value;

    memcpy(&value, argument, sizeof value);
    int status = control_ioctl(terminal, master, call, value);
    if (status != 1)
        return status;
    switch (call->request->command) {
    case TCGETS: case TCGETA: case TCGETS2:
        return settings_get(terminal, call);
    case TCSETS: case TCSETSW: case TCSETSF: case TCSETA: case TCSETAW: case TCSETAF:
    case TCSETS2: case TCSETSW2: case TCSETSF2:
        return settings_command(terminal, call->request->command, argument);
    case TCSBRK: case TCSBRKP:
        return terminal_drained(terminal) ? 0 : -EAGAIN;    /* there is no line to break */
    case TCXONC: return flow_control(terminal, value);
    case TCFLSH: return flush(terminal, master, value);
    case TIOCOUTQ:
        return answer_number(call, master ? 0 : (int32_t)line_output_count(line));
    case FIONREAD:
        return answer_number(call, (int32_t)(master ? line_takeable(line)
                                                    : line_input_count(line)));
    case TIOCGWINSZ: answer(call, &terminal->size, sizeof terminal->size); return 0;
    case TIOCSWINSZ: return size_set(terminal, argument);
    case TIOCGETD: return answer_number(call, 0);
    case TIOCSETD: return discipline_set(call);
    case TIOCGDEV: return answer_number(call, (int32_t)(TTY_MAJOR(terminal->device) << 8
                                                        | (TTY_MINOR(terminal->device) & 0xff)));
    default: return -ENOTTY;
    }
}

/* ---- the console ---- */

void terminal_start(void)
{
    terminal_init(&console, TTY_HVC, NULL);
    console.size = (struct window_size){ .rows = 25, .columns = 80 };
}

void terminal_end(void)
{
    channels_start();
}

struct line *terminal_console_line(void)
{
    return &console.line;
}

void terminal_console_resize(uint16_t columns, uint16_t rows)
{
    struct window_size size = { .rows = rows, .columns = columns };

    size_set(&console, (const uint8_t *)&size);
    dm_changed();
}

void terminal_console_hangup(void)
{
    terminal_hangup(&console);
}

bool terminal_node(unsigned index, struct tty_node *node)
{
    static const struct { const char *name; uint32_t device, mode; } nodes[] = {
        { "tty", TTY_CURRENT, 0666 }, { "console", TTY_CONSOLE, 0600 }, { "ptmx", TTY_PTMX, 0666 },
        { "hvc0", TTY_HVC, 0620 },
    };
    unsigned count = channel(CHANNEL_TERMINAL)->exists ? 4 : 3;

    if (index >= count)
        return false;
    *node = (struct tty_node){ .device = nodes[index].device, .mode = nodes[index].mode,
                               .gid = index == 3 || index == 0 ? 5 : 0 };
    snprintf(node->name, sizeof node->name, "%s", nodes[index].name);
    return true;
}
