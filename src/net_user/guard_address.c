/* Which addresses mean the host itself: see guard.h. Apart from guard.c, which takes the place of libc's functions, so that a test can have it. */
#include "guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

static bool is_loopback_4(struct in_addr address)
{
    uint32_t host_order = ntohl(address.s_addr);

    return host_order >> 24 == 127 || host_order >> 24 == 0;    /* Linux takes 0.0.0.0 for itself */
}

/* IPv4 addresses within IPv6 ones, too. */
static bool is_loopback_6(const struct in6_addr *address)
{
    struct in_addr last;

    memcpy(&last, &address->s6_addr[12], sizeof last);
    return IN6_IS_ADDR_LOOPBACK(address) || IN6_IS_ADDR_UNSPECIFIED(address)
        || ((IN6_IS_ADDR_V4MAPPED(address) || IN6_IS_ADDR_V4COMPAT(address)) && is_loopback_4(last));
}

bool guard_is_loopback(const struct sockaddr *address, socklen_t length)
{
    if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in))
        return is_loopback_4(((const struct sockaddr_in *)(const void *)address)->sin_addr);
    if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6))
        return is_loopback_6(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
    return true;                        /* neither: nothing that libslirp should ask for */
}
