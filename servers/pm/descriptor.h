/* descriptor.h: open file descriptions and the tables of descriptors that point to them. */
#ifndef PM_DESCRIPTOR_H
#define PM_DESCRIPTOR_H

#include <fcntl.h>
#include <poll.h>

#include "pm.h"
#include "user.h"

/* What a kind of file can do. Missing operations: read and write EBADF or EINVAL, ioctl ENOTTY, poll always
 * ready. Handlers may return CALL_WAITS and CALL_REPLIED. */
struct file_operations {
    const char *name; /* as in "pipe:[5]"; NULL: a file with a path */
    bool seekable;
    int64_t (*read)(struct call *call, struct file *file, struct user_io *io, int64_t *offset);
    int64_t (*write)(struct call *call, struct file *file, struct user_io *io, int64_t *offset);
    /* Which of POLLIN, ... hold. With <call> it also stands in the queues that tell of changes. */
    unsigned (*poll)(struct call *call, struct file *file, unsigned wanted);
    int64_t (*ioctl)(struct call *call, struct file *file, uint32_t command, uint64_t argument);
    void (*release)(struct file *file); /* the last reference has gone. Must not wait */
    int64_t (*seek)(struct call *call, struct file *file, int64_t offset, int whence);
    const struct socket_operations *socket; /* NULL: it is none */
};

struct file {
    unsigned references;
    const struct file_operations *operations;
    uint32_t flags; /* O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH, ... */
    struct place place; /* path NULL: it has no name */
    struct file_attributes attributes; /* as they were when it was opened */
    int64_t offset;
    uint64_t number; /* of files without a name */
    bool flocked;
    unsigned under_way; /* references that are descriptors in messages of local sockets */

    bool held;          /* by FILE_OPEN: FILE_CLOSE is due, with <access> */
    uint32_t access;
    struct file_node opened; /* what FILE_CLOSE names */
    bool has_segment;   /* its bytes are read and written there, */
    bool has_pages;     /* or it is for mapping and exec alone, and never written */
    KnCap segment;
    KnTime mtime_set;   /* when its server was told last that it is written to */
    uint64_t mtime_era; /* regular_era as it was then */

    /* Of its kind. */
    uint64_t handle;    /* device.c */
    uint32_t device;
    bool is_terminal;
    void *object;       /* pipe, eventfd, text of /proc, ... */
};

/* A new one with a single reference; NULL: no memory. */
struct file *file_new(const struct file_operations *operations, uint32_t flags);
void file_reference(struct file *file);
/* The last one lets go of it; never waits. */
void file_release(struct file *file);

static inline bool file_may_read(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_WRONLY && !(file->flags & O_PATH);
}

static inline bool file_may_write(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_RDONLY && !(file->flags & O_PATH);
}

/* The file of a call's descriptor: held until the call is over, and the same each time that it is run
 * again. NULL: EBADF. Not for O_PATH ones, unless file_get_any. */
struct file *file_get(struct call *call, int fd);
struct file *file_get_any(struct call *call, int fd);
/* A second one, or no call at all: no reference is taken. NULL: EBADF. */
struct file *descriptor_file(const struct process *process, int fd);

/* Put a file into the lowest free descriptor >= <from>: takes over the reference on success.
 * -EMFILE, -ENOMEM. */
int descriptor_add(struct process *process, struct file *file, bool close_on_exec, int from);
/* There is room for one more. */
bool descriptor_is_free(const struct process *process);
int descriptor_close(struct process *process, int fd);

struct descriptor_table *descriptor_table_new(void);
struct descriptor_table *descriptor_table_copy(const struct descriptor_table *old);
/* <process> leaves the table; the last one closes all. */
void descriptor_table_release(struct descriptor_table *table, struct process *process);
void descriptor_close_on_exec(struct process *process);

#endif
