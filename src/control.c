/* The control socket, on the site's side. */

#include "control.h"
#include "control_folder.h"
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
    char *body; /* of a "do" that is coming in; NULL: none is */
    size_t body_size;
    size_t body_length; /* so far */
    uint64_t ticket;    /* of the command that it waits for; 0: for none */
    int passed;         /* a descriptor that it sent; -1: none */
    int output_passes;  /* one that goes with the output's first byte; -1: none */
};

/* An answer to a command, on its way to the interrupt thread. */
struct reply {
    struct reply *next;
    uint64_t ticket;
    char *text;
    int descriptor; /* -1: none */
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
    uint64_t last_ticket;                  /* [i] */
    pthread_mutex_t lock;                  /* of what follows */
    struct reply *replies;
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
    pthread_mutex_init(&control->lock, NULL);
    control->epoll_fd = control->listen_fd = control->answer_fd = -1;
    for (size_t i = 0; i < CLIENTS_MOST; i++)
        control->clients[i] = (struct client){ .fd = -1, .passed = -1, .output_passes = -1 };
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

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void client_drop(struct client *client)
{
    close_if_open(client->fd); /* which also ends the watching */
    close_if_open(client->passed);
    close_if_open(client->output_passes);
    free(client->output);
    free(client->body);
    *client = (struct client){ .fd = -1, .passed = -1, .output_passes = -1 };
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

/* As send, with a descriptor. */
static ssize_t send_passing(int fd, const void *bytes, size_t length, int passes)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } rights = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
    struct iovec piece = { (void *)bytes, length };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights };
    memcpy(CMSG_DATA(&rights.head), &passes, sizeof passes);
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* The output's next bytes. */
static ssize_t client_send_piece(struct client *client)
{
    const char *piece = client->output + client->output_sent;
    size_t length = client->output_length - client->output_sent;
    if (client->output_passes < 0)
        return send(client->fd, piece, length, MSG_NOSIGNAL);
    ssize_t sent = send_passing(client->fd, piece, length, client->output_passes);
    if (sent > 0) {
        close(client->output_passes);
        client->output_passes = -1;
    }
    return sent;
}

/* Send what is there. A client that does not read keeps it waiting and harms nobody. */
static void client_send(struct control *control, struct client *client)
{
    while (client->output_sent < client->output_length) {
        ssize_t sent = client_send_piece(client);
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

static void client_output(struct control *control, struct client *client, char *text, size_t length)
{
    client->output = text;
    client->output_length = length;
    client->output_sent = 0;
    client_send(control, client);
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
    client_output(control, client, text, length);
}

/* Commands */

void control_command_free(struct control_command *command)
{
    if (command == NULL)
        return;
    free(command->words != NULL ? command->words[0] : NULL); /* all of the text */
    free(command->words);
    close_if_open(command->descriptor);
    free(command);
}

/* A command of the client's body, which it then owns. NULL: it is none, or there is no memory. */
static struct control_command *command_make(struct client *client)
{
    size_t count = 0;
    for (size_t i = 0; i < client->body_size; i++)
        count += client->body[i] == '\0';
    struct control_command *command = calloc(1, sizeof *command);
    char **words = calloc(count + 1, sizeof *words);
    if (command == NULL || words == NULL || client->body[client->body_size - 1] != '\0') {
        free(command);
        free(words);
        return NULL;
    }
    char *at = client->body;
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1)
        words[i] = at;
    client->body = NULL;
    command->count = count;
    command->words = words;
    command->descriptor = client->passed;
    client->passed = -1;
    return command;
}

static void client_command(struct control *control, struct client *client)
{
    struct control_command *command = control->callbacks.command_wanted != NULL ? command_make(client) : NULL;
    if (command == NULL) {
        client_drop(client);
        return;
    }
    command->ticket = client->ticket = ++control->last_ticket;
    control->callbacks.command_wanted(control->callbacks.context, command);
}

/* The first bytes of the body may have come with the line. */
static void client_body_begin(struct client *client, const char *number)
{
    char *end;
    unsigned long size = strtoul(number, &end, 10);
    bool good = *end == '\0' && size > 0 && size <= CONTROL_WORDS_MAX && client->output == NULL && client->ticket == 0;
    client->body = good ? malloc(size) : NULL;
    if (client->body == NULL) {
        client_drop(client);
        return;
    }
    client->body_size = size;
    client->body_length = client->request_length < size ? client->request_length : size;
    memcpy(client->body, client->request, client->body_length);
    client->request_length -= client->body_length;
    memmove(client->request, client->request + client->body_length, client->request_length + 1);
}

static void client_request(struct control *control, struct client *client, const char *line)
{
    if (strncmp(line, "do ", 3) == 0) {
        client_body_begin(client, line + 3);
    } else if (strcmp(line, "stop") == 0) {
        control->callbacks.stop_wanted(control->callbacks.context);
    } else if (strcmp(line, "ps") == 0 && client->output == NULL && client->ticket == 0) {
        client->wants_snapshot = true;
        if (!control->snapshot_is_wanted) {
            control->snapshot_is_wanted = true;
            control->callbacks.snapshot_wanted(control->callbacks.context);
        }
    } else {
        client_drop(client); /* not known, or a question before the last answer was read */
    }
}

/* As recv; a descriptor that comes along is kept, the last one of several. */
static ssize_t client_receive_piece(struct client *client, char *to, size_t room)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))]; /* of more than one the host closes the rest */
    } rights;
    struct iovec piece = { to, room };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights };
    ssize_t got = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = got >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS && head->cmsg_len >= CMSG_LEN(sizeof(int))) {
        close_if_open(client->passed);
        memcpy(&client->passed, CMSG_DATA(head), sizeof client->passed);
    }
    return got;
}

/* Take what is there; false: nothing is, or the client is gone. */
static bool client_read(struct client *client, char *to, size_t room, size_t *length)
{
    ssize_t got = client_receive_piece(client, to, room);
    if (got < 0 && errno == EAGAIN)
        return false;
    if (got <= 0) { /* also when a line is too long: no room is left */
        client_drop(client);
        return false;
    }
    *length += (size_t)got;
    return true;
}

static void client_lines(struct control *control, struct client *client)
{
    char *end;
    while (client->fd >= 0 && client->body == NULL && (end = memchr(client->request, '\n', client->request_length)) != NULL) {
        char line[REQUEST_MOST];
        *end = '\0';
        strcpy(line, client->request);
        client->request_length -= (size_t)(end + 1 - client->request);
        memmove(client->request, end + 1, client->request_length + 1);
        client_request(control, client, line);
        if (client->body != NULL && client->body_length == client->body_size) {
            client_command(control, client);
            free(client->body);
            client->body = NULL;
        }
    }
}

static void client_receive(struct control *control, struct client *client)
{
    if (client->body != NULL) {
        if (client_read(client, client->body + client->body_length, client->body_size - client->body_length,
                        &client->body_length) &&
            client->body_length == client->body_size) {
            client_command(control, client);
            free(client->body);
            client->body = NULL;
        }
        return;
    }
    size_t room = sizeof client->request - 1 - client->request_length;
    if (!client_read(client, client->request + client->request_length, room, &client->request_length))
        return;
    client->request[client->request_length] = '\0';
    client_lines(control, client);
}

/* Answers */

static void answer_announce(struct control *control)
{
    uint64_t one = 1;
    while (write(control->answer_fd, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

void control_answer(struct control *control, struct site_snapshot *snapshot)
{
    answer_free(atomic_exchange(&control->answer, snapshot != NULL ? snapshot : &no_snapshot));
    answer_announce(control);
}

void control_reply(struct control *control, uint64_t ticket, bool done, const char *text)
{
    control_reply_with(control, ticket, done, text, -1);
}

void control_reply_with(struct control *control, uint64_t ticket, bool done, const char *text, int descriptor)
{
    struct reply *reply = malloc(sizeof *reply);
    if (reply == NULL || asprintf(&reply->text, "%s %s\n", done ? "done" : "failed", text) < 0) {
        free(reply); /* its client waits in vain, and can be interrupted */
        return;
    }
    for (char *at = reply->text; at[1] != '\0'; at++)
        if (*at == '\n')
            *at = ' ';
    reply->ticket = ticket;
    reply->descriptor = descriptor >= 0 ? fcntl(descriptor, F_DUPFD_CLOEXEC, 0) : -1;
    pthread_mutex_lock(&control->lock);
    reply->next = control->replies;
    control->replies = reply;
    pthread_mutex_unlock(&control->lock);
    answer_announce(control);
}

static void reply_deliver(struct control *control, struct reply *reply)
{
    for (size_t i = 0; i < CLIENTS_MOST; i++) {
        struct client *client = &control->clients[i];
        if (client->fd < 0 || client->ticket != reply->ticket)
            continue;
        client->ticket = 0;
        client->output_passes = reply->descriptor;
        reply->descriptor = -1;
        client_output(control, client, reply->text, strlen(reply->text));
        reply->text = NULL;
        return;
    }
}

static void replies_deliver(struct control *control)
{
    pthread_mutex_lock(&control->lock);
    struct reply *reply = control->replies;
    control->replies = NULL;
    pthread_mutex_unlock(&control->lock);
    while (reply != NULL) {
        struct reply *next = reply->next;
        reply_deliver(control, reply);
        close_if_open(reply->descriptor);
        free(reply->text);
        free(reply);
        reply = next;
    }
}

static void answers_deliver(struct control *control)
{
    uint64_t count;
    if (read(control->answer_fd, &count, sizeof count) < 0)
        return;
    replies_deliver(control);
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
    replies_deliver(control); /* whoever ended the site hears of it */
    pthread_mutex_destroy(&control->lock);
    for (size_t i = 0; i < CLIENTS_MOST; i++)
        client_drop(&control->clients[i]);
    int fds[] = { control->listen_fd, control->answer_fd, control->epoll_fd };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        close_if_open(fds[i]);
    answer_free(atomic_exchange(&control->answer, NULL));
    free(control->path);
    free(control);
    errno = error;
}
