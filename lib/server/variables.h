/* variables.h: what who loads an actor tells it, in its environment. */
#ifndef SERVER_VARIABLES_H
#define SERVER_VARIABLES_H

/* The name under which it was loaded: that goes before its own. */
#define SERVER_NAME_VARIABLE "CHORUS_NAME"
/* It is to take over from the actor with this default port, "head.tail" in hexadecimal: handover.h. */
#define HANDOVER_VARIABLE "CHORUS_REPLACES"

#endif
