/* bare_site.c: a site of the given actors and nothing else, for benchmarks and hostile actors: no devices, no Unix.
 *
 *   bare-site [--cpus N] [--memory MB] "[@]FILE [ARGUMENT...]"...
 *
 * Each actor is a system actor, with @ a supervisor actor, at the priority of programs. The site ends when one calls sysShutdown, with that status; the log goes to standard output, and at
 * last a line tells what was left over.
 */
#include <chorus.h>
#include <errno.h>
#include <fcntl.h>
#include <hostarch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <host/event.h>
#include <nucleus/nucleus.h>
#include <nucleus/vm.h>

enum { WORDS_MOST = 15 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bare-site: %s: %s\n", what, why);
    exit(2);
}

static void lost(void) { nucleus_shutdown(3, 0); }

static void start(char *line)
{
    const char *argv[WORDS_MOST + 1] = {NULL};
    int count = 0;
    bool supervisor = line[0] == '@';
    line += supervisor;
    for (char *word = strtok(line, " "); word != NULL && count < WORDS_MOST; word = strtok(NULL, " "))
        argv[count++] = word;
    struct stat stat;
    int fd = count > 0 ? open(argv[0], O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || fstat(fd, &stat) != 0)
        die(line, strerror(errno));
    void *image = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (image == MAP_FAILED)
        die(line, strerror(errno));
    const char *slash = strrchr(argv[0], '/');
    struct loader_program program = {.name = slash ? slash + 1 : argv[0], .image = image, .image_size = (size_t)stat.st_size, .argv = argv,
                                     .privilege = supervisor ? K_SUPACTOR : K_SYSTEMACTOR, .priority = K_PRIO_USER};
    struct actor *actor;
    char why[160] = "";
    if (loader_start(&program, &actor, why, sizeof why) != K_OK)
        die(argv[0], why);
    munmap(image, (size_t)stat.st_size);
    close(fd);
}

int main(int argc, char **argv)
{
    struct hostarch_options machine = {.memory = 256u << 20, .processes = 64, .log_fd = STDOUT_FILENO, .log_level = 1, .lost = lost};
    struct nucleus_options options = {0};
    int first = 1;
    for (; first + 1 < argc && strncmp(argv[first], "--", 2) == 0; first += 2) {
        if (strcmp(argv[first], "--cpus") == 0)
            machine.cpus = atoi(argv[first + 1]);
        else if (strcmp(argv[first], "--memory") == 0)
            machine.memory = strtoull(argv[first + 1], NULL, 10) << 20;
        else
            die(argv[first], "no such option");
    }
    if (first >= argc)
        die("usage", "bare-site [--cpus N] [--memory MB] \"FILE [ARGUMENT...]\"...");
    if (hostarch_start(&machine) != 0)
        return 2;
    nucleus_init(&options);
    for (int i = first; i < argc; i++)
        start(argv[i]);
    int status = nucleus_run();
    nucleus_fini();
    struct nucleus_counts counts;
    uint64_t frames, free_frames, cached;
    nucleus_count(&counts);
    vm_counts(&frames, &free_frames, &cached);
    hostarch_stop();
    printf("left over: %lu frames, %zu threads, %zu ports, %zu calls\n", (unsigned long)(frames - free_frames), counts.threads, counts.ports, counts.calls);
    return status;
}
