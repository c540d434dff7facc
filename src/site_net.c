/* The site's network devices before there is a site: see site_net.h. */

#include "site_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <devices/net_tap.h>

#include "net_keeper.h"
#include "places.h"

enum { MTU_DEFAULT = 1500, HELPER_WORDS = 8 + 2 * FORWARDS_MOST };

static struct {
    struct site_net nets[NETS_MOST];
    unsigned count;
    struct net_keeper_link links[NETS_MOST];
    unsigned link_count;
    pid_t keeper;
    char *helper;                         /* the file net-user */
    char *words[NETS_MOST][HELPER_WORDS]; /* its command lines */
    char mtus[NETS_MOST][8];
} site;

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "chorus run: %s: %s\n", what, why);
    return false;
}

/* A locally administered address, another one in each site. */
static bool mac_choose(const struct net_option *option, uint8_t mac[6])
{
    static const uint8_t prefix[3] = { 0x02, 'C', 'H' };
    if (option->mac_given) {
        memcpy(mac, option->mac, 6);
        return true;
    }
    memcpy(mac, prefix, sizeof prefix);
    return getrandom(mac + 3, 3, GRND_NONBLOCK) == 3 || fail("--net", "the host has no random numbers yet");
}

static bool capture_open(const struct net_option *option, struct site_net *net)
{
    net->capture = -1;
    if (option->capture == NULL)
        return true;
    net->capture = open(option->capture, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return net->capture >= 0 || fail(option->capture, strerror(errno));
}

static bool tap_open(const struct net_option *option, struct site_net *net)
{
    net->tap = net_tap_attach(option->where, &net->link.mtu);
    if (net->tap >= 0)
        return true;
    fprintf(stderr, "chorus run: --net tap:%s: %s%s\n", option->where, strerror(-net->tap),
            net->tap == -EPERM || net->tap == -EACCES ? "; make it for this user by: ip tuntap add mode tap user USER name NAME" : "");
    return false;
}

/* The command line of the helper. */
static void words_make(const struct net_options *options, const struct net_option *option, unsigned index, bool forwards)
{
    char **word = site.words[index];
    snprintf(site.mtus[index], sizeof site.mtus[index], "%u", site.nets[index].link.mtu);
    *word++ = site.helper;
    *word++ = (char *)"--mtu";
    *word++ = site.mtus[index];
    if (option->loopback)
        *word++ = (char *)"--loopback";
    for (unsigned i = 0; forwards && i < options->forward_count; i++) {
        *word++ = (char *)"--forward";
        *word++ = options->forwards[i];
    }
}

/* The helper's network is always the same. */
static void hints_give(struct net_link_options *link)
{
    inet_pton(AF_INET, "10.0.2.15", link->address);
    inet_pton(AF_INET, "10.0.2.2", link->router);
    inet_pton(AF_INET, "10.0.2.3", link->name_server);
    link->prefix = 24;
}

static bool net_prepare(const struct net_options *options, unsigned index)
{
    const struct net_option *option = &options->nets[index];
    struct site_net *net = &site.nets[index];
    *net = (struct site_net){ .kind = option->kind, .tap = -1, .capture = -1, .link = { .control = -1, .descriptor = -1 } };
    net->link.mtu = option->mtu != 0 ? option->mtu : MTU_DEFAULT;
    snprintf(net->label, sizeof net->label, "%s%.55s", option->kind == NET_USER ? "user" : option->kind == NET_HUB ? "hub:" : "tap:", option->where);
    net->link.name = net->label;
    site.count++;
    if (!mac_choose(option, net->mac) || !capture_open(option, net))
        return false;
    if (option->kind == NET_TAP)
        return tap_open(option, net);
    struct net_keeper_link *link = &site.links[site.link_count++];
    if (option->kind == NET_HUB) {
        link->hub = option->where;
        return true;
    }
    if (site.helper == NULL && (site.helper = place_of_tool("net-user")) == NULL)
        return fail("--net user: net-user", strerror(errno));
    bool first = true;
    for (unsigned i = 0; i < index; i++)
        first &= options->nets[i].kind != NET_USER;
    words_make(options, option, index, first);
    link->helper = site.words[index];
    net->link.lazy = true;
    hints_give(&net->link);
    return true;
}

/* Connections that are wanted from the start: hubs, and the helper that is to listen. */
static bool connect_now(const struct net_options *options)
{
    bool forwards = options->forward_count > 0;
    for (unsigned i = 0; i < site.count; i++) {
        struct site_net *net = &site.nets[i];
        char why[160], what[96];
        if (net->kind == NET_TAP || (net->kind == NET_USER && !forwards))
            continue;
        forwards &= net->kind != NET_USER;
        net->link.descriptor = net_keeper_connect(net->link.control, why, sizeof why);
        snprintf(what, sizeof what, "--net %s", net->label);
        if (net->link.descriptor < 0)
            return fail(what, why);
    }
    return true;
}

static bool keeper_start(void)
{
    if (site.link_count == 0)
        return true;
    site.keeper = net_keeper_start(site.links, site.link_count);
    if (site.keeper < 0) {
        fail("--net", strerror(-site.keeper));
        site.keeper = 0;
        return false;
    }
    for (unsigned i = 0, link = 0; i < site.count; i++)
        if (site.nets[i].kind != NET_TAP)
            site.nets[i].link.control = site.links[link++].control;
    return true;
}

bool site_net_prepare(const struct net_options *options)
{
    if (options->count == 1 && options->nets[0].assumed && options->forward_count == 0 && (site.helper = place_of_tool("net-user")) == NULL)
        return true;
    for (unsigned i = 0; i < options->count; i++)
        if (!net_prepare(options, i)) {
            site_net_stop();
            return false;
        }
    if (keeper_start() && connect_now(options))
        return true;
    site_net_stop();
    return false;
}

unsigned site_net_count(void) { return site.count; }

struct site_net *site_net_at(unsigned index) { return &site.nets[index]; }

static void close_one(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

void site_net_stop(void)
{
    for (unsigned i = 0; i < site.count; i++) {
        close_one(&site.nets[i].tap);
        close_one(&site.nets[i].capture);
        close_one(&site.nets[i].link.control);
        close_one(&site.nets[i].link.descriptor);
    }
    if (site.keeper > 0)
        net_keeper_stop(site.keeper);
    free(site.helper);
    memset(&site, 0, sizeof site);
}
