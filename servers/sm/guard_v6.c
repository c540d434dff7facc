/* Packets of IPv6 whose lengths lie. lwIP reads the beginning of an extension header, an option or a link-layer address before it asks whether the packet goes
 * that far, or does not ask; so each part is measured here before it looks, and what does not fit is dropped, as RFC 8200 and RFC 4861 have it.
 *
 * Of a packet in fragments the first one must show which protocol it is of (RFC 7112), and that may not be neighbour discovery (RFC 6980): nothing honest is,
 * and what is put together later is not seen here again. */

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip6.h>
#include <stdbool.h>

#include <lwip/pbuf.h>

/* The part of a packet that is still to be looked at. */
struct rest {
    const struct pbuf *packet;
    uint32_t at, end;
};

static bool part_read(const struct rest *rest, void *part, uint32_t size)
{
    return rest->end - rest->at >= size && pbuf_copy_partial(rest->packet, part, (uint16_t)size, (uint16_t)rest->at) == size;
}

/* Those of an extension header: a kind and a length, or a single byte of padding. */
static bool options_fit(struct rest options)
{
    while (options.at < options.end) {
        uint8_t option[2];
        if (!part_read(&options, option, 1))
            return false;
        if (option[0] == IP6OPT_PAD1) {
            options.at++;
            continue;
        }
        if (!part_read(&options, option, 2) || option[1] > options.end - options.at - 2)
            return false;
        options.at += 2u + option[1];
    }
    return true;
}

/* Those of neighbour discovery: at least one, in units of eight bytes. */
static bool discovery_options_fit(struct rest options)
{
    while (options.at < options.end) {
        uint8_t option[2];
        if (!part_read(&options, option, sizeof option) || option[1] == 0 || option[1] * 8u > options.end - options.at)
            return false;
        options.at += option[1] * 8u;
    }
    return true;
}

static uint32_t discovery_header(uint8_t type)
{
    switch (type) {
    case ND_ROUTER_SOLICIT: return sizeof(struct nd_router_solicit);
    case ND_ROUTER_ADVERT: return sizeof(struct nd_router_advert);
    case ND_NEIGHBOR_SOLICIT: return sizeof(struct nd_neighbor_solicit);
    case ND_NEIGHBOR_ADVERT: return sizeof(struct nd_neighbor_advert);
    case ND_REDIRECT: return sizeof(struct nd_redirect);
    default: return 0;
    }
}

static bool icmp_is_sound(struct rest rest, bool is_fragment)
{
    uint8_t type;
    if (!part_read(&rest, &type, sizeof type))
        return false;
    uint32_t header = discovery_header(type);
    if (header == 0)
        return true;
    if (is_fragment || rest.end - rest.at < header)
        return false;
    rest.at += header;
    return discovery_options_fit(rest);
}

static bool step_over(struct rest *rest, uint8_t *protocol)
{
    uint8_t header[2];
    if (!part_read(rest, header, sizeof header))
        return false;
    uint32_t size = (header[1] + 1u) * 8;
    if (size > rest->end - rest->at)
        return false;
    bool has_options = *protocol != IPPROTO_ROUTING;
    if (has_options && !options_fit((struct rest){ rest->packet, rest->at + sizeof header, rest->at + size }))
        return false;
    *protocol = header[0];
    rest->at += size;
    return true;
}

static bool is_sound(struct rest rest, uint8_t protocol)
{
    bool is_fragment = false;
    for (;;)
        switch (protocol) {
        case IPPROTO_HOPOPTS:
        case IPPROTO_DSTOPTS:
        case IPPROTO_ROUTING:
            if (!step_over(&rest, &protocol))
                return false;
            break;
        case IPPROTO_FRAGMENT: {
            struct ip6_frag header;
            if (!part_read(&rest, &header, sizeof header))
                return false;
            if ((header.ip6f_offlg & IP6F_OFF_MASK) != 0)
                return true;
            is_fragment = true;
            protocol = header.ip6f_nxt;
            rest.at += sizeof header;
            break;
        }
        case IPPROTO_ICMPV6: return icmp_is_sound(rest, is_fragment);
        default: return true;
        }
}

/* lwIP's hook: 1: it was not sound, and is freed. */
int guard_look_v6(struct pbuf *packet)
{
    struct ip6_hdr header;
    struct rest rest = { packet, sizeof header, packet->tot_len };
    if (pbuf_copy_partial(packet, &header, sizeof header, 0) == sizeof header) {
        uint32_t said = (uint32_t)sizeof header + ntohs(header.ip6_plen);
        if (said < rest.end)
            rest.end = said;
        if (is_sound(rest, header.ip6_nxt))
            return 0;
    }
    pbuf_free(packet);
    return 1;
}
