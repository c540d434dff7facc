/* `chorus stop`: end a running site, and wait until its process is gone. */

#include "commands.h"
#include "control_client.h"
#include "options.h"
#include "site.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct stop {
    const char *name;
    unsigned long wait_seconds;
};

static const struct option_entry entries[] = {
    OPTION_SITE(offsetof(struct stop, name)),
    OPTION_SITE_NAME(offsetof(struct stop, name)),
    { "wait", "SECONDS", "Give up waiting after so long; 30 unless said otherwise.",
      option_set_seconds, offsetof(struct stop, wait_seconds) },
    { 0 },
};

static const struct option_table table = {
    .command = "chorus stop",
    .usage = "[OPTION...]",
    .summary = "End a running site as `poweroff` does, and wait until it is gone.",
    .entries = entries,
};

/* A descriptor that becomes readable when the site's process is gone. */
static int open_process(struct control_client *client)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fileno(client->stream), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return -1;
    return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

static int wait_gone(int process, unsigned long seconds)
{
    struct pollfd gone = { .fd = process, .events = POLLIN };
    int ready;
    do
        ready = poll(&gone, 1, (int)seconds * 1000);
    while (ready < 0 && errno == EINTR);
    return ready;
}

static int stop_site(struct control_client *client, unsigned long seconds)
{
    int process = open_process(client);
    if (process < 0 && errno == ESRCH)
        return 0;
    if (process < 0) {
        fprintf(stderr, "chorus stop: cannot watch the site: %s\n", strerror(errno));
        return 1;
    }
    int status = 1;
    if (send(fileno(client->stream), "stop\n", 5, MSG_NOSIGNAL) != 5 && errno != EPIPE)
        fprintf(stderr, "chorus stop: cannot speak with the site: %s\n", strerror(errno));
    else if (wait_gone(process, seconds) <= 0)
        fprintf(stderr, "chorus stop: the site still runs after %lu s\n", seconds);
    else
        status = 0;
    close(process);
    return status;
}

int command_stop(char **argv)
{
    struct stop stop = { .wait_seconds = 30 };
    char **rest;
    enum options_verdict verdict = options_parse(&table, &stop, argv, &rest);
    if (verdict != OPTIONS_GO_ON)
        return verdict == OPTIONS_HELPED ? 0 : SITE_MISUSED;
    struct control_client client;
    if (control_client_open(&client, table.command, stop.name) != 0)
        return 1;
    int status = stop_site(&client, stop.wait_seconds);
    control_client_close(&client);
    return status;
}
