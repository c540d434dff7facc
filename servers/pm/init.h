/* init.h: process 1, and the end of the site.
 *
 * pid 1 is pm itself: a process without threads that adopts orphans, so that no zombie stays. It
 * understands the signals by which busybox's poweroff, halt and reboot ask init. The command that the
 * site was started for is its first child; when that ends, or somebody asks, the site ends: all
 * processes get SIGTERM, then SIGKILL, files are written, the machine is halted.
 */
#ifndef PM_INIT_H
#define PM_INIT_H

#include "pm.h"

int init_make(void);
void init_signal(int signal);
/* A child of init has ended; it needs no wait. */
void init_child_ended(const struct process *process);
/* The first child, whose end is the site's end. */
void init_watch(pid_t pid);
/* End the site with this exit status of the program. */
void init_shut_down(int status);

#endif
