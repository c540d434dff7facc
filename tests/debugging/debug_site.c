/* debug_site.c: a site with the given actors, no devices and no Unix, with what the program has for debugging: backtraces, cores, the trace.
 *
 *     debug-site [--trace FILE] [--log FILE] [--cpus N] PLACE FILE[,ARGUMENT] [PLACE FILE[,ARGUMENT]]...      PLACE: user, system or supervisor
 *
 * It ends with status 0 when the last actor given has ended, however; with 1 after half a minute. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <host/event.h>
#include <hostarch.h>
#include <nucleus/nucleus.h>

#include "site_core.h"
#include "site_load.h"
#include "site_trace.h"

#define PATIENCE 30000000000ll

static struct actor *last;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "debug-site: %s: %s\n", what, why);
    exit(2);
}

static void on_gone(const struct actor *actor, int reason, const char *words)
{
    (void)reason, (void)words;
    if (actor == last)
        nucleus_shutdown(0, 0);
}

static void on_lost(void)
{
    die("machine", "the zygote is gone");
}

static int privilege_of(const char *place)
{
    static const struct {
        const char *name;
        int privilege;
    } places[] = { { "user", K_USERACTOR }, { "system", K_SYSTEMACTOR }, { "supervisor", K_SUPACTOR } };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strcmp(place, places[i].name) == 0)
            return places[i].privilege;
    die(place, "no such place for an actor");
    return 0;
}

static void start(const char *place, char *file)
{
    char why[200] = "";
    char *argument = strchr(file, ',');
    if (argument != NULL)
        *argument++ = '\0';
    const char *name = strrchr(file, '/') == NULL ? file : strrchr(file, '/') + 1;
    const char *argv[] = { name, argument, NULL };
    struct loader_program program = { .name = name, .argv = argv, .privilege = privilege_of(place), .priority = K_PRIO_USER };
    if (site_load(file, &program, &last, why, sizeof why) != K_OK)
        die(file, why);
}

int main(int argc, char **argv)
{
    struct hostarch_options machine = { .memory = 128 << 20, .processes = 16, .log_fd = STDERR_FILENO, .log_level = 2, .lost = on_lost };
    struct nucleus_options options = { 0 };
    const char *trace = NULL, *log = NULL;
    int first = 1;
    for (; first + 1 < argc && strncmp(argv[first], "--", 2) == 0; first += 2) {
        if (strcmp(argv[first], "--trace") == 0)
            trace = argv[first + 1];
        else if (strcmp(argv[first], "--log") == 0)
            log = argv[first + 1];
        else if (strcmp(argv[first], "--cpus") == 0)
            machine.cpus = atoi(argv[first + 1]);
        else
            die(argv[first], "no such option");
    }
    if (argc - first < 2 || (argc - first) % 2 != 0)
        die("usage", "debug-site [OPTION VALUE]... PLACE FILE[,ARGUMENT]...");
    if (log != NULL && (machine.log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
        die(log, strerror(errno));
    if (hostarch_start(&machine) != 0)
        return 2;
    nucleus_init(&options);
    nucleus_hooks.actor_gone = on_gone;
    site_core_start(log);
    if (trace != NULL && !site_trace_start(trace, (unsigned)host_cpu_count()))
        die(trace, strerror(errno));
    for (int i = first; i < argc; i += 2)
        start(argv[i], argv[i + 1]);
    int64_t end = host_time() + PATIENCE;
    while (!nucleus_shutting_down(NULL, NULL) && host_time() < end)
        nucleus_step(end);
    bool ended = nucleus_shutting_down(NULL, NULL);
    nucleus_fini();
    hostarch_stop();
    site_trace_stop();
    return ended ? 0 : 1;
}
