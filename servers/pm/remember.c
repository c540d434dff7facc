/* Answers of om that are still true, and files that are still open: see remember.h. */

#include "remember.h"

#include <sys/stat.h>

#include "deferred.h"

#define BUCKETS      256u
#define MEMORIES_MOST 512u
#define SPARES_MOST  64u                /* of all files */
#define SPARES_EACH  4u
#define WATCH_AGAIN  NANOSECONDS        /* after a refusal */

struct memory {
    struct list same_hash;
    struct list same_node;      /* answers to FILE_OPEN, by node */
    struct list age;            /* the one that was used last is the last */
    struct list spared;         /* those with spares: the one that was closed last is the last */
    struct question question;   /* its texts are in <text> */
    uint32_t hash;
    struct answer answer;
    struct file_lease leases[FILE_LEASES_MAX];
    unsigned lease_count;
    bool is_leased;             /* every server on the way has told what its part depends on */
    unsigned spares;
    char text[];
};

/* om writes here; see file_watch. */
static _Alignas(4096) uint32_t versions[FILE_VERSIONS];
static uint32_t watched;        /* version 0 as it was when the watch began; 0: om does not tell us */
static bool is_watching;        /* somebody asks just now */
static KnTime watch_next;

static struct list by_hash[BUCKETS], by_node[BUCKETS], ages, spared = { &spared, &spared };
static unsigned memories, spares;

/* ---- tables ---- */

static void init(void)
{
    if (ages.next != NULL)
        return;
    for (unsigned i = 0; i < BUCKETS; i++) {
        list_init(&by_hash[i]);
        list_init(&by_node[i]);
    }
    list_init(&ages);
}

static uint32_t mix(uint32_t hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    while (size-- > 0)
        hash = (hash ^ *at++) * 16777619u;
    return hash;
}

static uint32_t hash_of(const struct question *question)
{
    uint32_t hash = mix(2166136261u, question->path, strlen(question->path));
    return hash ^ (uint32_t)(question->start.key * UINT64_C(0x9e3779b97f4a7c15) >> 32) ^ question->operation * 31 ^ question->detail * 7;
}

static struct list *node_bucket(const struct file_node *node)
{
    return &by_node[(node->key * UINT64_C(0x9e3779b97f4a7c15) >> 40) % BUCKETS];
}

static bool is_same(const struct question *a, const struct question *b)
{
    return a->operation == b->operation && a->detail == b->detail && a->flags == b->flags && file_node_equal(&a->start, &b->start)
        && file_node_equal(&a->root, &b->root) && memcmp(&a->credentials, &b->credentials, sizeof a->credentials) == 0
        && strcmp(a->path, b->path) == 0 && strcmp(a->start_path, b->start_path) == 0 && strcmp(a->root_path, b->root_path) == 0;
}

static uint32_t version(unsigned place)
{
    return __atomic_load_n(&versions[place], __ATOMIC_ACQUIRE);
}

static bool is_true(const struct memory *memory)
{
    for (unsigned i = 0; i < memory->lease_count; i++)
        if (version(memory->leases[i].place) != memory->leases[i].version)
            return false;
    return true;
}

static bool is_told(void)
{
    return watched != 0 && version(0) == watched;
}

static struct file_node node_of(const struct memory *memory)
{
    return (struct file_node){ .port = memory->answer.server.port, .key = memory->answer.reply.attributes.key };
}

/* ---- spares ---- */

static void spares_close(struct memory *memory)
{
    for (; memory->spares > 0; memory->spares--, spares--)
        deferred_close_file(node_of(memory), memory->question.detail);
    list_remove(&memory->spared);
}

static void spare_take(struct memory *memory)
{
    spares--;
    if (--memory->spares == 0)
        list_remove(&memory->spared);
}

static void make_newest(struct list *list, struct list *link)
{
    list_remove(link);
    list_append(list, link);
}

static void forget(struct memory *memory)
{
    spares_close(memory);
    list_remove(&memory->same_hash);
    list_remove(&memory->same_node);
    list_remove(&memory->age);
    memories--;
    free((char *)memory->answer.path);
    free(memory);
}

bool remember_keep(struct file_node node, uint32_t access)
{
    if (!is_told())
        return false;
    LIST_EACH(node_bucket(&node), at) {
        struct memory *memory = LIST_ENTRY(at, struct memory, same_node);
        struct file_node there = node_of(memory);
        if (!file_node_equal(&there, &node) || memory->question.detail != access || memory->spares == SPARES_EACH || !is_true(memory))
            continue;
        memory->spares++;
        spares++;
        make_newest(&spared, &memory->spared);
        if (spares > SPARES_MOST)
            spares_close(LIST_ENTRY(spared.next, struct memory, spared));
        return true;
    }
    return false;
}

void remember_names_gone(void)
{
    LIST_EACH(&spared, at) {
        struct memory *memory = LIST_ENTRY(at, struct memory, spared);
        if (!is_true(memory))
            spares_close(memory);
    }
}

void remember_give_back(void)
{
    while (!list_is_empty(&spared))
        spares_close(LIST_ENTRY(spared.next, struct memory, spared));
}

static void forget_all(void)
{
    init();
    while (!list_is_empty(&ages))
        forget(LIST_ENTRY(ages.next, struct memory, age));
}

void remember_doubt(void)
{
    watched = 0;
}

/* ---- being told ---- */

void remember_watch(void)
{
    if (is_told() || is_watching || time_now() < watch_next)
        return;
    KnCap self;
    struct file_watch watch = { .versions = (uintptr_t)versions };
    struct file_exchange exchange = { .node = file_server_block(0), .send = &watch, .send_size = sizeof watch };
    is_watching = true;
    watched = 0;
    forget_all();
    watch_next = time_now() + WATCH_AGAIN;
    exchange.request.operation = FILE_WATCH;
    if (actorSelf(&self) == K_OK) {
        memcpy(watch.actor, &self, sizeof watch.actor);
        if (file_exchange(&exchange) == 0)
            watched = version(0);
    }
    is_watching = false;
}

/* ---- answers ---- */

bool remember_can(const struct file_request *request)
{
    switch (request->operation) {
    case FILE_WALK:
    case FILE_GETATTR: return true;
    case FILE_OPEN: return (request->open.access & ~(FILE_O_READ | FILE_O_EXECUTE | FILE_O_DIRECTORY)) == 0;
    default: return false;
    }
}

static struct memory *find(const struct question *question, uint32_t hash)
{
    LIST_EACH(&by_hash[hash % BUCKETS], at) {
        struct memory *memory = LIST_ENTRY(at, struct memory, same_hash);
        if (memory->hash == hash && is_same(&memory->question, question))
            return memory;
    }
    return NULL;
}

bool remember_answer(const struct question *question, struct answer *ret)
{
    if (!is_told())
        return false;
    struct memory *memory = find(question, hash_of(question));
    if (memory == NULL || !is_true(memory) || (question->operation == FILE_OPEN && memory->spares == 0))
        return false;
    if (question->operation == FILE_OPEN)
        spare_take(memory);
    make_newest(&ages, &memory->age);
    *ret = memory->answer;
    return true;
}

static const char *text_add(char **text, const char *from)
{
    size_t size = strlen(from) + 1;
    char *at = memcpy(*text, from, size);
    *text += size;
    return at;
}

struct memory *remember_begin(const struct question *question)
{
    if (!is_told())
        return NULL;
    uint32_t hash = hash_of(question);
    struct memory *old = find(question, hash);
    if (old != NULL && is_true(old))
        return NULL;            /* an open file without a spare */
    if (old != NULL)
        forget(old);
    struct memory *memory = calloc(1, sizeof *memory + strlen(question->path) + strlen(question->start_path) + strlen(question->root_path) + 3);
    if (memory == NULL)
        return NULL;
    char *text = memory->text;
    memory->question = *question;
    memory->question.path = text_add(&text, question->path);
    memory->question.start_path = text_add(&text, question->start_path);
    memory->question.root_path = text_add(&text, question->root_path);
    memory->hash = hash;
    memory->is_leased = true;
    return memory;
}

void remember_ask(struct memory *memory, struct file_exchange *exchange)
{
    if (memory != NULL && memory->is_leased)
        exchange->request.flags |= FILE_LEASE;
}

/* The leases are the end of the body. */
void remember_told(struct memory *memory, const struct file_exchange *exchange)
{
    const struct file_reply *reply = &exchange->reply;
    if (memory == NULL || !memory->is_leased)
        return;
    size_t before = reply->outcome == FILE_DONE ? 0 : reply->rest_length;
    if (reply->outcome == FILE_AT_SYMLINK)
        before += reply->length;
    memory->is_leased = false;
    if (exchange->magic != NULL || !(reply->flags & FILE_LEASED) || before > exchange->body_size)
        return;
    size_t count = (exchange->body_size - before) / sizeof *memory->leases;
    if (count == 0 || count > FILE_LEASES_MAX - memory->lease_count)
        return;
    const uint8_t *at = (const uint8_t *)exchange->body + before;
    for (size_t i = 0; i < count; i++, at += sizeof *memory->leases) {
        struct file_lease *lease = &memory->leases[memory->lease_count++];
        memcpy(lease, at, sizeof *lease);
        if (lease->place >= FILE_VERSIONS)
            return;
    }
    memory->is_leased = true;
}

static bool is_worth(const struct memory *memory, const struct answer *answer)
{
    uint32_t type = answer->reply.attributes.mode & S_IFMT;
    return memory->is_leased && is_told() && answer->reply.outcome == FILE_DONE
        && (memory->question.operation != FILE_OPEN || type == S_IFREG || type == S_IFDIR);
}

void remember_end(struct memory *memory, const struct answer *answer)
{
    if (memory == NULL)
        return;
    char *path = NULL;
    if (answer != NULL && is_worth(memory, answer) && find(&memory->question, memory->hash) == NULL)
        path = strdup(answer->path);
    if (path == NULL) {
        free(memory);
        return;
    }
    memory->answer = *answer;
    memory->answer.path = path;
    if (memories >= MEMORIES_MOST)
        forget(LIST_ENTRY(ages.next, struct memory, age));
    memories++;
    struct file_node node = node_of(memory);
    list_init(&memory->same_node);
    list_init(&memory->spared);
    list_append(&by_hash[memory->hash % BUCKETS], &memory->same_hash);
    list_append(&ages, &memory->age);
    if (memory->question.operation == FILE_OPEN)
        list_append(node_bucket(&node), &memory->same_node);
}
