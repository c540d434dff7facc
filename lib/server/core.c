/* What a server's core needs: see core.h. */
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server.h"

bool server_notify(uint64_t port, const void *annex)
{
    KnIpcDest to = { .mode = K_PORTMODE };
    KnMsgDesc message = { .annexAddr = (void *)annex };

    memcpy(&to.target, &port, sizeof to.target);
    return ipcSend(&message, server_port(), &to) != K_EFULL;
}

int64_t server_now(void)
{
    KnTime now = 0;

    sysTime(&now);
    return now;
}

void server_random(void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t some = getrandom((char *)bytes + done, size - done, 0);

        if (some <= 0) {
            fprintf(stderr, "there are no random numbers\n");
            abort();
        }
        done += (size_t)some;
    }
}

void server_alarm_set(struct server_alarm *alarm, int64_t when)
{
    if (when == alarm->armed)
        return;
    alarm->armed = when;
    int64_t delay = when == INT64_MAX ? 0 : when - server_now();
    timerSet(alarm->timer, when != INT64_MAX && delay <= 0 ? 1 : delay, 0, NULL);
}
