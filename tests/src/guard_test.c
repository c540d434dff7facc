/* The guard of --net user: every way to name the host itself is known as such, and nothing else is. */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "net_user/guard.h"

static bool four(const char *text)
{
    struct sockaddr_in address = { .sin_family = AF_INET };

    cr_assert_eq(inet_pton(AF_INET, text, &address.sin_addr), 1);
    return guard_is_loopback((struct sockaddr *)&address, sizeof address);
}

static bool six(const char *text)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6 };

    cr_assert_eq(inet_pton(AF_INET6, text, &address.sin6_addr), 1);
    return guard_is_loopback((struct sockaddr *)&address, sizeof address);
}

Test(guard, knows_the_host_itself)
{
    static const char *const fours[] = { "127.0.0.1", "127.0.0.53", "127.255.255.255", "0.0.0.0", "0.1.2.3" };
    static const char *const sixes[] = { "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "::127.0.0.1" };

    for (unsigned i = 0; i < 5; i++)
        cr_assert(four(fours[i]), "%s", fours[i]);
    for (unsigned i = 0; i < 5; i++)
        cr_assert(six(sixes[i]), "%s", sixes[i]);
}

Test(guard, lets_others_through)
{
    cr_assert_not(four("126.255.255.255"));
    cr_assert_not(four("128.0.0.1"));
    cr_assert_not(four("10.0.2.2"));
    cr_assert_not(four("1.0.0.127"));
    cr_assert_not(six("::ffff:10.0.0.1"));
    cr_assert_not(six("2001:db8::1"));
    cr_assert_not(six("1::"));
    cr_assert_not(six("fe80::1"));
}

Test(guard, takes_what_it_does_not_know_for_the_host_itself)
{
    struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "/tmp/x" };
    struct sockaddr_in cut = { .sin_family = AF_INET, .sin_addr.s_addr = 0x01010101 };

    cr_assert(guard_is_loopback((struct sockaddr *)&local, sizeof local));
    cr_assert(guard_is_loopback((struct sockaddr *)&cut, 4));
}
