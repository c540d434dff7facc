/* core.h: what a server's core needs that never waits itself (dm, sm): it tells its clients, reads the clock, and asks to be woken. */
#ifndef SERVER_CORE_H
#define SERVER_CORE_H

#include <chorus.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Send <port>, a KnUniqueId as a number, an annex of K_CMSGANNEXSIZE bytes. False: its queue is full, to be tried again. True also when the port is gone. Does not block. */
bool server_notify(uint64_t port, const void *annex);
/* ns since the boot. */
int64_t server_now(void);
/* Ends the server if there are no random numbers: better than numbers that are none. */
void server_random(void *bytes, size_t size);

/* One timer of the server, made with `armed` INT64_MAX. */
struct server_alarm {
    int timer;     /* LI, of timerCreate */
    int64_t armed; /* for when */
};
/* The timer goes off at <when>, at once if that is past; INT64_MAX: never. The same as before costs nothing. One caller at a time. */
void server_alarm_set(struct server_alarm *alarm, int64_t when);

#endif
