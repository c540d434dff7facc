/* packets.h: frames of Ethernet with packets from 10.0.0.2 and fe80::ff:fe00:2 to 10.0.0.1 and fe80::ff:fe00:1. */
#ifndef TESTS_SM_PACKETS_H
#define TESTS_SM_PACKETS_H

#include <stddef.h>
#include <stdint.h>

/* As the Internet sums up, complemented. */
uint16_t packet_sum(const uint8_t *bytes, size_t size, uint32_t sum);
/* Make the sums right, as far as the headers let us see where they are: so that it is not those alone that are tested. */
void packet_mend(uint8_t *frame, size_t size);
/* The length of the frame. */
size_t packet_v4(uint8_t *frame, uint8_t protocol, const uint8_t *data, size_t size);
size_t packet_v6(uint8_t *frame, uint8_t protocol, const uint8_t *data, size_t size);

#endif
