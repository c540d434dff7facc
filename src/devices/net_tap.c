/* A network back end on a tap interface: see net_tap.h. Each read and write is one frame, behind a virtio header. */
#include "net_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEADER          sizeof(struct virtio_net_header)
#define FRAME_MAX       65520u
#define MTU_MAX         (FRAME_MAX - 14)
#define GUEST           (VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6)

struct net_tap {
    struct net_back_end end;            /* first */
    struct bus_watch watch;
    int descriptor;
    bool wants_frames, wants_room;
    uint8_t frame[HEADER + FRAME_MAX + 1];      /* one more tells that a frame was longer */
};

static struct net_tap *tap_of(struct net_back_end *end)
{
    return (struct net_tap *)end;
}

/* ---- attaching ---- */

static int mtu_read(const char *name, uint16_t *ret_mtu)
{
    struct ifreq request = { 0 };
    int probe = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    int failed = probe < 0 || ioctl(probe, SIOCGIFMTU, &request) < 0 ? -errno : 0;
    if (probe >= 0)
        close(probe);
    *ret_mtu = failed != 0 || request.ifr_mtu < 68 ? 1500 : request.ifr_mtu > (int)MTU_MAX ? MTU_MAX : (uint16_t)request.ifr_mtu;
    return failed;
}

int net_tap_attach(const char *name, uint16_t *ret_mtu)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    int header = (int)HEADER, tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (tap < 0)
        return -errno;
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (strlen(name) >= sizeof request.ifr_name || strchr(name, '%') != NULL) {
        close(tap);
        return -EINVAL;
    }
    int failed = ioctl(tap, TUNSETIFF, &request) < 0 || ioctl(tap, TUNSETVNETHDRSZ, &header) < 0 || ioctl(tap, TUNSETOFFLOAD, 0) < 0 ? -errno
                                                                                                                                     : 0;
    if (failed == 0)
        failed = mtu_read(name, ret_mtu);
    if (failed != 0)
        close(tap);
    return failed != 0 ? failed : tap;
}

/* ---- moving frames ---- */

static void watch_update(struct net_tap *tap)
{
    if (tap->end.up)
        bus_watch_set(&tap->watch, (tap->wants_frames ? EPOLLIN : 0) | (tap->wants_room ? EPOLLOUT : 0));
}

/* The interface was taken away. */
static void tap_lost(struct net_tap *tap)
{
    tap->end.up = false;
    bus_watch_set(&tap->watch, 0);
}

static bool tap_send(struct net_back_end *end, const struct virtio_net_header *header, const struct device_span *pieces, unsigned count,
                     uint32_t length)
{
    struct net_tap *tap = tap_of(end);
    struct iovec vectors[160 + 1] = { { (void *)header, HEADER } };
    ssize_t done;

    if (count > 160) {
        end->lost++;
        return true;
    }
    memcpy(vectors + 1, pieces, count * sizeof *pieces);
    do {
        done = writev(tap->descriptor, vectors, (int)count + 1);
    } while (done < 0 && errno == EINTR);
    if (done < 0 && errno == EAGAIN) {
        tap->wants_room = true;
        watch_update(tap);
        return false;
    }
    if (done != (ssize_t)(HEADER + length))
        end->lost++;                    /* the host did not like it, or its interface is down */
    if (done < 0 && (errno == EBADFD || errno == ENODEV))
        tap_lost(tap);
    return true;
}

static void tap_flush(struct net_back_end *end)
{
    (void)end;
}

static uint32_t tap_receive(struct net_back_end *end, struct virtio_net_header *ret_header, const uint8_t **ret_frame)
{
    struct net_tap *tap = tap_of(end);
    ssize_t length;

    do {
        length = end->up ? read(tap->descriptor, tap->frame, sizeof tap->frame) : 0;
        if (length < 0 && errno != EAGAIN && errno != EINTR)
            tap_lost(tap);
        if (length <= 0)
            return 0;
    } while ((size_t)length < HEADER + 14 || (size_t)length > HEADER + FRAME_MAX);
    memcpy(ret_header, tap->frame, HEADER);
    *ret_frame = tap->frame + HEADER;
    return (uint32_t)(length - (ssize_t)HEADER);
}

static void tap_want(struct net_back_end *end, bool frames)
{
    tap_of(end)->wants_frames = frames;
    watch_update(tap_of(end));
}

static void tap_set_offloads(struct net_back_end *end, uint64_t offloads)
{
    unsigned long flags = (offloads & VIRTIO_NET_F_GUEST_CSUM ? TUN_F_CSUM : 0) | (offloads & VIRTIO_NET_F_GUEST_TSO4 ? TUN_F_TSO4 : 0)
                        | (offloads & VIRTIO_NET_F_GUEST_TSO6 ? TUN_F_TSO6 : 0);

    ioctl(tap_of(end)->descriptor, TUNSETOFFLOAD, flags);   /* refused: the model leaves out what the driver does not understand */
}

static void tap_close(struct net_back_end *end)
{
    bus_watch_stop(&tap_of(end)->watch);
    close(tap_of(end)->descriptor);
    free(tap_of(end));
}

static const struct net_back_end_operations tap_operations = {
    .send = tap_send, .flush = tap_flush, .receive = tap_receive, .want = tap_want, .set_offloads = tap_set_offloads, .close = tap_close };

static void tap_ready(struct bus_watch *watch, uint32_t events)
{
    struct net_tap *tap = (struct net_tap *)((char *)watch - offsetof(struct net_tap, watch));

    if (events & EPOLLERR)
        tap_lost(tap);
    tap->wants_room = false;
    watch_update(tap);
    tap->end.ready(tap->end.cookie);
}

struct net_back_end *net_tap_open(struct bus *bus, int descriptor, const char *name, uint16_t mtu)
{
    struct net_tap *tap = calloc(1, sizeof *tap);

    if (tap == NULL || !bus_watch_start(bus, &tap->watch, descriptor, tap_ready)) {
        free(tap);
        return NULL;
    }
    tap->descriptor = descriptor;
    tap->end = (struct net_back_end){ .operations = &tap_operations, .mtu = mtu, .up = true,
                                      .offloads = VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | GUEST };
    snprintf(tap->end.name, sizeof tap->end.name, "tap:%s", name);
    return &tap->end;
}
