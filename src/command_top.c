/* `chorus top`: the actors of a running site, live.
 *
 * On a terminal it uses the other screen and leaves by ^C or q; elsewhere it prints one table
 * after the other, so that `chorus top --count 2 | tail` is of use in scripts. */

#include "commands.h"
#include "control_client.h"
#include "options.h"
#include "site.h"
#include "snapshot.h"
#include "snapshot_table.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

struct top {
    const char *name;
    unsigned long count; /* 0: without end */
    unsigned long delay; /* seconds */
    bool on_screen;
};

static bool set_count(void *field, const char *value, char *problem, size_t size)
{
    return options_parse_number(value, 1, 1000000000, field) ||
           option_refuse(problem, size, "not a number of tables");
}

static const struct option_entry entries[] = {
    OPTION_SITE(offsetof(struct top, name)),
    OPTION_SITE_NAME(offsetof(struct top, name)),
    { "count", "N", "Leave after N tables.",
      set_count, offsetof(struct top, count) },
    { "delay", "SECONDS", "Time between two tables; 1 unless said otherwise.",
      option_set_seconds, offsetof(struct top, delay) },
    { 0 },
};

static const struct option_table table = {
    .command = "chorus top",
    .usage = "[OPTION...]",
    .summary = "Show the actors of a running site live: CPU use, messages and faults per second.",
    .notes = "Leave by q or Ctrl-C.",
    .entries = entries,
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* The screen. What was there comes back when it is closed. */

static void print_all(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static void screen_open(struct termios *ret_saved, bool *ret_is_saved)
{
    *ret_is_saved = tcgetattr(STDIN_FILENO, ret_saved) == 0;
    if (*ret_is_saved) {
        struct termios quiet = *ret_saved;
        quiet.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
    }
    print_all("\033[?1049h\033[?25l");
}

static void screen_close(const struct termios *saved, bool is_saved)
{
    print_all("\033[?25h\033[?1049l");
    if (is_saved)
        tcsetattr(STDIN_FILENO, TCSADRAIN, saved);
}

static struct winsize screen_size(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 4 || size.ws_col < 1)
        size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
    return size;
}

/* Each line is cleared as it is written, and what is below at the end: nothing flickers. */
static void draw(const struct site_snapshot *now, const struct site_snapshot *earlier)
{
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    if (memory == NULL)
        return;
    struct winsize size = screen_size();
    snapshot_table_print(now, earlier, false, size.ws_row, memory);
    if (fclose(memory) == 0) {
        print_all("\033[H");
        for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
            printf("%s%.*s\033[K", line == text ? "" : "\r\n", size.ws_col, line);
        print_all("\033[J");
    }
    free(text);
}

/* True when the user wants to leave. */
static bool wait_or_leave(const struct top *top)
{
    struct pollfd keys = { .fd = top->on_screen ? STDIN_FILENO : -1, .events = POLLIN };
    char key;
    if (poll(&keys, 1, (int)top->delay * 1000) > 0 && (keys.revents & (POLLIN | POLLHUP)))
        return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q';
    return false;
}

static int watch(const struct top *top, struct control_client *client)
{
    struct site_snapshot *earlier = NULL;
    bool gone = false;
    for (unsigned long shown = 0; !interrupted && (top->count == 0 || shown < top->count);
         shown++) {
        if (shown > 0 && wait_or_leave(top))
            break;
        struct site_snapshot *now = interrupted ? NULL : control_client_snapshot(client);
        gone = now == NULL && !interrupted;
        if (now == NULL)
            break;
        if (top->on_screen)
            draw(now, earlier);
        else
            snapshot_table_print(now, earlier, false, 0, stdout);
        if (!top->on_screen && fflush(stdout) != 0)
            interrupted = 1;
        snapshot_free(earlier);
        earlier = now;
    }
    snapshot_free(earlier);
    return gone ? 1 : 0;
}

int command_top(char **argv)
{
    struct top top = { .delay = 1, .on_screen = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) };
    char **rest;
    enum options_verdict verdict = options_parse(&table, &top, argv, &rest);
    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    struct control_client client;
    if (control_client_open(&client, table.command, top.name) != 0)
        return 1;

    /* No SA_RESTART: a signal ends the wait. */
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    struct termios saved;
    bool is_saved = false;
    if (top.on_screen)
        screen_open(&saved, &is_saved);
    int gone = watch(&top, &client);
    if (top.on_screen)
        screen_close(&saved, is_saved);
    control_client_close(&client);
    if (gone)
        fprintf(stderr, "chorus top: the site has ended\n");
    return gone;
}
