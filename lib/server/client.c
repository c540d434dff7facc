/* client.c: ask a server. */
#include "client.h"

#include <string.h>

#define RETRY_DELAY 10000000ll /* ns */

KnIpcDest client_group(uint32_t stamp)
{
    KnIpcDest dest = { .mode = K_FUNCMODE };
    if (uiBuild(&dest.target, K_UISTATGROUP, 0, stamp) != K_OK)
        uiClear(&dest.target); /* the call will say K_EUNKNOWN */
    return dest;
}

KnIpcDest client_port(const KnUniqueId *port)
{
    return (KnIpcDest){ .target = *port, .mode = K_PORTMODE };
}

int client_call(const KnIpcDest *server, const void *request, size_t request_size, void *reply,
                size_t reply_size, const struct client_data *data, KnTime delay)
{
    _Alignas(16) uint8_t request_annex[K_CMSGANNEXSIZE] = { 0 }, reply_annex[K_CMSGANNEXSIZE] = { 0 };
    KnMsgDesc out = { .annexAddr = request_annex }, in = { .annexAddr = reply_annex };

    if (request_size > sizeof request_annex || reply_size > sizeof reply_annex)
        return K_EINVAL;
    if (data != NULL) {
        if (data->out_size > K_CMSGSIZEMAX)
            return K_ETOOMUCH;
        out.bodyAddr = (void *)data->out;
        out.bodySize = (uint32_t)data->out_size;
        in.bodyAddr = data->in;
        in.bodySize = (uint32_t)(data->in_size < K_CMSGSIZEMAX ? data->in_size : K_CMSGSIZEMAX);
    }
    memcpy(request_annex, request, request_size);
    int size = ipcCall(&out, K_DEFAULTPORT, server, &in, delay);
    if (size >= 0)
        memcpy(reply, reply_annex, reply_size);
    return size;
}

int client_call_patiently(const KnIpcDest *server, const void *request, size_t request_size,
                          void *reply, size_t reply_size, const struct client_data *data,
                          KnTime patience)
{
    KnTime begin, now;
    int status = sysTime(&begin);
    while (status == K_OK) {
        int size = client_call(server, request, request_size, reply, reply_size, data, K_FOREVER);
        if (size != K_EUNKNOWN && size != K_EDEAD)
            return size;
        status = sysTime(&now);
        if (status == K_OK && patience != K_FOREVER && now - begin >= patience)
            return size;
        if (status == K_OK)
            status = threadDelay(RETRY_DELAY);
    }
    return status;
}
