/* ether.h: the Ethernet interfaces of the site, by lib/protocol/ether.h. */
#ifndef SM_ETHER_H
#define SM_ETHER_H

/* Find the interfaces, make them known to the core, and start the threads that move their frames. */
void ether_start(void);
/* With the lock: frames that were made are to be sent. */
void ether_flush(void);

#endif
