/* epoll: a list of files that are looked at together. Level- and edge-triggered, one-shot. An edge is told
 * when an event holds that did not hold when we looked last, or when the file's queues were woken since. */

#include <sys/epoll.h>

#include "call.h"
#include "descriptor.h"
#include "polling.h"
#include "time_of.h"
#include "user.h"

#define EVENTS_MOST 4096
#define NESTED_MOST 5

struct item {
    struct list link;
    struct file *file; /* no reference: a file that is closed leaves the list when it is looked at */
    uint64_t number;   /* of the file, to know it again */
    int fd;
    struct epoll_event event;
    unsigned told; /* edge-triggered: what held when it was told last */
    uint64_t stood; /* and how often its queues had been woken by then; 0: it has none */
    bool spent;    /* one-shot */
};

struct epoll {
    struct list items;
    struct wait_queue changed;
};

static const struct file_operations epoll_operations;

/* A file is watched by the descriptor it was added with; it leaves when that is closed. */
static bool is_still_there(struct process *process, const struct item *item)
{
    const struct file *file = descriptor_file(process, item->fd);
    return file == item->file && file->number == item->number;
}

static void item_remove(struct item *item)
{
    list_remove(&item->link);
    free(item);
}

static unsigned item_look(struct call *call, struct item *item)
{
    unsigned wanted = item->event.events & 0xffff;
    if (item->spent)
        return 0;
    struct file *file = item->file;
    file_reference(file);
    unsigned events = file_poll(call, file, wanted);
    file_release(file);
    return events;
}

static void epoll_release(struct file *file)
{
    struct epoll *epoll = file->object;
    LIST_EACH(&epoll->items, at)
        item_remove(LIST_ENTRY(at, struct item, link));
    queue_end(&epoll->changed);
    free(epoll);
}

static unsigned epoll_poll(struct call *call, struct file *file, unsigned wanted)
{
    static unsigned depth;
    struct epoll *epoll = file->object;
    unsigned events = 0;
    (void)wanted;
    if (call == NULL || depth >= NESTED_MOST)
        return 0;
    depth++;
    wait_in(call, &epoll->changed);
    LIST_EACH(&epoll->items, at) {
        struct item *item = LIST_ENTRY(at, struct item, link);
        if (is_still_there(call_process(call), item) && item_look(call, item) != 0)
            events = POLLIN | POLLRDNORM;
    }
    depth--;
    return events;
}

static const struct file_operations epoll_operations = {
    .name = "anon_inode:[eventpoll]", .poll = epoll_poll, .release = epoll_release,
};

static int64_t epoll_new(struct call *call, uint32_t flags)
{
    if (flags & ~(uint32_t)EPOLL_CLOEXEC)
        return -EINVAL;
    struct epoll *epoll = calloc(1, sizeof *epoll);
    struct file *file = epoll == NULL ? NULL : file_new(&epoll_operations, O_RDWR);
    if (file == NULL) {
        free(epoll);
        return -ENOMEM;
    }
    list_init(&epoll->items);
    queue_init(&epoll->changed);
    file->object = epoll;
    int fd = descriptor_add(call_process(call), file, flags & EPOLL_CLOEXEC, 0);
    if (fd < 0)
        file_release(file);
    return fd;
}

int64_t linux_epoll_create(struct call *call)
{
    return (int)call->arg[0] <= 0 ? -EINVAL : epoll_new(call, 0);
}

int64_t linux_epoll_create1(struct call *call)
{
    return epoll_new(call, (uint32_t)call->arg[0]);
}

static struct item *find(struct epoll *epoll, int fd, const struct file *file)
{
    LIST_EACH(&epoll->items, at) {
        struct item *item = LIST_ENTRY(at, struct item, link);
        if (item->fd == fd && item->file == file && item->number == file->number)
            return item;
    }
    return NULL;
}

static int64_t add(struct epoll *epoll, int fd, struct file *file, const struct epoll_event *event)
{
    struct item *item = calloc(1, sizeof *item);
    if (item == NULL)
        return -ENOMEM;
    *item = (struct item){ .file = file, .number = file->number, .fd = fd, .event = *event };
    list_append(&epoll->items, &item->link);
    return 0;
}

int64_t linux_epoll_ctl(struct call *call)
{
    int fd = (int)call->arg[2], operation = (int)call->arg[1];
    struct epoll_event event = { 0 };
    struct file *self = file_get(call, (int)call->arg[0]);
    if (self == NULL)
        return -EBADF;
    if (operation != EPOLL_CTL_DEL && copy_in(call, &event, call->arg[3], sizeof event) != 0)
        return -EFAULT;
    struct file *file = descriptor_file(call_process(call), fd);
    if (file == NULL)
        return -EBADF;
    if (self->operations != &epoll_operations || file == self)
        return -EINVAL;
    if (file->operations->poll == NULL)
        return -EPERM;
    struct epoll *epoll = self->object;
    struct item *item = find(epoll, fd, file);
    int64_t result = 0;
    switch (operation) {
    case EPOLL_CTL_ADD: result = item != NULL ? -EEXIST : add(epoll, fd, file, &event); break;
    case EPOLL_CTL_MOD:
        if (item == NULL)
            return -ENOENT;
        item->event = event;
        item->told = 0;
        item->spent = false;
        break;
    case EPOLL_CTL_DEL:
        if (item == NULL)
            return -ENOENT;
        item_remove(item);
        break;
    default: return -EINVAL;
    }
    queue_wake(&epoll->changed);
    return result;
}

/* What of the item is to be told now. */
static unsigned news_of(struct call *call, struct item *item, bool woken)
{
    uint64_t before = call->stood;
    unsigned events = item_look(call, item);
    if (!(item->event.events & EPOLLET))
        return events;
    uint64_t stood = call->stood - before;
    bool changed = stood != item->stood || (stood == 0 && woken);
    unsigned news = changed ? events : events & ~item->told;
    item->stood = stood;
    item->told = events;
    return news != 0 ? events : 0;
}

static size_t gather(struct call *call, struct epoll *epoll, struct epoll_event *events,
                     size_t room)
{
    size_t count = 0;
    bool woken = call->runs > 0;
    LIST_EACH(&epoll->items, at) {
        struct item *item = LIST_ENTRY(at, struct item, link);
        if (!is_still_there(call_process(call), item)) {
            item_remove(item);
            continue;
        }
        unsigned news = count < room ? news_of(call, item, woken) : 0;
        if (news == 0)
            continue;
        events[count++] = (struct epoll_event){ .events = news, .data = item->event.data };
        item->spent = item->event.events & EPOLLONESHOT;
    }
    return count;
}

static int64_t epoll_wait_for(struct call *call)
{
    struct file *file = file_get(call, (int)call->arg[0]);
    int room = (int)call->arg[2];
    if (file == NULL)
        return -EBADF;
    if (file->operations != &epoll_operations || room <= 0)
        return -EINVAL;
    room = room < EVENTS_MOST ? room : EVENTS_MOST;
    struct epoll *epoll = file->object;
    struct epoll_event *events = calloc((size_t)room, sizeof *events);
    if (events == NULL)
        return -ENOMEM;
    call->policy = CALL_INTERRUPTS;
    wait_in(call, &epoll->changed);
    size_t count = gather(call, epoll, events, (size_t)room);
    bool expired = call->timed_out ||
                   (call->deadline != K_FOREVER && call->deadline <= time_now());
    int64_t result = count > 0 || expired ? (int64_t)count : CALL_WAITS;
    if (count > 0 && copy_out(call, call->arg[1], events, count * sizeof *events) != 0)
        result = -EFAULT;
    free(events);
    return result;
}

int64_t linux_epoll_wait(struct call *call)
{
    int32_t milliseconds = (int32_t)call->arg[3];
    if (milliseconds >= 0)
        call_deadline_after(call, (KnTime)milliseconds * 1000000);
    return epoll_wait_for(call);
}

int64_t linux_epoll_pwait(struct call *call)
{
    int error = poll_mask(call, call->arg[4], call->arg[5]);
    return error != 0 ? error : linux_epoll_wait(call);
}

int64_t linux_epoll_pwait2(struct call *call)
{
    int error = time_deadline_in(call, call->arg[3]);
    if (error == 0)
        error = poll_mask(call, call->arg[4], call->arg[5]);
    return error != 0 ? error : epoll_wait_for(call);
}
