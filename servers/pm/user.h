/* user.h: the memory of processes. All of it is reached by these; a bad address is -EFAULT and harms
 * nobody. Each of them gives up the lock while it copies: do it before anything is looked at, or after
 * everything is changed. What a process gave is fetched once and checked then.
 */
#ifndef PM_USER_H
#define PM_USER_H

#include <sys/uio.h>

#include "pm.h"

int space_read(struct space *space, void *to, VmAddr from, size_t size);
int space_write(struct space *space, VmAddr to, const void *from, size_t size);

int copy_in(struct call *call, void *to, VmAddr from, size_t size);
int copy_out(struct call *call, VmAddr to, const void *from, size_t size);
/* A string of at most size - 1 bytes. Its length; -EFAULT; -ENAMETOOLONG. */
int copy_in_string(struct call *call, char *to, VmAddr from, size_t size);
/* A path, to be freed. -ENOENT for an empty one, unless <may_be_empty>. */
int copy_in_path(struct call *call, VmAddr from, bool may_be_empty, char **ret_path);

/* Where the data of a read or write lie in the process. */
#define IO_VECTORS_MAX 1024
struct user_io {
    struct iovec one;
    struct iovec *vectors;
    size_t count;
    size_t total;
    struct io_other *other; /* not NULL: they lie elsewhere, and there are no vectors */
};
/* Another place than the process's memory, from where <size> bytes at <offset> are brought, or where they are taken to: splice.c. Both may give
 * up the lock. */
struct io_other {
    int (*bring)(struct call *call, struct io_other *other, size_t offset, void *to, size_t size);
    int (*take)(struct call *call, struct io_other *other, size_t offset, const void *from, size_t size);
};
/* One buffer; its size is cut to what Linux takes at once. */
void io_set(struct user_io *io, VmAddr address, size_t size);
/* From an array of struct iovec in the process: -EINVAL, -EFAULT, -ENOMEM. */
int io_fetch(struct call *call, struct user_io *io, VmAddr vectors, uint64_t count);
void io_end(struct user_io *io);
/* Copy <size> bytes at <offset> of all the buffers taken as one. */
int io_copy_in(struct call *call, const struct user_io *io, size_t offset, void *to, size_t size);
int io_copy_out(struct call *call, const struct user_io *io, size_t offset, const void *from,
                size_t size);

#endif
