/* remember.h: what om said of a path, or of an open file, is not asked again as long as it is true.
 *
 * om tells with an answer what it depends on, and writes into a page of ours when any of that changes (protocol/file.h, Leases).
 * So an answer is looked up by the whole question, its leases are compared with that page, and nothing is walked here: all
 * rules of names and permissions stay om's.
 *
 * Files that were opened for reading are kept open when the last descriptor has gone (a spare): the next open of the same name is
 * answered from here, too. A spare is given back when we have taken the file's name away, when other files were read since, or when
 * something asks for the file system to be at rest (deferred_settle). Nothing wakes for it.
 */
#ifndef PM_REMEMBER_H
#define PM_REMEMBER_H

#include "file_server.h"

struct memory;

/* All that an answer depends on beside om's nodes. The texts are the caller's. */
struct question {
    struct file_node start, root;
    struct file_credentials credentials;
    uint32_t operation;         /* FILE_WALK, FILE_OPEN, FILE_GETATTR */
    uint32_t detail;            /* walk.mode, open.access */
    uint32_t flags;             /* of the request */
    const char *start_path, *root_path; /* places' names from the system's root */
    const char *path;           /* from <start> on */
};

struct answer {
    struct file_reply reply;
    struct file_node server;    /* of the node that was reached */
    const char *path;           /* of it, from the system's root; good as long as the lock is kept */
};

/* Is it one whose answer can be remembered? Else the two below are not called. */
bool remember_can(const struct file_request *request);
/* True: the answer. For FILE_OPEN the node is held, as if om had been asked. */
bool remember_answer(const struct question *question, struct answer *ret);
/* It has to be asked: what remembers the answer, to which each exchange on the way is shown; NULL: nothing does. */
struct memory *remember_begin(const struct question *question);
/* Before the exchange, and after it. */
void remember_ask(struct memory *memory, struct file_exchange *exchange);
void remember_told(struct memory *memory, const struct file_exchange *exchange);
/* The answer; or NULL: there is none. <memory> is not the caller's any more, and may be NULL. */
void remember_end(struct memory *memory, const struct answer *answer);

/* The last descriptor of an open file goes. True: it is kept, and om is not told. */
bool remember_keep(struct file_node node, uint32_t access);
/* Names have gone: what was kept of them is given back. */
void remember_names_gone(void);
/* All that was kept is given back. */
void remember_give_back(void);
/* om does not answer: nothing is taken for true until it tells us again. */
void remember_doubt(void);
/* Have om tell us of changes, if it does not yet. Gives up the lock. */
void remember_watch(void);

#endif
