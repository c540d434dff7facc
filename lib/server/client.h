/* client.h: ask a server.
 *
 * A struct client names a server by the stamp of its group. A call goes to one member of the group,
 * which the Nucleus chooses; the annex is K_CMSGANNEXSIZE bytes at most, either way. */
#ifndef SERVER_CLIENT_H
#define SERVER_CLIENT_H

#include <chorus.h>

/* Where to send to: the server group with that stamp. Plain data, may be copied. */
KnIpcDest client_group(uint32_t stamp);
/* The same for one port. */
KnIpcDest client_port(const KnUniqueId *port);

struct client_data {
    const void *out; /* body of the request */
    size_t out_size;
    void *in; /* room for the reply's body */
    size_t in_size;
};

/* Call, wait at most <delay> ns (K_FOREVER). <data> NULL: no bodies. Returns the size of the reply's body (which may
 * be more than data->in_size: the rest is lost) or a negative K_ error of the transport; the server's own
 * status is in the reply's annex. */
int client_call(const KnIpcDest *server, const void *request, size_t request_size, void *reply, size_t reply_size,
                const struct client_data *data, KnTime delay);
/* Like client_call, but while the server is not there (K_EUNKNOWN, K_EDEAD before it was ready) tries again every 10 ms for up to
 * <patience> ns: servers start in any order and are restarted. Only for requests that may be repeated. */
int client_call_patiently(const KnIpcDest *server, const void *request, size_t request_size, void *reply, size_t reply_size,
                          const struct client_data *data, KnTime patience);

#endif
