/* setup.h: what the zygote and an actor's birth are told, on a page of their own. */
#ifndef HOSTARCH_SETUP_H
#define HOSTARCH_SETUP_H

#include <linux/filter.h>
#include <stdint.h>
#include "layout.h"

#define FILTER_MAX 96
#define SETUP_MEMFD 3
#define SETUP_SOCKET 4
#define SETUP_TERMINAL 5

struct setup_info {
    uint64_t base;
    uint32_t stubs;      /* stub threads of an actor */
    uint32_t slots;      /* processes, at most */
    uint64_t slot_first; /* where slot 0's pages are in the memfd: ORDER_SIZE, then the areas */
    uint64_t slot_step;
    uint64_t words_size;
    uint64_t handler, ready, agent; /* addresses */
    int32_t cpu[AREA_MAX]; /* host CPU of stub thread i, -1: any */
    uint32_t common_length, stub_length;
    struct sock_filter common[FILTER_MAX]; /* of the zygote, and so of agents */
    struct sock_filter stub[FILTER_MAX];   /* of stub threads, on top */
    /* Written by the Nucleus while it runs: what the terminal was like, to be given back. */
    uint32_t terminal_saved;
    uint8_t terminal_state[64];
};

/* Between the Nucleus and the zygote, on their socket. */
enum zygote_operation {
    ZYGOTE_BEAR = 1, /* to it: make a process for a slot */
    ZYGOTE_BORN,     /* from it: pid, or -errno */
    ZYGOTE_DIED,     /* from it: a process ended; status as of wait */
    ZYGOTE_END       /* to it: kill all, and end */
};
struct zygote_message {
    uint32_t operation;
    uint32_t slot;
    int32_t pid;
    int32_t status;
};

/* Where the zygote starts, on the SETUP pages. */
void birth_entry(struct setup_info *info, int *pids) __attribute__((noreturn));

#endif
