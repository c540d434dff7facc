/* job.h: process groups, sessions, and what stops and continues them. */
#ifndef PM_JOB_H
#define PM_JOB_H

#include "pm.h"

struct process_group *job_find_group(pid_t pgid);
/* A session or group of its own; -ENOMEM. */
int job_new_session(struct process *process);
int job_new_group(struct process *process);
void job_join(struct process *process, struct process_group *group);
void job_leave(struct process *process);

bool job_group_is_orphaned(const struct process_group *group);
void job_stop(struct process *process, int signal);
void job_continue(struct process *process);
/* A process has ended: groups that became orphaned with stopped members get SIGHUP and SIGCONT. */
void job_process_ended(struct process *process);
/* The leader has ended: the terminal is hung up. */
void job_session_ended(struct process *leader);
/* The session has lost its terminal. */
void job_terminal_lost(pid_t sid);

#endif
