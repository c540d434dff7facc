/* counts.h: what the machine counts, for people. */
#ifndef HOSTARCH_COUNTS_H
#define HOSTARCH_COUNTS_H

#include "hostarch.h"

extern struct hostarch_counts counts;

/* How long to look before sleeping. A wake across CPUs costs about 50 us: a stub looks as long as that pays. The Nucleus looks longer, on a CPU that nobody
 * else wants: when it comes back from a sleep it first shares the caller's CPU, and what follows costs more than twice as much. */
#define STUB_SPIN 1500 /* looks of a stub at its word, some 40 ns each */
#define NUCLEUS_SPIN_NS 300000

#endif
