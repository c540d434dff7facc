/* What an actor that faults unhandled leaves behind. */

#include "site_core.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <host/event.h>
#include <host/space.h>
#include <nucleus/nucleus.h>
#include <nucleus/actor.h>

#include "backtrace.h"
#include "core_file.h"
#include "site_load.h"

/* While a core is written the site stands still, and a server that dies again and again must not
 * fill the disk. */
enum { CORES_MOST = 8, NAMES_MOST = 100 };
#define CORE_SIZE_MOST (UINT64_C(256) << 20)
#define CORE_TIME_MOST INT64_C(1000000000)

static struct {
    char *folder;
    unsigned cores;
} site_core;

static void print(const char *line)
{
    host_log(0, "  %s", line);
}

static int signal_of(int trap_kind)
{
    switch (trap_kind) {
    case K_TRAP_ILLEGAL:
        return SIGILL;
    case K_TRAP_ARITHMETIC:
        return SIGFPE;
    case K_TRAP_BREAKPOINT:
    case K_TRAP_STEP:
        return SIGTRAP;
    case K_TRAP_ALIGNMENT:
        return SIGBUS;
    default:
        return SIGSEGV;
    }
}

/* An actor chooses its name; it must not choose the folder. */
static void name_for_file(const struct actor *actor, char name[K_NAMEMAX])
{
    snprintf(name, K_NAMEMAX, "%s", actor->name[0] == '\0' ? "actor" : actor->name);
    for (char *at = name; *at != '\0'; at++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", *at) == NULL)
            *at = '_';
}

/* A fresh file, never one that is there, or a link to one. */
static int create(const struct actor *actor, char *path, size_t size)
{
    char name[K_NAMEMAX];
    int pid = actor->host == NULL ? 0 : host_space_pid(actor->host);
    name_for_file(actor, name);
    for (int number = 1; number <= NAMES_MOST; number++) {
        char suffix[16] = "";
        if (number > 1)
            snprintf(suffix, sizeof suffix, ".%d", number);
        if ((size_t)snprintf(path, size, "%s/chorus-core.%s.%d%s", site_core.folder, name,
                             pid != 0 ? pid : (int)getpid(), suffix) >= size) {
            errno = ENAMETOOLONG;
            return -1;
        }
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static void write_core(const struct core_file *core)
{
    char path[4096];
    uint64_t size = 0;
    bool cut = false;
    if (site_core.cores == CORES_MOST) {
        host_log(0, "  no core: there are %d of this site already", CORES_MOST);
        return;
    }
    int fd = create(core->actor, path, sizeof path);
    if (fd < 0) {
        host_log(0, "  no core: %s: %s", path, strerror(errno));
        return;
    }
    bool good = core_file_write(core, fd, &size, &cut);
    int error = errno;
    if (close(fd) != 0 && good) {
        error = errno;
        good = false;
    }
    if (!good) {
        host_log(0, "  no core: %s: %s", path, strerror(error));
        unlink(path);
        return;
    }
    site_core.cores++;
    host_log(0, "  core: %s, %llu KB%s", path, (unsigned long long)(size >> 10), cut ? ", cut short" : "");
    if (core->image != NULL)
        host_log(0, "  to look at it: gdb %s %s", core->image->path, path);
}

static void on_fault(struct actor *actor, struct thread *thread, const KnThreadCtx *context, int trap_kind)
{
    if (trap_kind == K_TRAP_SYSCALL || trap_kind == K_TRAP_SYSCALL32)
        return; /* its trap handler died: nothing is wrong with the actor */
    const struct site_image *image = site_load_image(actor);
    backtrace(actor, image, context, print);
    struct core_file core = {
        .actor = actor, .image = image, .thread = thread, .registers = context, .signal = signal_of(trap_kind),
        .size_most = CORE_SIZE_MOST, .time_most = CORE_TIME_MOST,
    };
    write_core(&core);
}

/* Absolute, since it is told to people. */
static char *folder_for(const char *log_file)
{
    char *path;
    if (log_file != NULL && (path = realpath(log_file, NULL)) != NULL) {
        char *slash = strrchr(path, '/');
        slash[slash == path] = '\0';
        if (access(path, W_OK) == 0)
            return path;
        free(path);
    }
    static const char *const variables[] = {"XDG_RUNTIME_DIR", "TMPDIR"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        const char *folder = getenv(variables[i]);
        if (folder != NULL && folder[0] == '/' && access(folder, W_OK) == 0)
            return strdup(folder);
    }
    return strdup("/tmp");
}

void site_core_start(const char *log_file)
{
    site_core.folder = folder_for(log_file);
    if (site_core.folder != NULL)
        nucleus_hooks.actor_fault = on_fault;
}
