/* What a site says of itself: snapshots for ps and top, the trace, reports of faults, what is left over at its end. */

#ifndef CHORUS_SITE_REPORT_H
#define CHORUS_SITE_REPORT_H

#include <stdbool.h>

struct site_options;
struct site_snapshot;

void site_report_start(const struct site_options *options);
struct site_snapshot *site_report_snapshot(const struct site_options *options);
/* After nucleus_fini: one line with what should all be zero. */
void site_report_left_over(void);
void site_report_stop(void);

#endif
