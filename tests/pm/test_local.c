/* Local sockets: what is refused, who waits for what, and that nothing is left behind. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fake_nucleus.h"
#include "local.h"

TestSuite(local, .fini = fake_end, .timeout = 30);

#define NAME (PLAY + 0x1000)
#define HEADER (PLAY + 0x2000)
#define VECTOR (PLAY + 0x3000)
#define CONTROL (PLAY + 0x4000)
#define DATA (PLAY + 0x10000)
#define NOWHERE 0x7000000000ull

static uint64_t put_name(struct program *program, const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path + (name[0] == '@'), name + (name[0] == '@'));
    fake_put(program, NAME, &address, sizeof address);
    return offsetof(struct sockaddr_un, sun_path) + strlen(name) + (name[0] != '@');
}

static int64_t make(struct program *program, int type)
{
    return fake_call(program, SYS_socket, AF_UNIX, (uint64_t)type, 0);
}

static void make_pair(struct program *program, int type, int fds[2])
{
    cr_assert_eq(fake_call(program, SYS_socketpair, AF_UNIX, (uint64_t)type, 0, PLAY), 0);
    fake_get(program, PLAY, fds, 2 * sizeof *fds);
}

static int64_t listener(struct program *program, const char *name, int backlog)
{
    int64_t fd = make(program, SOCK_STREAM);
    cr_assert_eq(fake_call(program, SYS_bind, (uint64_t)fd, NAME, put_name(program, name)), 0);
    cr_assert_eq(fake_call(program, SYS_listen, (uint64_t)fd, (uint64_t)backlog), 0);
    return fd;
}

static int64_t connect_to(struct program *program, int64_t fd, const char *name)
{
    uint64_t size = put_name(program, name);
    return fake_call(program, SYS_connect, (uint64_t)fd, NAME, size);
}

static uint64_t put_header(struct program *program, const void *control, size_t control_size, size_t room)
{
    struct iovec vector = { (void *)DATA, room };
    struct msghdr header = { .msg_iov = (void *)VECTOR, .msg_iovlen = 1, .msg_controllen = control_size };
    header.msg_control = control_size > 0 ? (void *)CONTROL : NULL;
    fake_put(program, VECTOR, &vector, sizeof vector);
    fake_put(program, HEADER, &header, sizeof header);
    if (control != NULL)
        fake_put(program, CONTROL, control, control_size);
    return HEADER;
}

static int64_t send_fd(struct program *program, int to, int fd)
{
    union { struct cmsghdr head; uint8_t bytes[CMSG_SPACE(sizeof fd)]; } control = { 0 };
    control.head = (struct cmsghdr){ CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS };
    memcpy(control.bytes + CMSG_LEN(0), &fd, sizeof fd);
    return fake_call(program, SYS_sendmsg, (uint64_t)to, put_header(program, control.bytes, sizeof control, 1), 0);
}

static unsigned count_locals(void)
{
    unsigned count = 0;
    LIST_EACH(&locals, at)
        count++;
    return count;
}

Test(local, bad_messages_are_refused)
{
    struct program program = fake_boot();
    int fds[2];
    make_pair(&program, SOCK_DGRAM, fds);
    uint64_t to = (uint64_t)fds[0];
    struct cmsghdr head = { .cmsg_len = 4, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
    cr_expect_eq(fake_call(&program, SYS_sendmsg, to, NOWHERE, 0), -EFAULT);
    cr_expect_eq(fake_call(&program, SYS_sendmsg, to, put_header(&program, &head, sizeof head, 1), 0), -EINVAL);
    head.cmsg_len = SIZE_MAX - 3;
    cr_expect_eq(fake_call(&program, SYS_sendmsg, to, put_header(&program, &head, sizeof head, 1), 0), -EINVAL);
    head = (struct cmsghdr){ sizeof head, SOL_SOCKET, 77 };
    cr_expect_eq(fake_call(&program, SYS_sendmsg, to, put_header(&program, &head, sizeof head, 1), 0), -EINVAL);
    cr_expect_eq(send_fd(&program, fds[0], 99), -EBADF);
    struct msghdr header = { .msg_iov = (void *)VECTOR, .msg_iovlen = 5000 };
    fake_put(&program, HEADER, &header, sizeof header);
    cr_expect_eq(fake_call(&program, SYS_sendmsg, to, HEADER, 0), -EMSGSIZE);
    header = (struct msghdr){ .msg_control = (void *)CONTROL, .msg_controllen = 1 << 30 };
    fake_put(&program, HEADER, &header, sizeof header);
    cr_expect_eq(fake_call(&program, SYS_sendmsg, to, HEADER, 0), -ENOBUFS);
    cr_expect_eq(fake_call(&program, SYS_sendto, to, NOWHERE, 5, 0, 0, 0), -EFAULT);
    cr_expect_eq(fake_call(&program, SYS_recvfrom, (uint64_t)fds[1], DATA, 5, MSG_DONTWAIT, 0, 0), -EAGAIN, "nothing arrived");
}

Test(local, addresses_that_are_none_are_refused)
{
    struct program program = fake_boot();
    int64_t fd = make(&program, SOCK_STREAM);
    cr_expect_eq(fake_call(&program, SYS_bind, (uint64_t)fd, NOWHERE, 16), -EFAULT);
    cr_expect_eq(fake_call(&program, SYS_bind, (uint64_t)fd, NAME, (uint64_t)-1), -EINVAL);
    cr_expect_eq(fake_call(&program, SYS_bind, (uint64_t)fd, NAME, 1), -EINVAL);
    uint64_t size = put_name(&program, "/no/such/folder");
    cr_expect_eq(fake_call(&program, SYS_bind, (uint64_t)fd, NAME, size), -ENOENT);
    fake_file("file", "x", 1, 0644);
    cr_expect_eq(connect_to(&program, fd, "/file"), -ECONNREFUSED);
    size = put_name(&program, "/file");
    cr_expect_eq(fake_call(&program, SYS_bind, (uint64_t)fd, NAME, size), -EADDRINUSE);
    cr_expect_eq(fake_call(&program, SYS_getpeername, (uint64_t)fd, PLAY, PLAY + 64), -ENOTCONN);
}

Test(local, who_accepts_waits_for_who_connects)
{
    struct program program = fake_boot();
    int64_t fd = listener(&program, "/server", 5);
    cr_assert_gt(fake_call(&program, SYS_fork), 0);
    struct program child = fake_newest();
    cr_assert_eq(fake_call(&program, SYS_accept, (uint64_t)fd, 0, 0), FAKE_BLOCKED);
    int64_t client = make(&child, SOCK_STREAM);
    cr_assert_eq(connect_to(&child, client, "/server"), 0);
    int64_t end = fake_result(&program);
    cr_assert_geq(end, 4);
    cr_assert_eq(fake_call(&program, SYS_read, (uint64_t)end, DATA, 10), FAKE_BLOCKED);
    fake_put_string(&child, DATA, "words");
    cr_assert_eq(fake_call(&child, SYS_write, (uint64_t)client, DATA, 5), 5);
    cr_assert_eq(fake_result(&program), 5);
    cr_assert_eq(fake_call(&program, SYS_read, (uint64_t)end, DATA, 10), FAKE_BLOCKED);
    fake_call(&child, SYS_exit_group, 0);
    cr_assert_eq(fake_result(&program), 0, "the end of the stream");
}

Test(local, who_connects_waits_for_a_place)
{
    struct program program = fake_boot();
    int64_t fd = listener(&program, "@server", 0);
    cr_assert_gt(fake_call(&program, SYS_fork), 0);
    struct program child = fake_newest();
    int64_t one = make(&child, SOCK_STREAM), two = make(&child, SOCK_STREAM), three = make(&child, SOCK_STREAM | SOCK_NONBLOCK);
    cr_assert_eq(connect_to(&child, one, "@server"), 0);
    cr_assert_eq(connect_to(&child, three, "@server"), -EAGAIN);
    cr_assert_eq(connect_to(&child, two, "@server"), FAKE_BLOCKED);
    cr_assert_geq(fake_call(&program, SYS_accept, (uint64_t)fd, 0, 0), 4);
    cr_assert_eq(fake_result(&child), 0);
    cr_assert_eq(connect_to(&child, three, "@server"), -EAGAIN);
    fake_call(&program, SYS_close, (uint64_t)fd);
    fake_call(&child, SYS_close, (uint64_t)fd);
    cr_expect_eq(connect_to(&child, three, "@server"), -ECONNREFUSED);
    cr_expect_eq(fake_call(&child, SYS_read, (uint64_t)two, DATA, 1), -ECONNRESET);
}

Test(local, a_full_socket_makes_its_writer_wait_until_there_is_room)
{
    struct program program = fake_boot();
    int fds[2];
    make_pair(&program, SOCK_STREAM, fds);
    cr_assert_gt(fake_call(&program, SYS_fork), 0);
    struct program child = fake_newest();
    cr_assert_eq(fake_call(&program, SYS_write, (uint64_t)fds[0], DATA, 400000), FAKE_BLOCKED);
    int64_t got = 0;
    while (fake_where(&program) == FAKE_WAITS && got < 400000) {
        int64_t part = fake_call(&child, SYS_read, (uint64_t)fds[1], DATA, 50000);
        cr_assert_gt(part, 0);
        got += part;
    }
    cr_assert_eq(fake_result(&program), 400000);
}

Test(local, what_was_written_counts_when_a_signal_comes)
{
    struct program program = fake_boot();
    int fds[2];
    uint64_t action[4] = { 0x1234, 0x04000000, 0x5678 };
    make_pair(&program, SOCK_STREAM, fds);
    fake_put(&program, PLAY, action, sizeof action);
    fake_call(&program, SYS_rt_sigaction, SIGUSR1, PLAY, 0, 8);
    cr_assert_gt(fake_call(&program, SYS_fork), 0);
    struct program child = fake_newest();
    cr_assert_eq(fake_call(&program, SYS_write, (uint64_t)fds[0], DATA, 400000), FAKE_BLOCKED);
    cr_assert_eq(fake_call(&child, SYS_kill, (uint64_t)program.pid, SIGUSR1), 0);
    cr_assert_eq(fake_where(&program), FAKE_RUNS, "its handler");
}

Test(local, time_limits_of_a_socket_hold)
{
    struct program program = fake_boot();
    int fds[2];
    int64_t limit[2] = { 2, 0 };
    make_pair(&program, SOCK_DGRAM, fds);
    fake_put(&program, PLAY, limit, sizeof limit);
    cr_assert_eq(fake_call(&program, SYS_setsockopt, (uint64_t)fds[0], SOL_SOCKET, 20, PLAY, sizeof limit), 0);
    cr_assert_eq(fake_call(&program, SYS_read, (uint64_t)fds[0], DATA, 1), FAKE_BLOCKED);
    fake_pass(NANOSECONDS);
    cr_assert_eq(fake_where(&program), FAKE_WAITS);
    fake_pass(2 * NANOSECONDS);
    cr_assert_eq(fake_result(&program), -EAGAIN);
}

Test(local, poll_sees_what_arrives_and_the_end)
{
    struct program program = fake_boot();
    int fds[2];
    make_pair(&program, SOCK_SEQPACKET, fds);
    cr_assert_gt(fake_call(&program, SYS_fork), 0);
    struct program child = fake_newest();
    struct pollfd look = { fds[0], POLLIN, 0 };
    fake_put(&program, PLAY, &look, sizeof look);
    fake_call(&program, SYS_close, (uint64_t)fds[1]);
    fake_call(&child, SYS_close, (uint64_t)fds[0]);
    cr_assert_eq(fake_call(&program, SYS_poll, PLAY, 1, (uint64_t)-1), FAKE_BLOCKED);
    cr_assert_eq(fake_call(&child, SYS_write, (uint64_t)fds[1], DATA, 3), 3);
    cr_assert_eq(fake_result(&program), 1);
    cr_assert_eq(fake_call(&program, SYS_read, (uint64_t)fds[0], DATA, 10), 3);
    cr_assert_eq(fake_call(&program, SYS_poll, PLAY, 1, (uint64_t)-1), FAKE_BLOCKED);
    fake_call(&child, SYS_exit_group, 0);
    cr_assert_eq(fake_result(&program), 1);
    fake_get(&program, PLAY, &look, sizeof look);
    cr_assert_eq(look.revents, POLLIN | POLLHUP);
}

Test(local, a_connection_is_not_lost_when_there_is_no_descriptor_for_it)
{
    struct program program = fake_boot();
    int64_t fd = listener(&program, "@server", 5), client = make(&program, SOCK_STREAM);
    uint64_t limit[2] = { (uint64_t)client + 1, 100 };
    cr_assert_eq(connect_to(&program, client, "@server"), 0);
    fake_put(&program, PLAY, limit, sizeof limit);
    cr_assert_eq(fake_call(&program, SYS_setrlimit, 7, PLAY), 0);
    cr_expect_eq(fake_call(&program, SYS_accept, (uint64_t)fd, 0, 0), -EMFILE);
    limit[0] = 100;
    fake_put(&program, PLAY, limit, sizeof limit);
    cr_assert_eq(fake_call(&program, SYS_setrlimit, 7, PLAY), 0);
    cr_expect_eq(fake_call(&program, SYS_accept, (uint64_t)fd, 0, 0), client + 1);
}

Test(local, the_descriptors_under_way_are_bounded_for_each_user)
{
    struct program program = fake_boot();
    uint64_t limit[2] = { 20, 20 };
    int fds[2], sent = 0;
    fake_put(&program, PLAY, limit, sizeof limit);
    fake_call(&program, SYS_setrlimit, 7, PLAY);
    make_pair(&program, SOCK_DGRAM, fds);
    fake_call(&program, SYS_setuid, 1000);
    int64_t error;
    while ((error = send_fd(&program, fds[0], 0)) == 1 && sent < 100)
        sent++;
    cr_expect_eq(error, -ETOOMANYREFS);
    cr_expect_eq(sent, 20);
}

Test(local, sockets_that_only_lead_to_each_other_go)
{
    struct program program = fake_boot();
    int a[2], b[2];
    make_pair(&program, SOCK_DGRAM, a);
    make_pair(&program, SOCK_STREAM, b);
    cr_assert_eq(send_fd(&program, a[0], b[0]), 1);
    cr_assert_eq(send_fd(&program, a[0], b[1]), 1);
    cr_assert_eq(send_fd(&program, b[0], a[0]), 1);
    cr_assert_eq(send_fd(&program, b[0], a[1]), 1);
    fake_call(&program, SYS_close, (uint64_t)b[0]);
    fake_call(&program, SYS_close, (uint64_t)b[1]);
    fake_call(&program, SYS_close, (uint64_t)a[0]);
    cr_expect_eq(count_locals(), 4, "one descriptor leads to all of them");
    fake_call(&program, SYS_close, (uint64_t)a[1]);
    cr_expect_eq(count_locals(), 0);
}

Test(local, sockets_that_wait_in_a_connection_to_be_accepted_stay)
{
    struct program program = fake_boot();
    int pair[2];
    int64_t fd = listener(&program, "@server", 5), client = make(&program, SOCK_STREAM);
    make_pair(&program, SOCK_STREAM, pair);
    cr_assert_eq(connect_to(&program, client, "@server"), 0);
    cr_assert_eq(send_fd(&program, (int)client, pair[0]), 1);
    fake_call(&program, SYS_close, (uint64_t)pair[0]);
    fake_call(&program, SYS_close, (uint64_t)client);
    fake_put_string(&program, DATA, "still there");
    cr_expect_eq(fake_call(&program, SYS_write, (uint64_t)pair[1], DATA, 11), 11);
    fake_call(&program, SYS_close, (uint64_t)fd);
    cr_expect_eq(fake_call(&program, SYS_sendto, (uint64_t)pair[1], DATA, 1, MSG_NOSIGNAL, 0, 0), -ECONNRESET);
    cr_expect_eq(count_locals(), 1);
}

Test(local, a_thousand_sockets_inside_each_other_go_one_by_one)
{
    struct program program = fake_boot();
    int outer[2], inner[2];
    make_pair(&program, SOCK_STREAM, outer);
    for (int i = 0; i < 1000; i++) {
        make_pair(&program, SOCK_STREAM, inner);
        cr_assert_eq(send_fd(&program, inner[0], outer[1]), 1);
        cr_assert_eq(send_fd(&program, inner[0], outer[0]), 1);
        fake_call(&program, SYS_close, (uint64_t)outer[0]);
        fake_call(&program, SYS_close, (uint64_t)outer[1]);
        memcpy(outer, inner, sizeof outer);
    }
    cr_expect_eq(count_locals(), 2002);
    fake_call(&program, SYS_close, (uint64_t)outer[0]);
    fake_call(&program, SYS_close, (uint64_t)outer[1]);
    cr_expect_eq(count_locals(), 0);
}

Test(local, messages_that_were_received_count_when_a_signal_comes)
{
    struct program program = fake_boot();
    int fds[2];
    uint64_t action[4] = { 0x1234, 0x04000000, 0x5678 };
    struct mmsghdr headers[2] = { 0 };
    make_pair(&program, SOCK_DGRAM, fds);
    fake_put(&program, PLAY, action, sizeof action);
    fake_call(&program, SYS_rt_sigaction, SIGUSR1, PLAY, 0, 8);
    fake_put(&program, HEADER, headers, sizeof headers);
    cr_assert_eq(fake_call(&program, SYS_write, (uint64_t)fds[0], DATA, 0), 0);
    cr_assert_gt(fake_call(&program, SYS_fork), 0);
    struct program child = fake_newest();
    cr_assert_eq(fake_call(&program, SYS_recvmmsg, (uint64_t)fds[1], HEADER, 2, 0, 0), FAKE_BLOCKED);
    cr_assert_eq(fake_call(&child, SYS_write, (uint64_t)fds[0], DATA, 0), 0);
    cr_assert_eq(fake_result(&program), 2);
}
