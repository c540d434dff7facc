/* Snapshots as a table for people. */

#ifndef CHORUS_SNAPSHOT_TABLE_H
#define CHORUS_SNAPSHOT_TABLE_H

#include <stdbool.h>
#include <stdio.h>

struct site_snapshot;

/* Print a heading and a line for each actor, and for each thread if `threads`. With an earlier
 * snapshot of the same site, CPU use, messages and faults are rates since then, and the busiest
 * actor comes first; without, they are totals. At most rows_most lines; 0 means all. */
void snapshot_table_print(const struct site_snapshot *now, const struct site_snapshot *earlier,
                          bool threads, unsigned rows_most, FILE *to);

#endif
