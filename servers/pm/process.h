/* process.h: the table of processes and threads; birth, death and what wait tells. */
#ifndef PM_PROCESS_H
#define PM_PROCESS_H

#include "pm.h"

extern struct list processes; /* of struct process, link; init first */
extern struct process *process_init; /* pid 1 */

/* Find by number; NULL. */
struct process *process_find(pid_t pid);
struct thread *thread_find(pid_t tid);
struct thread *thread_find_cookie(uint64_t cookie);
unsigned process_count_of_user(uint32_t uid);

/* A free number for a process or thread; -EAGAIN. */
pid_t pid_new(void);
void pid_free(pid_t pid);

/* An empty process in the table, no threads, child of <parent>, in its group. NULL: no memory. */
struct process *process_new(struct process *parent, pid_t pid);
/* The record of a thread, not yet in the Nucleus. NULL: no memory. */
struct thread *thread_new(struct process *process, pid_t tid);
/* Take a thread that never ran out of the tables again; a process without threads, with all that it holds. */
void thread_discard(struct thread *thread);
void process_discard(struct process *process);

/* End a process: <status> as wait tells it. Its threads end as soon as they are served. */
void process_end(struct process *process, int status);
/* A thread that is no more in the Nucleus leaves the tables; the last one takes its process along. */
void thread_ended(struct thread *thread);
/* End the threads of the process but one: exec. */
void process_end_others(struct thread *but);

/* Processes whose last thread has ended: close what they held, tell the parent. Gives up the lock. */
bool processes_finish(void);
bool processes_to_finish(void);

void process_reference(struct process *process);
void process_release(struct process *process);

/* Tell the parent that a child has stopped, gone on or ended: SIGCHLD and wait. */
void process_tell_parent(struct process *process, int code, int status);
/* Let the parent of a vfork go on. */
void process_vfork_done(struct process *process);

/* The CPU time of all its threads. */
struct usage_times process_times(struct process *process);

struct fs_view *fs_view_new(const struct fs_view *old);
void fs_view_release(struct fs_view *fs);

#endif
