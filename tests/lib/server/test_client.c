/* Asking a server. */
#include "fake_ipc.h"

#include <criterion/criterion.h>
#include <server/client.h>
#include <string.h>

static uint8_t large[K_CMSGANNEXSIZE + 1];

Test(client, what_does_not_fit_is_refused_before_it_is_sent)
{
    fake_start(NULL, 0);
    KnIpcDest server = client_group(5);
    struct client_data data = { .out = large, .out_size = K_CMSGSIZEMAX + 1 };
    cr_expect_eq(client_call(&server, large, sizeof large, large, 4, NULL, K_FOREVER), K_EINVAL);
    cr_expect_eq(client_call(&server, large, 4, large, sizeof large, NULL, K_FOREVER), K_EINVAL);
    cr_expect_eq(client_call(&server, large, 4, large, 4, &data, K_FOREVER), K_ETOOMUCH);
    cr_expect_eq(fake.calls, 0);
}

Test(client, a_server_is_found_by_its_group)
{
    fake_start(NULL, 0);
    KnIpcDest server = client_group(5);
    cr_expect_eq(server.mode, K_FUNCMODE);
    cr_expect_eq(server.target.uiHead, (unsigned)K_UISTATGROUP << 27 | 5);
    server = client_group(0);
    cr_expect(uiIsCleared(&server.target));
}

Test(client, a_call_carries_annex_and_body_both_ways)
{
    fake_start(NULL, 0);
    KnIpcDest server = client_port(&(KnUniqueId){ 1, 2 });
    uint32_t request[2] = { 11, 22 }, reply[2] = { 0 };
    char in[8] = "";
    struct client_data data = { "hello", 5, in, sizeof in };
    cr_expect_eq(client_call(&server, request, sizeof request, reply, sizeof reply, &data, K_FOREVER), 5);
    cr_expect_eq(reply[1], 22);
    cr_expect_str_eq(in, "hello");
    cr_expect_eq(fake.called.target.uiTail, 2);
}

Test(client, a_failed_call_leaves_the_reply_alone)
{
    fake_start(NULL, 0);
    fake.call_status[0] = K_ETIMEOUT;
    KnIpcDest server = client_group(5);
    uint32_t request = 1, reply = 99;
    cr_expect_eq(client_call(&server, &request, 4, &reply, 4, NULL, 1), K_ETIMEOUT);
    cr_expect_eq(reply, 99);
}

Test(client, patience_lasts_until_the_server_is_there)
{
    fake_start(NULL, 0);
    memcpy(fake.call_status, (int[]){ K_EUNKNOWN, K_EDEAD, K_OK, K_OK }, sizeof fake.call_status);
    KnIpcDest server = client_group(5);
    uint32_t request = 1, reply;
    cr_expect_eq(client_call_patiently(&server, &request, 4, &reply, 4, NULL, K_FOREVER), 0);
    cr_expect_eq(fake.calls, 3);
}

Test(client, patience_has_an_end)
{
    fake_start(NULL, 0);
    for (int i = 0; i < 4; i++)
        fake.call_status[i] = K_EUNKNOWN;
    KnIpcDest server = client_group(5);
    uint32_t request = 1, reply;
    cr_expect_eq(client_call_patiently(&server, &request, 4, &reply, 4, NULL, 100000000), K_EUNKNOWN);
    cr_expect_eq(fake.calls, 11);
}

Test(client, other_errors_are_not_tried_again)
{
    fake_start(NULL, 0);
    fake.call_status[0] = K_EFULL;
    KnIpcDest server = client_group(5);
    uint32_t request = 1, reply;
    cr_expect_eq(client_call_patiently(&server, &request, 4, &reply, 4, NULL, K_FOREVER), K_EFULL);
    cr_expect_eq(fake.calls, 1);
}
