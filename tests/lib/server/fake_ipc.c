#include "fake_ipc.h"

#include <string.h>

struct fake fake;

void fake_start(const struct fake_message *messages, unsigned count)
{
    memset(&fake, 0, sizeof fake);
    fake.messages = messages;
    fake.count = count;
    fake.current = -1;
    fake.port_status = 1;
    fake.privilege = FAKE_PRIVILEGE;
}

static void answer(const KnMsgDesc *reply, bool later)
{
    struct fake_answer *to = &fake.answers[fake.current];
    to->answered = true;
    to->later = later;
    memcpy(&to->status, reply->annexAddr, sizeof to->status);
    if (reply->bodySize > 0)
        memcpy(to->body, reply->bodyAddr, reply->bodySize);
    fake.current = -1;
}

int ipcReplyReceive(const KnMsgDesc *reply, KnMsgDesc *msg, int *portli, KnTime delay)
{
    (void)delay;
    if (reply != NULL && fake.reply_fails) {
        fake.reply_fails = false;
        return K_EFAULT;
    }
    if (reply != NULL && fake.current >= 0 && !fake.messages[fake.current].sent)
        answer(reply, false);
    if (fake.next == fake.count)
        return K_EUNKNOWN;
    const struct fake_message *message = &fake.messages[fake.next];
    fake.current = message->status < 0 ? -1 : (int)fake.next;
    fake.next++;
    if (message->status < 0)
        return message->status;
    size_t size = message->body == NULL ? 0 : strlen(message->body);
    memcpy(msg->annexAddr, message->annex, sizeof message->annex);
    if (size > 0)
        memcpy(msg->bodyAddr, message->body, size < msg->bodySize ? size : msg->bodySize);
    msg->bodySize = (uint32_t)size;
    *portli = message->to_default_port ? K_DEFAULTPORT : 1;
    return (int)size;
}

/* ---- message handlers: the script's messages are given to the routine ---- */

int actorPrivilege(const KnCap *cap, int *old, const int *new_)
{
    (void)cap, (void)new_;
    *old = fake.privilege;
    return K_OK;
}

int svMsgHandler(const KnCap *cap, int portli, KnMsgHdl handler, VmSize stack, void *cookie)
{
    (void)cap, (void)stack;
    if (fake.privilege != K_SUPACTOR)
        return K_EPRIV;
    if (handler == NULL) {
        fake.handlers_disconnected++;
        return K_OK;
    }
    fake.handlers_connected++;
    fake.routine = handler;
    *(portli == K_DEFAULTPORT ? &fake.default_port_cookie : &fake.port_cookie) = cookie;
    return K_OK;
}

int svMsgHdlReply(const KnMsgDesc *reply)
{
    if (fake.current < 0)
        return K_ENOMSG;
    if (fake.reply_fails)
        fake.reply_fails = false;
    else if (!fake.messages[fake.current].sent)
        answer(reply, false);
    return K_OK;
}

static char handler_body[K_CMSGSIZEMAX] __attribute__((aligned(K_PAGESIZE)));

int svHandlerServe(uint32_t bodyRoom)
{
    for (; fake.next < fake.count; fake.next++) {
        const struct fake_message *message = &fake.messages[fake.next];
        uint8_t annex[K_CMSGANNEXSIZE];
        size_t size = message->body == NULL ? 0 : strlen(message->body);
        if (message->status < 0)
            continue; /* no routine hears of it */
        fake.current = (int)fake.next;
        memcpy(annex, message->annex, sizeof annex);
        if (size > 0)
            memcpy(handler_body, message->body, size < bodyRoom ? size : bodyRoom);
        KnMsgDesc desc = { .flags = (message->from_nucleus ? K_HEAD_NUCLEUS : 0) | (message->sent ? 0 : K_HEAD_CALL),
                           .annexAddr = annex, .bodyAddr = handler_body, .bodySize = (uint32_t)size };
        fake.routine(&desc, message->to_default_port ? fake.default_port_cookie : fake.port_cookie);
    }
    return K_EUNKNOWN;
}

int ipcReply(const KnMsgDesc *msg)
{
    if (fake.current < 0 || fake.messages[fake.current].sent)
        return K_ENOMSG;
    answer(msg, true);
    return K_OK;
}

int ipcSave(KnMsgId *id)
{
    if (fake.current < 0)
        return K_ENOMSG;
    fake.saves++;
    *id = (KnMsgId)fake.current + 100;
    fake.current = -1;
    return K_OK;
}

int ipcRestore(const KnMsgId *id)
{
    if (*id < 100 || *id >= 100 + fake.count || fake.answers[*id - 100].answered)
        return K_EUNKNOWN;
    fake.current = (int)(*id - 100);
    return K_OK;
}

int ipcSysInfo(KnMsgHead *head)
{
    if (fake.current < 0)
        return K_ENOMSG;
    fake.heads_asked++;
    memset(head, 0, sizeof *head);
    head->flags = (fake.messages[fake.current].from_nucleus ? K_HEAD_NUCLEUS : 0) |
                  (fake.messages[fake.current].sent ? 0 : K_HEAD_CALL) |
                  (fake.messages[fake.current].trusted ? K_HEAD_TRUSTED : 0);
    head->srcActor = (KnUniqueId){ 7, 8 };
    return K_OK;
}

int ipcCall(const KnMsgDesc *msg, int source, const KnIpcDest *dest, KnMsgDesc *reply, KnTime delay)
{
    (void)source, (void)delay;
    int status = fake.call_status[fake.calls < 3 ? fake.calls : 3];
    fake.calls++;
    fake.called = *dest;
    if (status < 0)
        return status;
    memcpy(reply->annexAddr, msg->annexAddr, K_CMSGANNEXSIZE);
    uint32_t size = reply->bodySize < msg->bodySize ? reply->bodySize : msg->bodySize;
    memcpy(reply->bodyAddr, msg->bodyAddr, size);
    return (int)msg->bodySize;
}

int portCreate(const KnCap *cap, KnUniqueId *ui)
{
    (void)cap;
    *ui = (KnUniqueId){ 7, 7 };
    return fake.port_status;
}

int portDeclare(const KnCap *cap, const KnUniqueId *ui)
{
    (void)cap, (void)ui;
    return fake.port_status;
}

int portEnable(const KnCap *cap, int portli, unsigned prio)
{
    (void)cap, (void)portli, (void)prio;
    fake.ports_enabled++;
    return fake.enable_status;
}

int portDelete(const KnCap *cap, int portli)
{
    (void)cap, (void)portli;
    fake.ports_deleted++;
    return K_OK;
}

int grpAllocate(unsigned options, KnCap *cap, uint32_t stamp)
{
    memset(cap, 0, sizeof *cap);
    cap->key = stamp;
    return options == K_STATSYS ? fake.group_status : K_EINVAL;
}

int grpPortInsert(const KnCap *group, const KnUniqueId *port)
{
    (void)port;
    fake.group_joined = (uint32_t)group->key;
    return K_OK;
}

int svIntrDone(unsigned intr)
{
    (void)intr;
    fake.interrupts_done++;
    return K_OK;
}

int actorName(const KnCap *cap, char *old, const char *new_)
{
    (void)cap, (void)old;
    memcpy(fake.name, new_, K_NAMEMAX);
    return K_OK;
}

int uiBuild(KnUniqueId *ui, unsigned type, uint32_t site, uint32_t stamp)
{
    if (stamp == 0)
        return K_EINVAL;
    ui->uiHead = type << 27 | stamp;
    ui->uiTail = site;
    return K_OK;
}

const char *knStrError(int status)
{
    (void)status;
    return "a failure";
}

int sysTime(KnTime *time)
{
    *time = fake.time;
    return K_OK;
}

int threadDelay(KnTime delay)
{
    fake.time += delay;
    return K_OK;
}

/* ---- what a hand-over needs ---- */

int portUi(const KnCap *cap, int portli, KnUniqueId *ui)
{
    (void)cap;
    *ui = (KnUniqueId){ 8, (uint32_t)portli };
    return K_OK;
}

int portDisable(const KnCap *cap, int portli)
{
    (void)cap, (void)portli;
    fake.ports_disabled++;
    return K_OK;
}

int portMigrate(unsigned options, const KnCap *source, int portli, const KnCap *target, uint32_t *seqnum)
{
    (void)options, (void)source, (void)target;
    *seqnum = 1;
    fake.ports_moved++;
    return fake.migrate_status < 0 ? fake.migrate_status : portli + 10;
}

int ipcSend(const KnMsgDesc *msg, int source, const KnIpcDest *dest)
{
    (void)msg, (void)source, (void)dest;
    return K_OK;
}

int actorSelf(KnCap *cap)
{
    *cap = (KnCap){ .ui = { 9, 9 }, .key = 99 };
    return K_OK;
}

int actorWatch(const KnUniqueId *ui, int portli, uint64_t cookie)
{
    (void)ui, (void)portli, (void)cookie;
    return K_OK;
}

int actorDelete(const KnCap *cap)
{
    (void)cap;
    fake.deleted = true;
    return K_OK; /* in a test it returns */
}

int vmCopy(const KnCap *source, VmAddr from, const KnCap *target, VmAddr to, VmSize size)
{
    (void)source, (void)target;
    memcpy((void *)to, (const void *)from, size);
    return K_OK;
}
