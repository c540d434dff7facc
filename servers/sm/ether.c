/* Ethernet: none yet. */
#include "ether.h"

void ether_start(void)
{
}

void ether_flush(void)
{
}
