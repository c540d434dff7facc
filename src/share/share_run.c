/* The process of a shared folder: reads requests, writes answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "share.h"

void share_run(struct share *share, int socket)
{
    static struct share_message question, answer;
    static char body[FILE_BODY_MAX], reply_body[FILE_BODY_MAX];
    for (;;) {
        struct iovec parts[] = { { &question, sizeof question }, { body, sizeof body } };
        struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
        ssize_t size = recvmsg(socket, &message, 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < (ssize_t)sizeof question || (message.msg_flags & MSG_TRUNC))
            return;                     /* the site is gone */
        size_t used;
        share_serve(share, &question.request, body, (size_t)size - sizeof question, &answer.answer, reply_body, &used);
        answer.number = question.number;
        parts[0] = (struct iovec){ &answer, sizeof answer };
        parts[1] = (struct iovec){ reply_body, used };
        while ((size = sendmsg(socket, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
            ;
        if (size < 0)
            return;
    }
}
