/* facts.c: what a libc wants to know about the machine, and calls that are accepted without effect. */
#include "internal.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#define THREAD_STACK (1024 * 1024) /* what pthread_create gives a thread that asks for no size */
#define RANDOM_MAX 256             /* bytes of one sysRandom */
#define SIGNAL_SET_MAX 128

int64_t libc_zero(struct libc_call *call)
{
    (void)call;
    return 0;
}

int64_t libc_one(struct libc_call *call)
{
    (void)call;
    return 1;
}

int64_t libc_no_file(struct libc_call *call)
{
    (void)call;
    return -ENOENT;
}

int64_t libc_not_offered(struct libc_call *call)
{
    (void)call;
    return -ENOSYS;
}

static void text_put(char *to, const char *text)
{
    while ((*to++ = *text++) != 0)
        ;
}

/* A static glibc refuses to start below the release that it was built for. */
int64_t libc_uname(struct libc_call *call)
{
    struct utsname *name = (struct utsname *)call->arg[0];
    bytes_clear(name, sizeof *name);
    text_put(name->sysname, "Linux");
    text_put(name->nodename, "chorus");
    text_put(name->release, "6.1.0-chorus");
    text_put(name->version, "Chorus actor");
    text_put(name->machine, "x86_64");
    return 0;
}

int64_t libc_getrandom(struct libc_call *call)
{
    char *to = (char *)call->arg[0];
    uint64_t size = call->arg[1], done = 0;
    if (size > INT32_MAX)
        size = INT32_MAX;
    while (done < size) {
        uint64_t part = size - done < RANDOM_MAX ? size - done : RANDOM_MAX;
        int status = sysRandom(to + done, part);
        if (status < 0)
            return libc_result(status);
        done += part;
    }
    return (int64_t)done;
}

static void limit_get(uint64_t resource, struct rlimit *to)
{
    to->rlim_cur = to->rlim_max = RLIM_INFINITY;
    if (resource == RLIMIT_STACK)
        to->rlim_cur = THREAD_STACK;
    else if (resource == RLIMIT_NOFILE)
        to->rlim_cur = to->rlim_max = 3;
    else if (resource == RLIMIT_CORE)
        to->rlim_cur = to->rlim_max = 0;
}

int64_t libc_prlimit64(struct libc_call *call)
{
    struct rlimit *old = (struct rlimit *)call->arg[3];
    if ((uint32_t)call->arg[1] >= RLIM_NLIMITS)
        return -EINVAL;
    if (call->arg[2] != 0)
        return -EPERM;
    if (old != NULL)
        limit_get((uint32_t)call->arg[1], old);
    return 0;
}

int64_t libc_getrlimit(struct libc_call *call)
{
    if ((uint32_t)call->arg[0] >= RLIM_NLIMITS)
        return -EINVAL;
    limit_get((uint32_t)call->arg[0], (struct rlimit *)call->arg[1]);
    return 0;
}

/* Linux's struct sigaction: handler, flags, restorer, and then the set. */
int64_t libc_rt_sigaction(struct libc_call *call)
{
    if (call->arg[3] > SIGNAL_SET_MAX)
        return -EINVAL;
    if (call->arg[2] != 0)
        bytes_clear((void *)call->arg[2], 24 + call->arg[3]);
    return 0;
}

int64_t libc_rt_sigprocmask(struct libc_call *call)
{
    if (call->arg[3] > SIGNAL_SET_MAX)
        return -EINVAL;
    if (call->arg[2] != 0)
        bytes_clear((void *)call->arg[2], call->arg[3]);
    return 0;
}
