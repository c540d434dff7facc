/* What programs ask about the network itself: ioctls of interfaces and routes, and /proc/net. */

#include <stdio.h>

#include "net.h"

#include <asm/ioctls.h>
#include <linux/route.h>
#include <linux/sockios.h>
#include <linux/if.h>

#include "call.h"

#define DEVICE_NAME 16u

/* struct ifconf: room, and where the array goes. */
static int64_t list_interfaces(struct call *call, struct file *file, uint64_t argument)
{
    struct { int32_t size; uint32_t pad; uint64_t at; } list;
    struct ifreq entries[32];
    struct net_exchange exchange = { .body = entries, .body_room = sizeof entries };
    exchange.request.command = SIOCGIFCONF;
    int error = copy_in(call, &list, argument, sizeof list);
    if (error == 0)
        error = net_ask_of(call, file, SOCKET_IOCTL, &exchange);
    if (error != 0)
        return error;
    if (list.size < 0)
        return -EINVAL;
    uint32_t size = exchange.body_size;
    if (list.at != 0 && (uint32_t)list.size < size)
        size = (uint32_t)list.size / sizeof *entries * sizeof *entries;
    if (list.at != 0 && copy_out(call, list.at, entries, size) != 0)
        return -EFAULT;
    list.size = (int32_t)size;
    return copy_out(call, argument, &list, sizeof list);
}

/* struct rtentry, and the name that it points to behind it. */
static int64_t change_route(struct call *call, struct file *file, uint32_t command, uint64_t argument)
{
    struct { struct rtentry route; char device[DEVICE_NAME]; } sent = { 0 };
    struct net_exchange exchange = { .send = &sent, .send_size = sizeof sent };
    exchange.request.command = command;
    int error = copy_in(call, &sent.route, argument, sizeof sent.route);
    if (error == 0 && sent.route.rt_dev != NULL)
        error = copy_in_string(call, sent.device, (VmAddr)sent.route.rt_dev, sizeof sent.device);
    return error < 0 ? error : net_ask_of(call, file, SOCKET_IOCTL, &exchange);
}

static int64_t pass(struct call *call, struct file *file, uint32_t command, uint64_t argument, size_t in, size_t out)
{
    uint8_t bytes[sizeof(struct ifreq)] = { 0 };
    struct net_exchange exchange = { .send = bytes, .send_size = (uint32_t)in, .body = bytes, .body_room = (uint32_t)out };
    exchange.request.command = command;
    int error = in > 0 ? copy_in(call, bytes, argument, in) : 0;
    if (error == 0)
        error = net_ask_of(call, file, SOCKET_IOCTL, &exchange);
    return error != 0 ? error : copy_out(call, argument, bytes, exchange.body_size);
}

static bool is_of_interface(uint32_t command)
{
    return command >= SIOCGIFNAME && command <= SIOCGIFMAP + 0x10;
}

int64_t net_ioctl(struct call *call, struct file *file, uint32_t command, uint64_t argument)
{
    switch (command) {
    case FIONREAD:
    case TIOCOUTQ:
    case SIOCATMARK: return pass(call, file, command, argument, 0, sizeof(int32_t));
    case SIOCGIFCONF: return list_interfaces(call, file, argument);
    case SIOCADDRT:
    case SIOCDELRT: return change_route(call, file, command, argument);
    case SIOCGSTAMP_OLD: return -ENOENT;
    default: break;
    }
    return is_of_interface(command) ? pass(call, file, command, argument, sizeof(struct ifreq), sizeof(struct ifreq)) : -ENOTTY;
}

int64_t net_ioctl_elsewhere(struct call *call, uint32_t command, uint64_t argument)
{
    bool is_ours = is_of_interface(command) || command == SIOCGIFCONF || command == SIOCADDRT || command == SIOCDELRT;
    if (!is_ours)
        return -ENOTTY;
    return net_server_find() != 0 ? -ENODEV : net_ioctl(call, NULL, command, argument);
}

int net_print(enum socket_text text, FILE *out)
{
    int error = net_server_find();
    uint8_t *body = error == 0 ? malloc(SOCKET_BODY_MAX) : NULL;
    if (body == NULL)
        return error == 0 ? -ENOMEM : 0; /* no network: an empty file */
    for (uint32_t from = 0;;) {
        struct net_exchange exchange = { .request.operation = SOCKET_TEXT, .body = body, .body_room = SOCKET_BODY_MAX };
        exchange.request.option = (int32_t)text;
        exchange.request.length = from;
        error = net_ask(&exchange);
        if (error != 0 || exchange.body_size == 0)
            break;
        fwrite(body, 1, exchange.body_size, out);
        from += exchange.body_size;
    }
    free(body);
    return error;
}
