/* sm's core on the loopback interface: what is refused, who waits for what, what is received, and that nothing wakes an idle stack. */

#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <asm/ioctls.h>
#include <errno.h>
#include <netinet/tcp.h>
#undef TCP_MSS
#include <poll.h>
#include <string.h>

#include <lwip/priv/tcp_priv.h>

#include "fake.h"

TestSuite(sm, .init = fake_begin, .timeout = 30);

static void make_connection(int family, const char *address, int64_t ends[2])
{
    int64_t listener = fake_open(family, SOCK_STREAM, 0);
    cr_assert_gt(listener, 0);
    cr_assert_eq(fake_bind(listener, family == AF_INET ? "0.0.0.0" : "::", 0), 0);
    cr_assert_eq(fake_listen(listener, 5), 0);
    uint16_t port = fake_port(listener);
    ends[0] = fake_open(strchr(address, ':') == NULL ? AF_INET : AF_INET6, SOCK_STREAM, 0);
    cr_assert_eq(fake_connect(ends[0], address, port, 0), 0);
    ends[1] = fake_accept(listener, 0);
    cr_assert_gt(ends[1], 0, "%d", (int)ends[1]);
    cr_assert_eq(fake_close(listener), 0);
}

Test(sm, a_stream_brings_all_in_order)
{
    int64_t ends[2];
    static uint8_t data[SOCKET_BODY_MAX];
    size_t total = 16 << 20, sent = 0, received = 0;
    make_connection(AF_INET, "127.0.0.1", ends);
    unsigned rounds = 0;
    while (received < total) {
        cr_assert_lt(rounds++, 100000);
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = (uint8_t)((sent + i) >> 5);
        int size = sent < total ? fake_send(ends[0], data, sizeof data, 0) : -EAGAIN;
        cr_assert(size > 0 || size == -EAGAIN, "%d", size);
        sent += size > 0 ? (size_t)size : 0;
        if (size > 0)
            continue;
        while ((size = fake_receive(ends[1], sizeof data, 0)) > 0) {
            for (int i = 0; i < size; i++)
                cr_assert_eq(fake_body[i], (uint8_t)((received + (size_t)i) >> 5));
            received += (size_t)size;
        }
        cr_assert_eq(size, -EAGAIN);
        if (received < total && fake_watch(ends[0], POLLOUT, 0) == 0)
            cr_assert_fail("stuck at %zu of %zu", received, sent);
    }
}

static void begin_high(void)
{
    fake_random_is_high = true;
    fake_begin();
}

TestSuite(begin, .init = begin_high, .timeout = 30);

Test(begin, there_is_a_port_wherever_the_stack_begins)
{
    int64_t ends[2];
    fake_random_is_high = false;
    make_connection(AF_INET, "127.0.0.1", ends);
    cr_expect_geq(fake_port(ends[0]), 0xc000);
}

static size_t send_all_that_fits(int64_t end)
{
    static uint8_t data[SOCKET_BODY_MAX];
    size_t sent = 0;
    int size;
    while ((size = fake_send(end, data, sizeof data, 0)) > 0)
        sent += (size_t)size;
    cr_assert_eq(size, -EAGAIN);
    return sent;
}

Test(sm, two_ends_that_only_send_wait_until_somebody_reads)
{
    int64_t ends[2];
    make_connection(AF_INET, "127.0.0.1", ends);
    size_t sent[2] = { send_all_that_fits(ends[0]), send_all_that_fits(ends[1]) }, received[2] = { 0 };
    for (int i = 0; i < 100; i++)
        fake_pass(500000000);
    for (int i = 0; i < 100; i++) {
        for (int end = 0; end < 2; end++)
            for (int size; (size = fake_receive(ends[end], SOCKET_BODY_MAX, 0)) > 0;)
                received[!end] += (size_t)size;
        fake_pass(500000000);
    }
    cr_expect(received[0] == sent[0] && received[1] == sent[1], "%zu and %zu of %zu and %zu", received[0], received[1], sent[0], sent[1]);
}

/* lwIP lets go of a connection in TIME_WAIT without a word. */
Test(sm, who_keeps_a_socket_when_all_has_been_said_may_use_it_for_long)
{
    int64_t ends[2];
    for (int late = 0; late < 2; late++) {
        make_connection(AF_INET, "127.0.0.1", ends);
        struct socket_request shutdown = { .operation = SOCKET_SHUTDOWN, .handle = (uint64_t)ends[0], .length = 1 };
        cr_assert_eq(fake_send(ends[1], "abc", 3, 0), 3);
        cr_assert_eq(fake_ask(shutdown, NULL, 0), 0);
        cr_assert_eq(fake_close(ends[1]), 0);
        fake_pass(late * 60000000000ll);
        cr_assert_eq(fake_receive(ends[0], 10, 0), 3);
        cr_assert_eq(fake_receive(ends[0], 10, 0), 0);
        cr_assert_eq(fake_send(ends[0], "x", 1, 0), -EPIPE);
        fake_port(ends[0]);
        cr_assert_eq(fake_ask((struct socket_request){ .operation = SOCKET_IOCTL, .handle = (uint64_t)ends[0], .command = TIOCOUTQ }, NULL, 0), 0);
        fake_pass(60000000000ll);
        cr_assert_eq(fake_set(ends[0], IPPROTO_IP, IP_TTL, 5), 0);
        /* What comes next in its place is not touched. */
        int64_t next = fake_open(AF_INET, SOCK_STREAM, 0), client = fake_open(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(fake_bind(next, "127.0.0.1", (uint16_t)(6000 + late)), 0);
        cr_assert_eq(fake_close(ends[0]), 0);
        cr_assert_eq(fake_listen(next, 5), 0);
        cr_assert_eq(fake_connect(client, "127.0.0.1", (uint16_t)(6000 + late), 0), 0);
        cr_assert_gt(fake_accept(next, 0), 0);
    }
}

Test(sm, a_checksum_outside_of_the_packet_is_an_error)
{
    static const struct { int offset, sent; } cases[] = { { 2, 8 }, { 6, 8 }, { 8, -EINVAL }, { 1000, -EINVAL }, { 65534, -EINVAL }, { -2, 8 } };
    enum { RAW = 255, CHECKSUM = 7 }; /* SOL_RAW, IPV6_CHECKSUM */
    int64_t sock = fake_open(AF_INET6, SOCK_RAW, 200);
    cr_assert_eq(fake_connect(sock, "::1", 0, 0), 0);
    cr_expect_eq(fake_set(sock, RAW, CHECKSUM, 7), -EINVAL);
    cr_expect_eq(fake_set(sock, RAW, CHECKSUM, 0x10000), -EINVAL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(fake_set(sock, RAW, CHECKSUM, cases[i].offset), 0);
        cr_expect_eq(fake_send(sock, "12345678", 8, 0), cases[i].sent, "%d", cases[i].offset);
    }
}

Test(sm, requests_that_are_none_are_refused)
{
    struct socket_request request = { .operation = 0x9999, .handle = 1 };
    cr_expect_eq(fake_ask(request, NULL, 0), -ENOSYS);
    cr_expect_eq(fake_close(12345), -EBADF);
    cr_expect_eq(fake_close(0), -EBADF);
    request.operation = SOCKET_BIND;
    request.address_size = 1000;
    cr_expect_eq(fake_ask(request, NULL, 0), -EINVAL);
    cr_expect_eq(fake_open(99, SOCK_STREAM, 0), -EAFNOSUPPORT);
    cr_expect_eq(fake_open(AF_INET, 99, 0), -ESOCKTNOSUPPORT);
    cr_expect_eq(fake_open(AF_INET, SOCK_STREAM, IPPROTO_UDP), -EPROTONOSUPPORT);
    cr_expect_eq(fake_open(AF_INET, SOCK_RAW, 0), -EPROTONOSUPPORT);
    cr_expect_eq(fake_open(AF_INET, SOCK_RAW, 1000), -EPROTONOSUPPORT);
}

Test(sm, who_says_twice_who_it_is_stays_the_same_client)
{
    int64_t ends[2];
    make_connection(AF_INET, "127.0.0.1", ends);
    cr_assert_eq(fake_ask((struct socket_request){ .operation = SOCKET_CLIENT, .event_port = 77 }, NULL, 0), 0);
    cr_assert_eq(fake_receive(ends[1], 1, 30), -EAGAIN);
    cr_assert_eq(fake_send(ends[0], "x", 1, 0), 1);
    cr_assert(fake_came(30), "what the first one waits for is told");
}

Test(sm, who_is_nobody_binds_no_low_port_and_makes_no_packets)
{
    fake_unprivileged = true;
    int64_t sock = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(fake_bind(sock, "0.0.0.0", 80), -EACCES);
    cr_expect_eq(fake_bind(sock, "0.0.0.0", 8080), 0);
    cr_expect_eq(fake_open(AF_INET, SOCK_RAW, IPPROTO_ICMP), -EPERM);
    fake_unprivileged = false;
}

Test(sm, addresses_that_nobody_has_are_refused)
{
    int64_t sock = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(fake_bind(sock, "192.0.2.1", 0), -EADDRNOTAVAIL);
    cr_expect_eq(fake_bind(sock, "::1", 0), -EAFNOSUPPORT);
    cr_expect_eq(fake_connect(sock, "192.0.2.1", 80, 0), -ENETUNREACH);
    cr_expect_eq(fake_connect(sock, "127.0.0.1", 4, 0), -ECONNREFUSED);
}

Test(sm, a_port_is_taken_once)
{
    int64_t a = fake_open(AF_INET, SOCK_STREAM, 0), b = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(fake_bind(a, "0.0.0.0", 5000), 0);
    cr_expect_eq(fake_bind(a, "0.0.0.0", 5001), -EINVAL);
    cr_expect_eq(fake_bind(b, "127.0.0.1", 5000), -EADDRINUSE);
    cr_expect_eq(fake_close(a), 0);
    cr_expect_eq(fake_bind(b, "127.0.0.1", 5000), 0);
}

Test(sm, who_accepts_is_told_when_somebody_connects)
{
    int64_t listener = fake_open(AF_INET, SOCK_STREAM, 0), client = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(fake_bind(listener, "127.0.0.1", 6000), 0);
    cr_assert_eq(fake_accept(listener, 0), -EINVAL, "it does not listen yet");
    cr_assert_eq(fake_listen(listener, 1), 0);
    cr_assert_eq(fake_accept(listener, 1), -EAGAIN);
    cr_assert_not(fake_came(1));
    cr_assert_eq(fake_connect(client, "127.0.0.1", 6000, 2), 0);
    cr_assert(fake_came(1));
    cr_assert_gt(fake_accept(listener, 3), 0);
    cr_assert_eq(fake_accept(listener, 4), -EAGAIN);
    cr_assert_eq(fake_ask((struct socket_request){ .operation = SOCKET_UNWATCH, .token = 4 }, NULL, 0), 0);
    int64_t next = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(fake_connect(next, "127.0.0.1", 6000, 0), 0);
    cr_assert_not(fake_came(4), "it was withdrawn");
}

Test(sm, who_finds_a_full_listener_is_let_in_when_there_is_room)
{
    int64_t listener = fake_open(AF_INET, SOCK_STREAM, 0), clients[3];
    cr_assert_eq(fake_bind(listener, "127.0.0.1", 6000), 0);
    cr_assert_eq(fake_listen(listener, 2), 0);
    for (int i = 0; i < 3; i++) {
        clients[i] = fake_open(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(fake_connect(clients[i], "127.0.0.1", 6000, 10 + (uint64_t)i), i < 2 ? 0 : -EINPROGRESS);
    }
    cr_assert_eq(fake_connect(clients[2], "127.0.0.1", 6000, 0), -EALREADY);
    cr_assert_gt(fake_accept(listener, 0), 0);
    cr_assert(fake_came(12));
    cr_assert_eq(fake_connect(clients[2], "127.0.0.1", 6000, 0), -EISCONN);
}

Test(sm, who_reads_is_told_of_data_and_of_the_end)
{
    int64_t ends[2];
    make_connection(AF_INET6, "::1", ends);
    cr_assert_eq(fake_receive(ends[1], 10, 5), -EAGAIN);
    cr_assert_eq(fake_send(ends[0], "abc", 3, 0), 3);
    cr_assert(fake_came(5));
    cr_assert_eq(fake_receive(ends[1], 2, 6), 2);
    cr_assert_eq(fake_receive(ends[1], 2, 6), 1);
    cr_assert_eq(fake_watch(ends[1], POLLIN, 7), 0);
    cr_assert_eq(fake_close(ends[0]), 0);
    cr_assert(fake_came(7));
    cr_assert_eq(fake_watch(ends[1], POLLIN | POLLRDHUP, 0), POLLIN | POLLRDHUP);
    cr_assert_eq(fake_receive(ends[1], 2, 0), 0);
}

Test(sm, who_writes_into_a_full_connection_is_told_of_room)
{
    int64_t ends[2];
    static uint8_t data[SOCKET_BODY_MAX];
    make_connection(AF_INET, "127.0.0.1", ends);
    int size, total = 0;
    while ((size = fake_send(ends[0], data, sizeof data, 8)) > 0)
        total += size;
    cr_assert_eq(size, -EAGAIN);
    cr_assert_eq(fake_watch(ends[0], POLLOUT, 0), 0);
    while ((size = fake_receive(ends[1], sizeof data, 0)) > 0)
        total -= size;
    cr_assert_eq(total, 0);
    cr_assert(fake_came(8));
}

Test(sm, a_connection_that_is_not_read_keeps_little)
{
    int64_t ends[2];
    static uint8_t data[SOCKET_BODY_MAX];
    make_connection(AF_INET, "127.0.0.1", ends);
    int size, total = 0;
    while ((size = fake_send(ends[0], data, sizeof data, 0)) > 0)
        total += size;
    cr_assert_geq(total, 64 * 1024);
    cr_assert_leq(total, 256 * 1024, "%d bytes", total);
    cr_assert_gt(fake_receive(ends[1], sizeof data, 0), 0);
    cr_assert_eq(fake_close(ends[1]), 0);
    cr_assert_eq(fake_receive(ends[0], 1, 0), -ECONNRESET, "unread data reset it");
}

Test(sm, a_connection_whose_window_never_grew_ends_in_order)
{
    int64_t ends[2];
    make_connection(AF_INET, "127.0.0.1", ends);
    cr_assert_eq(fake_send(ends[0], "abc", 3, 0), 3);
    cr_assert_eq(fake_receive(ends[1], 10, 0), 3);
    cr_assert_eq(fake_close(ends[1]), 0);
    cr_assert_eq(fake_receive(ends[0], 1, 0), 0, "the end, and no error");
}

Test(sm, of_those_that_have_closed_not_more_than_some_are_remembered)
{
    int64_t listener = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(fake_bind(listener, "127.0.0.1", 6000), 0);
    cr_assert_eq(fake_listen(listener, 5), 0);
    for (int i = 0; i < 20000; i++) {
        int64_t client = fake_open(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(fake_connect(client, "127.0.0.1", 6000, 0), 0, "connection %d", i);
        int64_t server = fake_accept(listener, 0);
        cr_assert_gt(server, 0);
        cr_assert_eq(fake_close(client), 0);
        cr_assert_eq(fake_close(server), 0);
        fake_pass(1000000);
    }
    unsigned count = 0;
    for (const struct tcp_pcb *pcb = tcp_tw_pcbs; pcb != NULL; pcb = pcb->next)
        count++;
    cr_assert_lt(count, 2200);
}

Test(sm, unread_data_reset_the_connection_and_the_error_is_told_once)
{
    int64_t ends[2];
    make_connection(AF_INET, "127.0.0.1", ends);
    cr_assert_eq(fake_send(ends[0], "x", 1, 0), 1);
    cr_assert_eq(fake_receive(ends[0], 1, 9), -EAGAIN);
    cr_assert_eq(fake_close(ends[1]), 0);
    cr_assert(fake_came(9));
    cr_assert_eq(fake_receive(ends[0], 1, 0), -ECONNRESET);
    cr_assert_eq(fake_receive(ends[0], 1, 0), 0);
    cr_assert_eq(fake_send(ends[0], "x", 1, 0), -EPIPE);
}

Test(sm, connections_that_nobody_accepted_are_reset_with_their_listener)
{
    int64_t listener = fake_open(AF_INET, SOCK_STREAM, 0), client = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(fake_bind(listener, "127.0.0.1", 6000), 0);
    cr_assert_eq(fake_listen(listener, 5), 0);
    cr_assert_eq(fake_connect(client, "127.0.0.1", 6000, 0), 0);
    cr_assert_eq(fake_close(listener), 0);
    cr_assert_eq(fake_receive(client, 1, 0), -ECONNRESET);
    cr_assert_eq(fake_connect(fake_open(AF_INET, SOCK_STREAM, 0), "127.0.0.1", 6000, 0), -ECONNREFUSED);
}

Test(sm, an_idle_stack_asks_for_no_timer)
{
    int64_t ends[2];
    cr_assert_eq(fake_due, INT64_MAX, "nothing was ever done");
    make_connection(AF_INET, "127.0.0.1", ends);
    cr_assert_eq(fake_send(ends[0], "x", 1, 0), 1);
    cr_assert_eq(fake_receive(ends[1], 1, 0), 1);
    fake_pass(1000000000);
    cr_assert_eq(fake_due, INT64_MAX, "a connection on which nothing is under way");
    fake_close(ends[0]);
    fake_close(ends[1]);
    fake_pass(1000000000);
    cr_assert_eq(fake_due, INT64_MAX, "connections that have ended");
}

Test(sm, a_port_is_free_again_some_time_after_its_connection)
{
    int64_t listener = fake_open(AF_INET, SOCK_STREAM, 0), client = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(fake_bind(listener, "127.0.0.1", 6000), 0);
    cr_assert_eq(fake_listen(listener, 5), 0);
    cr_assert_eq(fake_connect(client, "127.0.0.1", 6000, 0), 0);
    int64_t end = fake_accept(listener, 0);
    fake_close(end); /* it closes first, so it waits */
    fake_close(client);
    fake_close(listener);
    cr_expect_eq(fake_bind(fake_open(AF_INET, SOCK_STREAM, 0), "127.0.0.1", 6000), -EADDRINUSE);
    int64_t hasty = fake_open(AF_INET, SOCK_STREAM, 0);
    cr_expect_eq(fake_set(hasty, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    cr_expect_eq(fake_bind(hasty, "127.0.0.1", 6000), 0);
    fake_close(hasty);
    fake_pass(40000000000);
    cr_expect_eq(fake_bind(fake_open(AF_INET, SOCK_STREAM, 0), "127.0.0.1", 6000), 0);
}

Test(sm, datagrams_are_whole_and_their_queue_is_bounded)
{
    int64_t a = fake_open(AF_INET, SOCK_DGRAM, 0), b = fake_open(AF_INET, SOCK_DGRAM, 0);
    static uint8_t data[60000];
    cr_assert_eq(fake_bind(b, "127.0.0.1", 7000), 0);
    cr_assert_eq(fake_send(a, "x", 1, 0), -EDESTADDRREQ);
    cr_assert_eq(fake_connect(a, "127.0.0.1", 7000, 0), 0);
    cr_assert_eq(fake_send(a, "", 0, 0), 0);
    cr_assert_eq(fake_send(a, "three", 5, 0), 5);
    cr_assert_eq(fake_receive(b, 100, 0), 0);
    cr_assert_eq(fake_receive(b, 2, 0), 2);
    cr_assert_eq(fake_reply.whole_length, 5);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(fake_send(a, data, sizeof data, 0), (int)sizeof data, "what does not fit is lost, as on any network");
    int count = 0;
    while (fake_receive(b, sizeof data, 0) == (int)sizeof data)
        count++;
    cr_assert(count >= 1 && count < 10, "%d", count);
}

Test(sm, a_connected_socket_hears_that_nobody_has_the_port)
{
    const char *addresses[] = { "127.0.0.1", "::1" };
    for (int i = 0; i < 2; i++) {
        int64_t sock = fake_open(i == 0 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
        cr_assert_eq(fake_connect(sock, addresses[i], 4, 0), 0);
        cr_assert_eq(fake_receive(sock, 10, 20 + (uint64_t)i), -EAGAIN);
        cr_assert_eq(fake_send(sock, "x", 1, 0), 1);
        cr_assert(fake_came(20 + (uint64_t)i));
        cr_assert_eq(fake_receive(sock, 10, 0), -ECONNREFUSED);
        cr_assert_eq(fake_receive(sock, 10, 0), -EAGAIN);
    }
}

Test(sm, an_echo_comes_back_to_the_ping_socket_that_asked)
{
    int64_t one = fake_open(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), other = fake_open(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    uint8_t echo[12] = { 8, 0, 0, 0, 99, 99, 0, 1, 'd', 'a', 't', 'a' };
    cr_assert_eq(fake_connect(one, "127.0.0.1", 0, 0), 0);
    cr_assert_eq(fake_send(one, "short", 5, 0), -EINVAL);
    cr_assert_eq(fake_send(one, echo, sizeof echo, 0), (int)sizeof echo);
    cr_assert_eq(fake_receive(other, 100, 0), -EAGAIN);
    cr_assert_eq(fake_receive(one, 100, 0), (int)sizeof echo);
    cr_assert(fake_body[0] == 0 && fake_body[7] == 1 && memcmp(fake_body + 8, "data", 4) == 0);
}

Test(sm, checksums_are_those_of_the_rfc)
{
    /* The example of RFC 1071, and all lengths against the plain sum. */
    uint8_t data[64] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
    cr_expect_eq(htons(sm_checksum(data, 8)), 0xddf2);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 151 + 77);
    for (int length = 0; length <= 64; length++) {
        uint32_t sum = 0;
        for (int i = 0; i < length; i++)
            sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        uint16_t ours = htons(sm_checksum(data, length));
        cr_expect(ours == sum || (ours ^ sum) == 0xffff, "%d bytes: %x, not %x", length, ours, sum);
    }
}

/* ---- groups ---- */

static int set_bytes(int64_t sock, int level, int option, const void *value, uint32_t size)
{
    struct socket_request request = { .operation = SOCKET_SET_OPTION, .handle = (uint64_t)sock };
    request.level = level;
    request.option = option;
    return fake_ask(request, value, size);
}

/* The loopback interface, by its address. */
static int group(int64_t sock, int option, const char *address)
{
    struct ip_mreq request = { .imr_interface.s_addr = htonl(INADDR_LOOPBACK) };
    inet_pton(AF_INET, address, &request.imr_multiaddr);
    return set_bytes(sock, IPPROTO_IP, option, &request, sizeof request);
}

static int send_to(int64_t sock, const char *address, uint16_t port, const char *text)
{
    struct socket_request request = { .operation = SOCKET_SEND, .handle = (uint64_t)sock, .address_size = sizeof(struct sockaddr_in) };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, address, &to.sin_addr);
    memcpy(request.address, &to, sizeof to);
    return fake_ask(request, text, (uint32_t)strlen(text));
}

Test(sm, groups_that_make_no_sense_are_refused)
{
    int64_t sock = fake_open(AF_INET, SOCK_DGRAM, 0), stream = fake_open(AF_INET, SOCK_STREAM, 0), v6 = fake_open(AF_INET6, SOCK_DGRAM, 0);
    struct ip_mreq nowhere = { .imr_multiaddr.s_addr = htonl(0xef010203), .imr_interface.s_addr = htonl(0xc0000201) };
    struct ipv6_mreq group6 = { .ipv6mr_interface = 99 };
    cr_expect_eq(group(sock, IP_ADD_MEMBERSHIP, "10.1.2.3"), -EINVAL);
    cr_expect_eq(group(stream, IP_ADD_MEMBERSHIP, "239.1.2.3"), -EPROTO);
    cr_expect_eq(group(sock, IP_DROP_MEMBERSHIP, "239.1.2.3"), -EADDRNOTAVAIL);
    cr_expect_eq(set_bytes(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, &nowhere, sizeof nowhere), -ENODEV);
    cr_expect_eq(set_bytes(sock, IPPROTO_IP, IP_ADD_MEMBERSHIP, &nowhere, 4), -EINVAL);
    cr_expect_eq(set_bytes(sock, IPPROTO_IP, IP_MULTICAST_IF, &nowhere.imr_interface, 4), -EADDRNOTAVAIL);
    cr_expect_eq(set_bytes(sock, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group6, sizeof group6), -ENOPROTOOPT);
    cr_expect_eq(set_bytes(v6, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group6, sizeof group6), -EINVAL);
    inet_pton(AF_INET6, "ff02::77", &group6.ipv6mr_multiaddr);
    cr_expect_eq(set_bytes(v6, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group6, sizeof group6), -ENODEV);
    cr_expect_eq(fake_set(v6, IPPROTO_IPV6, IPV6_MULTICAST_IF, 99), -ENODEV);
    cr_expect_eq(send_to(sock, "239.1.2.3", 7000, "x"), -ENETUNREACH, "no route leads there");
    for (int i = 0; i < 20; i++) {
        char text[32];
        snprintf(text, sizeof text, "239.1.2.%d", i);
        cr_expect_eq(group(sock, IP_ADD_MEMBERSHIP, text), 0);
        cr_expect_eq(group(sock, IP_ADD_MEMBERSHIP, text), -EADDRINUSE);
    }
    cr_expect_eq(group(sock, IP_ADD_MEMBERSHIP, "239.1.2.99"), -ENOBUFS);
    cr_expect_eq(fake_close(sock), 0);
}

Test(sm, all_members_of_a_group_receive_what_is_sent_to_it_once)
{
    int64_t members[2], sender = fake_open(AF_INET, SOCK_DGRAM, 0);
    struct in_addr loopback = { htonl(INADDR_LOOPBACK) };
    for (int i = 0; i < 2; i++) {
        members[i] = fake_open(AF_INET, SOCK_DGRAM, 0);
        cr_assert_eq(fake_set(members[i], SOL_SOCKET, SO_REUSEADDR, 1), 0);
        cr_assert_eq(fake_bind(members[i], "0.0.0.0", 7000), 0);
        cr_assert_eq(group(members[i], IP_ADD_MEMBERSHIP, "239.1.2.3"), 0);
    }
    cr_assert_eq(set_bytes(sender, IPPROTO_IP, IP_MULTICAST_IF, &loopback, sizeof loopback), 0);
    cr_assert_eq(send_to(sender, "239.1.2.3", 7000, "to all"), 0);
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(fake_receive(members[i], 100, 0), 6);
        cr_expect_eq(fake_receive(members[i], 100, 0), -EAGAIN);
    }
    cr_assert_eq(send_to(sender, "239.1.2.4", 7000, "to others"), 0);
    cr_expect_eq(fake_receive(members[0], 100, 0), -EAGAIN);
    cr_assert_eq(group(members[0], IP_DROP_MEMBERSHIP, "239.1.2.3"), 0);
    cr_assert_eq(fake_close(members[1]), 0);
    cr_assert_eq(send_to(sender, "239.1.2.3", 7000, "to nobody"), 0);
    cr_expect_eq(fake_receive(members[0], 100, 0), -EAGAIN);
    fake_pass(60000000000ll);
    cr_expect_eq(fake_due, INT64_MAX, "groups wake nobody for ever");
}

Test(sm, a_connection_tells_its_state_and_its_names)
{
    int64_t ends[2];
    struct tcp_info info;
    make_connection(AF_INET, "127.0.0.1", ends);
    struct socket_request request = { .operation = SOCKET_GET_OPTION, .handle = (uint64_t)ends[0], .length = 256 };
    request.level = IPPROTO_TCP;
    request.option = TCP_INFO;
    cr_assert_eq(fake_ask(request, NULL, 0), 0);
    cr_assert_eq(fake_size, sizeof info);
    memcpy(&info, fake_body, sizeof info);
    cr_expect_eq(info.tcpi_state, TCP_ESTABLISHED);
    cr_expect_gt(info.tcpi_snd_mss, 1000);
    cr_expect_gt(info.tcpi_rto, 0);
    request.option = TCP_CONGESTION;
    cr_assert_eq(fake_ask(request, NULL, 0), 0);
    cr_expect_str_eq((const char *)fake_body, "reno");
    request.level = SOL_SOCKET;
    request.option = SO_BINDTODEVICE;
    cr_assert_eq(fake_ask(request, NULL, 0), 0);
    cr_expect_eq(fake_size, 0, "bound to no device");
    cr_assert_eq(set_bytes(ends[0], SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
    cr_assert_eq(fake_ask(request, NULL, 0), 0);
    cr_expect_str_eq((const char *)fake_body, "lo");
    cr_assert_eq(fake_close(ends[1]), 0);
}
