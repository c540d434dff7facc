/* The line discipline: what is between the keys and a program that reads, as POSIX's terminal
 * interface and Linux's n_tty have it.
 *
 *     keys --line_input--> [edit, echo, signals] --> input --line_read--> program
 *     screen <--line_take-- output <-- [ONLCR, tabs] <--line_write-- program
 *
 * Pure data: no calls, no clock of its own, no waiting. What happens is told by hooks; who waits asks
 * line_can_read and the like again after line_changed. Not thread safe.
 */
#ifndef DM_LINE_H
#define DM_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_INPUT_SIZE     4096        /* as Linux: a line has at most 4095 bytes and its end */
#define LINE_OUTPUT_SIZE    32768
#define LINE_ECHO_RESERVE   4096        /* room in the output that only echoes use */
#define LINE_WRITABLE_ROOM  256         /* poll says writable from this much room on */

/* Linux's struct termios2: struct termios is its first 36 bytes. */
struct line_settings {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line;
    uint8_t cc[19];
    uint32_t input_speed, output_speed;
};

struct line;

struct line_hooks {
    /* ^C and the like: SIGINT, SIGQUIT or SIGTSTP for the foreground group. */
    void (*signal)(struct line *line, int signal);
    /* Something that a waiting reader, writer or poll may want to know has changed. */
    void (*changed)(struct line *line);
    /* There is output to take, or there is room for input again. */
    void (*attend)(struct line *line);
    /* For packet mode of ptys, the bits TIOCPKT_*; NULL: not interested. */
    void (*packet)(struct line *line, unsigned bits);
};

struct line {
    struct line_settings settings;
    const struct line_hooks *hooks;
    /* Input. A cell is a byte and marks; [start, complete) is there to be read, [complete, end) is the
     * line that is being edited. Positions count on for ever. */
    uint16_t input[LINE_INPUT_SIZE];
    uint32_t start, complete, end;
    int64_t last_input;                 /* when the last byte came, for VTIME */
    bool literal;                       /* ^V: the next byte is taken as it is */
    bool erasing;                       /* ECHOPRT: within \.../ */
    bool input_stopped;                 /* IXOFF: we sent STOP */
    /* Output: a ring. */
    uint8_t output[LINE_OUTPUT_SIZE + LINE_ECHO_RESERVE];
    uint32_t output_start, output_length;
    bool stopped;                       /* by ^S or TCOOFF */
    unsigned column, line_column;       /* where the cursor is; where the edited line began */
    bool told_full;                     /* a writer was refused: tell it when there is room */
};

/* The settings of a new terminal on Linux: canonical, echoing, 38400 baud, UTF-8. */
void line_init(struct line *line, const struct line_hooks *hooks);
/* The same settings again, no input, not stopped; output stays. */
void line_reset(struct line *line);

/* ---- the side of the keys and the screen ---- */

/* Bytes typed at time `now` (ns). Returns how many were taken; the rest must be offered again after `attend`. */
size_t line_input(struct line *line, const uint8_t *bytes, size_t length, int64_t now);

/* Take output, at most `length` bytes; 0 while there is none or it is stopped. */
size_t line_take(struct line *line, uint8_t *bytes, size_t length);
/* How many bytes line_take has to give now. */
size_t line_takeable(const struct line *line);

/* ---- the side of the programs ---- */

/* Would a read of `length` bytes, begun at `begun`, give something (a byte, an end of file, 0 bytes by VTIME)?
 * If not, and time alone can change that, *ret_deadline is when; else INT64_MAX. */
bool line_can_read(const struct line *line, size_t length, int64_t begun, int64_t now,
                   int64_t *ret_deadline);
/* Take input. Only when line_can_read, or to take what is there (raw mode; 0 bytes when nothing is). */
size_t line_read(struct line *line, uint8_t *bytes, size_t length);
bool line_readable(const struct line *line);            /* as poll sees it */
size_t line_input_count(const struct line *line);       /* FIONREAD */

/* Put out. Returns how many bytes were accepted, 0 when there is no room. */
size_t line_write(struct line *line, const uint8_t *bytes, size_t length);
bool line_can_write(const struct line *line);
bool line_writable(const struct line *line);            /* as poll sees it */
size_t line_output_count(const struct line *line);      /* TIOCOUTQ: not yet taken */

void line_set(struct line *line, const struct line_settings *settings);
void line_flush_input(struct line *line);
void line_flush_output(struct line *line);
void line_stop(struct line *line);                      /* TCOOFF */
void line_start(struct line *line);                     /* TCOON */
void line_put_byte(struct line *line, uint8_t byte);    /* send START or STOP: TCIOFF, TCION */

#endif
