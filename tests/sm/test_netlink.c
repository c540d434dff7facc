/* Netlink sockets: what lies about itself is refused and harms nothing; then what programs ask for, and change. */

#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <lwip/opt.h>

#include "fake.h"
#include "interface.h"

#define FUZZ_MESSAGES 40000 /* SM_NETLINK_FUZZ in the environment says another number */

static int64_t sock;

static struct ether_frame *frame_room(unsigned number, size_t length)
{
    static struct {
        struct ether_frame about;
        uint8_t bytes[2000];
    } frame;
    (void)number;
    frame.about = (struct ether_frame){ .length = (uint32_t)length };
    return length <= sizeof frame.bytes ? &frame.about : NULL;
}

static bool frame_grow(unsigned number, size_t more)
{
    (void)number, (void)more;
    return false;
}

static const struct interface_wire wire = { frame_room, frame_grow };

static void begin(void)
{
    fake_begin();
    struct interface_description description = { .hardware = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500, .link_up = true, .address = { 10, 0, 0, 1 },
                                                 .router = { 10, 0, 0, 254 }, .prefix = 24 };
    cr_assert_not_null(interface_add(0, &description, &wire));
    description.address[2] = 1;
    description.router[2] = 1;
    cr_assert_not_null(interface_add(1, &description, &wire));
    sock = fake_open(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    cr_assert_gt(sock, 0);
}

TestSuite(netlink, .init = begin, .timeout = 60);

/* ---- messages ---- */

struct message {
    struct nlmsghdr head;
    uint8_t rest[2000];
};

static uint32_t sequence = 100;

static struct message make(uint16_t type, uint16_t flags, const void *payload, size_t size)
{
    struct message message = { .head = { (uint32_t)NLMSG_LENGTH(size), type, (uint16_t)(NLM_F_REQUEST | flags), ++sequence, 0 } };
    memcpy(message.rest, payload, size);
    return message;
}

static void add(struct message *message, uint16_t type, const void *data, size_t size)
{
    struct rtattr head = { (uint16_t)RTA_LENGTH(size), type };
    uint8_t *at = (uint8_t *)message + NLMSG_ALIGN(message->head.nlmsg_len);
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, data, size);
    message->head.nlmsg_len = NLMSG_ALIGN(message->head.nlmsg_len) + RTA_SPACE(size);
}

static void add_ip(struct message *message, uint16_t type, const char *text)
{
    uint8_t address[16];
    bool is_v4 = inet_pton(AF_INET, text, address) == 1;
    cr_assert(is_v4 || inet_pton(AF_INET6, text, address) == 1);
    add(message, type, address, is_v4 ? 4 : 16);
}

static void add_number(struct message *message, uint16_t type, uint32_t number)
{
    add(message, type, &number, sizeof number);
}

static void send_it(const struct message *message)
{
    cr_assert_eq(fake_send(sock, message, message->head.nlmsg_len, 0), (int)message->head.nlmsg_len);
}

static const struct nlmsghdr *answer(void)
{
    int size = fake_receive(sock, SOCKET_BODY_MAX, 0);
    return size < (int)sizeof(struct nlmsghdr) ? NULL : (const struct nlmsghdr *)fake_body;
}

/* The error of an answer; 1: there is none, 2: it is something else. */
static int error_of(const struct nlmsghdr *head)
{
    int32_t error;
    if (head == NULL)
        return 1;
    cr_assert_eq(head->nlmsg_seq, sequence);
    if (head->nlmsg_type != NLMSG_ERROR)
        return 2;
    memcpy(&error, head + 1, sizeof error);
    return error;
}

static int ask(struct message message)
{
    send_it(&message);
    return error_of(answer());
}

/* Its attribute of that number, as a number; 0: not there. */
static uint32_t number_in(const struct nlmsghdr *head, size_t skip, uint16_t type)
{
    uint32_t number = 0;
    for (size_t at = NLMSG_LENGTH(NLMSG_ALIGN(skip)); at + RTA_LENGTH(4) <= head->nlmsg_len;) {
        struct rtattr attribute;
        memcpy(&attribute, (const uint8_t *)head + at, sizeof attribute);
        cr_assert_geq(attribute.rta_len, sizeof attribute);
        if (attribute.rta_type == type)
            memcpy(&number, (const uint8_t *)head + at + sizeof attribute, sizeof number);
        at += RTA_ALIGN(attribute.rta_len);
    }
    return number;
}

/* All of a dump: how many messages of the type there are; each is checked, the last one is the end. */
static unsigned dump(uint16_t type, uint8_t family, uint16_t of_type)
{
    struct rtgenmsg payload = { family };
    struct message message = make(type, NLM_F_DUMP, &payload, sizeof payload);
    unsigned count = 0;
    send_it(&message);
    for (bool over = false; !over;) {
        int size = fake_receive(sock, SOCKET_BODY_MAX, 0);
        cr_assert_gt(size, 0, "the dump has no end");
        for (int at = 0; at < size;) {
            const struct nlmsghdr *head = (const struct nlmsghdr *)(fake_body + at);
            cr_assert_not(over);
            cr_assert(head->nlmsg_len >= sizeof *head && head->nlmsg_len <= (uint32_t)(size - at));
            cr_assert_eq(head->nlmsg_seq, sequence);
            cr_assert(head->nlmsg_flags & NLM_F_MULTI);
            over = head->nlmsg_type == NLMSG_DONE;
            count += head->nlmsg_type == of_type;
            at += (int)NLMSG_ALIGN(head->nlmsg_len);
        }
    }
    cr_assert_eq(fake_receive(sock, 100, 0), -EAGAIN, "nothing comes behind the end");
    return count;
}

/* ---- what is refused ---- */

Test(netlink, messages_that_lie_about_their_length_are_left_out)
{
    struct ifinfomsg link = { .ifi_index = 1 };
    struct message message = make(RTM_GETLINK, NLM_F_ACK, &link, sizeof link);
    message.head.nlmsg_len = 5;
    cr_expect_eq(fake_send(sock, &message, 32, 0), 32);
    message.head.nlmsg_len = 0xffffffff;
    cr_expect_eq(fake_send(sock, &message, 32, 0), 32);
    cr_expect_eq(fake_send(sock, &message, 3, 0), 3);
    cr_expect_eq(fake_send(sock, &message, 0, 0), -ENODATA);
    cr_expect_eq(fake_receive(sock, 100, 0), -EAGAIN);
}

Test(netlink, what_is_no_request_is_not_carried_out)
{
    struct ifinfomsg link = { .ifi_index = 2, .ifi_change = IFF_UP };
    struct message message = make(RTM_NEWLINK, NLM_F_ACK, &link, sizeof link);
    message.head.nlmsg_flags = NLM_F_ACK;
    cr_expect_eq(ask(message), 0, "it is acknowledged, as in Linux");
    cr_expect(interface_flags(interface_netif("eth0")) & IFF_UP);
    message = make(NLMSG_NOOP, 0, &link, sizeof link);
    cr_expect_eq(ask(message), 1);
}

Test(netlink, unknown_and_empty_requests_are_refused)
{
    struct ifinfomsg link = { 0 };
    cr_expect_eq(ask(make(5000, 0, &link, sizeof link)), -EOPNOTSUPP);
    cr_expect_eq(ask(make(200, 0, &link, sizeof link)), -EOPNOTSUPP);
    cr_expect_eq(ask(make(RTM_GETRULE, NLM_F_DUMP, &link, sizeof link)), -EOPNOTSUPP);
    cr_expect_eq(ask(make(RTM_GETLINK, 0, &link, 0)), 1, "without a family there is no answer");
    cr_expect_eq(ask(make(RTM_GETLINK, 0, &link, 4)), -EINVAL);
    cr_expect_eq(ask(make(RTM_GETLINK, 0, &link, sizeof link)), -EINVAL, "which one?");
    link.ifi_index = 99;
    cr_expect_eq(ask(make(RTM_GETLINK, 0, &link, sizeof link)), -ENODEV);
    link.ifi_index = 257;
    cr_expect_eq(ask(make(RTM_GETLINK, 0, &link, sizeof link)), -ENODEV, "numbers are not cut off");
}

Test(netlink, attributes_that_lie_end_the_list_and_short_ones_are_refused)
{
    struct ifinfomsg link = { 0 };
    struct message message = make(RTM_GETLINK, 0, &link, sizeof link);
    add(&message, IFLA_IFNAME, "eth0", 5);
    struct rtattr *attribute = (struct rtattr *)(message.rest + sizeof link);
    cr_expect_eq(ask(message), 2);
    attribute->rta_len = 500;
    cr_expect_eq(ask(message), -EINVAL, "no name is left");
    attribute->rta_len = 3;
    cr_expect_eq(ask(message), -EINVAL);
    attribute->rta_len = 4;
    cr_expect_eq(ask(message), -ERANGE, "an empty name");
    message = make(RTM_GETLINK, 0, &link, sizeof link);
    add(&message, IFLA_IFNAME, "a_name_that_is_much_too_long", 29);
    cr_expect_eq(ask(message), -ERANGE);
    link.ifi_index = 2;
    message = make(RTM_NEWLINK, NLM_F_ACK, &link, sizeof link);
    add(&message, IFLA_MTU, "xx", 2);
    cr_expect_eq(ask(message), -ERANGE);
}

Test(netlink, an_error_brings_back_the_request_unless_told_otherwise)
{
    struct ifinfomsg link = { .ifi_index = 99 };
    struct message message = make(RTM_GETLINK, 0, &link, sizeof link);
    uint8_t zeros[1500] = { 0 };
    add(&message, 200, zeros, sizeof zeros);
    send_it(&message);
    const struct nlmsghdr *head = answer();
    cr_assert_eq(error_of(head), -ENODEV);
    cr_expect_eq(head->nlmsg_len, NLMSG_LENGTH(sizeof(int32_t)) + message.head.nlmsg_len);
    cr_expect_arr_eq((const uint8_t *)(head + 1) + sizeof(int32_t), &message, message.head.nlmsg_len);
    cr_assert_eq(fake_set(sock, SOL_NETLINK, NETLINK_CAP_ACK, 1), 0);
    send_it(&message);
    head = answer();
    cr_expect_eq(head->nlmsg_len, NLMSG_LENGTH(sizeof(struct nlmsgerr)));
    cr_expect(head->nlmsg_flags & NLM_F_CAPPED);
}

Test(netlink, who_is_nobody_looks_and_changes_nothing)
{
    struct ifinfomsg link = { .ifi_index = 2, .ifi_change = IFF_UP };
    struct ifaddrmsg address = { AF_INET, 24, 0, 0, 2 };
    struct rtmsg route = { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_UNICAST };
    fake_unprivileged = true;
    cr_expect_eq(ask(make(RTM_NEWLINK, 0, &link, sizeof link)), -EPERM);
    cr_expect_eq(ask(make(RTM_DELADDR, 0, &address, sizeof address)), -EPERM);
    cr_expect_eq(ask(make(RTM_DELROUTE, 0, &route, sizeof route)), -EPERM);
    cr_expect_eq(dump(RTM_GETLINK, AF_UNSPEC, RTM_NEWLINK), 3);
    fake_unprivileged = false;
}

Test(netlink, other_kinds_and_names_are_refused)
{
    struct sockaddr_nl name = { .nl_family = AF_NETLINK, .nl_pid = 77 };
    struct socket_request request = { .operation = SOCKET_BIND, .handle = (uint64_t)sock, .address_size = sizeof name };
    cr_expect_eq(fake_open(AF_NETLINK, SOCK_STREAM, 0), -ESOCKTNOSUPPORT);
    cr_expect_eq(fake_open(AF_NETLINK, SOCK_RAW, 15), -EPROTONOSUPPORT);
    memcpy(request.address, &name, sizeof name);
    request.address_size = 4;
    cr_expect_eq(fake_ask(request, NULL, 0), -EINVAL);
    request.address_size = sizeof name;
    cr_expect_eq(fake_ask(request, NULL, 0), 0);
    int64_t other = fake_open(AF_NETLINK, SOCK_DGRAM, 0);
    request.handle = (uint64_t)other;
    cr_expect_eq(fake_ask(request, NULL, 0), -EADDRINUSE);
    memset(request.address + 4, 0, 4);
    cr_expect_eq(fake_ask(request, NULL, 0), 0, "a name of its choice");
    request = (struct socket_request){ .operation = SOCKET_SEND, .handle = (uint64_t)other, .address_size = sizeof name };
    memcpy(request.address, &name, sizeof name);
    cr_expect_eq(fake_ask(request, "x", 1), -ECONNREFUSED);
}

Test(netlink, who_does_not_receive_is_told_that_answers_are_lost)
{
    struct rtgenmsg payload = { AF_UNSPEC };
    int size = 0, lost = 0;
    for (int i = 0; i < 2000; i++) {
        struct message message = make(RTM_GETLINK, NLM_F_DUMP, &payload, sizeof payload);
        send_it(&message);
    }
    while ((size = fake_receive(sock, SOCKET_BODY_MAX, 0)) != -EAGAIN)
        lost += size == -ENOBUFS;
    cr_expect_eq(lost, 1);
    cr_expect_eq(dump(RTM_GETLINK, AF_UNSPEC, RTM_NEWLINK), 3);
}

Test(netlink, random_messages_end_nothing)
{
    const char *wish = getenv("SM_NETLINK_FUZZ");
    unsigned long count = wish != NULL ? strtoul(wish, NULL, 0) : FUZZ_MESSAGES;
    static const uint16_t types[] = { RTM_NEWLINK, RTM_GETLINK, RTM_SETLINK, RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE,
                                      RTM_GETNEIGH, RTM_NEWNEIGH, 0 };
    srandom(1);
    for (unsigned long i = 0; i < count; i++) {
        struct message message;
        uint8_t *bytes = (uint8_t *)&message;
        size_t size = 16 + (size_t)random() % 100;
        for (size_t at = 0; at < size; at++)
            bytes[at] = (uint8_t)(random() % 3 == 0 ? random() : random() % 3);
        message.head.nlmsg_len = (uint32_t)(random() % 8 == 0 ? random() : (long)size);
        message.head.nlmsg_type = types[random() % 12];
        message.head.nlmsg_flags = (uint16_t)(random() % 4 == 0 ? random() : NLM_F_REQUEST | (random() % 2) << 2 | (random() % 2) << 10);
        message.rest[0] = (uint8_t)(random() % 3 == 0 ? 0 : random() % 2 == 0 ? AF_INET : AF_INET6);
        if (random() % 2)
            message.rest[4] = (uint8_t)(random() % 4), message.rest[5] = message.rest[6] = message.rest[7] = 0;
        cr_assert_eq(fake_send(sock, &message, (uint32_t)size, 0), (int)size);
        while (fake_receive(sock, SOCKET_BODY_MAX, 0) != -EAGAIN)
            ;
    }
    cr_expect_eq(dump(RTM_GETLINK, AF_UNSPEC, RTM_NEWLINK), 3);
}

/* ---- what is told ---- */

Test(netlink, what_there_is_is_listed)
{
    cr_expect_eq(dump(RTM_GETLINK, AF_UNSPEC, RTM_NEWLINK), 3);
    cr_expect_eq(dump(RTM_GETADDR, AF_INET, RTM_NEWADDR), 3);
    cr_expect_eq(dump(RTM_GETADDR, AF_INET6, RTM_NEWADDR), 3);
    cr_expect_eq(dump(RTM_GETADDR, AF_UNSPEC, RTM_NEWADDR), 6);
    cr_expect_eq(dump(RTM_GETROUTE, AF_INET, RTM_NEWROUTE), 3, "two networks, and the first one's router");
    cr_expect_eq(dump(RTM_GETNEIGH, AF_UNSPEC, RTM_NEWNEIGH), 0);
}

Test(netlink, long_lists_come_in_several_parts)
{
    for (unsigned i = 0; i < 200; i++) {
        struct rtmsg route = { .rtm_family = AF_INET, .rtm_dst_len = 24, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_UNICAST };
        struct message message = make(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE, &route, sizeof route);
        char text[32];
        snprintf(text, sizeof text, "172.16.%u.0", i);
        add_ip(&message, RTA_DST, text);
        add_ip(&message, RTA_GATEWAY, "10.0.1.9");
        cr_assert_eq(ask(message), 0);
    }
    cr_expect_eq(dump(RTM_GETROUTE, AF_INET, RTM_NEWROUTE), 203);
}

Test(netlink, two_requests_of_one_message_are_both_answered)
{
    struct ifinfomsg link = { .ifi_index = 2 };
    struct message first = make(RTM_GETLINK, 0, &link, sizeof link), second = make(RTM_GETLINK, NLM_F_ACK, &link, sizeof link);
    uint8_t both[64];
    memcpy(both, &first, 32);
    memcpy(both + 32, &second, 32);
    cr_assert_eq(fake_send(sock, both, 64, 0), 64);
    cr_expect_eq(answer()->nlmsg_seq, first.head.nlmsg_seq);
    cr_expect_eq(error_of(answer()), 2);
    cr_expect_eq(error_of(answer()), 0);
}

static uint32_t router_to(const char *address, uint32_t *device)
{
    struct rtmsg route = { .rtm_family = AF_INET };
    struct message message = make(RTM_GETROUTE, 0, &route, sizeof route);
    add_ip(&message, RTA_DST, address);
    send_it(&message);
    const struct nlmsghdr *head = answer();
    *device = head->nlmsg_type == RTM_NEWROUTE ? number_in(head, sizeof route, RTA_OIF) : 0;
    return ntohl(number_in(head, sizeof route, RTA_GATEWAY));
}

/* ---- what is changed ---- */

static int change_route(uint16_t type, uint16_t flags, const char *to, uint8_t bits, const char *router, uint32_t device, uint32_t metric)
{
    struct rtmsg route = { .rtm_family = strchr(to, ':') == NULL ? AF_INET : AF_INET6, .rtm_dst_len = bits, .rtm_table = RT_TABLE_MAIN,
                           .rtm_protocol = type == RTM_NEWROUTE ? RTPROT_BOOT : 0, .rtm_type = type == RTM_NEWROUTE ? RTN_UNICAST : 0 };
    struct message message = make(type, NLM_F_ACK | flags, &route, sizeof route);
    if (bits > 0)
        add_ip(&message, RTA_DST, to);
    if (router != NULL)
        add_ip(&message, RTA_GATEWAY, router);
    if (device != 0)
        add_number(&message, RTA_OIF, device);
    if (metric != 0)
        add_number(&message, RTA_PRIORITY, metric);
    return ask(message);
}

Test(netlink, routes_that_lead_nowhere_are_refused)
{
    uint16_t adds = NLM_F_CREATE | NLM_F_EXCL;
    cr_expect_eq(change_route(RTM_NEWROUTE, adds, "172.16.0.0", 16, "192.0.2.1", 0, 0), -ENETUNREACH);
    cr_expect_eq(change_route(RTM_NEWROUTE, adds, "172.16.0.0", 16, "10.0.0.9", 3, 0), -ENETUNREACH, "the router is somewhere else");
    cr_expect_eq(change_route(RTM_NEWROUTE, adds, "172.16.0.1", 16, "10.0.0.9", 0, 0), -EINVAL, "bits behind the prefix");
    cr_expect_eq(change_route(RTM_NEWROUTE, adds, "172.16.0.0", 33, "10.0.0.9", 0, 0), -EINVAL);
    cr_expect_eq(change_route(RTM_NEWROUTE, adds, "172.16.0.0", 16, NULL, 99, 0), -ENODEV);
    cr_expect_eq(change_route(RTM_NEWROUTE, 0, "172.16.0.0", 16, "10.0.0.9", 0, 0), -ENOENT);
    cr_expect_eq(change_route(RTM_DELROUTE, 0, "172.16.0.0", 16, NULL, 0, 0), -ESRCH);
}

Test(netlink, packets_take_the_longest_route_and_the_lowest_metric)
{
    uint16_t adds = NLM_F_CREATE | NLM_F_EXCL;
    uint32_t device;
    cr_expect_eq(router_to("8.8.8.8", &device), 0x0a0000fe);
    cr_expect_eq(device, 2);
    cr_assert_eq(change_route(RTM_NEWROUTE, adds, "172.16.0.0", 12, "10.0.0.9", 0, 5), 0);
    cr_assert_eq(change_route(RTM_NEWROUTE, adds, "172.16.0.0", 12, "10.0.0.8", 0, 5), -EEXIST);
    cr_assert_eq(change_route(RTM_NEWROUTE, adds, "172.16.0.0", 12, "10.0.1.9", 0, 3), 0);
    cr_assert_eq(change_route(RTM_NEWROUTE, adds, "172.17.0.0", 16, "10.0.0.7", 2, 0), 0);
    cr_expect_eq(router_to("172.16.1.1", &device), 0x0a000109);
    cr_expect_eq(device, 3);
    cr_expect_eq(router_to("172.17.1.1", &device), 0x0a000007);
    cr_expect_eq(device, 2);
    cr_assert_eq(change_route(RTM_NEWROUTE, NLM_F_REPLACE, "172.17.0.0", 16, "10.0.0.6", 0, 0), 0);
    cr_expect_eq(router_to("172.17.1.1", &device), 0x0a000006);
    cr_assert_eq(change_route(RTM_DELROUTE, 0, "172.16.0.0", 12, NULL, 3, 0), 0);
    cr_expect_eq(router_to("172.16.1.1", &device), 0x0a000009);
    cr_expect_eq(router_to("127.1.2.3", &device), 0);
    cr_expect_eq(device, 1);
}

static int change_address(uint16_t type, const char *text, uint8_t bits, uint32_t device)
{
    bool is_v4 = strchr(text, ':') == NULL;
    struct ifaddrmsg address = { is_v4 ? AF_INET : AF_INET6, bits, 0, 0, device };
    struct message message = make(type, NLM_F_ACK | (type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0), &address, sizeof address);
    add_ip(&message, IFA_LOCAL, text);
    return ask(message);
}

Test(netlink, addresses_come_and_go_with_their_routes)
{
    uint32_t device;
    cr_expect_eq(change_address(RTM_NEWADDR, "10.0.0.1", 24, 2), -EEXIST);
    cr_expect_eq(change_address(RTM_NEWADDR, "10.0.0.2", 24, 2), -EOPNOTSUPP, "one for an interface");
    cr_expect_eq(change_address(RTM_NEWADDR, "10.0.0.1", 33, 2), -EINVAL);
    cr_expect_eq(change_address(RTM_DELADDR, "10.0.0.2", 24, 2), -EADDRNOTAVAIL);
    cr_expect_eq(change_address(RTM_DELADDR, "10.0.0.1", 24, 2), 0);
    cr_expect_eq(dump(RTM_GETADDR, AF_INET, RTM_NEWADDR), 2);
    cr_expect_eq(dump(RTM_GETROUTE, AF_INET, RTM_NEWROUTE), 1, "its routes have gone with it");
    cr_expect_eq(change_address(RTM_NEWADDR, "10.9.0.1", 16, 2), 0);
    cr_expect_eq(router_to("10.9.1.1", &device), 0);
    cr_expect_eq(device, 2);
}

Test(netlink, addresses_of_ipv6_come_and_go)
{
    unsigned routes = dump(RTM_GETROUTE, AF_INET6, RTM_NEWROUTE);
    cr_expect_eq(change_address(RTM_NEWADDR, "ff02::5", 64, 2), -EADDRNOTAVAIL);
    cr_expect_eq(change_address(RTM_NEWADDR, "fd00::1", 48, 2), -EOPNOTSUPP, "64 or 128 bits");
    cr_expect_eq(change_address(RTM_NEWADDR, "fd00::1", 64, 2), 0);
    cr_expect_eq(change_address(RTM_NEWADDR, "fd00::1", 64, 2), -EEXIST);
    cr_expect_eq(change_address(RTM_NEWADDR, "fd01::1", 128, 2), 0);
    cr_expect_eq(dump(RTM_GETADDR, AF_INET6, RTM_NEWADDR), 5);
    cr_expect_eq(change_route(RTM_NEWROUTE, NLM_F_CREATE, "2001:db8::", 32, "fd00::9", 0, 0), 0);
    cr_expect_eq(change_route(RTM_NEWROUTE, NLM_F_CREATE, "2001:db9::", 32, "fd09::9", 0, 0), -ENETUNREACH);
    cr_expect_eq(dump(RTM_GETROUTE, AF_INET6, RTM_NEWROUTE), routes + 3);
    for (unsigned i = 2; i < 7; i++) {
        char text[32];
        snprintf(text, sizeof text, "fd02::%u", i);
        cr_expect_eq(change_address(RTM_NEWADDR, text, 64, 2), 0);
    }
    cr_expect_eq(change_address(RTM_NEWADDR, "fd02::99", 64, 2), -ENOBUFS, "there is room for eight");
    cr_expect_eq(change_address(RTM_DELADDR, "fd01::1", 128, 2), 0);
    cr_expect_eq(change_address(RTM_DELADDR, "fd01::1", 128, 2), -EADDRNOTAVAIL);
}

Test(netlink, an_interface_goes_down_with_its_routes_and_keeps_to_its_mtu)
{
    struct ifinfomsg link = { .ifi_index = 2, .ifi_change = IFF_UP };
    struct message message = make(RTM_NEWLINK, NLM_F_ACK, &link, sizeof link);
    uint32_t device;
    add_number(&message, IFLA_MTU, 1400);
    cr_expect_eq(ask(message), 0);
    cr_expect_not(interface_flags(interface_netif("eth0")) & IFF_UP);
    cr_expect_eq(interface_mtu(interface_netif("eth0")), 1400);
    cr_expect_eq(router_to("8.8.8.8", &device), 0);
    cr_expect_eq(change_route(RTM_NEWROUTE, NLM_F_CREATE, "172.16.0.0", 12, NULL, 2, 0), -ENETDOWN);
    link.ifi_change = 0;
    message = make(RTM_NEWLINK, NLM_F_ACK, &link, sizeof link);
    add_number(&message, IFLA_MTU, 1500);
    cr_expect_eq(ask(message), 0, "back to what the driver bears");
    message = make(RTM_NEWLINK, NLM_F_ACK, &link, sizeof link);
    add_number(&message, IFLA_MTU, 1501);
    cr_expect_eq(ask(message), -EINVAL);
    message = make(RTM_NEWLINK, NLM_F_ACK, &link, sizeof link);
    add(&message, IFLA_IFNAME, "lan", 4);
    cr_expect_eq(ask(message), -EOPNOTSUPP);
}

Test(netlink, who_listens_hears_of_changes)
{
    int64_t listener = fake_open(AF_NETLINK, SOCK_RAW, 0);
    cr_assert_eq(fake_set(listener, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, 99), -EINVAL);
    cr_assert_eq(fake_set(listener, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV4_ROUTE), 0);
    cr_expect_eq(fake_watch(listener, POLLIN, 60), 0);
    cr_assert_eq(change_route(RTM_NEWROUTE, NLM_F_CREATE, "172.16.0.0", 12, "10.0.0.9", 0, 0), 0);
    cr_expect(fake_came(60));
    cr_assert_gt(fake_receive(listener, 1000, 0), 0);
    const struct nlmsghdr *head = (const struct nlmsghdr *)fake_body;
    cr_expect_eq(head->nlmsg_type, RTM_NEWROUTE);
    cr_expect_eq(ntohl(number_in(head, sizeof(struct rtmsg), RTA_DST)), 0xac100000);
    cr_assert_eq(fake_set(listener, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, RTNLGRP_IPV4_ROUTE), 0);
    cr_assert_eq(change_route(RTM_DELROUTE, 0, "172.16.0.0", 12, NULL, 0, 0), 0);
    cr_expect_eq(fake_receive(listener, 1000, 0), -EAGAIN);
}
