/* boot_actors.c: a site with the given actors and nothing else: the real machine and the real Nucleus, no devices, no Unix.
 *
 *     boot-actors [--cpus N] [--equal] PLACE FILE[,ARGUMENT] [PLACE FILE[,ARGUMENT]]...      PLACE: user, system or supervisor
 *
 * The last actor has a better priority than the others, but with --equal.
 * The log goes to standard output. The site ends when the last actor given has ended, or after a minute. Exit status: 0 if that actor
 * ended by itself; 1 otherwise. Whether it was content is for the reader of the log (see on-site).
 */
#include <chorus.h>
#include <hostarch.h>
#include <host/event.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "nucleus.h"
#include "actor.h"

#define PATIENCE 60000000000ll

static struct actor *last;
static int status = 1;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "boot-actors: %s: %s\n", what, why);
    exit(2);
}

static void on_gone(const struct actor *actor, int reason, const char *words)
{
    if (reason != K_OK)
        host_log(0, "%s ended: %d %s", actor->name, reason, words == NULL ? "" : words);
    if (actor != last)
        return;
    status = reason == K_OK ? 0 : 1;
    nucleus_shutdown(status, 0);
}

static void on_lost(void)
{
    die("machine", "the zygote is gone");
}

static int privilege_of(const char *place)
{
    if (strcmp(place, "supervisor") == 0)
        return K_SUPACTOR;
    if (strcmp(place, "system") == 0)
        return K_SYSTEMACTOR;
    if (strcmp(place, "user") == 0)
        return K_USERACTOR;
    die(place, "no such place for an actor");
    return 0;
}

static struct actor *start(const char *place, char *file, int priority)
{
    struct stat stat;
    char *argument = strchr(file, ',');
    if (argument != NULL)
        *argument++ = 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0)
        die(file, strerror(errno));
    const void *image = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (image == MAP_FAILED)
        die(file, strerror(errno));
    close(fd);
    const char *name = strrchr(file, '/') == NULL ? file : strrchr(file, '/') + 1;
    const char *argv[] = { name, argument, NULL };
    struct loader_program program = { .name = name,
                                      .image = image,
                                      .image_size = (size_t)stat.st_size,
                                      .argv = argv,
                                      .privilege = privilege_of(place),
                                      .priority = priority };
    struct actor *actor;
    char why[160] = "";
    if (loader_start(&program, &actor, why, sizeof why) != K_OK)
        die(file, why);
    return actor;
}

int main(int argc, char **argv)
{
    struct hostarch_options machine = { .memory = 256 << 20, .processes = 16, .log_fd = 1, .log_level = 1, .seed = 0, .lost = on_lost };
    struct nucleus_options options = { 0 };
    bool equal = false;
    int first = 1;
    for (; first < argc && strncmp(argv[first], "--", 2) == 0; first++) {
        if (strcmp(argv[first], "--equal") == 0)
            equal = true;
        else if (strcmp(argv[first], "--cpus") == 0 && first + 1 < argc)
            machine.cpus = atoi(argv[++first]);
        else
            die(argv[first], "no such option");
    }
    if (argc - first < 2 || (argc - first) % 2 != 0)
        die("usage", "boot-actors [--cpus N] [--equal] PLACE FILE[,ARGUMENT]...");
    if (hostarch_start(&machine) != 0)
        return 2;
    nucleus_init(&options);
    nucleus_hooks.actor_gone = on_gone;
    for (int i = first; i < argc; i += 2)
        last = start(argv[i], argv[i + 1], equal || i + 2 == argc ? K_PRIO_SERVER : K_PRIO_USER);
    int64_t end = host_time() + PATIENCE;
    while (!nucleus_shutting_down(NULL, NULL) && host_time() < end)
        nucleus_step(end);
    if (!nucleus_shutting_down(NULL, NULL))
        host_log(0, "boot-actors: the actors did not end in time");
    hostarch_stop();
    return status;
}
