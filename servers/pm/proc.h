/* proc.h: the parts of /proc. */
#ifndef PM_PROC_H
#define PM_PROC_H

#include "own_files.h"

/* A file of /proc itself, or of a folder of it. */
struct proc_file {
    const char *path; /* "meminfo", "sys/kernel/hostname" */
    int (*text)(FILE *out);
    int (*write)(const char *text, struct thread *thread);
    uint64_t (*size)(void); /* for who looks at it before reading; NULL: 0 is said */
};
extern const struct proc_file proc_system_files[]; /* ends with path NULL */

/* A file of each process. */
struct proc_process_file {
    const char *name;
    uint32_t mode;
    int (*text)(struct process *process, struct thread *thread, FILE *out);
};
extern const struct proc_process_file proc_process_files[]; /* ends with name NULL */

/* proc_actors.c */
int proc_print_actors(FILE *out);
int proc_print_answer(FILE *out);
int proc_write_actors(const char *text, struct thread *thread);

/* zone.c */
int proc_print_zone(FILE *out);
uint64_t proc_zone_size(void);

int proc_print_mounts(FILE *out);
int proc_print_mountinfo(FILE *out);
/* What /proc/PID/fd/N says: a path, or "pipe:[5]". */
void proc_name_file(const struct file *file, char *text, size_t size);

#endif
