/* Network devices as the command line asks for them: see net_options.h. */

#include "net_options.h"
#include "options.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MTU_LEAST = 576, MTU_MOST = 65506, ITEM_MOST = 128 };

static bool kind_parse(struct net_option *net, const char *text, char *problem, size_t size)
{
    if (strcmp(text, "user") == 0) {
        net->kind = NET_USER;
        return true;
    }
    bool hub = strncmp(text, "hub:", 4) == 0;
    if (!hub && strncmp(text, "tap:", 4) != 0)
        return option_refuse(problem, size, "must begin with user, hub:SOCKET, tap:NAME or none");
    net->kind = hub ? NET_HUB : NET_TAP;
    snprintf(net->where, sizeof net->where, "%s", text + 4);
    if (net->where[0] == '\0' || strlen(text + 4) >= (hub ? sizeof net->where : IF_NAMESIZE))
        return option_refuse(problem, size, hub ? "the name of a socket has 1 to 107 characters" : "the name of an interface has 1 to 15 characters");
    return true;
}

static bool mac_parse(struct net_option *net, const char *text, char *problem, size_t size)
{
    char more;
    uint8_t *mac = net->mac;
    net->mac_given = strlen(text) == 17 && sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5], &more) == 6;
    if (!net->mac_given || mac[0] & 1)
        return option_refuse(problem, size, "mac must be like 02:43:48:00:00:01, and no group address");
    return true;
}

static bool detail_parse(struct net_option *net, const char *text, char *problem, size_t size)
{
    unsigned long number;
    if (strcmp(text, "loopback") == 0 && net->kind == NET_USER) {
        net->loopback = true;
        return true;
    }
    if (strncmp(text, "mac=", 4) == 0)
        return mac_parse(net, text + 4, problem, size);
    if (strncmp(text, "mtu=", 4) != 0 || net->kind == NET_TAP) {
        snprintf(problem, size, "'%s' is not known here; there are mac=ADDRESS%s%s", text, net->kind == NET_TAP ? "" : ", mtu=BYTES",
                 net->kind == NET_USER ? ", loopback" : "");
        return false;
    }
    if (!options_parse_number(text + 4, MTU_LEAST, MTU_MOST, &number))
        return option_refuse(problem, size, "mtu must be a number from 576 to 65506");
    net->mtu = (uint16_t)number;
    return true;
}

bool net_options_add(struct net_options *nets, const char *text, char *problem, size_t size)
{
    char copy[ITEM_MOST * 2], *rest = copy, *item;
    nets->said = true;
    if (strcmp(text, "none") == 0) {
        nets->count = 0;
        return true;
    }
    if (nets->count == NETS_MOST)
        return option_refuse(problem, size, "a site has at most 8");
    if (nets->count == 0 && nets->nets[0].capture != NULL)
        return option_refuse(problem, size, "--capture stands behind the --net that it belongs to");
    if (strlen(text) >= sizeof copy)
        return option_refuse(problem, size, "too long");
    strcpy(copy, text);
    struct net_option net = { 0 };
    if (!kind_parse(&net, strsep(&rest, ","), problem, size))
        return false;
    while ((item = strsep(&rest, ",")) != NULL)
        if (!detail_parse(&net, item, problem, size))
            return false;
    nets->nets[nets->count++] = net;
    return true;
}

bool net_options_forward(struct net_options *nets, const char *text, char *problem, size_t size)
{
    bool udp = strncmp(text, "udp:", 4) == 0;
    const char *numbers = udp || strncmp(text, "tcp:", 4) == 0 ? text + 4 : text;
    char copy[ITEM_MOST], *rest = copy;
    unsigned long from, to;
    struct in_addr address;
    if (nets->forward_count == FORWARDS_MOST)
        return option_refuse(problem, size, "at most 32");
    if (strlen(numbers) >= sizeof copy)
        return option_refuse(problem, size, "too long");
    strcpy(copy, numbers);
    const char *first = strsep(&rest, ":"), *second = strsep(&rest, ":"), *third = strsep(&rest, ":");
    const char *host = third != NULL ? first : "127.0.0.1";
    const char *host_port = third != NULL ? second : first, *port = third != NULL ? third : second;
    if (port == NULL || rest != NULL || inet_pton(AF_INET, host, &address) != 1 || !options_parse_number(host_port, 1, 65535, &from) ||
        !options_parse_number(port, 1, 65535, &to))
        return option_refuse(problem, size, "must be [tcp:|udp:][ADDRESS:]HOSTPORT:PORT, with ports from 1 to 65535");
    char *whole;
    if (asprintf(&whole, "%s:%s:%lu:%lu", udp ? "udp" : "tcp", host, from, to) < 0)
        return option_refuse(problem, size, "no memory");
    nets->forwards[nets->forward_count++] = whole;
    return true;
}

bool net_options_capture(struct net_options *nets, const char *path, char *problem, size_t size)
{
    struct net_option *net = &nets->nets[nets->count > 0 ? nets->count - 1 : 0];
    if (*path == '\0')
        return option_refuse(problem, size, "a file is needed");
    if (net->capture != NULL)
        return option_refuse(problem, size, "each --net has one; it stands behind the --net that it belongs to");
    net->capture = path;
    return true;
}

bool net_options_complete(struct net_options *nets, char *problem, size_t size)
{
    bool user = false;
    if (!nets->said) {
        nets->count = 1; /* user, with the capture that may have been asked for */
        nets->nets[0].assumed = true;
    }
    for (unsigned i = 0; i < nets->count; i++)
        user |= nets->nets[i].kind == NET_USER;
    if (nets->forward_count > 0 && !user)
        return option_refuse(problem, size, "--forward needs --net user");
    if (nets->count == 0 && nets->nets[0].capture != NULL)
        return option_refuse(problem, size, "--capture needs a network");
    return true;
}

void net_options_free(struct net_options *nets)
{
    for (unsigned i = 0; i < nets->forward_count; i++)
        free(nets->forwards[i]);
}
