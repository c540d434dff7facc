/* Calls whose subject is not there, but that have a better answer than ENOSYS: programs ask, and go on. */

#include "call.h"
#include "descriptor.h"

/* ---- extended attributes: no file system of ours has them ---- */

static int64_t no_attributes(struct call *call)
{
    char first;
    return copy_in(call, &first, call->arg[0], 1) != 0 ? -EFAULT : -EOPNOTSUPP;
}

static int64_t no_attributes_of_file(struct call *call)
{
    return file_get(call, (int)call->arg[0]) == NULL ? -EBADF : -EOPNOTSUPP;
}

int64_t linux_setxattr(struct call *call) { return no_attributes(call); }
int64_t linux_lsetxattr(struct call *call) { return no_attributes(call); }
int64_t linux_getxattr(struct call *call) { return no_attributes(call); }
int64_t linux_lgetxattr(struct call *call) { return no_attributes(call); }
int64_t linux_listxattr(struct call *call) { return no_attributes(call); }
int64_t linux_llistxattr(struct call *call) { return no_attributes(call); }
int64_t linux_removexattr(struct call *call) { return no_attributes(call); }
int64_t linux_lremovexattr(struct call *call) { return no_attributes(call); }
int64_t linux_fsetxattr(struct call *call) { return no_attributes_of_file(call); }
int64_t linux_fgetxattr(struct call *call) { return no_attributes_of_file(call); }
int64_t linux_flistxattr(struct call *call) { return no_attributes_of_file(call); }
int64_t linux_fremovexattr(struct call *call) { return no_attributes_of_file(call); }
