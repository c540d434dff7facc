/* boot_devices.c: a site with its hardware, the drivers, dm, and one client that plays om and pm.
 *
 *     boot-devices [--cpus N] [--kill NAME] PLACE DISK CONSOLE DM CLIENT      PLACE: system or supervisor
 *
 * The person at the site answers a prompt with "typed" and a line end, and another with ^C; standard input is a file of 1 MB, which the client
 * copies to standard output. When the client has ended by itself, screen and output are compared. A driver that ends is started
 * again; --kill ends the driver NAME every 100 ms. The log goes to standard output, and ends with "boot-devices: passed".
 */
#include <chorus.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <devices/disk_image.h>
#include <host/event.h>
#include <hostarch.h>
#include <nucleus/actor.h>
#include <nucleus/nucleus.h>

#include "site_devices.h"

#define PATIENCE    60000000000ll
#define INPUT_SIZE  (1 << 20)
#define DISK_SIZE   (8 << 20)

enum { DISK, CONSOLE, DM, CLIENT, ACTORS };
static const char *const names[ACTORS] = { "disk", "console", "dm", "client" };

static struct actor *actors[ACTORS];
static char *files[ACTORS];
static int place, status = 1, restarts;
static const char *victim;
static int screen[2], input, output;
static char image_path[] = "/tmp/chorus-site-disk-XXXXXX";

static void die(const char *what, const char *why)
{
    fprintf(stderr, "boot-devices: %s: %s\n", what, why);
    exit(2);
}

static void start(int which)
{
    struct stat about;
    int file = open(files[which], O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &about) != 0)
        die(files[which], strerror(errno));
    void *image = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    const char *argv[] = { names[which], victim, NULL };
    struct loader_program program = {
        .name = names[which], .image = image, .image_size = (size_t)about.st_size, .argv = argv,
        .privilege = which == CLIENT ? K_SYSTEMACTOR : place,
        .priority = which == CLIENT ? K_PRIO_USER : which == DM ? K_PRIO_SERVER : K_PRIO_DRIVER };
    char why[160] = "";
    if (which != CLIENT)
        argv[1] = NULL;
    close(file);
    if (loader_start(&program, &actors[which], why, sizeof why) != K_OK)
        die(files[which], why);
    munmap(image, (size_t)about.st_size);
}

static void start_again(void *which)
{
    restarts++;
    start((int)(intptr_t)which);
}

static void on_gone(const struct actor *actor, int reason, const char *words)
{
    for (int i = 0; i < ACTORS; i++) {
        if (actors[i] != actor)
            continue;
        actors[i] = NULL;
        if (i == CLIENT) {
            status = reason == K_OK ? 0 : 1;
            nucleus_shutdown(status, 0);
        } else if (victim == NULL) {
            host_log(0, "%s ended: %d %s", names[i], reason, words == NULL ? "" : words);
            nucleus_shutdown(1, 0);
        } else {
            host_post(start_again, (void *)(intptr_t)i);
        }
    }
}

static void on_lost(void)
{
    die("machine", "the zygote is gone");
}

static void escape(void *cookie)
{
    (void)cookie;
}

static void hardware(void)
{
    char in[] = "/tmp/chorus-site-in-XXXXXX", out[] = "/tmp/chorus-site-out-XXXXXX", reason[160];
    int image = mkstemp(image_path);

    input = mkstemp(in);
    output = mkstemp(out);
    if (image < 0 || input < 0 || output < 0 || ftruncate(image, DISK_SIZE) != 0
        || socketpair(AF_UNIX, SOCK_STREAM, 0, screen) != 0)
        die("files", strerror(errno));
    unlink(in);
    unlink(out);
    for (uint32_t i = 0; i < INPUT_SIZE; i += 4)
        if (write(input, &(uint32_t){ i * 2654435761u }, 4) != 4)
            die("input", strerror(errno));
    lseek(input, 0, SEEK_SET);
    struct disk_image *disk = disk_image_open(image_path, DISK_IMAGE_WRITABLE, reason, sizeof reason);
    unlink(image_path);
    struct site_devices_options options = {
        .terminal_in = screen[0], .terminal_out = screen[0], .columns = 90, .rows = 33,
        .stdin_fd = input, .stdout_fd = output, .stderr_fd = -1, .disks = {disk}, .disk_count = 1, .escape = escape };
    if (disk == NULL || !site_devices_start(&options))
        die("devices", reason);
}

static char shown[1000];
static size_t shown_length;

/* Play the person, who answers prompts, and the fate of drivers. */
static void happen(void)
{
    static int64_t next;
    static int answers;
    static const struct { const char *prompt, *keys; } dialog[] = { { "prompt$ ", "typed\n" },
                                                                    { "wait$ ", "\003" } };
    ssize_t more = recv(screen[1], shown + shown_length, sizeof shown - 1 - shown_length, MSG_DONTWAIT);

    shown_length += more > 0 ? (size_t)more : 0;
    if (answers < 2 && strstr(shown, dialog[answers].prompt) != NULL) {
        size_t length = strlen(dialog[answers].keys);
        answers += write(screen[1], dialog[answers].keys, length) == (ssize_t)length;
    }
    if (victim == NULL || host_time() < next)
        return;
    next = host_time() + 100000000ll;
    if (strcmp(victim, "console") == 0 && restarts % 3 == 2 && write(screen[1], "typed\n", 6) != 6)
        die("screen", strerror(errno)); /* again and again: what a dying driver held is lost */
    for (int i = 0; i < CLIENT; i++)
        if (strcmp(names[i], victim) == 0 && actors[i] != NULL)
            actor_kill(actors[i], K_EABORT, "the test killed it");
}

static bool outcome(void)
{
    static char a[INPUT_SIZE], b[INPUT_SIZE + 1];

    happen();
    if (victim != NULL && strcmp(victim, "console") == 0)
        return restarts > 2;            /* what a dead console driver held is lost */
    if (pread(input, a, sizeof a, 0) != (ssize_t)sizeof a || pread(output, b, sizeof b, 0) != INPUT_SIZE
        || memcmp(a, b, sizeof a) != 0) {
        printf("not ok - standard input is not what standard output is\n");
        return false;
    }
    if (strstr(shown, "typed\r\n") == NULL || strstr(shown, "prompt$ ") == NULL
        || strstr(shown, "^C") == NULL) {
        printf("not ok - the screen shows \"%s\"\n", shown);
        return false;
    }
    return victim == NULL || restarts > 2;
}

int main(int argc, char **argv)
{
    struct hostarch_options machine = { .memory = 128 << 20, .processes = 16, .log_fd = 1,
                                        .log_level = 1, .lost = on_lost };
    struct nucleus_options options = { 0 };
    int first = 1;

    for (; first + 1 < argc && argv[first][0] == '-'; first += 2) {
        if (strcmp(argv[first], "--cpus") == 0)
            machine.cpus = atoi(argv[first + 1]);
        else
            victim = argv[first + 1];
    }
    if (argc - first != 1 + ACTORS)
        die("usage", "boot-devices [--cpus N] [--kill NAME] PLACE DISK CONSOLE DM CLIENT");
    place = strcmp(argv[first], "supervisor") == 0 ? K_SUPACTOR : K_SYSTEMACTOR;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IONBF, 0);
    if (hostarch_start(&machine) != 0)
        return 2;
    nucleus_init(&options);
    nucleus_hooks.actor_gone = on_gone;
    hardware();
    for (int i = 0; i < ACTORS; i++) {
        files[i] = argv[first + 1 + i];
        start(i);
    }
    int64_t end = host_time() + PATIENCE;
    while (!nucleus_shutting_down(NULL, NULL) && host_time() < end) {
        nucleus_step(host_time() + 20000000);
        happen();
    }
    bool good = nucleus_shutting_down(NULL, NULL) && status == 0 && outcome();
    hostarch_stop();
    printf("boot-devices: %d restarts\nboot-devices: %s\n", restarts, good ? "passed" : "FAILED");
    return !good;
}
