/* The life of a site: boot, run, halt.
 *
 * The order of boot matters: the machine first, since its zygote must be forked from a small
 * process; then the Nucleus, its devices, the control socket, and the boot actors, which find each
 * other by their ports. From then on this thread is the Nucleus. */

#include "site.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#include <devices/disk_image.h>
#include <host/event.h>
#include <hostarch.h>
#include <nucleus/nucleus.h>

#include "commands.h"
#include "control.h"
#include "places.h"
#include "site_actors.h"
#include "site_command.h"
#include "site_core.h"
#include "site_devices.h"
#include "site_filter.h"
#include "site_net.h"
#include "site_report.h"
#include "site_serial.h"
#include "site_share.h"
#include "site_show.h"
#include "site_trace.h"
#include "terminal.h"

static struct {
    const struct site_options *options;
    int log_fd;
    bool log_is_file;
    bool raw;
    struct termios saved;
    sigset_t signals; /* that end the site, or change its console */
    struct control *control;
    bool zygote_lost;
    struct disk_image *disks[1 + SITE_DISKS_MOST]; /* the root first; NULL: the devices have it */
    int serial[2]; /* the console, where --serial has it */
} site = {.log_fd = STDERR_FILENO, .serial = {-1, -1}};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "chorus: %s: %s\n", what, why);
    return SITE_FAILED;
}

/* The terminal */

static bool terminal_wanted(void)
{
    return !site.options->display && site.options->serial == NULL && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

static void terminal_take(void)
{
    if (terminal_make_raw(STDIN_FILENO, &site.saved) != 0)
        return;
    site.raw = true;
    hostarch_terminal_state(&site.saved);
}

static void terminal_give_back(void)
{
    if (!site.raw)
        return;
    terminal_restore(STDIN_FILENO, &site.saved);
    terminal_calm(STDOUT_FILENO);
    hostarch_terminal_state(NULL);
    site.raw = false;
}

/* Ends from outside: a signal, ^A x, `chorus stop`, the zygote's death. The first asks the Unix
 * subsystem to close the disk; the second does not wait for it. */

static void end_now(int status)
{
    nucleus_shutdown(status, 0);
}

static void end_orderly(int status)
{
    static bool asked;
    if (asked || !site_actors_ask_to_end(status))
        end_now(status);
    asked = true;
}

static void escape(void *cookie)
{
    (void)cookie;
    end_orderly(0);
}

static void zygote_lost(void)
{
    site.zygote_lost = true;
    end_now(SITE_FAILED);
}

static void signal_came(void *number)
{
    int signal = (int)(intptr_t)number;
    if (signal != SIGWINCH) {
        end_orderly(128 + signal);
    } else if (!site.options->display) { /* otherwise the window says how large the console is */
        struct terminal_size size = terminal_size(STDIN_FILENO);
        site_devices_resize(size.columns, size.rows);
    }
}

/* Blocked in all threads, and waited for by one of their own. A signalfd among the interrupt thread's descriptors would wake that thread for every signal of the process, and
 * the Nucleus's thread gets some for each system call that a supervisor actor traps with. */
static bool signals_block(void)
{
    sigemptyset(&site.signals);
    sigaddset(&site.signals, SIGINT);
    sigaddset(&site.signals, SIGTERM);
    sigaddset(&site.signals, SIGHUP);
    sigaddset(&site.signals, SIGWINCH);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* what is too large for the user's limit is an error where it is written */
    return sigprocmask(SIG_BLOCK, &site.signals, NULL) == 0;
}

static int signals_await(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "signals");
    for (;;) {
        int number = sigwaitinfo(&site.signals, NULL);
        if (number > 0)
            host_post(signal_came, (void *)(intptr_t)number);
    }
    return 0;
}

/* Signals that are not waited for are the main thread's. */
static bool signals_take(void)
{
    thrd_t thread;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    int made = thrd_create(&thread, signals_await, NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return made == thrd_success;
}

/* The control socket */

static void answer_snapshot(void *unused)
{
    (void)unused;
    control_answer(site.control, site_report_snapshot(site.options));
}
static void snapshot_wanted(void *context) { host_post(answer_snapshot, context); }
static void stop_now(void *unused)
{
    (void)unused;
    end_orderly(0);
}
static void stop_wanted(void *context) { host_post(stop_now, context); }

/* The interrupt thread runs until the process ends, and may be here when the site closes: the lock tells which of them was first. Commands are
 * answered here, by a callback, or by the Nucleus's thread, which closes: so nobody else has hold of the socket. */
static mtx_t control_lock;

static void control_ready(void *cookie, uint32_t events)
{
    (void)cookie;
    (void)events;
    mtx_lock(&control_lock);
    if (site.control != NULL) {
        control_handle(site.control);
        hostarch_watch(control_fd(site.control), EPOLLIN, control_ready, NULL);
    }
    mtx_unlock(&control_lock);
}

static void control_stop(void)
{
    mtx_lock(&control_lock);
    control_close(site.control);
    site.control = NULL;
    mtx_unlock(&control_lock);
}

static bool control_start(void)
{
    static const struct control_callbacks callbacks = {snapshot_wanted, stop_wanted, NULL, site_command};
    mtx_init(&control_lock, mtx_plain);
    site.control = control_open(site.options->name, &callbacks);
    site_command_start(site.control);
    if (site.control != NULL)
        return hostarch_watch(control_fd(site.control), EPOLLIN, control_ready, NULL) == 0;
    if (errno == EADDRINUSE) {
        fprintf(stderr, "chorus: a site named %s is running\n", site.options->name);
        return false;
    }
    /* Without it ps, top and stop do not find the site; it runs all the same. */
    host_log(1, "no control socket: %s", strerror(errno));
    return true;
}

/* Boot */

static bool log_open(void)
{
    if (site.options->log_file == NULL)
        return true;
    site.log_fd = open(site.options->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    site.log_is_file = site.log_fd >= 0;
    return site.log_is_file;
}

static bool disk_open(unsigned number, const char *path, enum disk_image_mode mode)
{
    char reason[512];
    site.disks[number] = disk_image_open(path, mode, reason, sizeof reason);
    if (site.disks[number] == NULL)
        fprintf(stderr, "chorus: %s\n", reason);
    return site.disks[number] != NULL;
}

static bool disks_open(void)
{
    const struct site_options *options = site.options;
    bool good = disk_open(0, options->root_image, options->snapshot ? DISK_IMAGE_SNAPSHOT : DISK_IMAGE_WRITABLE);
    for (unsigned i = 0; i < options->disk_count && good; i++)
        good = disk_open(1 + i, options->disks[i].path, options->disks[i].read_only  ? DISK_IMAGE_READ_ONLY
                                                        : options->disks[i].snapshot ? DISK_IMAGE_SNAPSHOT
                                                                                     : DISK_IMAGE_WRITABLE);
    return good;
}

static void disks_close(void)
{
    for (unsigned i = 0; i < 1 + SITE_DISKS_MOST; i++)
        disk_image_close(site.disks[i]);
}

static bool machine_start(void)
{
    bool terminal = terminal_wanted();
    struct hostarch_options machine = {
        .memory = site.options->memory,
        .cpus = (int)site.options->cpus,
        .processes = site.options->processes,
        .log_level = site.options->verbose || site.log_is_file ? 2 : site.options->strace ? 1 : 0,
        .log_fd = site.log_fd,
        .lost = zygote_lost};
    if (terminal)
        hostarch_terminal(STDIN_FILENO);
    return hostarch_start(&machine) == 0;
}

bool site_stream_is_terminal(int fd)
{
    if (site.options->display)
        return site.options->command == NULL || isatty(fd);
    if (site.options->serial != NULL)
        return site.options->command == NULL;
    return terminal_wanted() && isatty(fd);
}

static int stream_for(int fd)
{
    return site_stream_is_terminal(fd) ? -1 : fd;
}

static bool devices_start(void)
{
    bool terminal = terminal_wanted();
    struct terminal_size size = site.options->display || site.options->serial != NULL ? (struct terminal_size){ .columns = 80, .rows = 25 } : terminal_size(STDIN_FILENO);
    struct site_devices_options devices = {
        .terminal_in = terminal ? STDIN_FILENO : site.serial[0], .terminal_out = terminal ? STDOUT_FILENO : site.serial[1],
        .columns = size.columns, .rows = size.rows,
        .stdin_fd = stream_for(STDIN_FILENO), .stdout_fd = stream_for(STDOUT_FILENO), .stderr_fd = stream_for(STDERR_FILENO),
        .window = site.options->display, .picture_width = site.options->picture_width, .picture_height = site.options->picture_height,
        .disk_count = 1 + site.options->disk_count, .share_count = site.options->share_count, .escape = escape,
        .nets = site_net_count() > 0 ? site_net_at(0) : NULL, .net_count = site_net_count()};
    memcpy(devices.disks, site.disks, sizeof devices.disks);
    memset(site.disks, 0, sizeof site.disks);
    for (unsigned i = 0; i < devices.share_count; i++)
        devices.shares[i] = site_share_take(i);
    return site_devices_start(&devices);
}

/* Before the machine: its process must not be anybody's who can see the site's memory. It looks for us by our name. */
static bool display_start(void)
{
    char *display[] = { "display", "--wait", "--name", site.options->name, NULL };
    char *show[] = { "show", "--wait", "--name", site.options->name, NULL };
    if ((!site.options->display || window_start(display)) && (!site.options->show || window_start(show)))
        return true;
    fail("the window's program", strerror(errno));
    return false;
}

static bool tracing_start(void)
{
    const char *path = site.options->trace_file;
    if (path == NULL || site_trace_start(path, site.options->cpus))
        return true;
    fail(path, strerror(errno));
    return false;
}

static int run(void)
{
    struct nucleus_options nucleus = {.actors_max = site.options->processes};
    nucleus_init(&nucleus);
    site_report_start(site.options);
    site_core_start(site.options->log_file);
    if (!tracing_start() || !devices_start() || !control_start())
        return SITE_FAILED;
    if (!signals_take())
        return fail("signals", "the host makes no thread for them");
    if (terminal_wanted()) {
        if (site.options->command == NULL && site.options->snapshot)
            fprintf(stderr, "chorus: changes to the disk are thrown away at the end (--root IMAGE keeps them); ^A x ends the site\r\n");
        terminal_take();
    }
    if (!site_actors_start(site.options))
        return SITE_FAILED;
    if (!site_filter_install())
        host_log(1, "site: the host refuses a filter for the nucleus process: %s", strerror(errno));
    int status = nucleus_run();
    nucleus_fini();
    return status;
}

int site_run(const struct site_options *options)
{
    site.options = options;
    if (!log_open())
        return fail(options->log_file, strerror(errno));
    if (!disks_open()) {
        disks_close();
        return SITE_FAILED;
    }
    if (!display_start())
        return SITE_FAILED;
    if (options->serial != NULL && !site_serial_open(options->serial, site.serial)) {
        disks_close();
        return SITE_FAILED;
    }
    if (!signals_block())
        return fail("signals", strerror(errno));
    if (!site_net_prepare(&site.options->nets))
        return SITE_FAILED;
    if (!site_shares_prepare(options->shares, options->share_count)) {
        site_net_stop();
        return SITE_FAILED;
    }
    if (!machine_start()) {
        site_shares_stop();
        site_net_stop();
        return SITE_FAILED;
    }
    int status = run();
    site_show_stop();
    site_devices_stop();
    control_stop();
    hostarch_stop();
    site_net_stop();
    site_shares_stop();
    site_serial_close();
    terminal_give_back();
    site_trace_stop();
    site_report_left_over();
    site_report_stop();
    if (site.zygote_lost)
        fprintf(stderr, "chorus: the process that makes actors was killed; the site ended without closing its disk\n");
    disks_close();
    return status;
}
