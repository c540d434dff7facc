/* The table of processes and threads; birth and death. */

#include "process.h"

#include <stdio.h>
#include <sys/wait.h>

#include "answers.h"
#include "call.h"
#include "descriptor.h"
#include "init.h"
#include "job.h"
#include "path.h"
#include "signals.h"
#include "space.h"
#include "timer.h"
#include "waiting.h"
#include "worker.h"

#define PID_MOST 32767
#define PLACE_BITS 18
#define THREADS_MOST (1u << PLACE_BITS)
#define LAST_MOMENT (NANOSECONDS / 3000) /* how long a killed process takes to be gone */

struct list processes = { &processes, &processes };
struct process *process_init;
static struct list finished = { &finished, &finished }; /* sibling_finished */

/* ---- numbers ---- */

static uint8_t pids_taken[PID_MOST / 8 + 1];
static pid_t pid_last = 0;

pid_t pid_new(void)
{
    for (int tries = 0; tries < PID_MOST; tries++) {
        pid_last = pid_last >= PID_MOST ? 2 : pid_last + 1;
        if ((pids_taken[pid_last / 8] & 1 << pid_last % 8) == 0) {
            pids_taken[pid_last / 8] |= (uint8_t)(1 << pid_last % 8);
            return pid_last;
        }
    }
    return -EAGAIN;
}

/* A number stays taken while a process, a group or a session bears it. */
void pid_free(pid_t pid)
{
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (process->pid == pid || process->group->pgid == pid ||
            process->group->session->sid == pid)
            return;
    }
    pids_taken[pid / 8] &= (uint8_t)~(1 << pid % 8);
}

/* ---- finding ---- */

struct process *process_find(pid_t pid)
{
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (process->pid == pid)
            return process;
    }
    return NULL;
}

unsigned process_count_of_user(uint32_t uid)
{
    unsigned count = 0;
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        count += process->credentials.uid == uid ? process->thread_count : 0;
    }
    return count;
}

/* Threads are found by their cookie: a place in this table, below 46 random bits. Nobody but the Nucleus and us
 * knows it, so that a message with a good one is the Nucleus's. */
static struct thread **threads;
static uint32_t threads_room, threads_first_free;

static int threads_grow(void)
{
    uint32_t room = threads_room == 0 ? 64 : threads_room * 2;
    if (room > THREADS_MOST)
        return -EAGAIN;
    struct thread **more = realloc(threads, room * sizeof *more);
    if (more == NULL)
        return -ENOMEM;
    threads = more;
    memset(threads + threads_room, 0, (room - threads_room) * sizeof *threads);
    threads_room = room;
    return 0;
}

/* Random numbers are fetched by the dozen. */
static uint64_t secret(void)
{
    static uint64_t pool[32];
    static unsigned left;
    if (left == 0) {
        sysRandom(pool, sizeof pool);
        left = sizeof pool / sizeof *pool;
    }
    return pool[--left];
}

static int cookie_new(struct thread *thread)
{
    uint32_t place = threads_first_free;
    while (place < threads_room && threads[place] != NULL)
        place++;
    if (place == threads_room) {
        int error = threads_grow();
        if (error != 0)
            return error;
    }
    threads[place] = thread;
    threads_first_free = place + 1;
    thread->cookie = secret() << PLACE_BITS | place;
    return 0;
}

static void cookie_free(uint64_t cookie)
{
    uint32_t place = (uint32_t)(cookie & ((1 << PLACE_BITS) - 1));
    threads[place] = NULL;
    if (place < threads_first_free)
        threads_first_free = place;
}

struct thread *thread_find_cookie(uint64_t cookie)
{
    uint32_t place = (uint32_t)(cookie & ((1 << PLACE_BITS) - 1));
    if (place >= threads_room || threads[place] == NULL || threads[place]->cookie != cookie)
        return NULL;
    return threads[place];
}

struct thread *thread_find(pid_t tid)
{
    for (uint32_t place = 0; place < threads_room; place++)
        if (threads[place] != NULL && threads[place]->tid == tid)
            return threads[place];
    return NULL;
}

/* ---- birth ---- */

struct fs_view *fs_view_new(const struct fs_view *old)
{
    struct fs_view *fs = calloc(1, sizeof *fs);
    if (fs == NULL)
        return NULL;
    fs->references = 1;
    fs->umask = old != NULL ? old->umask : 022;
    if (old != NULL && (place_copy(&fs->root, &old->root) != 0 ||
                        place_copy(&fs->cwd, &old->cwd) != 0)) {
        fs_view_release(fs);
        return NULL;
    }
    return fs;
}

void fs_view_release(struct fs_view *fs)
{
    if (fs == NULL || --fs->references > 0)
        return;
    place_clear(&fs->root);
    place_clear(&fs->cwd);
    free(fs);
}

static void last_moment_over(struct timeout *timeout)
{
    struct process *process = LIST_ENTRY(timeout, struct process, last_moment);
    list_append(&finished, &process->sibling_finished);
}

static void inherit(struct process *process, const struct process *parent)
{
    process->credentials = parent->credentials;
    memcpy(process->limits, parent->limits, sizeof process->limits);
    memcpy(process->name, parent->name, sizeof process->name);
    process->dumpable = parent->dumpable;
    process->nice = parent->nice;
    process->policy = parent->policy;
    process->priority = parent->priority;
    process->persona = parent->persona;
}

struct process *process_new(struct process *parent, pid_t pid)
{
    struct process *process = calloc(1, sizeof *process);
    if (process == NULL)
        return NULL;
    process->references = 1;
    process->pid = pid;
    process->parent = parent;
    process->exit_signal = SIGCHLD;
    process->dumpable = true;
    process->started = time_now();
    list_init(&process->children);
    list_init(&process->sibling);
    list_init(&process->threads);
    list_init(&process->group_link);
    list_init(&process->timers);
    signal_pending_init(&process->pending);
    queue_init(&process->children_changed);
    queue_init(&process->vfork_done);
    timeout_init(&process->last_moment, last_moment_over);
    timer_init_process(process);
    list_append(&processes, &process->link);
    if (parent != NULL) {
        inherit(process, parent);
        list_append(&parent->children, &process->sibling);
        job_join(process, parent->group);
    }
    return process;
}

struct thread *thread_new(struct process *process, pid_t tid)
{
    struct thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL)
        return NULL;
    if (cookie_new(thread) != 0) {
        free(thread);
        return NULL;
    }
    thread->references = 1;
    thread->tid = tid;
    thread->process = process;
    thread->where = THREAD_OUTSIDE;
    thread->started = time_now();
    memcpy(thread->name, process->name, sizeof thread->name);
    list_init(&thread->ready);
    signal_pending_init(&thread->pending);
    list_append(&process->threads, &thread->of_process);
    process->thread_count++;
    return thread;
}

static void thread_free(struct thread *thread)
{
    list_remove(&thread->ready);
    list_remove(&thread->of_process);
    signal_pending_clear(&thread->pending);
    cookie_free(thread->cookie);
    free(thread->call.more_waiters);
    free(thread);
}

void thread_discard(struct thread *thread)
{
    thread->process->thread_count--;
    thread_free(thread);
}

static void process_free(struct process *process)
{
    signal_pending_clear(&process->pending);
    signal_table_release(process->signals);
    fs_view_release(process->fs);
    free(process);
}

/* Out of all tables. Its number is free, unless a group bears it still. */
static void process_forget(struct process *process)
{
    pid_t pid = process->pid, pgid = process->group->pgid, sid = process->group->session->sid;
    list_remove(&process->sibling);
    list_remove(&process->link);
    job_leave(process);
    pid_free(pid);
    if (pgid != pid)
        pid_free(pgid);
    if (sid != pid && sid != pgid)
        pid_free(sid);
    process_release(process);
}

void process_discard(struct process *process)
{
    if (process->descriptors != NULL)
        descriptor_table_release(process->descriptors, process);
    if (process->space != NULL)
        space_release(process->space);
    process->descriptors = NULL;
    process->space = NULL;
    process_forget(process);
}

void process_reference(struct process *process)
{
    process->references++;
}

void process_release(struct process *process)
{
    if (--process->references == 0)
        process_free(process);
}

/* ---- death ---- */

/* A thread that runs outside is deleted on the spot; the others end when they are served. */
static void thread_doom(struct thread *thread)
{
    thread->dying = true;
    if (thread->where == THREAD_OUTSIDE) {
        threadDelete(&thread->process->space->actor, thread->li);
        thread_ended(thread);
    } else {
        thread_wake(thread);
    }
}

void process_end(struct process *process, int status)
{
    if (process->state != PROCESS_ALIVE)
        return;
    process->state = PROCESS_EXITING;
    process->exit_status = status;
    process->stopped = false;
    LIST_EACH(&process->threads, at)
        thread_doom(LIST_ENTRY(at, struct thread, of_process));
}

void process_end_others(struct thread *but)
{
    LIST_EACH(&but->process->threads, at) {
        struct thread *thread = LIST_ENTRY(at, struct thread, of_process);
        if (thread != but && !thread->dying)
            thread_doom(thread);
    }
}

void thread_ended(struct thread *thread)
{
    struct process *process = thread->process;
    thread->where = THREAD_ENDED;
    if (thread->call.active)
        call_end(&thread->call);
    pid_t tid = thread->tid;
    thread_free(thread);
    if (--process->thread_count == 0) {
        if (process->state == PROCESS_ALIVE)
            process->state = PROCESS_EXITING;
        process_reference(process);
        /* Under Linux a killed process has to run to die, and scripts rely on what they do first: kill, then
         * wait, which tells of the death. So that moment is granted here as well. */
        if (!WIFSIGNALED(process->exit_status) ||
            timeout_arm(&process->last_moment, time_now() + LAST_MOMENT) != 0)
            list_append(&finished, &process->sibling_finished);
    } else if (process->exec_by != NULL) {
        thread_wake(process->exec_by);
    }
    if (tid != process->pid)
        pid_free(tid);
}

struct usage_times process_times(struct process *process)
{
    struct usage_times times = process->dead_times;
    KnThreadTimes now;
    if (process->space != NULL && process->state == PROCESS_ALIVE &&
        threadTimes(&process->space->actor, 0, &now) == K_OK) {
        times.user += now.internal;
        times.system += now.total > now.internal ? now.total - now.internal : 0;
    }
    return times;
}

void process_vfork_done(struct process *process)
{
    if (process->vfork_parent == NULL)
        return;
    process->vfork_parent = NULL;
    queue_wake(&process->vfork_done);
}

void process_tell_parent(struct process *process, int code, int status)
{
    struct process *parent = process->parent;
    bool stops = code == CLD_STOPPED || code == CLD_CONTINUED;
    int signal = stops ? SIGCHLD : process->exit_signal;
    queue_wake(&parent->children_changed);
    if (signal == 0 || parent->is_init)
        return;
    const struct signal_action *action = &parent->signals->actions[SIGCHLD];
    if (stops && (action->flags & SA_NOCLDSTOP))
        return;
    struct usage_times times = process_times(process);
    siginfo_t info = { .si_signo = signal, .si_code = code };
    info.si_pid = process->pid;
    info.si_uid = process->credentials.uid;
    info.si_status = status;
    info.si_utime = times.user / (NANOSECONDS / 100);
    info.si_stime = times.system / (NANOSECONDS / 100);
    signal_send_process(parent, &info);
}

/* The orphans go to the nearest subreaper above, at last to init. */
static struct process *new_parent_for_orphans(struct process *process)
{
    struct process *above = process->parent;
    while (above != process_init && !(above->child_subreaper && above->state == PROCESS_ALIVE))
        above = above->parent;
    return above;
}

static void give_children_away(struct process *process)
{
    struct process *heir = new_parent_for_orphans(process);
    LIST_EACH(&process->children, at) {
        struct process *child = LIST_ENTRY(at, struct process, sibling);
        list_remove(at);
        list_append(&heir->children, at);
        child->parent = heir;
        answers_tell(child);
        child->exit_signal = SIGCHLD;
        if (child->death_signal != 0)
            signal_raise(child, child->death_signal);
        if (child->state != PROCESS_ZOMBIE)
            continue;
        if (heir->is_init)
            process_forget(child);
        else
            process_tell_parent(child, WIFEXITED(child->exit_status) ? CLD_EXITED : CLD_KILLED, 0);
    }
}

static bool parent_does_not_care(const struct process *parent)
{
    const struct signal_action *action = &parent->signals->actions[SIGCHLD];
    return action->handler == (uint64_t)SIG_IGN || (action->flags & SA_NOCLDWAIT);
}

static void become_zombie(struct process *process)
{
    int status = process->exit_status;
    process->state = PROCESS_ZOMBIE;
    job_process_ended(process);
    give_children_away(process);
    if (process->parent->is_init) {
        init_child_ended(process);
        process_forget(process);
        return;
    }
    bool unwanted = process->exit_signal == SIGCHLD && parent_does_not_care(process->parent);
    if (WIFEXITED(status))
        process_tell_parent(process, CLD_EXITED, WEXITSTATUS(status));
    else
        process_tell_parent(process, CLD_KILLED, WTERMSIG(status));
    if (unwanted)
        process_forget(process);
}

/* The CPU time at the end. Of an actor that others live in still, nothing can be told. */
static struct usage_times times_at_end(struct process *process)
{
    struct usage_times times = process->dead_times;
    KnThreadTimes now;
    if (process->space != NULL && process->space->references == 1 &&
        threadTimes(&process->space->actor, 0, &now) == K_OK) {
        times.user += now.internal;
        times.system += now.total > now.internal ? now.total - now.internal : 0;
    }
    return times;
}

static void finish(struct process *process)
{
    struct descriptor_table *descriptors = process->descriptors;
    struct space *space = process->space;
    timer_end_process(process);
    process->descriptors = NULL;
    descriptor_table_release(descriptors, process);
    if (process->group->session->sid == process->pid)
        job_session_ended(process);
    process->dead_times = times_at_end(process);
    process->space = NULL;
    process_vfork_done(process);
    if (space != NULL)
        space_release(space);
    become_zombie(process);
}

bool processes_to_finish(void)
{
    return !list_is_empty(&finished);
}

bool processes_finish(void)
{
    struct list *link = list_take_first(&finished);
    if (link == NULL)
        return false;
    struct process *process = LIST_ENTRY(link, struct process, sibling_finished);
    finish(process);
    process_release(process);
    return true;
}
