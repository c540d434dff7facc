/* The console elsewhere: see site_serial.h. */
#include "site_serial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

static struct {
    const char *socket; /* that we made */
    int slave;          /* kept open, so that the other end may come and go */
} site = {.slave = -1};

static int fail(const char *where)
{
    fprintf(stderr, "chorus run: --serial %s: %s\n", where, strerror(errno));
    return -1;
}

/* Bytes go through as they are: the line's discipline is the site's affair. */
static int pty_open(void)
{
    char name[64];
    struct termios raw;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0 || ptsname_r(master, name, sizeof name) != 0 ||
        (site.slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 || tcgetattr(site.slave, &raw) != 0) {
        int error = errno;
        if (master >= 0)
            close(master);
        errno = error;
        return fail("pty");
    }
    cfmakeraw(&raw);
    tcsetattr(site.slave, TCSANOW, &raw);
    fprintf(stderr, "chorus: the console is %s\n", name);
    return master;
}

static int socket_open(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int listener = -1, found = -1;
    errno = ENAMETOOLONG;
    if (strlen(path) < sizeof address.sun_path && (listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0) {
        strcpy(address.sun_path, path);
        mode_t mask = umask(0077);
        int bound = bind(listener, (struct sockaddr *)&address, sizeof address);
        umask(mask);
        site.socket = bound == 0 ? path : NULL;
        if (bound == 0 && listen(listener, 1) == 0) {
            fprintf(stderr, "chorus: the site starts when somebody connects to %s\n", path);
            do
                found = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            while (found < 0 && errno == EINTR);
        }
    }
    int error = errno;
    if (listener >= 0)
        close(listener);
    errno = error;
    return found >= 0 ? found : fail(path);
}

bool site_serial_open(const char *where, int descriptors[2])
{
    descriptors[0] = strcmp(where, "pty") == 0 ? pty_open() : socket_open(where);
    descriptors[1] = descriptors[0] >= 0 ? fcntl(descriptors[0], F_DUPFD_CLOEXEC, 3) : -1;
    if (descriptors[0] >= 0 && descriptors[1] < 0)
        fail(where);
    if (descriptors[1] < 0)
        site_serial_close();
    return descriptors[1] >= 0;
}

void site_serial_close(void)
{
    if (site.socket != NULL)
        unlink(site.socket);
    site.socket = NULL;
}
