/* hostarch.h: what the program tells the machine at its start. The Nucleus itself uses <host/...> only. */
#ifndef HOSTARCH_HOSTARCH_H
#define HOSTARCH_HOSTARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct termios;

struct hostarch_options {
    uint64_t memory;   /* bytes of physical memory */
    int cpus;          /* user CPUs; 0: as many as the host allows */
    unsigned processes; /* host processes for actors, at most */
    int log_level;      /* messages up to this level are printed */
    int log_fd;
    uint64_t seed;      /* 0: from the host */
    bool no_counter;    /* do not use the time-stamp counter as a clock, even where the host does */
    void (*lost)(void); /* the zygote is gone, and all actors with it: called by the Nucleus's thread */
};

/* Before anything else that makes the process grow: find out whether the host will do, make the physical memory, fork the zygote. Returns 0, or
 * -1 after it has said what is wrong on standard error. */
int hostarch_start(const struct hostarch_options *options);
/* End all actor processes and wait for the zygote's end. */
void hostarch_stop(void);

/* The host terminal as it was, so that the zygote can give it back if the Nucleus cannot. fd must be open before hostarch_start and be given
 * there by hostarch_terminal. */
void hostarch_terminal(int fd);
void hostarch_terminal_state(const struct termios *state); /* NULL: nothing to restore */

/* The interrupt thread watches a descriptor for the Nucleus: when <events> (poll's) are there, handler(cookie, events) is called by the Nucleus,
 * once; hostarch_watch again to go on. Called by the Nucleus. */
typedef void hostarch_handler(void *cookie, uint32_t events);
int hostarch_watch(int fd, uint32_t events, hostarch_handler *handler, void *cookie);
void hostarch_unwatch(int fd);

/* Where the Nucleus polls it also asks <ready>, when it has nothing else to do, or often enough all the same; when that says true it calls <function>. For what a host thread
 * need not watch over: completions that the host puts into our memory. <ready> is called very often: some instructions, no call of the host. The Nucleus sleeps on <word> (NULL: none)
 * too: its waits end when the host interrupts them and the word has changed. */
void hostarch_poll(bool (*ready)(void), void (*function)(void *), void *argument, volatile uint32_t *word);

/* Counters for ps and tests. */
struct hostarch_counts {
    uint64_t spins, sleeps, traps, calls, preemptions, births, reuses, deaths, batches, orders, hops_missed;
    unsigned processes, spares;
    int zygote;
};
void hostarch_counts(struct hostarch_counts *counts);

#endif
