/* splices: data from one file into another one past the program: sendfile, splice, tee, vmsplice; what is refused, what waits, what is
 * interrupted, and that all bytes arrive. The argument says which folder to make files in. */

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

#define SIZE (5 * 1024 * 1024 + 777)

static const char *folder = "/tmp";
static unsigned char *data;

static int fails(long result, int error)
{
    return result == -1 && errno == error;
}

static int file_new(void)
{
    char path[200];
    snprintf(path, sizeof path, "%s/splices.%d", folder, getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT(fd >= 0 && unlink(path) == 0);
    for (size_t done = 0; done < SIZE;) {
        ssize_t size = write(fd, data + done, SIZE - done);
        EXPECT(size > 0);
        done += (size_t)size;
    }
    EXPECT(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static void tcp_pair(int ends[2])
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
    EXPECT(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT(connect(ends[0], (struct sockaddr *)&address, size) == 0);
    EXPECT((ends[1] = accept(listener, NULL, NULL)) >= 0);
    close(listener);
}

/* In a process of its own: all that comes is what is at <offset> of the data, up to the end. */
static pid_t reader_new(int fd, int other, size_t offset, size_t size)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    static unsigned char buffer[100000];
    close(other);
    for (size_t done = 0;;) {
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got == 0)
            _exit(done == size ? 0 : 2);
        if (got < 0 || done + (size_t)got > size || memcmp(buffer, data + offset + done, (size_t)got) != 0)
            _exit(3);
        done += (size_t)got;
    }
}

static void reader_end(pid_t child)
{
    int status;
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(status == 0);
}

static void refused(void)
{
    int file = file_new(), pipes[2], ends[2];
    off_t offset = -1;
    EXPECT(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    EXPECT(fails(sendfile(ends[0], 99, NULL, 10), EBADF));
    EXPECT(fails(sendfile(99, file, NULL, 10), EBADF));
    EXPECT(fails(sendfile(pipes[0], file, NULL, 10), EBADF));
    EXPECT(fails(sendfile(ends[0], ends[1], NULL, 10), EINVAL));
    EXPECT(fails(sendfile(ends[0], file, &offset, 10), EINVAL));
    offset = 0;
    EXPECT(fails(sendfile(ends[0], pipes[0], &offset, 10), ESPIPE));
    EXPECT(fails(sendfile(ends[0], file, (void *)8, 10), EFAULT));
    EXPECT(fails(splice(file, NULL, ends[0], NULL, 10, 0), EINVAL));
    EXPECT(fails(splice(file, NULL, pipes[1], NULL, 10, 0x100), EINVAL));
    EXPECT(fails(splice(file, NULL, pipes[1], &offset, 10, 0), ESPIPE));
    EXPECT(fails(splice(ends[0], &offset, pipes[1], NULL, 10, 0), EINVAL));
    EXPECT(fails(splice(pipes[0], NULL, pipes[1], NULL, 10, 0), EINVAL));
    EXPECT(fails(splice(pipes[1], NULL, ends[0], NULL, 10, 0), EBADF));
    EXPECT(splice(pipes[0], NULL, 99, NULL, 0, 0) == 0);
    EXPECT(fails(splice(pipes[0], NULL, ends[0], NULL, 10, SPLICE_F_NONBLOCK), EAGAIN));
    EXPECT(fails(tee(pipes[0], ends[0], 10, 0), EINVAL));
    EXPECT(fails(vmsplice(file, &(struct iovec){ data, 1 }, 1, 0), EBADF));
    close(file), close(pipes[0]), close(pipes[1]), close(ends[0]), close(ends[1]);
}

static void file_to_socket(int family)
{
    int file = file_new(), ends[2];
    off_t offset = 1000;
    if (family == AF_INET)
        tcp_pair(ends);
    else
        EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    pid_t reader = reader_new(ends[1], ends[0], 1000, SIZE - 1000);
    close(ends[1]);
    EXPECT(sendfile(ends[0], file, &offset, 5) == 5 && offset == 1005);
    EXPECT(lseek(file, 0, SEEK_CUR) == 0);
    EXPECT(lseek(file, 1005, SEEK_SET) == 1005);
    EXPECT(sendfile(ends[0], file, NULL, 1 << 30) == SIZE - 1005);
    EXPECT(lseek(file, 0, SEEK_CUR) == SIZE);
    EXPECT(sendfile(ends[0], file, NULL, 100) == 0);
    close(ends[0]);
    reader_end(reader);
    close(file);
}

static void nobody_reads(void)
{
    int file = file_new(), ends[2], pipes[2];
    struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
    EXPECT(sigaction(SIGPIPE, &ignore, &before) == 0);
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && pipe(pipes) == 0);
    close(ends[1]), close(pipes[0]);
    EXPECT(fails(sendfile(ends[0], file, NULL, 100), EPIPE));
    EXPECT(lseek(file, 0, SEEK_CUR) == 0);
    EXPECT(fails(splice(file, NULL, pipes[1], NULL, 100, 0), EPIPE));
    EXPECT(sigaction(SIGPIPE, &before, NULL) == 0);
    close(file), close(ends[0]), close(pipes[1]);
}

/* Not waiting: as much as there is room for, and the rest in turns. */
static void in_turns(void)
{
    int file = file_new(), ends[2];
    size_t sent = 0, waits = 0;
    tcp_pair(ends);
    pid_t reader = reader_new(ends[1], ends[0], 0, SIZE);
    close(ends[1]);
    EXPECT(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    while (sent < SIZE) {
        ssize_t size = sendfile(ends[0], file, NULL, SIZE - sent);
        if (size < 0) {
            EXPECT(errno == EAGAIN);
            EXPECT(poll(&(struct pollfd){ .fd = ends[0], .events = POLLOUT }, 1, 20000) == 1);
            waits++;
            continue;
        }
        sent += (size_t)size;
        EXPECT(lseek(file, 0, SEEK_CUR) == (off_t)sent);
    }
    close(ends[0]);
    reader_end(reader);
    close(file);
}

static void on_alarm(int number)
{
    (void)number;
}

/* What was sent before the signal counts, and the file's place tells it. */
static void interrupted(void)
{
    int file = file_new(), ends[2];
    struct sigaction action = { .sa_handler = on_alarm };
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    EXPECT(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerspec again = { { 0, 50000000 }, { 0, 50000000 } };
    timer_t timer;
    EXPECT(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0 && timer_settime(timer, 0, &again, NULL) == 0);
    ssize_t sent = sendfile(ends[0], file, NULL, SIZE);
    EXPECT(sent > 0 && sent < SIZE);
    EXPECT(lseek(file, 0, SEEK_CUR) == sent);
    EXPECT(fails(sendfile(ends[0], file, NULL, SIZE), EINTR));
    EXPECT(timer_delete(timer) == 0);
    unsigned char *got = malloc((size_t)sent);
    for (ssize_t done = 0; done < sent;) {
        ssize_t size = read(ends[1], got + done, (size_t)(sent - done));
        EXPECT(size > 0);
        done += size;
    }
    EXPECT(memcmp(got, data, (size_t)sent) == 0);
    free(got), close(file), close(ends[0]), close(ends[1]);
}

/* From a socket through a pipe into a socket, as a proxy does it. */
static void through_a_pipe(void)
{
    int in[2], out[2], pipes[2], file = file_new();
    tcp_pair(in), tcp_pair(out);
    EXPECT(pipe(pipes) == 0);
    pid_t sender = fork();
    if (sender == 0) {
        close(in[1]);
        _exit(sendfile(in[0], file, NULL, SIZE) == SIZE ? 0 : 1);
    }
    close(in[0]);
    pid_t reader = reader_new(out[1], out[0], 0, SIZE);
    close(out[1]);
    size_t total = 0;
    for (ssize_t size; (size = splice(in[1], NULL, pipes[1], NULL, 1 << 20, SPLICE_F_MOVE)) > 0; total += (size_t)size)
        for (ssize_t done = 0, part; done < size; done += part)
            EXPECT((part = splice(pipes[0], NULL, out[0], NULL, (size_t)(size - done), SPLICE_F_MORE)) > 0);
    EXPECT(total == SIZE);
    close(out[0]);
    reader_end(sender);
    reader_end(reader);
    close(in[1]), close(pipes[0]), close(pipes[1]), close(file);
}

static void pipes_and_files(void)
{
    int a[2], b[2], file = file_new();
    unsigned char got[200];
    loff_t at = 100, to = 10;
    EXPECT(pipe(a) == 0 && pipe(b) == 0);
    EXPECT(splice(file, &at, a[1], NULL, 100, 0) == 100 && at == 200);
    EXPECT(tee(a[0], b[1], 60, 0) == 60);
    EXPECT(splice(a[0], NULL, b[1], NULL, 30, 0) == 30);
    EXPECT(read(b[0], got, sizeof got) == 90);
    EXPECT(memcmp(got, data + 100, 60) == 0 && memcmp(got + 60, data + 100, 30) == 0);
    EXPECT(splice(a[0], NULL, file, &to, 1000, 0) == 70 && to == 80);
    EXPECT(pread(file, got, 70, 10) == 70 && memcmp(got, data + 130, 70) == 0);
    EXPECT(vmsplice(a[1], (struct iovec[]){ { data, 10 }, { data + 50, 20 } }, 2, 0) == 30);
    EXPECT(vmsplice(a[0], &(struct iovec){ got, 100 }, 1, 0) == 30);
    EXPECT(memcmp(got, data, 10) == 0 && memcmp(got + 10, data + 50, 20) == 0);
    close(a[1]);
    EXPECT(splice(a[0], NULL, b[1], NULL, 10, 0) == 0);
    close(a[0]), close(b[0]), close(b[1]), close(file);
}

/* The descriptor that is not the call's first is closed by another thread while the call waits. */
static int waiting_in[2], waiting_out[2];

static void *close_them(void *delay)
{
    usleep(*(useconds_t *)delay);
    close(waiting_out[1]);
    usleep(20000);
    EXPECT(write(waiting_in[1], "late", 4) == 4);
    return NULL;
}

/* Who did not wait yet when it was closed tries again with more time. */
static void closed_meanwhile(void)
{
    ssize_t size = -1;
    for (useconds_t delay = 100000; size < 0 && delay < 30000000; delay *= 4) {
        pthread_t thread;
        EXPECT(pipe(waiting_in) == 0 && pipe(waiting_out) == 0);
        EXPECT(pthread_create(&thread, NULL, close_them, &delay) == 0);
        size = splice(waiting_in[0], NULL, waiting_out[1], NULL, 100, 0);
        EXPECT(size == 4 || fails(size, EBADF));
        pthread_join(thread, NULL);
        char got[5] = "";
        EXPECT(size < 0 || (read(waiting_out[0], got, 4) == 4 && strcmp(got, "late") == 0));
        EXPECT(read(waiting_out[0], got, 4) == 0);
        close(waiting_in[0]), close(waiting_in[1]), close(waiting_out[0]);
    }
    EXPECT(size == 4);
}

int main(int count, char **arguments)
{
    unsigned long state = 7;
    folder = count > 1 ? arguments[1] : folder;
    data = malloc(SIZE + 8);
    for (size_t i = 0; i < SIZE; i += 8)
        memcpy(data + i, &(unsigned long){ next_random(&state) }, 8);
    refused();
    file_to_socket(AF_INET);
    file_to_socket(AF_UNIX);
    nobody_reads();
    in_turns();
    interrupted();
    through_a_pipe();
    pipes_and_files();
    closed_meanwhile();
    printf("splices: all as it should be\n");
    return 0;
}
