/* Packets as they come by a wire: see packets.h. */

#include "packets.h"

#include <netinet/in.h>
#include <string.h>

#include "wire_order.h"

static const uint8_t ethernet_v4[14] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0 };
static const uint8_t ethernet_v6[14] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd };

uint16_t packet_sum(const uint8_t *bytes, size_t size, uint32_t sum)
{
    for (size_t i = 0; i < size; i++)
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~((sum & 0xffff) + (sum >> 16));
}

static size_t checksum_at(uint8_t protocol)
{
    return protocol == IPPROTO_TCP ? 16 : protocol == IPPROTO_UDP ? 6 : 2;
}

/* Make the sums right, as far as the headers let us see where they are: so that it is not those alone that are tested. */
void packet_mend(uint8_t *frame, size_t size)
{
    uint8_t *packet = frame + 14;
    if (size >= 34 && packet[0] >> 4 == 4) {
        size_t header = (packet[0] & 15) * 4u;
        if (header < 20 || size < 14 + header)
            return;
        put16(packet + 10, 0);
        put16(packet + 10, packet_sum(packet, header, 0));
        size_t at = checksum_at(packet[9]), rest = size - 14 - header;
        if (rest < at + 2)
            return;
        uint32_t pseudo = packet[9] == IPPROTO_ICMP ? 0 : (uint32_t)(packet[9] + rest) + (uint16_t)~packet_sum(packet + 12, 8, 0);
        put16(packet + header + at, 0);
        put16(packet + header + at, packet_sum(packet + header, rest, pseudo));
    } else if (size >= 54 && packet[0] >> 4 == 6) {
        size_t at = checksum_at(packet[6]), rest = size - 54;
        if (rest < at + 2)
            return;
        uint32_t pseudo = (uint32_t)(packet[6] + rest) + (uint16_t)~packet_sum(packet + 8, 32, 0);
        put16(packet + 40 + at, 0);
        put16(packet + 40 + at, packet_sum(packet + 40, rest, pseudo));
    }
}

size_t packet_v4(uint8_t *frame, uint8_t protocol, const uint8_t *data, size_t size)
{
    uint8_t header[20] = { 0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1 };
    put16(header + 2, (uint16_t)(20 + size));
    memcpy(frame, ethernet_v4, 14);
    memcpy(frame + 14, header, 20);
    memcpy(frame + 34, data, size);
    packet_mend(frame, 34 + size);
    return 34 + size;
}

size_t packet_v6(uint8_t *frame, uint8_t protocol, const uint8_t *data, size_t size)
{
    uint8_t header[40] = { 0x60, 0, 0, 0, 0, 0, protocol, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 2,
                           0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 1 };
    put16(header + 4, (uint16_t)size);
    memcpy(frame, ethernet_v6, 14);
    memcpy(frame + 14, header, 40);
    memcpy(frame + 54, data, size);
    packet_mend(frame, 54 + size);
    return 54 + size;
}
