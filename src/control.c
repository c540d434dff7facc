/* The control socket, on the site's side. */

#include "control.h"
#include "control_folder.h"
#include "snapshot.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    CLIENTS_MOST = 16,
    REQUEST_MOST = 64, /* a longer line is nothing that we know */
};

struct client {
    int fd; /* -1: this place is free */
    bool wants_snapshot;
    size_t request_length;
    char request[REQUEST_MOST];
    char *output; /* what is still to be sent; NULL: nothing */
    size_t output_length;
    size_t output_sent;
};

/* [i] the interrupt thread only; [a] any thread */
struct control {
    struct control_callbacks callbacks;    /* fixed */
    char *path;                            /* fixed */
    int epoll_fd;                          /* fixed */
    int listen_fd;                         /* fixed */
    int answer_fd;                         /* fixed; an eventfd */
    bool snapshot_is_wanted;               /* [i] asked for and not yet answered */
    struct client clients[CLIENTS_MOST];   /* [i] */
    _Atomic(struct site_snapshot *) answer; /* [a] the newest, not yet taken */
};

/* The answer of a site that could not make a snapshot: it must still end the wait. */
static struct site_snapshot no_snapshot;

static void answer_free(struct site_snapshot *answer)
{
    if (answer != &no_snapshot)
        snapshot_free(answer);
}

static int watch(struct control *control, int operation, int fd, uint32_t events, void *who)
{
    struct epoll_event event = { .events = events, .data.ptr = who };
    return epoll_ctl(control->epoll_fd, operation, fd, &event);
}

/* Opening */

/* Bind the socket; a stale one is cleared away first. The folder is locked meanwhile, so that of
 * two sites that start at once with one name, one is refused. */
static int bind_locked(int fd, const char *folder, const char *name)
{
    struct sockaddr_un address;
    if (control_address(folder, name, &address) != 0)
        return -1;
    if (control_is_alive_locked(folder, name)) {
        errno = EADDRINUSE;
        return -1;
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    return listen(fd, CLIENTS_MOST);
}

static int listen_at(const char *folder, const char *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int lock = control_lock(folder);
    bool good = lock >= 0 && bind_locked(fd, folder, name) == 0;
    int error = errno;
    if (lock >= 0)
        close(lock);
    if (!good) {
        close(fd);
        fd = -1;
    }
    errno = error;
    return fd;
}

static int open_descriptors(struct control *control, const char *folder, const char *name)
{
    control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    control->answer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (control->epoll_fd < 0 || control->answer_fd < 0)
        return -1;
    control->listen_fd = listen_at(folder, name);
    if (control->listen_fd < 0)
        return -1;
    if (asprintf(&control->path, "%s/%s", folder, name) < 0) {
        control->path = NULL;
        errno = ENOMEM;
        return -1;
    }
    if (watch(control, EPOLL_CTL_ADD, control->listen_fd, EPOLLIN, &control->listen_fd) != 0)
        return -1;
    return watch(control, EPOLL_CTL_ADD, control->answer_fd, EPOLLIN, &control->answer_fd);
}

struct control *control_open(const char *name, const struct control_callbacks *callbacks)
{
    char *folder = control_folder(true);
    struct control *control = folder != NULL ? calloc(1, sizeof *control) : NULL;
    if (control == NULL) {
        free(folder);
        return NULL;
    }
    control->callbacks = *callbacks;
    control->epoll_fd = control->listen_fd = control->answer_fd = -1;
    for (size_t i = 0; i < CLIENTS_MOST; i++)
        control->clients[i].fd = -1;
    if (open_descriptors(control, folder, name) != 0) {
        int error = errno;
        control_close(control);
        control = NULL;
        errno = error;
    }
    free(folder);
    return control;
}

int control_fd(const struct control *control)
{
    return control->epoll_fd;
}

/* Clients */

static void client_drop(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd); /* which also ends the watching */
    free(client->output);
    *client = (struct client){ .fd = -1 };
}

static void client_accept(struct control *control)
{
    int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct client *client = control->clients;
    while (client < control->clients + CLIENTS_MOST && client->fd >= 0)
        client++;
    if (client == control->clients + CLIENTS_MOST || !control_peer_is_owner(fd) ||
        watch(control, EPOLL_CTL_ADD, fd, EPOLLIN, client) != 0) {
        close(fd);
        return;
    }
    client->fd = fd;
}

/* Send what is there. A client that does not read keeps it waiting and harms nobody. */
static void client_send(struct control *control, struct client *client)
{
    while (client->output_sent < client->output_length) {
        ssize_t sent = send(client->fd, client->output + client->output_sent,
                            client->output_length - client->output_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            watch(control, EPOLL_CTL_MOD, client->fd, EPOLLIN | EPOLLOUT, client);
            return;
        }
        if (sent <= 0) {
            client_drop(client);
            return;
        }
        client->output_sent += (size_t)sent;
    }
    free(client->output);
    client->output = NULL;
    watch(control, EPOLL_CTL_MOD, client->fd, EPOLLIN, client);
}

static void client_answer(struct control *control, struct client *client,
                          const struct site_snapshot *snapshot)
{
    char *text = NULL;
    size_t length = 0;
    FILE *memory = snapshot != NULL ? open_memstream(&text, &length) : NULL;
    bool good = memory != NULL && snapshot_write(snapshot, memory);
    if (memory != NULL)
        fclose(memory);
    client->wants_snapshot = false;
    if (!good) {
        free(text);
        client_drop(client);
        return;
    }
    client->output = text;
    client->output_length = length;
    client->output_sent = 0;
    client_send(control, client);
}

static void client_request(struct control *control, struct client *client, const char *line)
{
    if (strcmp(line, "stop") == 0) {
        control->callbacks.stop_wanted(control->callbacks.context);
    } else if (strcmp(line, "ps") == 0 && client->output == NULL) {
        client->wants_snapshot = true;
        if (!control->snapshot_is_wanted) {
            control->snapshot_is_wanted = true;
            control->callbacks.snapshot_wanted(control->callbacks.context);
        }
    } else {
        client_drop(client); /* not known, or a question before the last answer was read */
    }
}

static void client_receive(struct control *control, struct client *client)
{
    size_t room = sizeof client->request - 1 - client->request_length;
    ssize_t got = recv(client->fd, client->request + client->request_length, room, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) { /* also when the line is too long: no room is left */
        client_drop(client);
        return;
    }
    client->request_length += (size_t)got;
    client->request[client->request_length] = '\0';
    char *end;
    while (client->fd >= 0 && (end = strchr(client->request, '\n')) != NULL) {
        char line[REQUEST_MOST];
        *end = '\0';
        strcpy(line, client->request);
        client->request_length -= (size_t)(end + 1 - client->request);
        memmove(client->request, end + 1, client->request_length + 1);
        client_request(control, client, line);
    }
}

/* Answers */

void control_answer(struct control *control, struct site_snapshot *snapshot)
{
    uint64_t one = 1;
    answer_free(atomic_exchange(&control->answer, snapshot != NULL ? snapshot : &no_snapshot));
    while (write(control->answer_fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

static void answers_deliver(struct control *control)
{
    uint64_t count;
    if (read(control->answer_fd, &count, sizeof count) < 0)
        return;
    struct site_snapshot *answer = atomic_exchange(&control->answer, NULL);
    if (answer == NULL)
        return;
    control->snapshot_is_wanted = false;
    for (size_t i = 0; i < CLIENTS_MOST; i++)
        if (control->clients[i].fd >= 0 && control->clients[i].wants_snapshot)
            client_answer(control, &control->clients[i], answer != &no_snapshot ? answer : NULL);
    answer_free(answer);
}

void control_handle(struct control *control)
{
    struct epoll_event events[CLIENTS_MOST + 2];
    int count = epoll_wait(control->epoll_fd, events, CLIENTS_MOST + 2, 0);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == &control->listen_fd) {
            client_accept(control);
        } else if (events[i].data.ptr == &control->answer_fd) {
            answers_deliver(control);
        } else {
            struct client *client = events[i].data.ptr;
            if (client->fd >= 0 && (events[i].events & EPOLLOUT))
                client_send(control, client);
            if (client->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
                client_receive(control, client);
        }
    }
}

void control_close(struct control *control)
{
    if (control == NULL)
        return;
    int error = errno;
    if (control->path != NULL)
        unlink(control->path);
    for (size_t i = 0; i < CLIENTS_MOST; i++)
        client_drop(&control->clients[i]);
    int fds[] = { control->listen_fd, control->answer_fd, control->epoll_fd };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    answer_free(atomic_exchange(&control->answer, NULL));
    free(control->path);
    free(control);
    errno = error;
}
