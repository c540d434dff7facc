/* A hub: see hub.h. One thread, one epoll, a frame stream for each station.
 *
 * Frames of a station are given to the others as long as each of these has room, or is a laggard. If one has not, the station is not read from (it is
 * `held`) until there is room, or until the one without room has been so for `patience`, and is a laggard.
 */
#include "hub.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <devices/frame_stream.h>

#define LATE_MOST       10              /* ms that a frame is kept back for its successor */
#define ALONE_MOST      10000           /* ms that a hub which ends with its last station waits for the first */
#define STATIONS_MOST   256
#define EVENTS_AT_ONCE  32
#define FILLS_AT_ONCE   4               /* of a station, until others have their turn */

struct station {
    struct frame_stream stream;
    uint32_t events;                    /* that epoll watches */
    bool held;                          /* its frames wait for others' room */
    bool laggard;                       /* misses frames until its buffer is empty */
    int64_t full_since;                 /* ms; 0: it has room */
    bool gone;
};

struct hub {
    const struct hub_options *options;
    int listener, epoll;
    struct station *stations[STATIONS_MOST];
    unsigned count;
    uint64_t seed;                      /* of the dice that lose frames */
    uint8_t late[FRAME_LENGTH_MAX];
    uint32_t late_length;               /* 0: none is kept back */
    struct station *late_from;
    int64_t late_since;
};

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* One of a thousand, `chances` times. */
static bool happens(struct hub *hub, unsigned chances)
{
    if (chances == 0)
        return false;
    hub->seed ^= hub->seed << 13;
    hub->seed ^= hub->seed >> 7;
    hub->seed ^= hub->seed << 17;
    return hub->seed % 1000 < chances;
}

/* ---- stations ---- */

static void station_watch(struct hub *hub, struct station *station)
{
    uint32_t events = (station->held ? 0 : EPOLLIN) | (station->stream.out_end > station->stream.out_start ? EPOLLOUT : 0);

    if (events == station->events || station->gone)
        return;
    struct epoll_event event = { .events = events, .data.ptr = station };
    if (epoll_ctl(hub->epoll, EPOLL_CTL_MOD, station->stream.descriptor, &event) == 0)
        station->events = events;
}

static void station_accept(struct hub *hub)
{
    int descriptor = accept4(hub->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct station *station = descriptor >= 0 ? calloc(1, sizeof *station) : NULL;
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = station };

    if (descriptor < 0)
        return;
    if (hub->count == STATIONS_MOST || station == NULL || !frame_stream_open(&station->stream, descriptor)) {
        close(descriptor);
        free(station);
        return;
    }
    if (epoll_ctl(hub->epoll, EPOLL_CTL_ADD, descriptor, &event) < 0) {
        frame_stream_close(&station->stream);
        free(station);
        return;
    }
    station->events = EPOLLIN;
    hub->stations[hub->count++] = station;
}

/* Those that went are taken away between the batches of events. */
static void stations_bury(struct hub *hub)
{
    for (unsigned i = hub->count; i > 0; i--) {
        struct station *station = hub->stations[i - 1];
        if (!station->gone)
            continue;
        if (hub->late_from == station)
            hub->late_from = NULL;
        frame_stream_close(&station->stream);
        free(station);
        hub->stations[i - 1] = hub->stations[--hub->count];
    }
}

/* ---- frames ---- */

static void give(struct hub *hub, struct station *from, const uint8_t *frame, uint32_t length)
{
    struct iovec piece = { (void *)frame, length };

    for (unsigned i = 0; i < hub->count; i++)
        if (hub->stations[i] != from && !hub->stations[i]->gone && !hub->stations[i]->laggard)
            frame_stream_put(&hub->stations[i]->stream, &piece, 1, length);     /* there is room, but perhaps for the second of two */
}

static void late_give(struct hub *hub)
{
    if (hub->late_length > 0)
        give(hub, hub->late_from, hub->late, hub->late_length);
    hub->late_length = 0;
}

static void frame_pass(struct hub *hub, struct station *from, const uint8_t *frame, uint32_t length)
{
    if (happens(hub, hub->options->lose))
        return;
    if (hub->late_length == 0 && happens(hub, hub->options->late)) {
        memcpy(hub->late, frame, length);
        hub->late_length = length;
        hub->late_from = from;
        hub->late_since = now();
        return;
    }
    give(hub, from, frame, length);
    if (happens(hub, hub->options->twice))
        give(hub, from, frame, length);
    late_give(hub);
}

/* Has every station but `from` room for some frames? Those that have none begin to be waited for. */
static bool all_have_room(struct hub *hub, const struct station *from)
{
    bool room = true;

    for (unsigned i = 0; i < hub->count; i++) {
        struct station *station = hub->stations[i];
        if (station == from || station->gone || station->laggard || frame_stream_has_room(&station->stream))
            continue;
        if (frame_stream_flush(&station->stream) < 0) {
            station->gone = true;
            continue;
        }
        if (frame_stream_has_room(&station->stream))
            continue;
        if (station->full_since == 0)
            station->full_since = now();
        room = false;
    }
    return room;
}

/* Pass on what a station has sent. What was taken from the socket is passed on, too, before we sleep: nothing would wake us for it. */
static void station_read(struct hub *hub, struct station *station)
{
    const uint8_t *frame;
    uint32_t length;
    int filled = 1;

    for (unsigned fills = 0; filled > 0; fills++) {
        station->held = false;
        while (!(station->held = !all_have_room(hub, station)) && (frame = frame_stream_next(&station->stream, &length)) != NULL)
            frame_pass(hub, station, frame, length);
        if (station->held || fills == FILLS_AT_ONCE)
            break;
        filled = frame_stream_fill(&station->stream);
        station->gone = filled < 0;
    }
}

static void station_write(struct station *station)
{
    int left = frame_stream_flush(&station->stream);

    station->gone |= left < 0;
    if (left == 0)
        station->laggard = false;
    if (frame_stream_has_room(&station->stream))
        station->full_since = 0;
}

static void stations_write(struct hub *hub)
{
    for (unsigned i = 0; i < hub->count; i++)
        if (!hub->stations[i]->gone)
            station_write(hub->stations[i]);
}

/* ---- the loop ---- */

/* After each batch of events: stations that have waited too long, held ones that may go on, and what is to be sent. */
static void hub_settle(struct hub *hub)
{
    int64_t time = now();

    if (hub->late_length > 0 && time - hub->late_since >= LATE_MOST)
        late_give(hub);
    for (unsigned i = 0; i < hub->count; i++) {
        struct station *station = hub->stations[i];
        if (station->full_since != 0 && time - station->full_since >= (int64_t)hub->options->patience) {
            station->laggard = true;
            station->full_since = 0;
        }
    }
    stations_write(hub);
    for (unsigned i = 0; i < hub->count; i++)
        if (hub->stations[i]->held)
            station_read(hub, hub->stations[i]);
    stations_write(hub);
    stations_bury(hub);
    for (unsigned i = 0; i < hub->count; i++)
        station_watch(hub, hub->stations[i]);
}

/* ms until something is to be done without an event; -1: nothing. Who is held, while all have room, may go on at once. */
static int hub_timeout(const struct hub *hub)
{
    int64_t time = now(), end = INT64_MAX;
    bool full = false, held = false;

    if (hub->late_length > 0)
        end = hub->late_since + LATE_MOST;
    for (unsigned i = 0; i < hub->count; i++) {
        const struct station *station = hub->stations[i];
        held |= station->held;
        full |= station->full_since != 0;
        if (station->full_since != 0 && station->full_since + (int64_t)hub->options->patience < end)
            end = station->full_since + (int64_t)hub->options->patience;
    }
    if (held && !full)
        return 0;
    return end == INT64_MAX ? -1 : end <= time ? 0 : (int)(end - time);
}

static int hub_loop(struct hub *hub, const volatile int *stop)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    bool one_came = !hub->options->ends_with_last;

    while (!*stop && !(hub->options->ends_with_last && one_came && hub->count == 0)) {
        int count = epoll_wait(hub->epoll, events, EVENTS_AT_ONCE, one_came ? hub_timeout(hub) : ALONE_MOST);
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count == 0 && !one_came)
            break;
        for (int i = 0; i < count; i++) {
            struct station *station = events[i].data.ptr;
            if (station == NULL)
                station_accept(hub);
            else if (!station->held)
                station_read(hub, station);
            else if (events[i].events & (EPOLLHUP | EPOLLERR))
                station->gone = true;
        }
        one_came |= hub->count > 0;
        hub_settle(hub);
    }
    return 0;
}

int hub_serve(int listener, const struct hub_options *options, const volatile int *stop)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    struct hub *hub = calloc(1, sizeof *hub);

    if (hub == NULL)
        return -ENOMEM;
    hub->options = options;
    hub->listener = listener;
    hub->seed = options->seed;
    hub->epoll = epoll_create1(EPOLL_CLOEXEC);
    int status = hub->epoll < 0 || epoll_ctl(hub->epoll, EPOLL_CTL_ADD, listener, &event) < 0 ? -errno : hub_loop(hub, stop);
    for (unsigned i = 0; i < hub->count; i++)
        hub->stations[i]->gone = true;
    stations_bury(hub);
    if (hub->epoll >= 0)
        close(hub->epoll);
    free(hub);
    return status;
}
