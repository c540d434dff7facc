/* lwipopts.h: how lwIP is built. One thread at a time is in it (stack.h), memory is the C library's, and time is told by stack.c. */
#ifndef SM_LWIPOPTS_H
#define SM_LWIPOPTS_H

/* ---- surroundings ---- */
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_TIMERS 0 /* stack.c calls the cyclic ones */
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT 8
#define LWIP_STATS 0
#define LWIP_NETIF_STATUS_CALLBACK 0

/* ---- layers ---- */
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_ARP 1
#define LWIP_ETHERNET 1
#define LWIP_ICMP 1
#define LWIP_RAW 1
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_DNS 0
#define LWIP_DHCP 0
#define LWIP_AUTOIP 0
#define LWIP_IGMP 1
#define LWIP_LOOPIF_MULTICAST 1
#define SO_REUSE_RXTOALL 1 /* what comes for a group or for all is for each socket of the port */
#define LWIP_HAVE_LOOPIF 1
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_LOOPBACK_MAX_PBUFS 0
#define LWIP_NETIF_HWADDRHINT 0

/* ---- IP ---- */
#define IP_FORWARD 0
#define IP_REASSEMBLY 1
#define IP_FRAG 1
#define IP_REASS_MAX_PBUFS 256
#define MEMP_NUM_REASSDATA 16
#define IP_SOF_BROADCAST 1
#define IP_SOF_BROADCAST_RECV 0
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 16
#define ARP_TABLE_SIZE 64
#define ETHARP_SUPPORT_STATIC_ENTRIES 1
#define ETHARP_TABLE_MATCH_NETIF 1
#define ICMP_TTL 64
#define LWIP_BROADCAST_PING 0

/* Nothing is sent before somebody uses the network: no probing for own addresses; the groups of its own addresses an interface joins silently. */
#define LWIP_IPV6_MLD 1
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_DHCP6 0
#define LWIP_IPV6_FRAG 1
#define LWIP_IPV6_NUM_ADDRESSES 8 /* of an interface, its own of the link among them */
#define LWIP_IPV6_ADDRESS_LIFETIMES 1
#define LWIP_IPV6_REASS 1
#define LWIP_ND6_QUEUEING 0 /* one packet waits for a neighbour that is not known yet: longer queues have no end */
#define LWIP_ND6_NUM_NEIGHBORS 64
#define LWIP_ND6_NUM_DESTINATIONS 64
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define IPV6_FRAG_COPYHEADER 1 /* 64-bit pointers do not fit into the fragment's header */

/* ---- TCP ---- */
#define TCP_MSS 65000 /* at most; what counts is the interface's MTU */
#define TCP_CALCULATE_EFF_SEND_MSS 1
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 5
#define TCP_WND (1024 * 1024)
#define TCP_WND_UPDATE_THRESHOLD 16384 /* a peer without scaled windows never sees more than 64 KB */
#define TCP_SND_BUF (1024 * 1024)
#define TCP_SND_QUEUELEN 16384
#define MEMP_NUM_TCP_SEG TCP_SND_QUEUELEN
#define TCP_SNDLOWAT (TCP_SND_BUF / 4)
#define TCP_SNDQUEUELOWAT (TCP_SND_QUEUELEN / 2)
#define TCP_OVERSIZE 2048
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES (2 * TCP_WND)
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_TIMESTAMPS 0
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 1
#define TCP_DEFAULT_LISTEN_BACKLOG 0xff
#define TCP_TMR_INTERVAL 50 /* ms: acknowledgements are late by this at most; twice this is the grain of retransmission */
#define LWIP_TCP_RTO_TIME 1000
#define TCP_MSL 15000UL     /* ms: TIME_WAIT is twice this */
#define SO_REUSE 1
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1 /* one of them is about 16-bit sizes of its own sockets, which are not built */

/* ---- memory: no fixed pools; sizes that the sources ask for all the same ---- */
#define MEM_SIZE (64 * 1024 * 1024)
#define MEMP_NUM_PBUF 65535
#define MEMP_NUM_TCP_PCB 65535
#define PBUF_POOL_BUFSIZE 2048
#define PBUF_POOL_SIZE 4096

/* ---- checksums ---- */
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1 /* none on the loopback interface; those of TCP's segments offload.c makes, or the device */
#define LWIP_CHKSUM sm_checksum
#define LWIP_CHKSUM_ALGORITHM 0
#define LWIP_CHECKSUM_ON_COPY 0
#include <stdint.h>
struct pbuf;
struct netif;
/* Before anything else is done with a packet: interface.c, guard_v6.c, unreachable.c. Not 0: it was taken. */
void interface_count(const struct pbuf *packet);
int guard_look_v6(struct pbuf *packet);
int unreachable_look_v4(struct pbuf *packet, struct netif *netif);
int unreachable_look_v6(struct pbuf *packet, struct netif *netif);
#define LWIP_HOOK_IP4_INPUT(packet, netif) (interface_count(packet), unreachable_look_v4(packet, netif))
#define LWIP_HOOK_IP6_INPUT(packet, netif) (interface_count(packet), guard_look_v6(packet) || unreachable_look_v6(packet, netif))
/* Where a packet goes: route.c. */
struct netif *route_hook_v4(const void *to);
struct netif *route_hook_v6(const void *to);
const void *route_hook_router_v4(struct netif *netif, const void *to);
const void *route_hook_router_v6(struct netif *netif, const void *to);
#define LWIP_HOOK_IP4_ROUTE_SRC(from, to) route_hook_v4(to)
#define LWIP_HOOK_IP6_ROUTE(from, to) route_hook_v6(to)
#define LWIP_HOOK_ETHARP_GET_GW(netif, to) route_hook_router_v4(netif, to)
#define LWIP_HOOK_ND6_GET_GW(netif, to) route_hook_router_v6(netif, to)
/* Before a connection or a listener looks at a packet: guard.c, which may have it dropped, recovery.c, and offload.c, which has large ones acknowledged. */
struct tcp_pcb;
struct tcp_hdr;
_Bool guard_look(struct tcp_pcb *pcb, const struct tcp_hdr *header, unsigned size);
signed char recovery_look(struct tcp_pcb *pcb, const struct tcp_hdr *header);
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, optlen, opt1len, opt2, packet) \
    (guard_look(pcb, header, (packet)->tot_len) ? ERR_MEM : (offload_came(pcb, (packet)->tot_len), recovery_look(pcb, header)))
void offload_came(struct tcp_pcb *pcb, unsigned size);
#define LWIP_TCP_PCB_NUM_EXT_ARGS 1
/* With each segment that is sent, before its sum would be made: offload.c. No options are added. */
void offload_mark(struct pbuf *segment, struct tcp_hdr *header, const struct tcp_pcb *pcb);
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS(segment, header, pcb, options) (offload_mark(segment, header, pcb), (options))
/* Ports that nobody chose. lwIP's own way to begin somewhere among them may begin at the last one, and then goes on at 0. */
#define TCP_LOCAL_PORT_RANGE_START 0xc000
#define TCP_LOCAL_PORT_RANGE_END 0xffff
#define TCP_ENSURE_LOCAL_PORT_RANGE(random) ((uint16_t)(TCP_LOCAL_PORT_RANGE_START + (random) % (TCP_LOCAL_PORT_RANGE_END - TCP_LOCAL_PORT_RANGE_START)))
uint16_t sm_checksum(const void *data, int length);

#endif
