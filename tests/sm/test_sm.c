/* sm's core on the loopback interface: what is refused, who waits for what, what is received, and that nothing wakes an idle stack. */

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

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
