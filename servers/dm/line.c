/* The line discipline: see line.h.
 *
 * A typed byte goes through byte_input: flow control, signals, translation of line ends, editing, and then
 * into the input. Echoes go through the same output processing as what programs write.
 */
#include "line.h"

#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <ctype.h>
#include <signal.h>
#include <string.h>

#define CELL_BYTE   0x00ffu
#define CELL_END    0x0100u     /* a line ends with this cell */
#define CELL_EOF    0x0200u     /* ... and the cell itself is ^D, which no read gives out */

#define TENTH_OF_A_SECOND INT64_C(100000000)

static bool i_flag(const struct line *line, uint32_t flag)
{
    return line->settings.iflag & flag;
}

static bool o_flag(const struct line *line, uint32_t flag)
{
    return line->settings.oflag & flag;
}

static bool l_flag(const struct line *line, uint32_t flag)
{
    return line->settings.lflag & flag;
}

/* Is `byte` the control character `which`? 0 disables one. */
static bool is_cc(const struct line *line, uint8_t byte, int which)
{
    return byte != 0 && line->settings.cc[which] == byte;
}

static bool is_control(uint8_t byte)
{
    return byte < 0x20 || byte == 0x7f;
}

/* A further byte of a UTF-8 character. */
static bool is_continuation(const struct line *line, uint8_t byte)
{
    return i_flag(line, IUTF8) && (byte & 0xc0) == 0x80;
}

static const struct line_settings default_settings = {
    .iflag = ICRNL | IXON | IUTF8,
    .oflag = OPOST | ONLCR,
    .cflag = B38400 | CS8 | CREAD | HUPCL,
    .lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
    .cc = { [VINTR] = 3, [VQUIT] = 28, [VERASE] = 127, [VKILL] = 21, [VEOF] = 4, [VMIN] = 1,
            [VSTART] = 17, [VSTOP] = 19, [VSUSP] = 26, [VREPRINT] = 18, [VDISCARD] = 15,
            [VWERASE] = 23, [VLNEXT] = 22 },
    .input_speed = 38400, .output_speed = 38400,
};

void line_init(struct line *line, const struct line_hooks *hooks)
{
    memset(line, 0, sizeof *line);
    line->hooks = hooks;
    line->settings = default_settings;
}

void line_reset(struct line *line)
{
    line_flush_input(line);
    line_set(line, &default_settings);
    line_start(line);
}

static void packet(struct line *line, unsigned bits)
{
    if (line->hooks->packet != NULL)
        line->hooks->packet(line, bits);
}

/* ---- output ---- */

static void output_append(struct line *line, uint8_t byte)
{
    uint32_t at = (line->output_start + line->output_length++) % sizeof line->output;

    line->output[at] = byte;
}

/* How much more may be put out. Echoes may use the reserve too. */
static size_t output_room(const struct line *line, bool echo)
{
    size_t limit = echo ? sizeof line->output : LINE_OUTPUT_SIZE;

    return line->output_length < limit ? limit - line->output_length : 0;
}

static bool expands_tabs(const struct line *line)
{
    return (line->settings.oflag & TABDLY) == XTABS;
}

static bool output_newline(struct line *line, size_t room)
{
    if (o_flag(line, ONLCR)) {
        if (room < 2)
            return false;
        output_append(line, '\r');
        line->column = 0;
    }
    if (o_flag(line, ONLRET))
        line->column = 0;
    line->line_column = line->column;
    output_append(line, '\n');
    return true;
}

static bool output_return(struct line *line)
{
    if (o_flag(line, ONOCR) && line->column == 0)
        return true;
    if (!o_flag(line, OCRNL) || o_flag(line, ONLRET))
        line->line_column = line->column = 0;
    output_append(line, o_flag(line, OCRNL) ? '\n' : '\r');
    return true;
}

static bool output_tab(struct line *line, size_t room)
{
    unsigned spaces = 8 - line->column % 8;

    if (!expands_tabs(line)) {
        output_append(line, '\t');
    } else {
        if (room < spaces)
            return false;
        for (unsigned i = 0; i < spaces; i++)
            output_append(line, ' ');
    }
    line->column += spaces;
    return true;
}

static bool output_other(struct line *line, uint8_t byte)
{
    if (byte == '\b') {
        line->column -= line->column > 0;
    } else if (!is_control(byte)) {
        if (o_flag(line, OLCUC))
            byte = (uint8_t)toupper(byte);
        line->column += !is_continuation(line, byte);
    }
    output_append(line, byte);
    return true;
}

/* Put out one byte, processed as the settings say. False: there is not enough room, and
 * nothing happened. */
static bool output_byte(struct line *line, uint8_t byte, bool echo)
{
    size_t room = output_room(line, echo);

    if (room == 0)
        return false;
    if (!o_flag(line, OPOST)) {
        output_append(line, byte);
        return true;
    }
    switch (byte) {
    case '\n': return output_newline(line, room);
    case '\r': return output_return(line);
    case '\t': return output_tab(line, room);
    default: return output_other(line, byte);
    }
}

size_t line_write(struct line *line, const uint8_t *bytes, size_t length)
{
    size_t done = 0;

    while (done < length && output_byte(line, bytes[done], false))
        done++;
    if (done < length)
        line->told_full = true;
    if (done > 0 && !line->stopped)
        line->hooks->attend(line);
    return done;
}

bool line_can_write(const struct line *line)
{
    return output_room(line, false) >= 8;       /* whatever the byte, it fits */
}

bool line_writable(const struct line *line)
{
    return output_room(line, false) >= LINE_WRITABLE_ROOM;
}

size_t line_output_count(const struct line *line)
{
    return line->output_length;
}

size_t line_takeable(const struct line *line)
{
    return line->stopped ? 0 : line->output_length;
}

/* Somebody may wait for room, or for the output to have gone. */
static void output_shrunk(struct line *line)
{
    if (line->output_length != 0 && !(line->told_full && line_writable(line)))
        return;
    line->told_full = false;
    line->hooks->changed(line);
}

size_t line_take(struct line *line, uint8_t *bytes, size_t length)
{
    size_t done = 0;

    while (done < length && line_takeable(line) > 0) {
        size_t run = sizeof line->output - line->output_start;
        if (run > line->output_length)
            run = line->output_length;
        if (run > length - done)
            run = length - done;
        memcpy(bytes + done, line->output + line->output_start, run);
        line->output_start = (line->output_start + run) % sizeof line->output;
        line->output_length -= (uint32_t)run;
        done += run;
    }
    if (done > 0)
        output_shrunk(line);
    return done;
}

void line_flush_output(struct line *line)
{
    line->output_length = 0;
    packet(line, TIOCPKT_FLUSHWRITE);
    output_shrunk(line);
}

void line_stop(struct line *line)
{
    if (line->stopped)
        return;
    line->stopped = true;
    packet(line, TIOCPKT_STOP);
}

void line_start(struct line *line)
{
    if (!line->stopped)
        return;
    line->stopped = false;
    packet(line, TIOCPKT_START);
    line->hooks->attend(line);
}

void line_put_byte(struct line *line, uint8_t byte)
{
    if (byte == 0 || output_room(line, true) == 0)
        return;
    output_append(line, byte);
    line->hooks->attend(line);
}

/* ---- echo ---- */

static void echo_raw(struct line *line, uint8_t byte)
{
    output_byte(line, byte, true);              /* without room an echo is lost */
}

static void echo_text(struct line *line, const char *text)
{
    while (*text != '\0')
        echo_raw(line, (uint8_t)*text++);
}

static void echo_byte(struct line *line, uint8_t byte)
{
    if (!l_flag(line, ECHOCTL) || !is_control(byte) || byte == '\t') {
        echo_raw(line, byte);
    } else if (output_room(line, true) >= 2) {
        output_append(line, '^');
        output_append(line, byte ^ 0x40);
        line->column += 2;
    }
}

static void finish_erasing(struct line *line)
{
    if (line->erasing)
        echo_raw(line, '/');
    line->erasing = false;
}

/* Echo an ordinary byte of the line that is being edited. */
static void echo_edited(struct line *line, uint8_t byte)
{
    if (line->end == line->complete)
        line->line_column = line->column;
    echo_byte(line, byte);
}

/* ---- input cells ---- */

static uint16_t *cell(struct line *line, uint32_t position)
{
    return &line->input[position % LINE_INPUT_SIZE];
}

static uint8_t byte_at(const struct line *line, uint32_t position)
{
    return line->input[position % LINE_INPUT_SIZE] & CELL_BYTE;
}

size_t line_input_count(const struct line *line)
{
    size_t count = 0;

    for (uint32_t at = line->start; at != line->complete; at++)
        count += !(line->input[at % LINE_INPUT_SIZE] & CELL_EOF);
    return count;
}

static void input_append(struct line *line, uint16_t value)
{
    uint32_t count = line->end - line->start;

    /* A line that is too long loses its further bytes; the last place is for its end. */
    if (count >= LINE_INPUT_SIZE - 1 && !(value & CELL_END && count < LINE_INPUT_SIZE))
        return;
    *cell(line, line->end++) = value;
    if (!l_flag(line, ICANON) || value & CELL_END) {
        line->complete = line->end;
        line->hooks->changed(line);
    }
}

void line_flush_input(struct line *line)
{
    line->start = line->complete = line->end;
    line->literal = line->erasing = false;
    packet(line, TIOCPKT_FLUSHREAD);
    line->hooks->attend(line);
}

/* ---- erasing ---- */

enum erase { ERASE_CHARACTER, ERASE_WORD, ERASE_LINE };

/* How many columns a tab at the end of the edited line went over. */
static unsigned tab_width(const struct line *line)
{
    unsigned columns = 0;
    uint32_t at = line->end;

    while (at != line->complete) {
        uint8_t byte = byte_at(line, --at);
        if (byte == '\t')
            return 8 - columns % 8;
        if (is_control(byte))
            columns += l_flag(line, ECHOCTL) ? 2 : 0;
        else
            columns += !is_continuation(line, byte);
    }
    return 8 - (columns + line->line_column) % 8;
}

/* Show that the character at [line->end, +count) is gone. */
static void erase_echo(struct line *line, enum erase what, uint32_t count)
{
    uint8_t byte = byte_at(line, line->end);

    if (l_flag(line, ECHOPRT)) {
        if (!line->erasing)
            echo_raw(line, '\\');
        line->erasing = true;
        echo_byte(line, byte);
        for (uint32_t i = 1; i < count; i++)
            echo_raw(line, byte_at(line, line->end + i));
    } else if (what == ERASE_CHARACTER && !l_flag(line, ECHOE)) {
        echo_byte(line, line->settings.cc[VERASE]);
    } else if (byte == '\t') {
        for (unsigned width = tab_width(line); width > 0; width--)
            echo_raw(line, '\b');
    } else if (!is_control(byte)) {
        echo_text(line, "\b \b");
    } else if (l_flag(line, ECHOCTL)) {
        echo_text(line, "\b \b\b \b");
    }
}

/* Erase the last character of the edited line, all its bytes; false: there is no whole one, or
 * it is not part of the word that is being erased. */
static bool erase_one(struct line *line, enum erase what, bool *seen_word)
{
    uint32_t at = line->end;

    while (at != line->complete && is_continuation(line, byte_at(line, at - 1)))
        at--;
    if (at == line->complete)
        return false;
    uint8_t byte = byte_at(line, --at);
    bool of_word = isalnum(byte) || byte == '_' || byte >= 0x80;
    if (what == ERASE_WORD && !of_word && *seen_word)
        return false;
    *seen_word |= of_word;
    uint32_t count = line->end - at;
    line->end = at;
    if (l_flag(line, ECHO))
        erase_echo(line, what, count);
    return true;
}

static void erase(struct line *line, enum erase what)
{
    bool visible = l_flag(line, ECHOK) && l_flag(line, ECHOKE) && l_flag(line, ECHOE);
    bool seen_word = false;

    if (line->end == line->complete)
        return;
    if (what == ERASE_LINE && (!l_flag(line, ECHO) || !visible)) {
        line->end = line->complete;
        if (!l_flag(line, ECHO))
            return;
        finish_erasing(line);
        echo_byte(line, line->settings.cc[VKILL]);
        if (l_flag(line, ECHOK))
            echo_raw(line, '\n');
        return;
    }
    while (line->end != line->complete && erase_one(line, what, &seen_word))
        if (what == ERASE_CHARACTER)
            break;
    if (line->end == line->complete && l_flag(line, ECHO))
        finish_erasing(line);
}

/* ---- a byte from the keys ---- */

static void reprint(struct line *line)
{
    finish_erasing(line);
    echo_byte(line, line->settings.cc[VREPRINT]);
    echo_raw(line, '\n');
    for (uint32_t at = line->complete; at != line->end; at++)
        echo_byte(line, byte_at(line, at));
}

static void signal_input(struct line *line, uint8_t byte, int signal)
{
    if (!l_flag(line, NOFLSH)) {
        line_flush_output(line);
        line_flush_input(line);
    }
    if (i_flag(line, IXON))
        line_start(line);
    if (l_flag(line, ECHO))
        echo_byte(line, byte);
    line->hooks->signal(line, signal);
}

/* Flow control and signals. True: the byte was one of them. */
static bool control_input(struct line *line, uint8_t byte)
{
    if (i_flag(line, IXON) && is_cc(line, byte, VSTART))
        line_start(line);
    else if (i_flag(line, IXON) && is_cc(line, byte, VSTOP))
        line_stop(line);
    else if (l_flag(line, ISIG) && is_cc(line, byte, VINTR))
        signal_input(line, byte, SIGINT);
    else if (l_flag(line, ISIG) && is_cc(line, byte, VQUIT))
        signal_input(line, byte, SIGQUIT);
    else if (l_flag(line, ISIG) && is_cc(line, byte, VSUSP))
        signal_input(line, byte, SIGTSTP);
    else
        return false;
    return true;
}

/* Editing keys of canonical mode. True: the byte was one. */
static bool edit_input(struct line *line, uint8_t byte)
{
    bool extended = l_flag(line, IEXTEN);

    if (is_cc(line, byte, VERASE)) {
        erase(line, ERASE_CHARACTER);
    } else if (is_cc(line, byte, VKILL)) {
        erase(line, ERASE_LINE);
    } else if (extended && is_cc(line, byte, VWERASE)) {
        erase(line, ERASE_WORD);
    } else if (extended && is_cc(line, byte, VREPRINT) && l_flag(line, ECHO)) {
        reprint(line);
    } else if (extended && is_cc(line, byte, VLNEXT)) {
        line->literal = true;
        if (l_flag(line, ECHO) && l_flag(line, ECHOCTL)) {
            finish_erasing(line);
            echo_text(line, "^\b");
        }
    } else {
        return false;
    }
    return true;
}

static void byte_put(struct line *line, uint8_t byte, uint16_t marks)
{
    if (i_flag(line, PARMRK) && byte == 0xff)
        input_append(line, byte);
    input_append(line, byte | marks);
}

/* The end of a line in canonical mode. True: the byte is one. */
static bool end_input(struct line *line, uint8_t byte)
{
    if (byte == '\n') {
        if (l_flag(line, ECHO) || l_flag(line, ECHONL)) {
            finish_erasing(line);
            echo_raw(line, '\n');
        }
        input_append(line, byte | CELL_END);
    } else if (is_cc(line, byte, VEOF)) {
        input_append(line, CELL_END | CELL_EOF);
    } else if (is_cc(line, byte, VEOL) || (l_flag(line, IEXTEN) && is_cc(line, byte, VEOL2))) {
        if (l_flag(line, ECHO))
            echo_edited(line, byte);
        byte_put(line, byte, CELL_END);
    } else {
        return false;
    }
    return true;
}

static void byte_keep(struct line *line, uint8_t byte)
{
    if (l_flag(line, ECHO)) {
        finish_erasing(line);
        if (byte == '\n')
            echo_raw(line, byte);
        else
            echo_edited(line, byte);
    }
    byte_put(line, byte, 0);
}

static void byte_input(struct line *line, uint8_t byte)
{
    if (i_flag(line, ISTRIP))
        byte &= 0x7f;
    if (i_flag(line, IUCLC) && l_flag(line, IEXTEN))
        byte = (uint8_t)tolower(byte);
    if (l_flag(line, EXTPROC)) {
        input_append(line, byte);
        return;
    }
    if (line->literal) {
        line->literal = false;
        byte_keep(line, byte);
        return;
    }
    if (control_input(line, byte))
        return;
    if (line->stopped && i_flag(line, IXON) && i_flag(line, IXANY))
        line_start(line);
    if (byte == '\r') {
        if (i_flag(line, IGNCR))
            return;
        if (i_flag(line, ICRNL))
            byte = '\n';
    } else if (byte == '\n' && i_flag(line, INLCR)) {
        byte = '\r';
    }
    if (l_flag(line, ICANON) && (edit_input(line, byte) || end_input(line, byte)))
        return;
    byte_keep(line, byte);
}

/* A line that is being edited always takes bytes (too many are lost, but its end is not); what is complete
 * waits for its reader. */
static bool input_has_room(const struct line *line)
{
    if (l_flag(line, ICANON) && line->start == line->complete)
        return true;
    return line->end - line->start < LINE_INPUT_SIZE - 2;
}

size_t line_input(struct line *line, const uint8_t *bytes, size_t length, int64_t now)
{
    size_t done = 0;
    uint32_t output_before = line->output_length;

    while (done < length && input_has_room(line))
        byte_input(line, bytes[done++]);
    if (done > 0)
        line->last_input = now;
    if (done < length && i_flag(line, IXOFF) && !line->input_stopped) {
        line->input_stopped = true;
        line_put_byte(line, line->settings.cc[VSTOP]);
    }
    if (line->output_length != output_before && !line->stopped)
        line->hooks->attend(line);
    return done;
}

/* ---- reading ---- */

bool line_can_read(const struct line *line, size_t length, int64_t begun, int64_t now,
                   int64_t *ret_deadline)
{
    uint32_t there = line->complete - line->start;
    size_t least = line->settings.cc[VMIN] < length ? line->settings.cc[VMIN] : length;
    int64_t time = line->settings.cc[VTIME] * TENTH_OF_A_SECOND, since = begun;

    *ret_deadline = INT64_MAX;
    if (length == 0)
        return true;
    if (l_flag(line, ICANON))
        return there > 0;
    if (there >= least && (there > 0 || time == 0))
        return true;                            /* also: VMIN 0, VTIME 0 gives 0 bytes at once */
    if (time == 0 || (least > 0 && there == 0))
        return false;
    if (least > 0 && line->last_input > begun)
        since = line->last_input;               /* VTIME runs between bytes */
    *ret_deadline = since + time;
    return now >= *ret_deadline;
}

static size_t read_line(struct line *line, uint8_t *bytes, size_t length)
{
    size_t done = 0;

    while (line->start != line->complete) {
        uint16_t value = *cell(line, line->start);
        if (done == length && !(value & CELL_EOF))
            break;                              /* a ^D behind the last byte goes with it */
        line->start++;
        if (!(value & CELL_EOF))
            bytes[done++] = value & CELL_BYTE;
        if (value & CELL_END)
            break;
    }
    return done;
}

static size_t read_raw(struct line *line, uint8_t *bytes, size_t length)
{
    size_t done = 0;

    while (done < length && line->start != line->complete)
        bytes[done++] = *cell(line, line->start++) & CELL_BYTE;
    return done;
}

size_t line_read(struct line *line, uint8_t *bytes, size_t length)
{
    size_t done = length == 0 ? 0 : l_flag(line, ICANON) ? read_line(line, bytes, length)
                                                         : read_raw(line, bytes, length);

    if (line->input_stopped && input_has_room(line)) {
        line->input_stopped = false;
        line_put_byte(line, line->settings.cc[VSTART]);
    }
    line->hooks->attend(line);
    return done;
}

bool line_readable(const struct line *line)
{
    uint32_t there = line->complete - line->start, least = 1;

    if (!l_flag(line, ICANON) && line->settings.cc[VTIME] == 0 && line->settings.cc[VMIN] > 0)
        least = line->settings.cc[VMIN];
    return there >= least;
}

/* ---- settings ---- */

static void packet_flow(struct line *line, const struct line_settings *old)
{
    const struct line_settings *new = &line->settings;
    bool was = old->iflag & IXON && old->cc[VSTOP] == 19 && old->cc[VSTART] == 17;
    bool is = new->iflag & IXON && new->cc[VSTOP] == 19 && new->cc[VSTART] == 17;

    if (was != is)
        packet(line, is ? TIOCPKT_DOSTOP : TIOCPKT_NOSTOP);
}

/* Bytes that are there when canonical mode comes on are a line; when it goes, all can be read. */
static void mode_change(struct line *line)
{
    if (l_flag(line, ICANON) && line->end != line->start)
        *cell(line, line->end - 1) |= CELL_END;
    line->complete = line->end;
    line->literal = line->erasing = false;
}

void line_set(struct line *line, const struct line_settings *settings)
{
    struct line_settings old = line->settings;

    line->settings = *settings;
    if ((old.lflag ^ settings->lflag) & ICANON)
        mode_change(line);
    if (!i_flag(line, IXON) && old.iflag & IXON)
        line_start(line);
    packet_flow(line, &old);
    line->hooks->changed(line);                 /* what VMIN was too much for may do now */
    line->hooks->attend(line);
}
