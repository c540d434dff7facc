/* Advisory locks. All locks of one file are in one list, whatever their kind; the kinds do not see each
 * other. A wait for a lock is begun again when any lock of the file goes. */

#include "lock.h"

#include <sys/file.h>
#include <unistd.h>

#include "call.h"
#include "file_server.h"
#include "process.h"
#include "regular.h"
#include "waiting.h"

enum lock_kind { RECORD, FLOCK };

struct lock {
    struct list link;
    enum lock_kind kind;
    const void *owner; /* a process, or a file */
    pid_t pid;
    bool exclusive;
    int64_t start, end; /* [start, end) */
};

struct locked_file {
    struct list link;
    struct file_node node;
    struct list locks;
    struct wait_queue changed;
};

static struct list files = { &files, &files };

static struct locked_file *find(const struct file *file, bool make)
{
    LIST_EACH(&files, at) {
        struct locked_file *locked = LIST_ENTRY(at, struct locked_file, link);
        if (file_node_equal(&locked->node, &file->place.node))
            return locked;
    }
    struct locked_file *locked = make ? calloc(1, sizeof *locked) : NULL;
    if (locked == NULL)
        return NULL;
    locked->node = file->place.node;
    list_init(&locked->locks);
    queue_init(&locked->changed);
    list_append(&files, &locked->link);
    return locked;
}

static void forget_if_empty(struct locked_file *locked)
{
    if (!list_is_empty(&locked->locks))
        return;
    queue_wake(&locked->changed);
    list_remove(&locked->link);
    free(locked);
}

static struct lock *conflict(struct locked_file *locked, const struct lock *wish)
{
    LIST_EACH(&locked->locks, at) {
        struct lock *lock = LIST_ENTRY(at, struct lock, link);
        if (lock->kind == wish->kind && lock->owner != wish->owner && lock->start < wish->end &&
            wish->start < lock->end && (lock->exclusive || wish->exclusive))
            return lock;
    }
    return NULL;
}


/* Take [start, end) of the owner's own locks away; at most one is split, for which <spare> is kept. */
static void cut(struct locked_file *locked, const struct lock *range, struct lock **spare)
{
    LIST_EACH(&locked->locks, at) {
        struct lock *lock = LIST_ENTRY(at, struct lock, link);
        if (lock->kind != range->kind || lock->owner != range->owner ||
            lock->start >= range->end || range->start >= lock->end)
            continue;
        if (lock->start < range->start && lock->end > range->end) {
            **spare = *lock;
            (*spare)->start = range->end;
            list_append(&locked->locks, &(*spare)->link);
            *spare = NULL;
            lock->end = range->start;
        } else if (lock->start < range->start) {
            lock->end = range->start;
        } else if (lock->end > range->end) {
            lock->start = range->end;
        } else {
            list_remove(at);
            free(lock);
        }
    }
    queue_wake(&locked->changed);
}

static int apply(struct locked_file *locked, const struct lock *wish, bool unlock)
{
    struct lock *spare = malloc(sizeof *spare), *made = NULL;
    if (spare == NULL || (!unlock && (made = malloc(sizeof *made)) == NULL)) {
        free(spare);
        return -ENOMEM;
    }
    cut(locked, wish, &spare);
    free(spare);
    if (made != NULL) {
        *made = *wish;
        list_append(&locked->locks, &made->link);
    }
    return 0;
}

static void drop_owner(const struct file *file, enum lock_kind kind, const void *owner)
{
    if (file->place.path == NULL)
        return;
    struct locked_file *locked = find(file, false);
    if (locked == NULL)
        return;
    struct lock all = { .kind = kind, .owner = owner, .start = 0, .end = INT64_MAX };
    struct lock *none = NULL;
    cut(locked, &all, &none);
    forget_if_empty(locked);
}

void lock_release_posix(struct process *process, struct file *file)
{
    drop_owner(file, RECORD, process);
}

void lock_release_flock(struct file *file)
{
    drop_owner(file, FLOCK, file);
    drop_owner(file, RECORD, file);
}

/* A struct flock as a range. */
static int range_of(struct call *call, struct file *file, const struct flock *wish,
                    struct lock *range)
{
    int64_t base = 0;
    if (wish->l_whence == SEEK_CUR)
        base = file->offset;
    else if (wish->l_whence == SEEK_END)
        base = regular_size(call, file);
    else if (wish->l_whence != SEEK_SET)
        return -EINVAL;
    int64_t start;
    if (__builtin_add_overflow(base, wish->l_start, &start))
        return -EOVERFLOW;
    int64_t end = INT64_MAX;
    if (wish->l_len > 0 && __builtin_add_overflow(start, wish->l_len, &end))
        return -EOVERFLOW;
    if (wish->l_len < 0) {
        end = start;
        start += wish->l_len;
    }
    if (start < 0)
        return -EINVAL;
    range->start = start;
    range->end = end;
    return 0;
}

static int64_t get_lock(struct call *call, struct locked_file *locked, const struct lock *wish,
                        struct flock *flock)
{
    struct lock *other = conflict(locked, wish);
    if (other == NULL) {
        flock->l_type = F_UNLCK;
    } else {
        flock->l_type = other->exclusive ? F_WRLCK : F_RDLCK;
        flock->l_whence = SEEK_SET;
        flock->l_start = other->start;
        flock->l_len = other->end == INT64_MAX ? 0 : other->end - other->start;
        flock->l_pid = other->pid;
    }
    forget_if_empty(locked);
    return copy_out(call, call->arg[2], flock, sizeof *flock);
}

int64_t lock_fcntl(struct call *call, int command)
{
    struct flock flock;
    struct lock wish = { .kind = RECORD };
    bool of_description = command >= 36;
    if (of_description)
        command = command == 36 ? F_GETLK : command == 37 ? F_SETLK : F_SETLKW;
    struct file *file = file_get(call, (int)call->arg[0]);
    if (file == NULL || file->place.path == NULL)
        return file == NULL ? -EBADF : -EINVAL;
    int error = copy_in(call, &flock, call->arg[2], sizeof flock);
    if (error == 0)
        error = range_of(call, file, &flock, &wish);
    if (error != 0)
        return error;
    if (flock.l_type != F_RDLCK && flock.l_type != F_WRLCK && flock.l_type != F_UNLCK)
        return -EINVAL;
    if (command != F_GETLK && ((flock.l_type == F_RDLCK && !file_may_read(file)) ||
                               (flock.l_type == F_WRLCK && !file_may_write(file))))
        return -EBADF;
    wish.owner = of_description ? (void *)file : (void *)call_process(call);
    wish.pid = of_description ? -1 : call_process(call)->pid;
    wish.exclusive = flock.l_type == F_WRLCK;
    file->flocked |= of_description;
    struct locked_file *locked = find(file, true);
    if (locked == NULL)
        return -ENOLCK;
    if (command == F_GETLK)
        return get_lock(call, locked, &wish, &flock);
    if (flock.l_type == F_UNLCK || conflict(locked, &wish) == NULL) {
        error = apply(locked, &wish, flock.l_type == F_UNLCK);
        forget_if_empty(locked);
        return error;
    }
    if (command == F_SETLK)
        return -EAGAIN;
    return wait_in(call, &locked->changed) == 0 ? CALL_WAITS : -ENOMEM;
}

int64_t linux_flock(struct call *call)
{
    uint32_t operation = (uint32_t)call->arg[1], what = operation & ~(uint32_t)LOCK_NB;
    struct file *file = file_get(call, (int)call->arg[0]);
    if (file == NULL)
        return -EBADF;
    if (what != LOCK_SH && what != LOCK_EX && what != LOCK_UN)
        return -EINVAL;
    if (file->place.path == NULL)
        return 0; /* nobody else could open it */
    struct lock wish = { .kind = FLOCK, .owner = file, .pid = call_process(call)->pid,
                         .exclusive = what == LOCK_EX, .start = 0, .end = INT64_MAX };
    struct locked_file *locked = find(file, true);
    if (locked == NULL)
        return -ENOLCK;
    if (what == LOCK_UN || conflict(locked, &wish) == NULL) {
        int error = apply(locked, &wish, what == LOCK_UN);
        file->flocked = true;
        forget_if_empty(locked);
        return error;
    }
    if (operation & LOCK_NB)
        return -EWOULDBLOCK;
    return wait_in(call, &locked->changed) == 0 ? CALL_WAITS : -ENOMEM;
}
