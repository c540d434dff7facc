/* lwIP's surroundings: time, chance, and checksums.
 *
 * lwIP has timers that tick for ever. Here they tick only while somebody waits for one: TCP's while a segment is unacknowledged or a
 * connection begins or ends, those of neighbours for some seconds after the network was used. The others, which only let go of what
 * is old, are made up for when something happens next. So a site in which nothing happens is never woken.
 */

#include "stack.h"

#include <errno.h>
#include <string.h>

#include <lwip/etharp.h>
#include <lwip/igmp.h>
#include <lwip/init.h>
#include <lwip/ip4_frag.h>
#include <lwip/ip6_frag.h>
#include <lwip/mld6.h>
#include <lwip/nd6.h>
#include <lwip/priv/tcp_priv.h>

#include "bounds.h"
#include "socket.h"

#define MILLISECOND 1000000ll
#define MADE_UP_MOST 4000      /* ticks */
#define USED_FOR (8000 * MILLISECOND)

static int64_t used_at = INT64_MIN / 2;

void stack_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "sm: lwIP: %s (%s:%d)\n", what, file, line);
    abort();
}

unsigned stack_random(void)
{
    unsigned number;
    sm_host->random(&number, sizeof number);
    return number;
}

u32_t sys_now(void)
{
    return (u32_t)(sm_host->now() / MILLISECOND);
}

/* ---- checksums: the sum of 16-bit words in the machine's order, eight bytes at a time ---- */

uint16_t sm_checksum(const void *data, int length)
{
    const uint8_t *at = data;
    uint64_t sum = 0, carry = 0;
    for (; length >= 8; at += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        carry += __builtin_add_overflow(sum, word, &sum);
    }
    uint64_t rest = 0;
    memcpy(&rest, at, (size_t)length);
    carry += __builtin_add_overflow(sum, rest, &sum);
    sum = (sum >> 32) + (uint32_t)sum + carry;
    sum = (sum >> 32) + (uint32_t)sum;
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)((sum >> 16) + (sum & 0xffff));
}

/* ---- time ---- */

static void tcp_tick(void)
{
    tcp_leave_time_wait();
    recovery_tick();
    tcp_tmr();
    bounds_keep();
}

static bool tcp_waits(void)
{
    const u16_t flags = TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_NAGLEMEMERR;
    for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb != NULL; pcb = pcb->next)
        if ((pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT && pcb->state != FIN_WAIT_2) || pcb->unsent != NULL ||
            pcb->unacked != NULL || pcb->ooseq != NULL || pcb->refused_data != NULL || (pcb->flags & flags) || pcb->persist_backoff > 0 ||
            ip_get_option(pcb, SOF_KEEPALIVE))
            return true;
    return false;
}

static bool neighbours_wait(void)
{
    return sm_host->now() - used_at < USED_FOR;
}

static bool groups_wait(void)
{
    struct netif *netif;
    NETIF_FOREACH(netif) {
        for (const struct igmp_group *group = netif_igmp_data(netif); group != NULL; group = group->next)
            if (group->timer > 0)
                return true;
        for (const struct mld_group *group = netif_mld6_data(netif); group != NULL; group = group->next)
            if (group->timer > 0)
                return true;
    }
    return false;
}

static bool nobody_waits(void)
{
    return false;
}

static struct cycle {
    void (*tick)(void);
    int64_t length;
    bool (*waits)(void);
    int64_t last;
} cycles[] = {
    { tcp_tick, TCP_TMR_INTERVAL * MILLISECOND, tcp_waits, 0 },
    { etharp_tmr, ARP_TMR_INTERVAL * MILLISECOND, neighbours_wait, 0 },
    { igmp_tmr, IGMP_TMR_INTERVAL * MILLISECOND, groups_wait, 0 },
    { mld6_tmr, MLD6_TMR_INTERVAL * MILLISECOND, groups_wait, 0 },
    { nd6_tmr, ND6_TMR_INTERVAL * MILLISECOND, neighbours_wait, 0 },
    { ip_reass_tmr, IP_TMR_INTERVAL * MILLISECOND, nobody_waits, 0 },
    { ip6_reass_tmr, IP6_REASS_TMR_INTERVAL * MILLISECOND, nobody_waits, 0 },
};
#define CYCLES (sizeof cycles / sizeof *cycles)

void stack_used(void)
{
    used_at = sm_host->now();
}

/* Ticks that nobody waited for are made up for, but not without end. */
void stack_catch_up(void)
{
    int64_t now = sm_host->now();
    for (size_t i = 0; i < CYCLES; i++) {
        struct cycle *cycle = &cycles[i];
        int64_t ticks = (now - cycle->last) / cycle->length;
        cycle->last += ticks * cycle->length;
        for (ticks = ticks < MADE_UP_MOST ? ticks : MADE_UP_MOST; ticks > 0; ticks--)
            cycle->tick();
    }
}

int64_t stack_due(void)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < CYCLES; i++)
        if (cycles[i].waits() && cycles[i].last + cycles[i].length < due)
            due = cycles[i].last + cycles[i].length;
    return due;
}

void stack_run(void)
{
    struct netif *netif;
    bool more = true;
    while (more) {
        netif_poll_all();
        more = false;
        NETIF_FOREACH(netif)
            more |= netif->loop_first != NULL;
    }
}

void stack_start(void)
{
    int64_t now = sm_host->now();
    for (size_t i = 0; i < CYCLES; i++)
        cycles[i].last = now;
    lwip_init();
    recovery_start();
}

int stack_error(err_t error)
{
    switch (error) {
    case ERR_OK: return 0;
    case ERR_MEM: return -ENOBUFS;
    case ERR_BUF: return -EADDRINUSE; /* no port is free */
    case ERR_TIMEOUT: return -ETIMEDOUT;
    case ERR_RTE: return -ENETUNREACH;
    case ERR_INPROGRESS: return -EINPROGRESS;
    case ERR_WOULDBLOCK: return -EAGAIN;
    case ERR_USE: return -EADDRINUSE;
    case ERR_ALREADY: return -EALREADY;
    case ERR_ISCONN: return -EISCONN;
    case ERR_CONN: return -ENOTCONN;
    case ERR_ABRT: return -ECONNABORTED;
    case ERR_RST: return -ECONNRESET;
    case ERR_CLSD: return -ENOTCONN;
    case ERR_IF: return -ENETDOWN;
    default: return -EINVAL;
    }
}
