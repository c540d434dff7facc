/* wire.h: what is behind a network device, when a fuzzer says what comes from it: frames with any header, of any length, when the fuzzer wants. */
#ifndef TESTS_FUZZ_WIRE_H
#define TESTS_FUZZ_WIRE_H

#include "net_back_end.h"

/* A back end with all offloads. Closed by its device; one at a time. */
struct net_back_end *wire_open(uint16_t mtu);
/* A frame comes. */
void wire_bring(const struct virtio_net_header *header, const uint8_t *frame, uint32_t length);
/* It takes what is sent, or not; the link goes up or down. */
void wire_set(bool takes, bool up);

#endif
