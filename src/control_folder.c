/* The folder of control sockets. */

#include "control_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A real folder (no link) that is ours. /tmp belongs to all, so nothing found there is trusted. */
static bool is_ours(const char *path, mode_t forbidden)
{
    struct stat status;
    if (lstat(path, &status) != 0)
        return false;
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & forbidden)) {
        errno = EPERM;
        return false;
    }
    return true;
}

char *control_folder(bool make)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char *path;
    int length;
    if (runtime != NULL && *runtime == '/' && is_ours(runtime, 022))
        length = asprintf(&path, "%s/chorus", runtime);
    else
        length = asprintf(&path, "/tmp/chorus-%lu", (unsigned long)geteuid());
    if (length < 0) {
        errno = ENOMEM;
        return NULL;
    }
    if ((make && mkdir(path, 0700) != 0 && errno != EEXIST) || !is_ours(path, 077)) {
        int error = errno;
        free(path);
        errno = error;
        return NULL;
    }
    return path;
}

int control_address(const char *folder, const char *name, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    size_t size = sizeof ret_address->sun_path;
    if ((size_t)snprintf(ret_address->sun_path, size, "%s/%s", folder, name) >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return 0;
}

int control_connect(const char *folder, const char *name)
{
    struct sockaddr_un address;
    if (control_address(folder, name, &address) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int control_lock(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        int error = errno;
        close(fd);
        fd = -1;
        errno = error;
    }
    return fd;
}

bool control_is_alive_locked(const char *folder, const char *name)
{
    struct sockaddr_un address;
    int fd = control_connect(folder, name);
    if (fd >= 0) {
        close(fd);
        return true;
    }
    if (errno == ECONNREFUSED && control_address(folder, name, &address) == 0)
        unlink(address.sun_path);
    return false;
}

bool control_peer_is_owner(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}
