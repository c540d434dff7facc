/* --serial: the console on a pseudo-terminal or a socket of the host, for another program to attach to. */
#ifndef CHORUS_SITE_SERIAL_H
#define CHORUS_SITE_SERIAL_H

#include <stdbool.h>

/* `where` is "pty", or the name of a Unix socket to be made: it is waited until somebody connects. Two descriptors for reading and writing, which stay
 * open until the site ends. False, and a message on standard error. */
bool site_serial_open(const char *where, int descriptors[2]);
/* The socket's name goes. */
void site_serial_close(void);

#endif
