/* A seccomp filter like that of Docker's default profile.
 *
 * Docker allows a long list of system calls and refuses the rest; for a program without
 * capabilities the difference to no filter at all is what this one refuses. Two things are stricter
 * than Docker on a new kernel: ptrace and process_vm_* are refused too, as on an old one. */

#ifndef TESTS_LIKE_DOCKER_H
#define TESTS_LIKE_DOCKER_H

/* Put this process, and all that come of it, under the filter. -1 with errno set. */
int like_docker_install(void);

#endif
