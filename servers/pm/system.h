/* system.h: what the system calls itself. */
#ifndef PM_SYSTEM_H
#define PM_SYSTEM_H

#include <sys/utsname.h>

#define SYSTEM_RELEASE "6.1.0-chorus"

extern struct utsname system_names;

#endif
