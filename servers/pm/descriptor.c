/* Descriptors: small numbers that stand for open files. */

#include "descriptor.h"

#include <linux/close_range.h>
#include <stdio.h>

#include "call.h"
#include "local.h"
#include "lock.h"
#include "path.h"
#include "process.h"

#define DESCRIPTORS_MOST (1 << 20)

/* ---- open file descriptions ---- */

struct file *file_new(const struct file_operations *operations, uint32_t flags)
{
    static uint64_t number = 1000;
    struct file *file = calloc(1, sizeof *file);
    if (file == NULL)
        return NULL;
    file->references = 1;
    file->operations = operations;
    file->flags = flags;
    file->number = ++number;
    return file;
}

void file_reference(struct file *file)
{
    file->references++;
}

void file_release(struct file *file)
{
    if (--file->references > 0) {
        if (file->references == file->under_way)
            rights_collect();
        return;
    }
    if (file->flocked)
        lock_release_flock(file);
    if (file->operations->release != NULL)
        file->operations->release(file);
    place_clear(&file->place);
    free(file);
}

struct file *descriptor_file(const struct process *process, int fd)
{
    const struct descriptor_table *table = process->descriptors;
    return table == NULL || fd < 0 || fd >= table->size ? NULL : table->slots[fd].file;
}

struct file *file_get_any(struct call *call, int fd)
{
    if (call->file == NULL) {
        call->file = descriptor_file(call_process(call), fd);
        if (call->file != NULL)
            file_reference(call->file);
    }
    return call->file;
}

struct file *file_get(struct call *call, int fd)
{
    struct file *file = file_get_any(call, fd);
    return file == NULL || (file->flags & O_PATH) ? NULL : file;
}

/* ---- tables ---- */

struct descriptor_table *descriptor_table_new(void)
{
    struct descriptor_table *table = calloc(1, sizeof *table);
    if (table != NULL)
        table->references = 1;
    return table;
}

static int table_grow(struct descriptor_table *table, int least)
{
    int size = table->size == 0 ? 32 : table->size;
    while (size < least)
        size *= 2;
    struct descriptor *slots = realloc(table->slots, (size_t)size * sizeof *slots);
    if (slots == NULL)
        return -ENOMEM;
    memset(slots + table->size, 0, (size_t)(size - table->size) * sizeof *slots);
    table->slots = slots;
    table->size = size;
    return 0;
}

struct descriptor_table *descriptor_table_copy(const struct descriptor_table *old)
{
    struct descriptor_table *table = descriptor_table_new();
    if (table == NULL)
        return NULL;
    if (old->size > 0 && table_grow(table, old->size) != 0) {
        free(table);
        return NULL;
    }
    for (int fd = 0; fd < old->size; fd++) {
        table->slots[fd] = old->slots[fd];
        if (table->slots[fd].file != NULL)
            file_reference(table->slots[fd].file);
    }
    return table;
}

static void close_slot(struct descriptor_table *table, struct process *process, int fd)
{
    struct file *file = table->slots[fd].file;
    table->slots[fd] = (struct descriptor){ 0 };
    lock_release_posix(process, file);
    file_release(file);
}

void descriptor_table_release(struct descriptor_table *table, struct process *process)
{
    if (table == NULL || --table->references > 0)
        return;
    for (int fd = 0; fd < table->size; fd++)
        if (table->slots[fd].file != NULL)
            close_slot(table, process, fd);
    free(table->slots);
    free(table);
}

void descriptor_close_on_exec(struct process *process)
{
    struct descriptor_table *table = process->descriptors;
    for (int fd = 0; fd < table->size; fd++)
        if (table->slots[fd].file != NULL && table->slots[fd].close_on_exec)
            close_slot(table, process, fd);
}

static uint64_t descriptors_limit(const struct process *process)
{
    return process->limits[7 /* RLIMIT_NOFILE */].current;
}

int descriptor_add(struct process *process, struct file *file, bool close_on_exec, int from)
{
    struct descriptor_table *table = process->descriptors;
    int fd = from;
    while (fd < table->size && table->slots[fd].file != NULL)
        fd++;
    if ((uint64_t)fd >= descriptors_limit(process) || fd >= DESCRIPTORS_MOST)
        return -EMFILE;
    if (fd >= table->size && table_grow(table, fd + 1) != 0)
        return -ENOMEM;
    table->slots[fd] = (struct descriptor){ .file = file, .close_on_exec = close_on_exec };
    return fd;
}

bool descriptor_is_free(const struct process *process)
{
    const struct descriptor_table *table = process->descriptors;
    int fd = 0;
    while (fd < table->size && table->slots[fd].file != NULL)
        fd++;
    return (uint64_t)fd < descriptors_limit(process) && fd < DESCRIPTORS_MOST;
}

int descriptor_close(struct process *process, int fd)
{
    if (descriptor_file(process, fd) == NULL)
        return -EBADF;
    close_slot(process->descriptors, process, fd);
    return 0;
}

/* ---- calls ---- */

int64_t linux_close(struct call *call)
{
    return descriptor_close(call_process(call), (int)call->arg[0]);
}

static int64_t duplicate(struct call *call, int from, bool close_on_exec)
{
    struct process *process = call_process(call);
    struct file *file = descriptor_file(process, (int)call->arg[0]);
    if (file == NULL)
        return -EBADF;
    file_reference(file);
    int fd = descriptor_add(process, file, close_on_exec, from);
    if (fd < 0)
        file_release(file);
    return fd;
}

int64_t linux_dup(struct call *call)
{
    return duplicate(call, 0, false);
}

static int64_t duplicate_to(struct call *call, int to, bool close_on_exec)
{
    struct process *process = call_process(call);
    struct descriptor_table *table = process->descriptors;
    struct file *file = descriptor_file(process, (int)call->arg[0]);
    if (file == NULL || to < 0 || (uint64_t)to >= descriptors_limit(process) ||
        to >= DESCRIPTORS_MOST)
        return -EBADF;
    if (to >= table->size && table_grow(table, to + 1) != 0)
        return -ENOMEM;
    file_reference(file);
    if (table->slots[to].file != NULL)
        close_slot(table, process, to);
    table->slots[to] = (struct descriptor){ .file = file, .close_on_exec = close_on_exec };
    return to;
}

int64_t linux_dup2(struct call *call)
{
    int from = (int)call->arg[0], to = (int)call->arg[1];
    if (from == to)
        return descriptor_file(call_process(call), from) == NULL ? -EBADF : to;
    return duplicate_to(call, to, false);
}

int64_t linux_dup3(struct call *call)
{
    if (call->arg[0] == call->arg[1] || (call->arg[2] & ~(uint64_t)O_CLOEXEC))
        return -EINVAL;
    return duplicate_to(call, (int)call->arg[1], call->arg[2] & O_CLOEXEC);
}

int64_t linux_close_range(struct call *call)
{
    struct process *process = call_process(call);
    uint64_t first = (uint32_t)call->arg[0], last = (uint32_t)call->arg[1];
    uint32_t flags = (uint32_t)call->arg[2];
    if (first > last || (flags & ~(uint32_t)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)))
        return -EINVAL;
    if ((flags & CLOSE_RANGE_UNSHARE) && process->descriptors->references > 1) {
        struct descriptor_table *own = descriptor_table_copy(process->descriptors);
        if (own == NULL)
            return -ENOMEM;
        process->descriptors->references--;
        process->descriptors = own;
    }
    struct descriptor_table *table = process->descriptors;
    for (uint64_t fd = first; fd <= last && fd < (uint64_t)table->size; fd++) {
        if (table->slots[fd].file == NULL)
            continue;
        if (flags & CLOSE_RANGE_CLOEXEC)
            table->slots[fd].close_on_exec = true;
        else
            close_slot(table, process, (int)fd);
    }
    return 0;
}

#define FLAGS_TO_SET (O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT | O_ASYNC)
#define PIPE_SIZE 65536

int64_t linux_fcntl(struct call *call)
{
    struct process *process = call_process(call);
    int fd = (int)call->arg[0], command = (int)call->arg[1];
    uint64_t argument = call->arg[2];
    struct file *file = descriptor_file(process, fd);
    if (call->runs > 0)
        file = call->file;
    if (file == NULL)
        return -EBADF;
    if ((file->flags & O_PATH) && command != F_GETFD && command != F_SETFD && command != F_DUPFD &&
        command != F_DUPFD_CLOEXEC && command != F_GETFL)
        return -EBADF;
    switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        if (argument >= descriptors_limit(process))
            return -EINVAL;
        return duplicate(call, (int)argument, command == F_DUPFD_CLOEXEC);
    case F_GETFD: return process->descriptors->slots[fd].close_on_exec ? FD_CLOEXEC : 0;
    case F_SETFD: process->descriptors->slots[fd].close_on_exec = argument & FD_CLOEXEC; return 0;
    case F_GETFL: return file->flags & ~(uint32_t)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC);
    case F_SETFL:
        file->flags = (file->flags & ~(uint32_t)FLAGS_TO_SET) | ((uint32_t)argument & FLAGS_TO_SET);
        return 0;
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case 36: /* F_OFD_GETLK and on */
    case 37:
    case 38: return lock_fcntl(call, command);
    case F_GETOWN: return 0;
    case F_SETOWN:
    case F_SETSIG: return 0;
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
        return file->operations->name != NULL && strcmp(file->operations->name, "pipe") == 0
                   ? PIPE_SIZE : -EBADF;
    default: return -EINVAL;
    }
}
