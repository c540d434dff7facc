/* What the helper of --net user writes in small pieces is one push at the end; nothing is kept longer, and what is no stream is left alone. */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_user/gather.h"

/* A connection on the host's loopback. */
static void connection(int ends[2])
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(ends[0], (struct sockaddr *)&address, sizeof address), 0);
    ends[1] = accept(listener, NULL, NULL);
    cr_assert_geq(ends[1], 0);
    close(listener);
}

/* Bytes that the host has and has not sent. */
static int kept(int descriptor)
{
    int bytes = -1;

    cr_assert_eq(ioctl(descriptor, SIOCOUTQNSD, &bytes), 0);
    return bytes;
}

static void expect_text(int descriptor, const char *text)
{
    char buffer[64] = "";

    cr_assert_eq(recv(descriptor, buffer, sizeof buffer - 1, 0), (ssize_t)strlen(text));
    cr_assert_str_eq(buffer, text);
}

Test(gather, sends_at_once_when_nothing_is_gathered, .timeout = 10)
{
    int ends[2];

    connection(ends);
    cr_assert_eq(send(ends[0], "one", 3, 0), 3);
    cr_assert_eq(kept(ends[0]), 0);
    expect_text(ends[1], "one");
}

Test(gather, pushes_all_pieces_of_all_streams_at_the_end, .timeout = 10)
{
    int one[2], other[2];

    connection(one);
    connection(other);
    gather_begin();
    cr_assert_eq(send(one[0], "a", 1, 0), 1);
    cr_assert_eq(send(other[0], "x", 1, 0), 1);
    cr_assert_eq(send(one[0], "b", 1, 0), 1);
    cr_assert_eq(kept(one[0]), 2);
    gather_end();
    cr_assert_eq(kept(one[0]) + kept(other[0]), 0);
    expect_text(one[1], "ab");
    expect_text(other[1], "x");
}

Test(gather, a_stream_that_is_closed_meanwhile_has_given_all, .timeout = 10)
{
    int ends[2];

    connection(ends);
    gather_begin();
    cr_assert_eq(send(ends[0], "last", 4, 0), 4);
    close(ends[0]);
    gather_end();
    expect_text(ends[1], "last");
    cr_assert_eq(recv(ends[1], (char[1]){ 0 }, 1, 0), 0);
}

Test(gather, more_streams_than_it_remembers_are_sent_at_once, .timeout = 10)
{
    int ends[40][2];

    for (int i = 0; i < 40; i++)
        connection(ends[i]);
    gather_begin();
    for (int i = 0; i < 40; i++)
        cr_assert_eq(send(ends[i][0], "z", 1, 0), 1);
    cr_assert_eq(kept(ends[0][0]), 1);
    cr_assert_eq(kept(ends[39][0]), 0);
    gather_end();
    for (int i = 0; i < 40; i++)
        cr_assert_eq(kept(ends[i][0]), 0);
}

Test(gather, urgent_bytes_and_other_sockets_do_not_wait, .timeout = 10)
{
    int ends[2], pair[2];

    connection(ends);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    gather_begin();
    cr_assert_eq(send(ends[0], "!", 1, MSG_OOB), 1);
    cr_assert_eq(send(pair[0], "u", 1, 0), 1);
    cr_assert_eq(kept(ends[0]), 0);
    expect_text(pair[1], "u");
    gather_end();
}

Test(gather, errors_are_the_hosts, .timeout = 10)
{
    gather_begin();
    cr_assert_eq(send(-1, "x", 1, 0), -1);
    cr_assert_eq(errno, EBADF);
    gather_end();
}
