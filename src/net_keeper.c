/* The keeper: see net_keeper.h. */
#include "net_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <devices/net_link.h>

#include "hub.h"

#define PAUSE           1000            /* ms from one try to the next */
#define START_PATIENCE  10000           /* ms for what is started to be ready */
#define END_PATIENCE    2000            /* ms for the keeper to end */

/* The keeper's own view of a link. */
struct kept {
    const struct net_keeper_link *link;
    int control;                        /* -1: the site does not want it any more */
    bool asked;
    int64_t next_try;                   /* ms */
};

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* ---- starting programs ---- */

static void child_become(char *const *argv, int socket, int messages)
{
    sigset_t none;

    sigemptyset(&none);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(messages, STDERR_FILENO) < 0 || (socket >= 0 && socket != 3 && dup2(socket, 3) < 0))
        _exit(126);
    if (socket == 3)
        fcntl(3, F_SETFD, 0);
    execv(argv[0], argv);
    dprintf(STDERR_FILENO, "%s: %s", argv[0], strerror(errno));
    _exit(127);
}

/* What the program says on standard error until it closes that, which means that it is ready. */
static void messages_read(int messages, char *text, size_t size)
{
    struct pollfd readable = { .fd = messages, .events = POLLIN };
    int64_t end = now() + START_PATIENCE;
    size_t length = 0;
    ssize_t more = 1;

    while (more > 0 && length + 1 < size && end > now() && poll(&readable, 1, (int)(end - now())) == 1) {
        more = read(messages, text + length, size - 1 - length);
        length += more > 0 ? (size_t)more : 0;
    }
    if (more > 0 && length == 0)
        length = (size_t)snprintf(text, size, "it does not start within %d s", START_PATIENCE / 1000);
    while (length > 0 && text[length - 1] == '\n')
        length--;
    text[length] = '\0';
}

/* Run a program with `socket` as its descriptor 3. False: `text` says why it is not ready. */
static bool program_start(char *const *argv, int socket, char *text, size_t size)
{
    int messages[2];

    if (pipe2(messages, O_CLOEXEC) < 0) {
        snprintf(text, size, "%s", strerror(errno));
        return false;
    }
    pid_t child = fork();
    if (child == 0)
        child_become(argv, socket, messages[1]);
    close(messages[1]);
    if (child < 0)
        snprintf(text, size, "%s", strerror(errno));
    else
        messages_read(messages[0], text, size);
    close(messages[0]);
    return text[0] == '\0';
}

/* ---- connections ---- */

static int helper_connect(const struct net_keeper_link *link, char *text, size_t size)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        snprintf(text, size, "%s", strerror(errno));
        return -1;
    }
    bool started = program_start(link->helper, ends[1], text, size);
    close(ends[1]);
    if (started)
        return ends[0];
    close(ends[0]);
    return -1;
}

/* If another site starts a hub at the same moment, that one will do. */
static int hub_connect_or_start(const char *path, char *text, size_t size)
{
    char program[4096];
    char *words[] = { program, (char *)"hub", (char *)"--background", (char *)"--last", (char *)path, NULL };
    int station = hub_connect(path);
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);

    if ((station == -ENOENT || station == -ECONNREFUSED) && length > 0) {
        program[length] = '\0';
        program_start(words, -1, text, size);
        station = hub_connect(path);
    }
    if (station >= 0)
        return station;
    if (text[0] == '\0')
        snprintf(text, size, "%s", strerror(-station));
    return -1;
}

static void answer(struct kept *kept, int descriptor, const struct net_link_answer *answer)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } rights = { 0 };
    struct iovec piece = { (void *)answer, sizeof *answer };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };

    if (descriptor >= 0) {
        message.msg_control = &rights;
        message.msg_controllen = sizeof rights;
        rights.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(&rights.head), &descriptor, sizeof descriptor);
    }
    if (sendmsg(kept->control, &message, MSG_NOSIGNAL) < 0) {
        close(kept->control);
        kept->control = -1;
    }
}

/* Once at the start, when the site asks for one answer; for as long as it takes when the site has lost its hub. */
static void kept_try(struct kept *kept, bool only_once)
{
    struct net_link_answer result = { 0 };
    const char *hub = kept->link->hub;
    int descriptor = hub != NULL ? hub_connect_or_start(hub, result.text, sizeof result.text)
                                 : helper_connect(kept->link, result.text, sizeof result.text);

    kept->next_try = now() + PAUSE;
    if (descriptor < 0 && hub != NULL && !only_once)
        return;
    kept->asked = false;
    result.error = descriptor < 0 ? EIO : 0;
    answer(kept, descriptor, &result);
    if (descriptor >= 0)
        close(descriptor);
}

/* ---- the process ---- */

static void kept_listen(struct kept *kept)
{
    char order;
    ssize_t length = recv(kept->control, &order, 1, MSG_DONTWAIT);

    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR)) {
        close(kept->control);
        kept->control = -1;
    } else if (length == 1) {
        kept->asked = true;
        if (order == 'o' || kept->next_try <= now())
            kept_try(kept, order == 'o');
    }
}

/* ms until the next try; -1: nobody has asked. */
static int timeout_of(const struct kept *kept, unsigned count)
{
    int64_t end = INT64_MAX, time = now();

    for (unsigned i = 0; i < count; i++)
        if (kept[i].control >= 0 && kept[i].asked && kept[i].next_try < end)
            end = kept[i].next_try;
    return end == INT64_MAX ? -1 : end <= time ? 0 : (int)(end - time);
}

static void keep(struct kept *kept, unsigned count)
{
    struct pollfd polled[NET_KEEPER_LINKS_MOST];

    for (;;) {
        unsigned alive = 0;
        for (unsigned i = 0; i < count; i++) {
            polled[i] = (struct pollfd){ .fd = kept[i].control, .events = POLLIN };
            alive += kept[i].control >= 0;
        }
        if (alive == 0)
            _exit(0);
        poll(polled, count, timeout_of(kept, count));
        for (unsigned i = 0; i < count; i++) {
            if (kept[i].control >= 0 && polled[i].revents != 0)
                kept_listen(&kept[i]);
            if (kept[i].control >= 0 && kept[i].asked && kept[i].next_try <= now())
                kept_try(&kept[i], false);
        }
    }
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Nothing of the site's stays open here: whoever waits for an end of it would wait for ours. */
static void others_close(const struct kept *kept, unsigned count)
{
    int mine[NET_KEEPER_LINKS_MOST];
    unsigned from = 3;

    for (unsigned i = 0; i < count; i++)
        mine[i] = kept[i].control;
    qsort(mine, count, sizeof *mine, compare);
    for (unsigned i = 0; i < count; from = (unsigned)mine[i++] + 1)
        if ((unsigned)mine[i] > from)
            close_range(from, (unsigned)mine[i] - 1, 0);
    close_range(from, ~0u, 0);
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && nothing >= 0; fd++)
        dup2(nothing, fd);
}

static void keeper_main(struct kept *kept, unsigned count)
{
    sigset_t none;

    prctl(PR_SET_NAME, "chorus-net");
    setpgid(0, 0);                      /* ^C in the terminal is for the site */
    signal(SIGCHLD, SIG_IGN);           /* nobody waits for what we start */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    others_close(kept, count);
    keep(kept, count);
}

static int pairs_make(struct net_keeper_link *links, struct kept *kept, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
            int error = -errno;
            while (i-- > 0) {
                close(links[i].control);
                close(kept[i].control);
            }
            return error;
        }
        links[i].control = ends[0];
        kept[i] = (struct kept){ .link = &links[i], .control = ends[1] };
    }
    return 0;
}

pid_t net_keeper_start(struct net_keeper_link *links, unsigned count)
{
    struct kept kept[NET_KEEPER_LINKS_MOST];
    int status = count <= NET_KEEPER_LINKS_MOST ? pairs_make(links, kept, count) : -EINVAL;

    if (status != 0)
        return status;
    pid_t keeper = fork();
    if (keeper == 0)
        keeper_main(kept, count);
    status = keeper < 0 ? -errno : 0;
    for (unsigned i = 0; i < count; i++) {
        close(kept[i].control);
        if (status != 0)
            close(links[i].control);
    }
    return status != 0 ? status : keeper;
}

int net_keeper_connect(int control, char *why, size_t size)
{
    int descriptor;

    if (send(control, "o", 1, MSG_NOSIGNAL) != 1) {
        snprintf(why, size, "%s", strerror(errno));
        return -1;
    }
    struct pollfd answered = { .fd = control, .events = POLLIN };
    if (poll(&answered, 1, 2 * START_PATIENCE) != 1) {
        snprintf(why, size, "no answer");
        return -1;
    }
    struct net_link_answer result = { 0 };
    if (!net_link_answer_receive(control, &result, &descriptor)) {
        snprintf(why, size, "the process that makes connections has gone");
        return -1;
    }
    if (descriptor < 0)
        snprintf(why, size, "%s", result.text);
    return descriptor;
}

void net_keeper_stop(pid_t keeper)
{
    for (int i = 0; waitpid(keeper, NULL, WNOHANG) == 0; i++) {
        if (i == END_PATIENCE)
            kill(keeper, SIGKILL);
        usleep(1000);
    }
}
