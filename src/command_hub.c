/* `chorus hub`: an Ethernet for sites and capture tools, in a process of its own. `chorus run --net hub:SOCKET` starts it by itself, in the background. */

#include "commands.h"
#include "hub.h"
#include "options.h"
#include "site.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

struct hub_command {
    struct hub_options options;
    bool background;
    const char *operand[1];
};

static volatile int stop;

static bool set_thousandth(void *field, const char *value, char *problem, size_t size)
{
    unsigned long number;
    if (!options_parse_number(value, 0, 1000, &number))
        return option_refuse(problem, size, "must be a number from 0 to 1000");
    *(unsigned *)field = (unsigned)number;
    return true;
}

static bool set_patience(void *field, const char *value, char *problem, size_t size)
{
    return options_parse_number(value, 0, 1000000, field) || option_refuse(problem, size, "must be a number of milliseconds");
}

static bool set_seed(void *field, const char *value, char *problem, size_t size)
{
    return options_parse_number(value, 1, ULONG_MAX, field) || option_refuse(problem, size, "must be a number from 1 on");
}

#define FIELD(field) offsetof(struct hub_command, field)

static const struct option_entry entries[] = {
    { "background", NULL, "Return when it listens, and serve in the background.", option_set_flag, FIELD(background) },
    { "last", NULL, "End when the last station goes, or none comes for 10 seconds. Otherwise it goes\n"
      "on until a signal ends it.", option_set_flag,
      FIELD(options.ends_with_last) },
    { "patience", "MS", "So long a station that takes nothing holds the others up, before it misses frames;\n1000 unless said otherwise.",
      set_patience, FIELD(options.patience) },
    { "lose", "N", "To try what programs bear: of a thousand frames N are lost, ...", set_thousandth, FIELD(options.lose) },
    { "double", "N", "... or are given twice, ...", set_thousandth, FIELD(options.twice) },
    { "reorder", "N", "... or are given after the one that follows.", set_thousandth, FIELD(options.late) },
    { "seed", "N", "With the number that a bad hub has said, the dice fall as they did then.", set_seed, FIELD(options.seed) },
    { 0 },
};

static const struct option_table table = {
    .command = "chorus hub",
    .usage = "[OPTION...] SOCKET",
    .summary = "An Ethernet on a Unix socket: what one station sends, all others get.",
    .notes = "Stations are sites, by 'chorus run --net hub:SOCKET', and programs that send and receive frames as\n"
             "qemu does on a stream socket: 4 bytes of length, big endian, and the frame.",
    .entries = entries,
    .operands = (const char *const[]){ "SOCKET", NULL },
    .operands_offset = FIELD(operand),
};

static void on_signal(int number)
{
    stop = number;
}

static void signals_take(void)
{
    struct sigaction action = { .sa_handler = on_signal };  /* no SA_RESTART: it interrupts the wait */
    sigset_t none;

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Who started us waits for the end of our standard error. In a group of its own: ^C in the terminal is for others. */
static bool go_into_background(void)
{
    pid_t child = fork();
    if (child != 0) {
        if (child > 0)
            _exit(0);
        return false;
    }
    setpgid(0, 0);
    int nothing = open("/dev/null", O_RDWR);
    return nothing >= 0 && dup2(nothing, 0) == 0 && dup2(nothing, 1) == 1 && dup2(nothing, 2) == 2 &&
           (nothing <= 2 || close(nothing) == 0) && chdir("/") == 0;
}

/* With chdir("/") a relative name would be another one. */
static char *absolute(const char *path)
{
    static char whole[4096];
    if (*path == '/' || getcwd(whole, sizeof whole) == NULL)
        return (char *)path;
    size_t length = strlen(whole);
    snprintf(whole + length, sizeof whole - length, "/%s", path);
    return whole;
}

static int fail(const char *path, int error)
{
    fprintf(stderr, "chorus hub: %s: %s\n", path, error == EADDRINUSE ? "a hub is there already" : strerror(error));
    return 1;
}

int command_hub(char **argv)
{
    struct hub_command command = { .options.patience = 1000 };
    char **rest;
    switch (options_parse(&table, &command, argv, &rest)) {
    case OPTIONS_HELPED:
        return 0;
    case OPTIONS_MISUSED:
        return SITE_MISUSED;
    case OPTIONS_GO_ON:
        break;
    }
    char *path = absolute(command.operand[0]);
    struct hub_options *options = &command.options;
    if (options->seed == 0)
        options->seed = (unsigned long)time(NULL) * 1000003 + (unsigned long)getpid();
    if (options->lose + options->twice + options->late > 0)
        fprintf(stderr, "chorus hub: a bad wire: --seed %lu\n", options->seed);
    signals_take();
    int listener = hub_listen(path);
    if (listener < 0)
        return fail(path, -listener);
    prctl(PR_SET_NAME, "chorus-hub");
    if (command.background && !go_into_background())
        return fail(path, errno);
    int status;
    do {
        status = hub_serve(listener, &command.options, &stop);
    } while (!hub_leave(path, listener, stop != 0 || status != 0));
    return status == 0 ? 0 : fail(path, -status);
}
