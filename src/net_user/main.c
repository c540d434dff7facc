/* net-user: the helper of `chorus run --net user`: libslirp between a site's frames and the host's sockets.
 *
 *     net-user [--mtu N] [--loopback] [--forward tcp|udp:ADDRESS:HOSTPORT:PORT]...
 *
 * A process of its own, so that the site's is not made larger and less safe by it, and outlives its errors. Descriptor 3 is a socket to the site
 * (frame_stream.h); when the site closes it, we end. Standard error says what is wrong until all is set up, and is closed then. The network inside is
 * 10.0.2.0/24: router 10.0.2.2, name server 10.0.2.3, and 10.0.2.15 for the site, also by DHCP; and fec0::/64.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <devices/frame_stream.h>

#include "gather.h"
#include "guard.h"

#define SITE            3
#define TIMERS          8
#define NO_TIMER        1000u           /* ms: what libslirp says when it needs none */
#define QUIET_AFTER     30000           /* ms without anything: connections that wait for nothing but each other's silence need no timer, */
#define LISTENING_AFTER 500             /* and without connections there is nothing to wait for */
#define FILLS_AT_ONCE   4
#define FRAMES_TOGETHER 16              /* of the site; a window has some forty: the site works on the first ones' acknowledgements while we do on the others */

struct timer {
    SlirpTimerCb callback;
    void *cookie;
    int64_t expires;                    /* ms; 0: not set */
};

static struct frame_stream site;
static Slirp *slirp;
static struct timer timers[TIMERS];
static struct pollfd *descriptors;
static unsigned count, room;
static int64_t last_event;

static int64_t now_ns(void *unused)
{
    struct timespec time;

    (void)unused;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static int64_t now_ms(void)
{
    return now_ns(NULL) / 1000000;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s", what, why);
    exit(1);
}

/* ---- what libslirp calls ---- */

static ssize_t send_packet(const void *bytes, size_t length, void *unused)
{
    struct iovec piece = { (void *)bytes, length };

    (void)unused;
    last_event = now_ms();
    if (length > FRAME_LENGTH_MAX)
        return (ssize_t)length;
    if (!frame_stream_put(&site, &piece, 1, (uint32_t)length) && frame_stream_flush(&site) >= 0)
        frame_stream_put(&site, &piece, 1, (uint32_t)length);   /* no room: lost, as on any wire */
    return (ssize_t)length;
}

static void guest_error(const char *message, void *unused)
{
    (void)message, (void)unused;
}

static void *timer_new(SlirpTimerCb callback, void *cookie, void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < TIMERS; i++)
        if (timers[i].callback == NULL) {
            timers[i] = (struct timer){ callback, cookie, 0 };
            return &timers[i];
        }
    abort();
}

static void timer_free(void *timer, void *unused)
{
    (void)unused;
    *(struct timer *)timer = (struct timer){ 0 };
}

static void timer_mod(void *timer, int64_t expires, void *unused)
{
    (void)unused;
    ((struct timer *)timer)->expires = expires;
}

static void poll_fd_changes(int descriptor, void *unused)
{
    (void)descriptor, (void)unused;     /* all are given again each time */
}

static void notify(void *unused)
{
    (void)unused;                       /* there is one thread */
}

static int add_poll(int descriptor, int events, void *unused)
{
    (void)unused;
    if (count == room) {
        room = room ? 2 * room : 64;
        if ((descriptors = realloc(descriptors, room * sizeof *descriptors)) == NULL)
            abort();
    }
    descriptors[count] = (struct pollfd){ .fd = descriptor,
        .events = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) | (events & SLIRP_POLL_PRI ? POLLPRI : 0)) };
    return (int)count++;
}

static int get_events(int index, void *unused)
{
    short events = descriptors[index].revents;

    (void)unused;
    return (events & POLLIN ? SLIRP_POLL_IN : 0) | (events & POLLOUT ? SLIRP_POLL_OUT : 0) | (events & POLLPRI ? SLIRP_POLL_PRI : 0)
         | (events & POLLERR ? SLIRP_POLL_ERR : 0) | (events & POLLHUP ? SLIRP_POLL_HUP : 0);
}

/* ---- the loop ---- */

static void timers_run(void)
{
    int64_t time = now_ms();

    for (unsigned i = 0; i < TIMERS; i++)
        if (timers[i].expires != 0 && timers[i].expires <= time) {
            timers[i].expires = 0;
            timers[i].callback(timers[i].cookie);
        }
}

/* Is there anything but forwarded ports and datagrams? libslirp arms its timer for these, too. */
static bool has_connections(void)
{
    char *text = slirp_connection_info(slirp), *rest = text, *line;
    bool found = false;

    while ((line = strsep(&rest, "\n")) != NULL)
        found |= strstr(line, "TCP[") != NULL && strstr(line, "TCP[HOST_FORWARD]") == NULL;
    free(text);
    return found;
}

static bool is_quiet(int64_t time)
{
    return time - last_event >= QUIET_AFTER || (time - last_event >= LISTENING_AFTER && !has_connections());
}

/* ms to wait at most; -1: for ever. */
static int timeout_of(uint32_t asked)
{
    int64_t time = now_ms(), end = INT64_MAX;

    if (asked < NO_TIMER && !is_quiet(time))
        end = time + asked;
    for (unsigned i = 0; i < TIMERS; i++)
        if (timers[i].expires != 0 && timers[i].expires < end)
            end = timers[i].expires;
    return end == INT64_MAX ? -1 : end <= time ? 0 : end - time > 1000000 ? 1000000 : (int)(end - time);
}

static void site_write(void)
{
    if (frame_stream_flush(&site) < 0)
        exit(0);                        /* the site has ended */
}

/* Some frames to libslirp. False: there are no more in the buffer. */
static bool frames_input(void)
{
    const uint8_t *frame = NULL;
    uint32_t length;

    gather_begin();
    for (int i = 0; i < FRAMES_TOGETHER && (frame = frame_stream_next(&site, &length)) != NULL; i++)
        slirp_input(slirp, frame, (int)length);
    gather_end();
    return frame != NULL;
}

static void site_read(void)
{
    for (int i = 0, filled = 1; i < FILLS_AT_ONCE && filled > 0; i++) {
        filled = frame_stream_fill(&site);
        if (filled < 0)
            exit(0);
        while (frames_input())
            site_write();
    }
}

/* While the site does not take what we have for it, nothing more is taken from the host's sockets. */
static void serve_once(void)
{
    uint32_t asked = UINT32_MAX;
    bool clogged = site.out_end - site.out_start > FRAME_BUFFER_SIZE / 2;

    count = 0;
    add_poll(SITE, SLIRP_POLL_IN | (site.out_end > site.out_start ? SLIRP_POLL_OUT : 0), NULL);
    if (!clogged)
        slirp_pollfds_fill(slirp, &asked, add_poll, NULL);
    int ready = poll(descriptors, count, timeout_of(asked));
    if (ready > 0)
        last_event = now_ms();
    if (ready > 0 && descriptors[0].revents & (POLLIN | POLLHUP | POLLERR))
        site_read();
    if (!clogged)
        slirp_pollfds_poll(slirp, ready < 0, get_events, NULL);
    timers_run();
    site_write();
}

/* ---- setting up ---- */

static void slirp_start(uint32_t mtu)
{
    static const SlirpCb callbacks = { .send_packet = send_packet, .guest_error = guest_error, .clock_get_ns = now_ns,
        .timer_new = timer_new, .timer_free = timer_free, .timer_mod = timer_mod,
        .register_poll_fd = poll_fd_changes, .unregister_poll_fd = poll_fd_changes, .notify = notify };
    SlirpConfig config = { .version = 3, .in_enabled = true, .in6_enabled = true, .vprefix_len = 64, .if_mtu = mtu, .if_mru = mtu };

    inet_pton(AF_INET, "10.0.2.0", &config.vnetwork);
    inet_pton(AF_INET, "255.255.255.0", &config.vnetmask);
    inet_pton(AF_INET, "10.0.2.2", &config.vhost);
    inet_pton(AF_INET, "10.0.2.15", &config.vdhcp_start);
    inet_pton(AF_INET, "10.0.2.3", &config.vnameserver);
    inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &config.vhost6);
    inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
    slirp = slirp_new(&config, &callbacks, NULL);
    if (slirp == NULL)
        die("libslirp", "it does not start");
}

/* "tcp:127.0.0.1:8080:80"; whoever starts us has checked it. */
static void forward(const char *text)
{
    char protocol[4], address[16];
    int from, to;
    struct in_addr host, guest = { 0 };     /* 0: the first that DHCP gives */

    if (sscanf(text, "%3[a-z]:%15[0-9.]:%d:%d", protocol, address, &from, &to) != 4 || inet_pton(AF_INET, address, &host) != 1)
        die(text, "not PROTOCOL:ADDRESS:HOSTPORT:PORT");
    if (slirp_add_hostfwd(slirp, strcmp(protocol, "udp") == 0, host, from, guest, to) < 0)
        die(text, strerror(errno));
}

static void options_obey(char **argv)
{
    uint32_t mtu = 1500;
    char **at;

    for (at = argv + 1; *at != NULL && strcmp(*at, "--forward") != 0; at++) {
        if (strcmp(*at, "--loopback") == 0)
            guard_allow_loopback();
        else if (strcmp(*at, "--mtu") == 0 && at[1] != NULL)
            mtu = (uint32_t)atoi(*++at);
    }
    slirp_start(mtu);
    for (; *at != NULL && at[1] != NULL; at += 2)
        forward(at[1]);
}

/* Whoever started us knows now that all is well. */
static void stderr_close(void)
{
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (nothing >= 0)
        dup2(nothing, STDERR_FILENO);
}

int main(int argc, char **argv)
{
    (void)argc;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!frame_stream_open(&site, SITE))
        die("memory", strerror(ENOMEM));
    last_event = now_ms();
    options_obey(argv);
    stderr_close();
    for (;;)
        serve_once();
}
