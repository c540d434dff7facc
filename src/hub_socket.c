/* How a hub is found: a Unix socket. Who takes over the socket of a dead hub holds a lock on the folder meanwhile, so that two that start at the
 * same moment do not take it from each other, and no lock file is left. */
#include "hub.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define STATIONS_WAITING 16

static int address_make(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof address->sun_path)
        return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

int hub_connect(const char *path)
{
    struct sockaddr_un address;
    struct timeval patience = { .tv_sec = 2 };  /* for a hub that is stopped */
    int status = address_make(path, &address);

    if (status != 0)
        return status;
    int station = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (station < 0)
        return -errno;
    setsockopt(station, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(station, (struct sockaddr *)&address, sizeof address) == 0)
        return station;
    status = errno == EAGAIN ? -ETIMEDOUT : -errno;
    close(station);
    return status;
}

/* Nobody listens at what is there: take it away. */
static int left_over_remove(const char *path)
{
    struct stat about;
    int station = hub_connect(path);

    if (station >= 0) {
        close(station);
        return -EADDRINUSE;
    }
    if (station != -ECONNREFUSED && station != -ENOENT)
        return station;
    if (lstat(path, &about) == 0 && !S_ISSOCK(about.st_mode))
        return -EEXIST;
    return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int folder_lock(const char *path)
{
    char copy[sizeof ((struct sockaddr_un *)0)->sun_path];

    snprintf(copy, sizeof copy, "%s", path);
    int folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -errno;
    if (flock(folder, LOCK_EX) == 0)
        return folder;
    int status = -errno;
    close(folder);
    return status;
}

static int listen_locked(const struct sockaddr_un *address)
{
    int status = left_over_remove(address->sun_path);
    if (status != 0)
        return status;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0)
        return -errno;
    if (bind(listener, (const struct sockaddr *)address, sizeof *address) == 0 && listen(listener, STATIONS_WAITING) == 0)
        return listener;
    status = -errno;
    close(listener);
    return status;
}

int hub_listen(const char *path)
{
    struct sockaddr_un address;
    int status = address_make(path, &address);

    if (status != 0)
        return status;
    int folder = folder_lock(path);
    if (folder < 0)
        return folder;
    int listener = listen_locked(&address);
    close(folder);
    return listener;
}

bool hub_leave(const char *path, int listener, bool all_the_same)
{
    struct pollfd somebody = { .fd = listener, .events = POLLIN };
    int folder = folder_lock(path);
    bool leaves = all_the_same || poll(&somebody, 1, 0) == 0;

    if (leaves) {
        unlink(path);
        close(listener);
    }
    if (folder >= 0)
        close(folder);
    return leaves;
}
