/* inet: sockets of the Internet on the loopback interface: TCP and UDP, IPv4 and IPv6, names, options, waiting, what is refused. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

static int fails(long result, int error)
{
    return result == -1 && errno == error;
}

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union address make(const char *text, int port, socklen_t *size)
{
    union address address = { .v4.sin_family = AF_INET };
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
        address.v4.sin_port = htons((uint16_t)port);
        *size = sizeof address.v4;
    } else {
        address.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
        EXPECT(inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1);
        *size = sizeof address.v6;
    }
    return address;
}

static int port_of(int fd)
{
    union address address;
    socklen_t size = sizeof address;
    EXPECT(getsockname(fd, &address.any, &size) == 0);
    return ntohs(address.v4.sin_port); /* at the same place in both */
}

static int bound(int family, int type, const char *text)
{
    socklen_t size;
    union address address = make(text, 0, &size);
    int fd = socket(family, type, 0);
    EXPECT(fd >= 0 && bind(fd, &address.any, size) == 0);
    return fd;
}

static int listener(int family, const char *text)
{
    int fd = bound(family, SOCK_STREAM, text);
    EXPECT(listen(fd, 16) == 0);
    return fd;
}

static int try_connect(int fd, const char *text, int port)
{
    socklen_t size;
    union address address = make(text, port, &size);
    return connect(fd, &address.any, size);
}

static int number_of(int fd, int level, int option)
{
    int number = -1;
    socklen_t size = sizeof number;
    EXPECT(getsockopt(fd, level, option, &number, &size) == 0);
    return number;
}

/* ---- what is refused ---- */

static void *volatile nowhere = (void *)8;

static void bad_input(void)
{
    char byte = 'x';
    socklen_t size;
    union address address = make("127.0.0.1", 1, &size);
    int fd = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    EXPECT(fails(socket(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT) && fails(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT));
    EXPECT(fails(socket(77, SOCK_STREAM, 0), EAFNOSUPPORT));
    EXPECT(fails(bind(fd, &address.any, 3), EINVAL) && fails(bind(fd, nowhere, size), EFAULT));
    EXPECT(fails(connect(fd, &address.any, 3), EINVAL) && fails(accept(fd, NULL, NULL), EINVAL));
    EXPECT(fails(send(fd, &byte, 1, MSG_NOSIGNAL), EPIPE) && fails(recv(fd, &byte, 1, 0), ENOTCONN));
    EXPECT(fails(shutdown(fd, SHUT_WR), ENOTCONN) && fails(getpeername(fd, &address.any, &size), ENOTCONN));
    EXPECT(fails(setsockopt(fd, IPPROTO_TCP, 9999, &on, sizeof on), ENOPROTOOPT) && fails(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, 1), EINVAL));
    EXPECT(fails(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, nowhere, sizeof on), EFAULT));
    EXPECT(fails(send(udp, &byte, 1, 0), EDESTADDRREQ) && fails(listen(udp, 1), EOPNOTSUPP) && fails(accept(udp, NULL, NULL), EOPNOTSUPP));
    address.v4.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1 is nobody's */
    EXPECT(fails(bind(fd, &address.any, sizeof address.v4), EADDRNOTAVAIL));
    int taken = listener(AF_INET, "127.0.0.1");
    address = make("127.0.0.1", port_of(taken), &size);
    EXPECT(fails(bind(fd, &address.any, size), EADDRINUSE) && fails(bind(taken, &address.any, size), EINVAL));
    close(taken);
    EXPECT(fails(try_connect(fd, "127.0.0.1", ntohs(address.v4.sin_port)), ECONNREFUSED));
    EXPECT(sendto(udp, &byte, 1, 0, &address.any, size) == 1);
    static char big[70000];
    EXPECT(fails(sendto(udp, big, sizeof big, 0, &address.any, size), EMSGSIZE));
    close(fd);
    close(udp);
}

/* ---- streams ---- */

static void connect_pair(int family, const char *there, const char *here, int ends[2])
{
    int fd = listener(family, here);
    union address from = { 0 }, peer;
    socklen_t size = sizeof from, peer_size = sizeof peer;
    ends[0] = socket(strchr(there, ':') == NULL ? AF_INET : AF_INET6, SOCK_STREAM, 0);
    EXPECT(try_connect(ends[0], there, port_of(fd)) == 0);
    ends[1] = accept4(fd, &from.any, &size, SOCK_CLOEXEC);
    EXPECT(ends[1] >= 0 && size == (family == AF_INET ? sizeof from.v4 : sizeof from.v6) && from.any.sa_family == family);
    EXPECT(ntohs(from.v4.sin_port) == port_of(ends[0]));
    EXPECT(getpeername(ends[1], &peer.any, &peer_size) == 0 && peer_size == size && memcmp(&peer, &from, 8) == 0);
    EXPECT(getpeername(ends[0], &peer.any, &peer_size) == 0 && ntohs(peer.v4.sin_port) == port_of(ends[1]));
    if (family == AF_INET6 && strchr(there, ':') == NULL)
        EXPECT(IN6_IS_ADDR_V4MAPPED(&from.v6.sin6_addr));
    close(fd);
}

static void a_conversation(int family, const char *there, const char *here)
{
    int ends[2], number = 0;
    char got[16];
    connect_pair(family, there, here, ends);
    EXPECT(fails(recv(ends[0], got, 1, MSG_DONTWAIT), EAGAIN));
    EXPECT(write(ends[0], "hello", 5) == 5 && recv(ends[1], got, 3, MSG_PEEK | MSG_WAITALL) == 3);
    EXPECT(ioctl(ends[1], FIONREAD, &number) == 0 && number == 5);
    EXPECT(recv(ends[1], got, 5, MSG_WAITALL) == 5 && memcmp(got, "hello", 5) == 0);
    struct iovec out[2] = { { "ab", 2 }, { "cde", 3 } }, in[2] = { { got, 1 }, { got + 8, 8 } };
    EXPECT(writev(ends[1], out, 2) == 5 && readv(ends[0], in, 2) == 5 && got[0] == 'a' && memcmp(got + 8, "bcde", 4) == 0);
    EXPECT(write(ends[1], "x", 1) == 1 && fails(read(ends[0], nowhere, 1), EFAULT));
    EXPECT(shutdown(ends[1], SHUT_WR) == 0 && fails(send(ends[1], "x", 1, MSG_NOSIGNAL), EPIPE));
    EXPECT(write(ends[0], "still", 5) == 5 && recv(ends[1], got, 5, MSG_WAITALL) == 5);
    EXPECT(shutdown(ends[0], SHUT_WR) == 0 && read(ends[1], got, 1) == 0 && read(ends[1], got, 1) == 0);
    close(ends[0]);
    close(ends[1]);
}

enum { TOTAL = 8000000 };

static void *send_total(void *argument)
{
    static char buffer[100000];
    unsigned long random = 99;
    int fd = (int)(long)argument;
    for (size_t at = 0; at < TOTAL;) {
        size_t size = next_random(&random) % sizeof buffer + 1;
        size = next_random(&random) % 2 ? size : size % 100 + 1;
        size = size < TOTAL - at ? size : TOTAL - at;
        for (size_t i = 0; i < size; i++)
            buffer[i] = (char)((at + i) * 13 >> 3);
        EXPECT(write(fd, buffer, size) == (ssize_t)size);
        at += size;
    }
    EXPECT(shutdown(fd, SHUT_WR) == 0);
    return NULL;
}

static void receive_total(int fd)
{
    static char buffer[80000];
    unsigned long random = 7;
    size_t at = 0;
    for (ssize_t size; (size = read(fd, buffer, next_random(&random) % sizeof buffer + 1)) != 0; at += (size_t)size) {
        EXPECT(size > 0);
        for (ssize_t i = 0; i < size; i++)
            EXPECT(buffer[i] == (char)((at + (size_t)i) * 13 >> 3));
    }
    EXPECT(at == TOTAL);
}

static void much(int family, const char *text)
{
    int ends[2];
    pthread_t thread;
    connect_pair(family, text, text, ends);
    for (int i = 0; i < 2; i++) { /* each way; the first one that was shut down still receives */
        EXPECT(pthread_create(&thread, NULL, send_total, (void *)(long)ends[i]) == 0);
        receive_total(ends[1 - i]);
        EXPECT(pthread_join(thread, NULL) == 0);
    }
    close(ends[0]);
    close(ends[1]);
}

static void many_connections(void)
{
    enum { MANY = 100 };
    int fds[MANY], fd = listener(AF_INET, "0.0.0.0"), status;
    char byte;
    pid_t child = fork();
    if (child == 0) {
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < MANY; i++) {
                fds[i] = socket(AF_INET, SOCK_STREAM, 0);
                EXPECT(try_connect(fds[i], "127.0.0.1", port_of(fd)) == 0);
            }
            for (int i = 0; i < MANY; i++)
                EXPECT(write(fds[i], "?", 1) == 1 && read(fds[i], &byte, 1) == 1 && byte == '!' && close(fds[i]) == 0);
        }
        _exit(0);
    }
    int epoll = epoll_create1(0);
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd }, events[16];
    EXPECT(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    for (int left = 3 * MANY; left > 0;) {
        int count = epoll_wait(epoll, events, 16, 10000);
        EXPECT(count > 0);
        for (int i = 0; i < count; i++) {
            int end = events[i].data.fd;
            if (end == fd) {
                event.data.fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
                EXPECT(event.data.fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) == 0);
            } else if (read(end, &byte, 1) == 1) {
                EXPECT(byte == '?' && write(end, "!", 1) == 1);
            } else {
                EXPECT(close(end) == 0);
                left--;
            }
        }
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    close(epoll);
    close(fd);
}

static void resets(void)
{
    int ends[2];
    char got[8];
    struct linger linger = { 1, 0 };
    connect_pair(AF_INET, "127.0.0.1", "127.0.0.1", ends);
    EXPECT(write(ends[0], "unread", 6) == 6);
    struct pollfd poll_fd = { ends[1], POLLIN, 0 };
    EXPECT(poll(&poll_fd, 1, 5000) == 1 && close(ends[1]) == 0);
    EXPECT(fails(read(ends[0], got, 1), ECONNRESET) && read(ends[0], got, 1) == 0);
    EXPECT(fails(send(ends[0], "x", 1, MSG_NOSIGNAL), EPIPE));
    close(ends[0]);
    connect_pair(AF_INET, "127.0.0.1", "127.0.0.1", ends);
    EXPECT(setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0 && close(ends[1]) == 0);
    EXPECT(fails(read(ends[0], got, 1), ECONNRESET));
    close(ends[0]);
}

static void without_waiting(void)
{
    int fd = listener(AF_INET, "127.0.0.1"), client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    static char buffer[65536];
    EXPECT(fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && fails(accept(fd, NULL, NULL), EAGAIN));
    EXPECT(try_connect(client, "127.0.0.1", port_of(fd)) == 0 || errno == EINPROGRESS);
    struct pollfd poll_fd = { client, POLLOUT, 0 };
    EXPECT(poll(&poll_fd, 1, 5000) == 1 && poll_fd.revents == POLLOUT && number_of(client, SOL_SOCKET, SO_ERROR) == 0);
    EXPECT(try_connect(client, "127.0.0.1", port_of(fd)) == 0 || errno == EISCONN);
    EXPECT(fails(try_connect(client, "127.0.0.1", port_of(fd)), EISCONN));
    poll_fd = (struct pollfd){ fd, POLLIN, 0 };
    EXPECT(poll(&poll_fd, 1, 5000) == 1);
    int end = accept(fd, NULL, NULL);
    EXPECT(end >= 0 && number_of(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1);
    while (write(client, buffer, sizeof buffer) > 0)
        ;
    EXPECT(errno == EAGAIN);
    poll_fd = (struct pollfd){ client, POLLOUT, 0 };
    EXPECT(poll(&poll_fd, 1, 0) == 0);
    EXPECT(fcntl(end, F_SETFL, O_NONBLOCK) == 0);
    do {
        while (read(end, buffer, sizeof buffer) > 0)
            ;
    } while (poll(&poll_fd, 1, 100) == 0);
    EXPECT(poll_fd.revents == POLLOUT);
    close(client);
    poll_fd = (struct pollfd){ end, POLLIN | POLLRDHUP, 0 };
    do
        EXPECT(poll(&poll_fd, 1, 5000) == 1);
    while (read(end, buffer, sizeof buffer) > 0);
    EXPECT(poll_fd.revents & POLLRDHUP);
    close(end);
    close(fd);
}

static volatile int alarms;

static void on_alarm(int signal)
{
    (void)signal;
    alarms++;
}

static void interrupted(void)
{
    int ends[2], udp = bound(AF_INET, SOCK_DGRAM, "127.0.0.1");
    char got;
    struct timeval limit = { 0, 30000 };
    struct sigaction action = { .sa_handler = on_alarm };
    connect_pair(AF_INET, "127.0.0.1", "127.0.0.1", ends);
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    EXPECT(fails(read(ends[0], &got, 1), EINTR) && alarms == 1);
    EXPECT(setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 && fails(read(udp, &got, 1), EAGAIN));
    EXPECT(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 && fails(read(ends[0], &got, 1), EAGAIN));
    close(ends[0]);
    close(ends[1]);
    close(udp);
}

/* ---- datagrams ---- */

static void datagrams(int family, const char *text)
{
    int a = bound(family, SOCK_DGRAM, text), b = bound(family, SOCK_DGRAM, text), number;
    socklen_t size, from_size = sizeof(union address);
    union address to = make(text, port_of(b), &size), from;
    static char big[60000], got[60000];
    EXPECT(sendto(a, "one", 3, 0, &to.any, size) == 3 && sendto(a, "", 0, 0, &to.any, size) == 0 && sendto(a, "three", 5, 0, &to.any, size) == 5);
    EXPECT(recvfrom(b, got, 16, 0, &from.any, &from_size) == 3 && from_size == size && ntohs(from.v4.sin_port) == port_of(a));
    EXPECT(read(b, got, 16) == 0);
    EXPECT(ioctl(b, FIONREAD, &number) == 0 && number == 5 && recv(b, got, 2, MSG_TRUNC | MSG_PEEK) == 5 && recv(b, got, 2, 0) == 2);
    EXPECT(fails(recv(b, got, 2, MSG_DONTWAIT), EAGAIN));
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 31 >> 4);
    EXPECT(connect(a, &to.any, size) == 0 && send(a, big, sizeof big, 0) == sizeof big);
    EXPECT(read(b, got, sizeof got) == sizeof got && memcmp(big, got, sizeof got) == 0);
    int c = bound(family, SOCK_DGRAM, text);
    from = make(text, port_of(a), &size);
    EXPECT(sendto(c, "stranger", 8, 0, &from.any, size) == 8 && fails(recv(a, got, 16, MSG_DONTWAIT), EAGAIN));
    EXPECT(sendto(b, "friend", 6, 0, &from.any, size) == 6 && read(a, got, 16) == 6);
    close(b);
    EXPECT(fcntl(a, F_SETFL, 0) == 0 && send(a, "x", 1, 0) == 1 && fails(read(a, got, 16), ECONNREFUSED)); /* nobody has that port now */
    close(a);
    close(c);
}

static void where_it_arrived(void)
{
    int a = bound(AF_INET, SOCK_DGRAM, "0.0.0.0"), b = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    char got[8], control[128];
    struct iovec io = { got, sizeof got };
    struct msghdr message = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
    EXPECT(setsockopt(a, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
    EXPECT(try_connect(b, "127.0.0.1", port_of(a)) == 0 && send(b, "x", 1, 0) == 1 && recvmsg(a, &message, 0) == 1);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    struct in_pktinfo info;
    EXPECT(head != NULL && head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_PKTINFO);
    memcpy(&info, CMSG_DATA(head), sizeof info);
    EXPECT(info.ipi_addr.s_addr == htonl(INADDR_LOOPBACK) && info.ipi_ifindex == 1);
    close(a);
    close(b);
}

static void options(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), six = socket(AF_INET6, SOCK_DGRAM, 0), on = 1, ttl = 17;
    EXPECT(number_of(fd, SOL_SOCKET, SO_TYPE) == SOCK_STREAM && number_of(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET);
    EXPECT(number_of(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP && number_of(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0);
    EXPECT(number_of(fd, IPPROTO_TCP, TCP_NODELAY) == 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
    EXPECT(number_of(fd, IPPROTO_TCP, TCP_NODELAY) != 0 && number_of(fd, IPPROTO_IP, IP_TTL) == 64);
    EXPECT(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl) == 0 && number_of(fd, IPPROTO_IP, IP_TTL) == 17);
    EXPECT(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && number_of(fd, SOL_SOCKET, SO_REUSEADDR) == 1);
    EXPECT(setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0 && number_of(six, IPPROTO_IPV6, IPV6_V6ONLY) == 1);
    close(fd);
    close(six);
}

int main(void)
{
    bad_input();
    options();
    a_conversation(AF_INET, "127.0.0.1", "127.0.0.1");
    a_conversation(AF_INET, "127.0.0.1", "0.0.0.0");
    a_conversation(AF_INET6, "::1", "::1");
    a_conversation(AF_INET6, "::1", "::");
    a_conversation(AF_INET6, "127.0.0.1", "::");
    much(AF_INET, "127.0.0.1");
    much(AF_INET6, "::1");
    many_connections();
    resets();
    without_waiting();
    interrupted();
    datagrams(AF_INET, "127.0.0.1");
    datagrams(AF_INET6, "::1");
    where_it_arrived();
    puts("sockets of the Internet agree");
    return 0;
}
