/* Streams that are pushed together: see gather.h. */
#include "gather.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STREAMS 32                      /* that are remembered; others are sent at once */

static struct {
    bool on;
    unsigned count;
    int descriptors[STREAMS];
} gathered;

static bool remember(int descriptor)
{
    for (unsigned i = 0; i < gathered.count; i++)
        if (gathered.descriptors[i] == descriptor)
            return true;
    if (gathered.count == STREAMS)
        return false;
    gathered.descriptors[gathered.count++] = descriptor;
    return true;
}

void gather_begin(void)
{
    gathered.on = true;
}

/* TCP_NODELAY, which libslirp has set before, pushes. One that was closed meanwhile has been pushed by that. */
void gather_end(void)
{
    for (unsigned i = 0; i < gathered.count; i++)
        setsockopt(gathered.descriptors[i], IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    gathered.count = 0;
    gathered.on = false;
}

/* ---- in place of libc's ---- */

ssize_t send(int descriptor, const void *bytes, size_t size, int flags)
{
    if (gathered.on && !(flags & MSG_OOB) && remember(descriptor))
        flags |= MSG_MORE;
    return syscall(SYS_sendto, descriptor, bytes, size, flags, NULL, 0);
}
