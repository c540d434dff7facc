/* om, the Object Manager, as an actor.
 *
 *     om [DISK[,ro]]           DISK: disk0 (the default), disk1, ...
 *
 * Two kinds of threads. Workers of the server loop take requests of the file protocol from om's
 * group. Mapper threads take the Nucleus' requests from a port of their own, which has a static
 * name so that segments outlive om's restart: a worker may wait in the Nucleus for pages to be
 * pushed out, and that needs a mapper thread, never another worker. Neither calls pm or dm.
 *
 * It can be replaced while it is used (docs/replace.md): both kinds of threads are brought to rest, the disks too, and what is
 * in memory alone goes along (handover.c).
 *
 * What was changed is committed at the latest COMMIT_AFTER later; the timer runs only when there is
 * something. When the root cannot be mounted om says why, and answers every request with an error.
 */
#include <chorus.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <mem/chMapper.h>
#include <pthread.h>
#include <server/handover.h>
#include <server/server.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "om.h"

#define WORKERS        6
#define WORKERS_MOST   64               /* some may wait for a disk that does not answer */
#define MAPPER_THREADS 6                /* and more, when all wait for a disk, up to */
#define MAPPER_THREADS_MOST 64
#define CACHE_MEMORY   (4u << 20)       /* at most, */
#define CACHE_SHARE    32               /* and this part of the site's memory */
#define HEAP_MAX       (2u << 20)
#define HEAP_SHARE     16               /* what the heap is made ready for at the start */
#define COMMIT_AFTER   5000000000ll     /* ns */
#define REST_LOOK      50000ll          /* ns between two looks whether all mapper threads rest */
#define REST_LOOKS     200000           /* at most: 10 s */

static struct om om;
static KnUniqueId mapper_ui;
static int mapper_port, commit_timer;
static atomic_bool commit_armed;
static char root_disk[32] = "disk0";
static bool root_read_only;
static atomic_ullong requests;          /* that came, here and in those before */

static uint64_t bits_of(const KnUniqueId *ui)
{
    uint64_t bits;

    memcpy(&bits, ui, sizeof bits);
    return bits;
}

/* Committing ------------------------------------------------------------------------ */

static void commit_later(void)
{
    if (!atomic_exchange(&commit_armed, true))
        timerSet(commit_timer, COMMIT_AFTER, 0, NULL);
}

static void commit_now(int timer, uint64_t cookie, uint32_t overruns)
{
    (void)timer, (void)cookie, (void)overruns;
    atomic_store(&commit_armed, false);
    om_settle(&om);
    if (om_is_changed(&om))
        om_sync(&om);
    if (om.lingering != 0 && om_linger_end(&om))
        commit_later();
}

/* The world ------------------------------------------------------------------------- */

static int world_truncate(struct om_world *world, const KnCap *lc, uint64_t size)
{
    (void)world;
    return lcTrunc(lc, size);
}

static void world_zero(struct om_world *world, const KnCap *lc, uint64_t offset, uint64_t length)
{
    (void)world;
    lcFillZero(lc, offset, length);
}

static int world_recall(struct om_world *world, const KnCap *lc)
{
    int status = lcFlush(lc, 0, 0, K_DOWNGRADE, 0);

    (void)world;
    return status == K_OK || status == K_EUNKNOWN ? 0 : -EIO;
}

static bool world_drop(struct om_world *world, const KnCap *lc)
{
    KnSgStat stat;
    int status = lcStat(lc, &stat);

    (void)world;
    if (status == K_EUNKNOWN)
        return true;            /* it has gone by itself */
    if (status != K_OK || stat.mappings != 0 || stat.opens != 0)
        return false;
    return lcFlush(lc, 0, 0, K_DROP, 0) == K_OK;
}

static int world_flush(struct om_world *world, const KnCap *lc)
{
    int status = lcFlush(lc, 0, 0, K_COPYBACK, 0);

    (void)world;
    return status == K_OK || status == K_EUNKNOWN ? 0 : -EIO;   /* unknown: it has gone, clean */
}

static int world_invalidate(struct om_world *world, const KnCap *lc)
{
    int status = lcFlush(lc, 0, 0, K_INVALIDATE, 0);

    (void)world;
    return status == K_OK || status == K_EUNKNOWN ? 0 : -EIO;
}

static unsigned world_disks(struct om_world *world)
{
    (void)world;
    return disks_there();
}

static int world_device(struct om_world *world, const char *name, struct blockdev **ret)
{
    int number = disk_number(name);

    (void)world;
    return number < 0 ? number : disk_open((unsigned)number, ret);
}

/* The memory of who watches is its own affair: what is wrong with it is its loss. */
static bool world_tell(struct om_world *world, const struct file_watch *watch, unsigned first, const uint32_t *versions,
                       unsigned count)
{
    KnCap actor;

    (void)world;
    memcpy(&actor, watch->actor, sizeof actor);
    return vmCopy(K_MYACTOR, (VmAddr)versions, &actor, watch->versions + first * sizeof *versions, count * sizeof *versions) == K_OK;
}

static struct om_world world = {
    .truncate = world_truncate, .zero = world_zero, .recall = world_recall, .drop = world_drop,
    .flush = world_flush, .invalidate = world_invalidate, .disks = world_disks, .device = world_device,
    .tell = world_tell,
};

/* Memory ---------------------------------------------------------------------------- */

static uint64_t memory_of_site(void)
{
    const KnCap site = { 0 };
    KnVmStat stat = { 0 };

    return vmStat(&site, &stat) == K_OK ? stat.pages * K_PAGESIZE : 64u << 20;
}

/* om is asked to take pages when memory is short: it must not need new frames for that then. So its
 * heap grows now, is touched, and is never given back. */
static void heap_prepare(uint64_t size)
{
    void *block;

    if (size > HEAP_MAX)
        size = HEAP_MAX;
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
    block = malloc(size);
    if (block != NULL)
        memset(block, 1, size);
    free(block);
}

/* Memory for a thread's bodies, with its frames. */
static uint8_t *body_new(void)
{
    uint8_t *body = aligned_alloc(K_PAGESIZE, K_CMSGSIZEMAX);

    return body != NULL ? memset(body, 0, K_CMSGSIZEMAX) : NULL;
}

static void memory_share(void)
{
    uint64_t memory = memory_of_site();

    heap_prepare(memory / HEAP_SHARE);
    om.cache_memory = memory / CACHE_SHARE < CACHE_MEMORY ? (uint32_t)(memory / CACHE_SHARE)
                                                          : CACHE_MEMORY;
    om.tmpfs_size = memory;
    om.tmpfs_keep = memory / 128 / K_PAGESIZE;
}

/* Mapper threads -------------------------------------------------------------------- */

static bool is_of_nucleus(void)
{
    KnMsgHead head;

    return ipcSysInfo(&head) == K_OK && (head.flags & K_HEAD_NUCLEUS) != 0;
}

static bool request_changes(const KnMpRequest *request)
{
    return request->op == K_MP_PUSHOUT || request->op == K_MP_RELEASE ||
           (request->op == K_MP_GETACCESS && request->access == K_WRITABLE);
}

/* Serve one request; its body, and the reply's, are in `body`. */
static void mapper_serve(const KnMpRequest *request, uint8_t *body, uint32_t body_size,
                         KnMpReply *reply, KnMsgDesc *answer)
{
    size_t used = 0;

    if (!is_of_nucleus()) {
        fprintf(stderr, "a forged message of the Nucleus, kind %u\n", request->op);
        *reply = (KnMpReply){ .diag = K_EPRIV };
    } else {
        om_map(&om, request, body, body_size, reply, body, K_CMSGSIZEMAX, &used);
    }
    if (request_changes(request))
        commit_later();
    answer->bodyAddr = body;
    answer->bodySize = (uint32_t)used;
}

/* At rest. A thread that takes one of the messages of mapper_rest stays here until mapper_go_on; the first time, in a successor, all
 * of them do, until there is a port to receive from. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t  go_on;
    uint32_t generation;
    unsigned resting;
    unsigned threads, busy;
    bool     no_more;           /* threads are made */
} rest = { .lock = PTHREAD_MUTEX_INITIALIZER, .go_on = PTHREAD_COND_INITIALIZER };

static void rest_here(uint32_t generation)
{
    pthread_mutex_lock(&rest.lock);
    if (generation == rest.generation)
        rest.resting++;
    while (generation == rest.generation)
        pthread_cond_wait(&rest.go_on, &rest.lock);
    pthread_mutex_unlock(&rest.lock);
}

static void mapper_go_on(void)
{
    pthread_mutex_lock(&rest.lock);
    rest.generation++;
    rest.resting = 0;
    rest.no_more = false;
    pthread_cond_broadcast(&rest.go_on);
    pthread_mutex_unlock(&rest.lock);
}

static bool mapper_rests(void)
{
    pthread_mutex_lock(&rest.lock);
    bool all = rest.resting == rest.threads;
    pthread_mutex_unlock(&rest.lock);
    return all;
}

/* Every thread has finished what it did, and takes nothing more: requests wait in the port. */
static int mapper_rest(void)
{
    _Alignas(16) uint32_t annex[K_CMSGANNEXSIZE / sizeof(uint32_t)] = { HANDOVER_PAUSE, rest.generation };
    const KnMsgDesc message = { .annexAddr = annex };
    const KnIpcDest dest = { .target = mapper_ui, .mode = K_PORTMODE };
    int status = K_OK;
    unsigned threads;

    pthread_mutex_lock(&rest.lock);
    rest.no_more = true;
    threads = rest.threads;
    pthread_mutex_unlock(&rest.lock);
    for (unsigned i = 0; i < threads && status == K_OK; i++)
        status = ipcSend(&message, K_DEFAULTPORT, &dest);
    for (int i = 0; status == K_OK && !mapper_rests(); i++) {
        if (i == REST_LOOKS)
            return K_ETIMEOUT;
        threadDelay(REST_LOOK);
    }
    return status;
}

static bool is_own(void)
{
    KnMsgHead head;
    KnCap self;

    return ipcSysInfo(&head) == K_OK && actorSelf(&self) == K_OK && uiEqual(&head.srcActor, &self.ui);
}

static void *mapper_run(void *is_successor);

static int mapper_thread_make(bool is_successor)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, mapper_run, is_successor ? &rest : NULL) != 0)
        return K_ENOMEM;
    pthread_detach(thread);
    return K_OK;
}

/* One more has something to do. If that are all, one is made: those who use another disk do not wait for a slow one. */
static void mapper_begins(void)
{
    bool more;

    pthread_mutex_lock(&rest.lock);
    more = ++rest.busy == rest.threads && rest.threads < MAPPER_THREADS_MOST && !rest.no_more;
    rest.threads += more;
    pthread_mutex_unlock(&rest.lock);
    if (!more || mapper_thread_make(false) == K_OK)
        return;
    pthread_mutex_lock(&rest.lock);
    rest.threads--;
    pthread_mutex_unlock(&rest.lock);
}

static void mapper_ends(void)
{
    pthread_mutex_lock(&rest.lock);
    rest.busy--;
    pthread_mutex_unlock(&rest.lock);
}

static void *mapper_run(void *is_successor)
{
    _Alignas(16) uint8_t annex[K_CMSGANNEXSIZE], reply_annex[K_CMSGANNEXSIZE];
    uint8_t *body = body_new();
    KnMsgDesc answer = { .annexAddr = reply_annex };
    bool answered = false;

    if (is_successor != NULL)
        rest_here(0);
    while (body != NULL) {
        KnMsgDesc message = { .annexAddr = annex, .bodyAddr = body, .bodySize = K_CMSGSIZEMAX };
        KnMpRequest request;
        KnMpReply reply;
        int port = mapper_port;
        int status = ipcReplyReceive(answered ? &answer : NULL, &message, &port, K_FOREVER);

        answered = false;
        if (status < 0)
            continue;           /* the caller of the last request has gone */
        memcpy(&request, annex, sizeof request);
        if (request.op == HANDOVER_PAUSE && is_own()) {
            rest_here(((const uint32_t *)(const void *)annex)[1]);
            continue;
        }
        mapper_begins();
        mapper_serve(&request, body, message.bodySize, &reply, &answer);
        mapper_ends();
        memset(reply_annex, 0, sizeof reply_annex);
        memcpy(reply_annex, &reply, sizeof reply);
        answered = request.op != K_MP_RELEASE;
    }
    fprintf(stderr, "not enough memory for a mapper thread\n");
    return NULL;
}

static int mapper_threads_start(bool is_successor)
{
    int status = K_OK;

    for (int i = 0; i < MAPPER_THREADS && status == K_OK; i++) {
        pthread_mutex_lock(&rest.lock);
        rest.threads++;
        pthread_mutex_unlock(&rest.lock);
        status = mapper_thread_make(is_successor);
    }
    return status;
}

static int mapper_start(void)
{
    mapper_port = portDeclare(K_MYACTOR, &mapper_ui);
    if (mapper_port < 0)
        return mapper_port;
    int status = server_port_add(mapper_port);
    if (status == K_OK)
        status = mapper_threads_start(false);
    return status == K_OK ? vmMapperDefault(&mapper_ui) : status;
}

/* Workers --------------------------------------------------------------------------- */

/* Is there nothing new to commit after it? */
static bool leaves_nothing(const struct file_request *request)
{
    return om_only_looks(request) || request->operation == FILE_READ || (request->operation == FILE_CLOSE && om.lingering == 0);
}

static void serve(struct server_request *request)
{
    static __thread uint8_t *reply_body;
    struct file_request ask;
    struct file_reply reply;
    struct om_call call = { .request = &ask, .body = request->body, .body_size = request->body_size,
                            .reply = &reply };

    memcpy(&ask, request->annex, sizeof ask);
    requests++;
    if (reply_body == NULL)
        reply_body = body_new();
    if (reply_body == NULL) {
        server_reply_status(request, -ENOMEM);
        return;
    }
    call.reply_body = reply_body;
    om_serve(&om, &call);
    if (!leaves_nothing(&ask))
        commit_later();
    server_reply_body(request, &reply, sizeof reply, reply_body, call.reply_size);
}

/* Starting -------------------------------------------------------------------------- */

static void root_mount(void)
{
    struct blockdev *disk = NULL;
    struct fs *fs = NULL;
    char why[256] = "there is no such disk";
    int number = disk_number(root_disk);
    int error = number < 0 ? number : disk_open((unsigned)number, &disk);

    if (error == 0)
        error = ext4_mount(disk, root_read_only, om.cache_memory, &fs, why, sizeof why);
    if (error == 0) {
        memcpy(fs->source, root_disk, sizeof root_disk);
        error = om_add(&om, fs, 1);
    }
    if (error != 0)
        fprintf(stderr, K_LOG_URGENT "the root file system on %s cannot be used: %s\n", root_disk,
                why);
    else if (fs->read_only && !root_read_only)
        fprintf(stderr, K_LOG_URGENT "%s can only be read\n", root_disk);
}

/* What the first one and a successor have in common. */
static int prepare(void)
{
    KnUniqueId group;
    int status = uiBuild(&group, K_UISTATGROUP, 0, FILE_GROUP_STAMP);

    if (status == K_OK)
        status = uiBuild(&mapper_ui, K_UISTATPORT, 0, FILE_MAPPER_STAMP);
    om_init(&om, &world);
    om.port = bits_of(&group);
    om.mapper_port = bits_of(&mapper_ui);
    memory_share();
    return status;
}

static int start(void)
{
    int status = prepare();

    if (status != K_OK)
        return status;
    commit_timer = timerCreate(server_port(), 0);
    if (commit_timer < 0)
        return commit_timer;
    status = mapper_start();
    if (status == K_OK)
        root_mount();
    if (status == K_OK && om_add_blocks(&om) != 0)
        status = K_ENOMEM;
    return status;
}

/* Replacing ------------------------------------------------------------------------- */

static int hand_over(struct handover_state *to)
{
    struct om_state state = { 0 };
    unsigned long long count = requests;
    int status = mapper_rest();
    int error = 0;

    if (status != K_OK)
        return status;
    error = om_rest(&om);
    if (error == 0)
        error = om_hand_over(&om, &state);
    if (error == 0)
        error = handover_put(to, &count, sizeof count) == K_OK ? 0 : -ENOMEM;
    if (error == 0)
        error = handover_put(to, state.bytes, state.size) == K_OK ? 0 : -ENOMEM;
    free(state.bytes);
    if (error == 0)
        printf("handed over after %llu requests\n", count);
    return error == 0 ? K_OK : error == -ENOMEM ? K_ENOMEM : error == -EBUSY ? K_EBUSY : K_EIO;
}

/* Everything is as it was. */
static void resume(void)
{
    mapper_go_on();
    commit_later();
}

static int take_over(struct handover_state *from, uint32_t version)
{
    unsigned long long count = 0;
    int status = version == OM_STATE_VERSION ? handover_get(from, &count, sizeof count) : K_EINVAL;
    struct om_state state = { .bytes = from->bytes + from->size, .room = from->room - from->size };

    requests = count;
    if (status == K_OK)
        status = prepare();
    if (status == K_OK && om_take_over(&om, &state) != 0)
        status = K_EFAIL;
    return status == K_OK ? mapper_threads_start(true) : status;
}

static void taken_over(void)
{
    commit_timer = timerCreate(server_port(), 0);
    if (commit_timer < 0)
        fprintf(stderr, "no timer: nothing is committed by itself\n");
    mapper_port = server_port_at(1);
    mapper_go_on();
    commit_later();
}

static const struct server_handover handover = { .version = OM_STATE_VERSION, .hand_over = hand_over, .resume = resume,
                                                 .take_over = take_over, .taken_over = taken_over };

static void arguments_take(int argc, char **argv)
{
    char *comma;

    if (argc < 2)
        return;
    snprintf(root_disk, sizeof root_disk, "%s", argv[1]);
    comma = strchr(root_disk, ',');
    if (comma != NULL) {
        *comma = '\0';
        root_read_only = strcmp(comma + 1, "ro") == 0;
    }
}

int main(int argc, char **argv)
{
    static const struct server server = {
        .name = "om", .stamp = FILE_GROUP_STAMP, .workers = WORKERS, .workers_most = WORKERS_MOST, .unsupported = -ENOSYS,
        .other = serve, .start = start, .timer = commit_now, .handover = &handover,
    };

    arguments_take(argc, argv);
    return -server_run(&server);
}
