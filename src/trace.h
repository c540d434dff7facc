/* Trace: what a site does, as a file for ui.perfetto.dev and chrome://tracing.
 *
 * The Nucleus notes events in a ring, which a helper thread turns into records of the Trace Event
 * Format and writes to the file: noting costs some nanoseconds and never blocks. When the ring is
 * full events are dropped and counted. The file is a JSON array, one record a line; it is closed
 * properly by trace_close, and without that (a crash) it merely lacks its end, which both viewers
 * tolerate.
 *
 * In the viewer each actor is a process and each of its threads a track with its nucleus calls as
 * slices, its faults as marks, and its messages as arrows from sender to receiver; process 0 holds
 * one track for each user CPU, with the actors that ran there as slices.
 *
 * Times are nanoseconds on one clock; actors are numbered from 1, unique while the site runs;
 * threads are numbered within their actor. All but trace_open and trace_close is for the Nucleus
 * thread alone, and does nothing when trace is NULL. */

#ifndef CHORUS_TRACE_H
#define CHORUS_TRACE_H

#include <stdbool.h>
#include <stdint.h>

struct trace;

enum trace_access { TRACE_READ, TRACE_WRITE, TRACE_EXECUTE };

/* NULL with errno set: the file cannot be made, or there is no memory or thread. */
struct trace *trace_open(const char *path, unsigned cpus);

/* Write what is left and the end. False with errno set: not everything could be written. The
 * number of dropped events is in the file too. Takes NULL. */
bool trace_close(struct trace *trace, uint64_t *ret_dropped);

/* Names are copied, up to 31 bytes of them. */
void trace_name_actor(struct trace *trace, uint32_t actor, const char *name);
void trace_name_thread(struct trace *trace, uint32_t actor, uint32_t thread, const char *name);

/* From now on `cpu` runs this thread; actor 0: it is idle. */
void trace_switch(struct trace *trace, uint64_t time_ns, uint32_t cpu, uint32_t actor,
                  uint32_t thread);

/* The same, but it was no switch: who ran there passed the CPU on. */
void trace_pass(struct trace *trace, uint64_t time_ns, uint32_t cpu, uint32_t actor,
                uint32_t thread);

/* A nucleus call or a trap. `name` must live as long as the trace: it comes from a call table. */
void trace_call_begin(struct trace *trace, uint64_t time_ns, uint32_t actor, uint32_t thread,
                      const char *name);
void trace_call_end(struct trace *trace, uint64_t time_ns, uint32_t actor, uint32_t thread,
                    int64_t result);

/* A message leaves and arrives; `id` is the same at both ends and of no other message. */
void trace_message_sent(struct trace *trace, uint64_t time_ns, uint32_t actor, uint32_t thread,
                        uint64_t id);
void trace_message_received(struct trace *trace, uint64_t time_ns, uint32_t actor,
                            uint32_t thread, uint64_t id);

void trace_fault(struct trace *trace, uint64_t time_ns, uint32_t actor, uint32_t thread,
                 uint64_t address, enum trace_access access);

#endif
