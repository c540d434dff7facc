/* local: local sockets: streams, datagrams and packets, by pairs, paths and abstract names; descriptors and credentials that go along;
 * poll, epoll, time-outs, signals. The argument says which folder to make names in. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

static const char *folder = "/tmp";
static void *volatile nowhere = (void *)8;

static struct sockaddr_un address_of(const char *name, socklen_t *size)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (name[0] == '@') {
        memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
        *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    } else {
        snprintf(address.sun_path, sizeof address.sun_path, "%s/%s.%d", folder, name, getpid());
        *size = sizeof address;
    }
    return address;
}

static int bound(int type, const char *name)
{
    socklen_t size;
    struct sockaddr_un address = address_of(name, &size);
    int fd = socket(AF_UNIX, type, 0);
    EXPECT(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0);
    return fd;
}

static int try_connect(int fd, const char *name)
{
    socklen_t size;
    struct sockaddr_un address = address_of(name, &size);
    return connect(fd, (struct sockaddr *)&address, size);
}

static void forget(const char *name)
{
    socklen_t size;
    struct sockaddr_un address = address_of(name, &size);
    EXPECT(unlink(address.sun_path) == 0);
}

static int fails(long result, int error)
{
    return result == -1 && errno == error;
}

/* ---- what is refused ---- */

static void bad_input(void)
{
    int pair[2], fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char byte = 'x';
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    EXPECT(fails(socket(AF_UNIX, 77, 0), EINVAL));
    EXPECT(fails(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT));
    EXPECT(fails(socket(AF_UNIX, SOCK_STREAM, 6), EPROTONOSUPPORT));
    EXPECT(fails(socketpair(AF_INET, SOCK_STREAM, 0, pair), EOPNOTSUPP));
    EXPECT(fails(socketpair(AF_UNIX, SOCK_STREAM, 0, nowhere), EFAULT));
    EXPECT(fails(send(0, &byte, 1, 0), ENOTSOCK) && fails(send(999, &byte, 1, 0), EBADF));
    EXPECT(fails(send(fd, &byte, 1, MSG_NOSIGNAL), ENOTCONN) && fails(recv(fd, &byte, 1, 0), EINVAL));
    EXPECT(fails(listen(fd, 1), EINVAL) && fails(accept(fd, NULL, NULL), EINVAL));
    EXPECT(fails(shutdown(fd, 7), EINVAL));
    EXPECT(fails(connect(fd, (struct sockaddr *)&address, 1), EINVAL));
    EXPECT(fails(connect(fd, (struct sockaddr *)&address, 500), EINVAL));
    EXPECT(fails(try_connect(fd, "@nobody is here"), ECONNREFUSED));
    EXPECT(fails(try_connect(fd, "nobody"), ENOENT));
    EXPECT(fails(setsockopt(fd, SOL_SOCKET, 9999, &pair, sizeof pair), ENOPROTOOPT));
    EXPECT(fails(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &pair, 1), EINVAL));
    struct pollfd poll_fd = { fd, POLLIN | POLLOUT, 0 };
    EXPECT(poll(&poll_fd, 1, 0) == 1 && poll_fd.revents == (POLLOUT | POLLHUP));
    close(fd);
}

/* ---- pairs ---- */

static void streams(void)
{
    int pair[2], number = 0;
    char bytes[100000], got[100000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    EXPECT(fcntl(pair[0], F_GETFD) == FD_CLOEXEC);
    EXPECT(write(pair[0], "ab", 2) == 2 && write(pair[0], "cd", 2) == 2);
    EXPECT(ioctl(pair[1], FIONREAD, &number) == 0 && number == 4);
    EXPECT(recv(pair[1], got, 3, MSG_PEEK) == 3 && memcmp(got, "abc", 3) == 0);
    EXPECT(read(pair[1], got, 100) == 4 && memcmp(got, "abcd", 4) == 0);
    EXPECT(fails(recv(pair[1], got, 1, MSG_DONTWAIT), EAGAIN));
    EXPECT(write(pair[0], bytes, sizeof bytes) == sizeof bytes);
    EXPECT(recv(pair[1], got, sizeof got, MSG_WAITALL) == sizeof got && memcmp(bytes, got, sizeof got) == 0);
    EXPECT(fails(recv(pair[1], nowhere, 1, MSG_DONTWAIT), EAGAIN));
    EXPECT(write(pair[0], "x", 1) == 1 && fails(read(pair[1], nowhere, 1), EFAULT));
    EXPECT(read(pair[1], got, 9) == 1);
    EXPECT(write(pair[1], "last", 4) == 4 && shutdown(pair[1], SHUT_WR) == 0);
    EXPECT(fails(send(pair[1], "x", 1, MSG_NOSIGNAL), EPIPE));
    EXPECT(read(pair[0], got, 100) == 4 && read(pair[0], got, 100) == 0);
    EXPECT(write(pair[0], "back", 4) == 4 && read(pair[1], got, 100) == 4);
    EXPECT(write(pair[0], "unread", 6) == 6 && close(pair[1]) == 0);
    EXPECT(fails(read(pair[0], got, 1), ECONNRESET) && read(pair[0], got, 1) == 0);
    struct stat stat;
    EXPECT(fstat(pair[0], &stat) == 0 && S_ISSOCK(stat.st_mode));
    close(pair[0]);
}

static void a_stream_in_pieces_of_all_sizes(void)
{
    enum { TOTAL = 3000000 };
    static char buffer[70000];
    unsigned long sum = 0, expected = 0, random = 12345;
    int pair[2], status;
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(pair[1]);
        for (size_t at = 0; at < TOTAL;) {
            size_t size = next_random(&random) % sizeof buffer + 1;
            size = next_random(&random) % 2 ? size : size % 100 + 1;
            size = size < TOTAL - at ? size : TOTAL - at;
            for (size_t i = 0; i < size; i++)
                buffer[i] = (char)((at + i) * 13 >> 3);
            EXPECT(write(pair[0], buffer, size) == (ssize_t)size);
            at += size;
        }
        _exit(0);
    }
    close(pair[0]);
    size_t at = 0;
    for (ssize_t size; (size = read(pair[1], buffer, next_random(&random) % sizeof buffer + 1)) > 0; at += (size_t)size)
        for (ssize_t i = 0; i < size; i++) {
            sum += (unsigned char)buffer[i];
            expected += (unsigned char)((at + (size_t)i) * 13 >> 3);
        }
    EXPECT(at == TOTAL && sum == expected);
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    close(pair[1]);
}

static void packets(int type)
{
    int pair[2];
    char got[100] = "";
    struct iovec io = { got, 3 };
    struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1 };
    EXPECT(socketpair(AF_UNIX, type, 0, pair) == 0);
    EXPECT(write(pair[0], "one", 3) == 3 && write(pair[0], "", 0) == 0 && write(pair[0], "three", 5) == 5);
    EXPECT(read(pair[1], got, 100) == 3 && read(pair[1], got, 100) == 0);
    EXPECT(recvmsg(pair[1], &message, MSG_PEEK) == 3 && (message.msg_flags & MSG_TRUNC));
    EXPECT(recv(pair[1], got, 2, MSG_TRUNC) == 5 && memcmp(got, "th", 2) == 0);
    EXPECT(fails(recv(pair[1], got, 1, MSG_DONTWAIT), EAGAIN));
    EXPECT(fails(send(pair[0], got, 10000000, 0), EMSGSIZE));
    EXPECT(write(pair[0], "left", 4) == 4 && close(pair[0]) == 0);
    EXPECT(read(pair[1], got, 100) == 4);
    EXPECT(type == SOCK_DGRAM || read(pair[1], got, 100) == 0);
    EXPECT(fails(send(pair[1], "x", 1, MSG_NOSIGNAL), type == SOCK_DGRAM ? ECONNREFUSED : EPIPE));
    close(pair[1]);
}

static void many_at_once(void)
{
    int pair[2];
    char a[4] = "", b[4] = "", c[4] = "";
    struct iovec out[3] = { { "1", 1 }, { "22", 2 }, { "333", 3 } }, in[3] = { { a, 4 }, { b, 4 }, { c, 4 } };
    struct mmsghdr send[3] = { 0 }, receive[3] = { 0 };
    for (int i = 0; i < 3; i++) {
        send[i].msg_hdr = (struct msghdr){ .msg_iov = &out[i], .msg_iovlen = 1 };
        receive[i].msg_hdr = (struct msghdr){ .msg_iov = &in[i], .msg_iovlen = 1 };
    }
    EXPECT(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    EXPECT(sendmmsg(pair[0], send, 3, 0) == 3 && send[2].msg_len == 3);
    EXPECT(recvmmsg(pair[1], receive, 2, 0, NULL) == 2 && receive[1].msg_len == 2 && memcmp(b, "22", 2) == 0);
    EXPECT(recvmmsg(pair[1], receive, 3, MSG_WAITFORONE, NULL) == 1 && receive[0].msg_len == 3);
    EXPECT(fails(recvmmsg(pair[1], receive, 3, MSG_DONTWAIT, NULL), EAGAIN));
    close(pair[0]);
    close(pair[1]);
}

/* ---- names ---- */

static void a_server(const char *name)
{
    int listener = bound(SOCK_STREAM, name), status;
    socklen_t size = sizeof(struct sockaddr_un), expected;
    struct sockaddr_un address = address_of(name, &expected), told;
    char got[16];
    if (name[0] != '@')
        expected = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address.sun_path) + 1);
    int second = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT(fails(try_connect(second, name), ECONNREFUSED));
    EXPECT(fails(bind(second, (struct sockaddr *)&address, expected), EADDRINUSE));
    EXPECT(listen(listener, 5) == 0 && (name[0] != '@' || fails(bind(listener, (struct sockaddr *)&address, expected), EINVAL)));
    EXPECT(getsockname(listener, (struct sockaddr *)&told, &size) == 0 && size == expected && memcmp(&told, &address, size) == 0);
    pid_t child = fork();
    if (child == 0) {
        EXPECT(connect(second, (struct sockaddr *)&address, expected) == 0);
        EXPECT(fails(connect(second, (struct sockaddr *)&address, expected), EISCONN));
        size = sizeof told;
        EXPECT(getpeername(second, (struct sockaddr *)&told, &size) == 0 && size == expected && memcmp(&told, &address, size) == 0);
        EXPECT(write(second, "hello", 5) == 5 && read(second, got, 16) == 3 && memcmp(got, "bye", 3) == 0);
        EXPECT(read(second, got, 16) == 0);
        _exit(0);
    }
    size = sizeof told;
    int end = accept4(listener, (struct sockaddr *)&told, &size, SOCK_CLOEXEC);
    EXPECT(end >= 0 && fcntl(end, F_GETFD) == FD_CLOEXEC && size == sizeof(sa_family_t) && told.sun_family == AF_UNIX);
    struct ucred who;
    size = sizeof who;
    EXPECT(getsockopt(end, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0);
    EXPECT(who.pid == child && who.uid == geteuid() && who.gid == getegid());
    EXPECT(read(end, got, 16) == 5 && memcmp(got, "hello", 5) == 0 && write(end, "bye", 3) == 3 && close(end) == 0);
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    close(second);
    close(listener);
    second = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT(fails(connect(second, (struct sockaddr *)&address, expected), ECONNREFUSED));
    if (name[0] != '@') {
        struct stat stat;
        EXPECT(lstat(address.sun_path, &stat) == 0 && S_ISSOCK(stat.st_mode));
        EXPECT(fails(open(address.sun_path, O_RDONLY), ENXIO));
        forget(name);
        EXPECT(fails(connect(second, (struct sockaddr *)&address, expected), ENOENT));
    }
    close(second);
}

static void a_full_listener_refuses_and_a_closed_one_resets(void)
{
    int listener = bound(SOCK_STREAM, "@full"), fds[4];
    char got;
    EXPECT(listen(listener, 1) == 0);
    for (int i = 0; i < 3; i++)
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    EXPECT(try_connect(fds[0], "@full") == 0 && try_connect(fds[1], "@full") == 0);
    EXPECT(fails(try_connect(fds[2], "@full"), EAGAIN));
    close(accept(listener, NULL, NULL));
    EXPECT(try_connect(fds[2], "@full") == 0);
    EXPECT(read(fds[0], &got, 1) == 0);
    close(listener);
    EXPECT(fails(read(fds[1], &got, 1), ECONNRESET));
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

static void datagrams_by_name(void)
{
    int server = bound(SOCK_DGRAM, "@server"), client = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un address, from;
    socklen_t size, from_size = sizeof from;
    char got[16];
    EXPECT(fails(write(client, "x", 1), ENOTCONN));
    address = address_of("@server", &size);
    EXPECT(sendto(client, "anonymous", 9, 0, (struct sockaddr *)&address, size) == 9);
    EXPECT(recvfrom(server, got, 16, 0, (struct sockaddr *)&from, &from_size) == 9 && from_size == 0);
    sa_family_t family = AF_UNIX;
    EXPECT(bind(client, (struct sockaddr *)&family, sizeof family) == 0);
    EXPECT(connect(client, (struct sockaddr *)&address, size) == 0 && write(client, "named", 5) == 5);
    from_size = sizeof from;
    EXPECT(recvfrom(server, got, 16, 0, (struct sockaddr *)&from, &from_size) == 5 && from_size == sizeof(sa_family_t) + 6);
    EXPECT(sendto(server, "reply", 5, 0, (struct sockaddr *)&from, from_size) == 5 && read(client, got, 16) == 5);
    int stranger = bound(SOCK_DGRAM, "@stranger");
    EXPECT(fails(sendto(stranger, "x", 1, 0, (struct sockaddr *)&from, from_size), EPERM));
    int stream = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT(fails(connect(stream, (struct sockaddr *)&address, size), ECONNREFUSED)); /* each type has abstract names of its own */
    close(server);
    EXPECT(fails(write(client, "x", 1), ECONNREFUSED) && fails(write(client, "x", 1), ENOTCONN));
    close(client);
    close(stranger);
    close(stream);
}

/* ---- what goes along ---- */

struct along {
    struct msghdr message;
    struct iovec io;
    char byte;
    _Alignas(struct cmsghdr) char control[256];
};

static void along_init(struct along *along)
{
    along->byte = '!';
    along->io = (struct iovec){ &along->byte, 1 };
    along->message = (struct msghdr){ .msg_iov = &along->io, .msg_iovlen = 1, .msg_control = along->control,
                                      .msg_controllen = sizeof along->control };
}

static int send_fds(int to, const int *fds, size_t count)
{
    struct along along;
    along_init(&along);
    along.message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
    struct cmsghdr *head = CMSG_FIRSTHDR(&along.message);
    *head = (struct cmsghdr){ CMSG_LEN(count * sizeof *fds), SOL_SOCKET, SCM_RIGHTS };
    memcpy(CMSG_DATA(head), fds, count * sizeof *fds);
    return (int)sendmsg(to, &along.message, 0);
}

static int receive_fds(int from, int *fds, size_t room, int flags)
{
    struct along along;
    along_init(&along);
    along.message.msg_controllen = room;
    EXPECT(recvmsg(from, &along.message, flags) == 1);
    struct cmsghdr *head = CMSG_FIRSTHDR(&along.message);
    if (head == NULL)
        return along.message.msg_flags & MSG_CTRUNC ? -1 : 0;
    EXPECT(head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS);
    int count = (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof *fds);
    memcpy(fds, CMSG_DATA(head), (size_t)count * sizeof *fds);
    return count;
}

static void descriptors(int type)
{
    int pair[2], pipe_fds[2], got[8];
    char text[16];
    EXPECT(socketpair(AF_UNIX, type, 0, pair) == 0 && pipe(pipe_fds) == 0);
    EXPECT(fails(send_fds(pair[0], (int[]){ 999 }, 1), EBADF));
    EXPECT(send_fds(pair[0], pipe_fds, 2) == 1);
    close(pipe_fds[1]);
    EXPECT(receive_fds(pair[1], got, 256, MSG_CMSG_CLOEXEC) == 2 && fcntl(got[0], F_GETFD) == FD_CLOEXEC);
    EXPECT(write(got[1], "through", 7) == 7 && read(pipe_fds[0], text, 16) == 7);
    close(got[1]);
    EXPECT(read(pipe_fds[0], text, 16) == 0); /* nobody else holds it */
    /* Without room for them they are closed. */
    EXPECT(pipe(pipe_fds) == 0 && send_fds(pair[0], &pipe_fds[1], 1) == 1 && close(pipe_fds[1]) == 0);
    EXPECT(receive_fds(pair[1], got, 4, 0) == -1 && read(pipe_fds[0], text, 16) == 0);
    EXPECT(pipe(pipe_fds) == 0 && send_fds(pair[0], &pipe_fds[1], 1) == 1 && close(pipe_fds[1]) == 0);
    EXPECT(read(pair[1], text, 16) == 1 && read(pipe_fds[0], text, 16) == 0);
    /* They go when the queue goes. */
    EXPECT(pipe(pipe_fds) == 0 && send_fds(pair[0], &pipe_fds[1], 1) == 1 && close(pipe_fds[1]) == 0);
    close(pair[0]);
    close(pair[1]);
    EXPECT(read(pipe_fds[0], text, 16) == 0);
}

/* A socket under way in itself holds a pipe: closed, it lets go of it. */
static void descriptors_in_circles(void)
{
    for (int round = 0; round < 20; round++) {
        int one[2], two[2], pipe_fds[2];
        char byte;
        EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, one) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, two) == 0 && pipe(pipe_fds) == 0);
        EXPECT(send_fds(one[0], (int[]){ two[0], two[1], pipe_fds[1] }, 3) == 1);
        EXPECT(send_fds(two[0], (int[]){ one[0], one[1] }, 2) == 1);
        close(pipe_fds[1]);
        close(one[0]);
        close(one[1]);
        close(two[0]);
        struct pollfd fd = { pipe_fds[0], POLLIN, 0 };
        EXPECT(poll(&fd, 1, 0) == 0); /* two[1] can still be read from */
        close(two[1]);
        for (int i = 0; i < 500 && poll(&fd, 1, 10) == 0; i++) { /* Linux looks when the next one is closed */
            EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, one) == 0);
            close(one[0]);
            close(one[1]);
        }
        EXPECT(poll(&fd, 1, 0) == 1 && read(pipe_fds[0], &byte, 1) == 0);
        close(pipe_fds[0]);
    }
}

static void credentials(void)
{
    int pair[2], on = 1;
    struct along along;
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    EXPECT(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    EXPECT(write(pair[0], "x", 1) == 1);
    along_init(&along);
    EXPECT(recvmsg(pair[1], &along.message, 0) == 1);
    struct cmsghdr *head = CMSG_FIRSTHDR(&along.message);
    struct ucred who;
    EXPECT(head != NULL && head->cmsg_type == SCM_CREDENTIALS && head->cmsg_len == CMSG_LEN(sizeof who));
    memcpy(&who, CMSG_DATA(head), sizeof who);
    EXPECT(who.pid == getpid() && who.uid == getuid() && who.gid == getgid());
    close(pair[0]);
    close(pair[1]);
}

/* ---- waiting ---- */

static int ready(int fd, short events, int timeout)
{
    struct pollfd poll_fd = { fd, events, 0 };
    return poll(&poll_fd, 1, timeout) == 1 ? poll_fd.revents : 0;
}

static void polling(void)
{
    int pair[2], epoll = epoll_create1(0), status;
    char buffer[65536] = "";
    struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = 7 };
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    EXPECT(ready(pair[0], POLLIN | POLLOUT, 0) == POLLOUT);
    while (send(pair[0], buffer, sizeof buffer, MSG_DONTWAIT) > 0)
        ;
    EXPECT(errno == EAGAIN && ready(pair[0], POLLOUT, 0) == 0 && ready(pair[1], POLLIN, 0) == POLLIN);
    while (recv(pair[1], buffer, sizeof buffer, MSG_DONTWAIT) > 0)
        ;
    EXPECT(ready(pair[0], POLLOUT, 0) == POLLOUT);
    EXPECT(epoll_ctl(epoll, EPOLL_CTL_ADD, pair[1], &event) == 0 && epoll_wait(epoll, &event, 1, 0) == 0);
    EXPECT(write(pair[0], "a", 1) == 1 && epoll_wait(epoll, &event, 1, 1000) == 1 && event.data.u32 == 7 && event.events == EPOLLIN);
    EXPECT(epoll_wait(epoll, &event, 1, 0) == 0);
    EXPECT(write(pair[0], "b", 1) == 1 && epoll_wait(epoll, &event, 1, 1000) == 1); /* a new edge, though nothing was read */
    EXPECT(read(pair[1], buffer, 9) == 2);
    pid_t child = fork();
    if (child == 0) {
        struct timespec time = { 0, 20000000 };
        nanosleep(&time, NULL);
        EXPECT(write(pair[0], "c", 1) == 1);
        nanosleep(&time, NULL);
        _exit(shutdown(pair[0], SHUT_RDWR));
    }
    EXPECT(epoll_wait(epoll, &event, 1, 5000) == 1 && event.events == EPOLLIN && read(pair[1], buffer, 9) == 1);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pair[1], &set);
    EXPECT(select(pair[1] + 1, &set, NULL, NULL, &(struct timeval){ 5, 0 }) == 1 && read(pair[1], buffer, 1) == 0);
    EXPECT(ready(pair[1], POLLIN | POLLRDHUP, 0) == (POLLIN | POLLRDHUP | POLLHUP));
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    close(pair[0]);
    close(pair[1]);
    close(epoll);
}

static volatile int alarms;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static void times_and_signals(void)
{
    int pair[2];
    char got;
    struct timeval limit = { 0, 20000 }, told;
    socklen_t size = sizeof told;
    struct sigaction action = { .sa_handler = on_alarm };
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    EXPECT(fails(read(pair[0], &got, 1), EINTR) && alarms == 1);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    EXPECT(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    EXPECT(getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &told, &size) == 0 && told.tv_usec == 20000);
    EXPECT(fails(read(pair[0], &got, 1), EAGAIN));
    close(pair[1]);
    EXPECT(fails(write(pair[0], "x", 1), EPIPE));
    close(pair[0]);
    int number;
    size = sizeof number;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    EXPECT(getsockopt(fd, SOL_SOCKET, SO_TYPE, &number, &size) == 0 && number == SOCK_SEQPACKET);
    EXPECT(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &number, &size) == 0 && number == AF_UNIX);
    EXPECT(getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) == 0 && number == 0);
    close(fd);
}

int main(int count, char **words)
{
    folder = count > 1 ? words[1] : folder;
    bad_input();
    streams();
    a_stream_in_pieces_of_all_sizes();
    packets(SOCK_DGRAM);
    packets(SOCK_SEQPACKET);
    many_at_once();
    a_server("@abstract");
    a_server("path");
    a_full_listener_refuses_and_a_closed_one_resets();
    datagrams_by_name();
    descriptors(SOCK_STREAM);
    descriptors(SOCK_SEQPACKET);
    descriptors_in_circles();
    credentials();
    polling();
    times_and_signals();
    puts("local sockets agree");
    return 0;
}
