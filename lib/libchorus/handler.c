/* handler.c: threads that lend themselves to message handlers and LAPs, and calling LAPs.
 *
 * A lender waits in svHandlerWait, runs the routine that its block names, and waits again, which gives the
 * answer away. After a fault in a LAP's routine (K_LAP_SETJMP) the Nucleus has it go on in serve_again, on the stack as it was when it began to
 * serve.
 */
#include "internal.h"

static __thread KnHandlerBlock *the_block; /* of the calling thread, NULL: it does not lend itself */

/* Copied by words: a string instruction takes longer to start. */
struct annex {
    uint64_t words[K_CMSGANNEXSIZE / sizeof(uint64_t)];
} __attribute__((packed, may_alias));

static void run(KnHandlerBlock *block)
{
    void *cookie = (void *)block->cookie;
    if (block->kind == K_INVOKE_LAP)
        block->result = ((KnLapHdl)block->routine)(block->argument, cookie);
    else
        ((KnMsgHdl)block->routine)(&block->message, cookie);
}

static int serve(KnHandlerBlock *block)
{
    int status;
    while ((status = svHandlerWait(block)) == K_OK || block->answered != 0) {
        block->answered = 0; /* a reply that could not be given: its caller gets K_EDEAD */
        if (status == K_OK)
            run(block);
    }
    return status;
}

static void serve_again(KnHandlerBlock *block)
{
    serve(block);
    threadExit();
}

int svHandlerServe(uint32_t bodyRoom)
{
    KnRgnDesc region = { .size = K_PAGESIZE + ((VmSize)bodyRoom + K_PAGESIZE - 1) / K_PAGESIZE * K_PAGESIZE,
                         .options = K_READABLE | K_WRITABLE | K_ANYWHERE };
    if (bodyRoom > K_CMSGSIZEMAX)
        return K_ETOOMUCH;
    int status = rgnAllocate(K_MYACTOR, &region);
    if (status != K_OK)
        return status;
    KnHandlerBlock *block = (KnHandlerBlock *)region.startAddr;
    block->bodyRoom = bodyRoom;
    block->body = (void *)(region.startAddr + K_PAGESIZE);
    block->restart = (VmAddr)serve_again;
    block->stack = ((VmAddr)__builtin_frame_address(0) & ~(VmAddr)15) - 1024 - 8; /* as a function finds it, below this frame */
    the_block = block;
    status = serve(block);
    the_block = NULL;
    rgnFree(K_MYACTOR, &region);
    return status;
}

int svMsgHdlReply(const KnMsgDesc *reply)
{
    KnHandlerBlock *block = the_block;
    if (block == NULL || block->kind != K_INVOKE_MESSAGE)
        return K_ENOMSG;
    if (reply->bodySize > K_CMSGSIZEMAX)
        return K_ETOOMUCH;
    block->reply = *reply;
    if (reply->annexAddr != NULL)
        *(struct annex *)block->replyAnnex = *(const struct annex *)reply->annexAddr;
    block->answered = 1;
    return K_OK;
}

/* A plain call is for who shares the routine's address space. */
static bool is_supervisor(void)
{
    static int8_t known; /* 1: yes, -1: no */
    int privilege;
    if (known == 0)
        known = actorPrivilege(K_MYACTOR, &privilege, NULL) == K_OK && privilege == K_SUPACTOR ? 1 : -1;
    return known > 0;
}

int64_t lapInvoke(const KnLapDesc *lap, uint64_t argument)
{
    if (lap->options & K_LAP_SAFE)
        return lapEnter(lap, argument);
    if (lapDescIsZero(lap))
        return K_EUNKNOWN;
    return is_supervisor() ? lap->handler(argument, lap->cookie) : K_EINVAL;
}
