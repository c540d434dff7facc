/* A site: one Nucleus with its actors, from boot to power-off.
 *
 * main.c turns the command line into a struct site_options and calls site_run; everything that
 * happens between boot and halt is behind that one function. */

#ifndef CHORUS_SITE_H
#define CHORUS_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "net_options.h"
#include "placement.h"

/* What `chorus` says of itself by its exit status. Otherwise it is the command's: its own
 * status, or 128+n when signal n ended it; 126 and 127 mean that the command could not be run
 * or was not found, as a shell says it. */
enum {
    SITE_MISUSED = 2,  /* the command line is wrong; nothing was started */
    SITE_FAILED = 125, /* the site did not boot, or died */
};

enum {
    SITE_PROCESSES_DEFAULT = 512,
    SITE_PROCESSES_LEAST = 16,
    SITE_PROCESSES_MOST = 32768,
    SITE_NAME_MOST = 32, /* characters of --name */
};
#define SITE_MEMORY_DEFAULT (UINT64_C(512) << 20)
#define SITE_MEMORY_LEAST   (UINT64_C(16) << 20)
#define SITE_MEMORY_MOST    (UINT64_C(1) << 40)

#define SITE_REWRITE_DEFAULT "64"

/* A disk besides the root: /dev/vdb and on. */
enum { SITE_DISKS_MOST = 25 };
struct site_disk {
    char *path;
    bool read_only;
    bool snapshot;           /* changes are thrown away */
};

/* A folder of the host, inside. */
enum { SITE_SHARES_MOST = 8 };
struct site_share {
    char *folder;
    char *mount;             /* where, inside; points into `folder`'s memory or is a constant */
    bool read_only;
};

/* Filled by options_parse_run, complete and checked; freed by options_free_run. */
struct site_options {
    char *name;              /* never NULL; the host pid in decimal when none was given */
    char *root_image;        /* never NULL */
    bool root_is_built_in;   /* no --root was given */
    bool snapshot;           /* changes are thrown away; implied by root_is_built_in */
    struct site_disk disks[SITE_DISKS_MOST];
    unsigned disk_count;
    const char *serial;      /* where the console is: "pty" or a socket's name; NULL: on the terminal */
    struct site_share shares[SITE_SHARES_MOST];
    unsigned share_count;
    uint64_t memory;         /* bytes of physical memory, whole pages */
    unsigned cpus;           /* user CPUs, at least 1, at most those that the host allows us */
    unsigned processes;      /* most host processes at a time */
    bool verbose;
    bool strace;             /* decode every Linux call to the log */
    const char *rewrite;     /* after so many traps a system call is rewritten, a number; NULL: the default */
    const char *log_file;    /* NULL: messages go to standard error */
    const char *trace_file;  /* NULL: no trace */
    char **command;          /* ends with NULL; NULL itself: the interactive shell */
    char **environment;      /* ends with NULL; all of it, the defaults included */
    char *zone;              /* the host's time zone as a rule; NULL: UTC */
    const char *user;        /* NAME or UID[:GID] inside the site */
    struct placement placement;
    struct net_options nets;
    char *config_text;       /* the configuration file's; strings above may point into it */
    const char *folder;      /* where the command starts; NULL: the user's home */
    bool display;            /* the console is a window */
    bool show;               /* a window shows the site live */
    uint16_t picture_width, picture_height; /* of the framebuffer, in pixels; 0: there is none */
};

/* Boot, run until the command ends or the site is powered off, take everything down again.
 * Returns the exit status of the program. Prints its own errors. */
int site_run(const struct site_options *options);

/* Is this standard stream the person's terminal, so that the command finds it on its console? */
bool site_stream_is_terminal(int fd);

#endif
