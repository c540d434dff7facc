/* What the nucleus process itself may still ask of the host once it runs. */

#ifndef CHORUS_SITE_FILTER_H
#define CHORUS_SITE_FILTER_H

#include <stdbool.h>

/* For this thread and all others of the process, for ever. False with errno: the host refuses. */
bool site_filter_install(void);

#endif
