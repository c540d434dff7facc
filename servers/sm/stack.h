/* stack.h: lwIP, its time, and its checksum. One thread at a time is in it: who calls anything of sm's core holds the server's lock. */
#ifndef SM_STACK_H
#define SM_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include <lwip/ip.h>
#include <lwip/netif.h>

void stack_start(void);
/* Catch up with time: before anything else is done. */
void stack_catch_up(void);
/* Deliver what loops back, until nothing does. */
void stack_run(void);
/* When stack_catch_up is due, in ns of the host's clock; INT64_MAX: when something happens. */
int64_t stack_due(void);
/* Something was sent or received through an interface: neighbours are looked after for some seconds. */
void stack_used(void);

/* recovery.c */
void recovery_start(void);
/* Before lwIP looks at the time. */
void recovery_tick(void);

/* An error of lwIP as one of Linux, negative. */
int stack_error(err_t error);

#endif
