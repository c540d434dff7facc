/* counts.h: what the machine counts, for people. */
#ifndef HOSTARCH_COUNTS_H
#define HOSTARCH_COUNTS_H

#include "hostarch.h"

extern struct hostarch_counts counts;

/* How long to look before sleeping. A wake across CPUs costs about 50 us: looking that long is what it pays to. */
#define STUB_SPIN 1500 /* looks of a stub at its word, some 40 ns each */
#define NUCLEUS_SPIN_NS 80000

#endif
