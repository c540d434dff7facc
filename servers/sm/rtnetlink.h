/* rtnetlink.h: NETLINK_ROUTE: interfaces, addresses, routes and neighbours, as `ip` and the C library ask for them. */
#ifndef SM_RTNETLINK_H
#define SM_RTNETLINK_H

#include "netlink.h"
#include "route.h"

/* One request: 0 or an error of Linux, negative. *is_answered: an answer has been sent that takes the place of an acknowledgement. */
int rtnetlink_request(const struct netlink_request *request, bool *is_answered);

/* Tell those who listen what has changed. */
void rtnetlink_tell_link(struct netif *netif);
void rtnetlink_tell_address_v4(struct netif *netif, bool is_there);
void rtnetlink_tell_address_v6(struct netif *netif, int number, bool is_there);
void rtnetlink_tell_route(const struct route *route, bool is_there);

#endif
