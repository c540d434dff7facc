/* What servers are told later. */

#include "deferred.h"

#include "device.h"
#include "file_server.h"
#include "net.h"
#include "remember.h"

enum deferred_kind { CLOSE_FILE, CLOSE_DEVICE, UNWATCH, SESSION_END, CLOSE_SOCKET, UNWATCH_SOCKET };

struct deferred {
    struct list link;
    enum deferred_kind kind;
    struct file_node node;
    uint64_t number;
    uint64_t order;
};

#define PAUSE (NANOSECONDS / 2000)
#define PAUSES 2000

static struct list notes = { &notes, &notes };
static struct list running = { &running, &running }; /* some worker does them now */
static uint64_t last;

static void note(struct deferred what)
{
    struct deferred *copy = malloc(sizeof *copy);
    if (copy == NULL) {
        pm_log("no memory to tell a server that something was closed");
        return;
    }
    *copy = what;
    copy->order = ++last;
    list_append(&notes, &copy->link);
}

void deferred_close_file(struct file_node node, uint32_t access)
{
    note((struct deferred){ .kind = CLOSE_FILE, .node = node, .number = access });
}

void deferred_close_device(uint64_t handle)
{
    note((struct deferred){ .kind = CLOSE_DEVICE, .number = handle });
}

void deferred_unwatch(uint64_t token)
{
    note((struct deferred){ .kind = UNWATCH, .number = token });
}

void deferred_close_socket(uint64_t handle)
{
    note((struct deferred){ .kind = CLOSE_SOCKET, .number = handle });
}

void deferred_unwatch_socket(uint64_t token)
{
    note((struct deferred){ .kind = UNWATCH_SOCKET, .number = token });
}

void deferred_session_end(pid_t sid)
{
    note((struct deferred){ .kind = SESSION_END, .number = (uint64_t)sid });
}

bool deferred_is_due(void)
{
    return !list_is_empty(&notes);
}

bool deferred_run(void)
{
    struct list *link = list_take_first(&notes);
    if (link == NULL)
        return false;
    struct deferred *what = LIST_ENTRY(link, struct deferred, link);
    list_append(&running, link);
    switch (what->kind) {
    case CLOSE_FILE: file_server_close(what->node, (uint32_t)what->number); break;
    case CLOSE_DEVICE: device_server_close(what->number); break;
    case UNWATCH: device_server_unwatch(what->number); break;
    case CLOSE_SOCKET: net_server_close(what->number); break;
    case UNWATCH_SOCKET: net_server_unwatch(what->number); break;
    case SESSION_END: device_server_session_end((pid_t)what->number); break;
    }
    list_remove(link);
    free(what);
    return true;
}

static bool has_older(struct list *list, uint64_t order)
{
    LIST_EACH(list, at)
        if (LIST_ENTRY(at, struct deferred, link)->order <= order)
            return true;
    return false;
}

void deferred_settle(void)
{
    remember_give_back();
    uint64_t order = last;
    for (int i = 0; i < PAUSES; i++) {
        while (has_older(&notes, order))
            deferred_run();
        if (!has_older(&running, order))
            return;
        pm_unlock();
        threadDelay(PAUSE);
        pm_lock();
    }
}
