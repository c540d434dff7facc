/* wire_order.h: numbers as they are in packets, at any place: the highest byte first. */
#ifndef SM_WIRE_ORDER_H
#define SM_WIRE_ORDER_H

#include <stdint.h>

static inline uint32_t get16(const uint8_t *from)
{
    return (uint32_t)from[0] << 8 | from[1];
}

static inline uint32_t get32(const uint8_t *from)
{
    return get16(from) << 16 | get16(from + 2);
}

static inline void put16(uint8_t *to, uint32_t number)
{
    to[0] = (uint8_t)(number >> 8);
    to[1] = (uint8_t)number;
}

static inline void put32(uint8_t *to, uint32_t number)
{
    put16(to, number >> 16);
    put16(to + 2, number);
}

#endif
