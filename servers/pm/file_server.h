/* file_server.h: the client side of the file protocol (lib/protocol/file.h). */
#ifndef PM_FILE_SERVER_H
#define PM_FILE_SERVER_H

#include "pm.h"

/* The node of the root of everything: om's. Finds om; waits for it, for some seconds at most. */
int file_server_find(struct file_node *root);

/* One request. <send> goes along as the body, after the path(s) if there are any; what comes back goes to
 * <body> (room FILE_BODY_MAX; may be NULL). The lock is given up. Returns an error, or 0 with
 * reply->error 0. -EIO: the server is gone. Nodes of /proc and the like are served here. */
struct file_exchange {
    struct file_request request;
    struct file_reply reply;
    struct file_node node; /* whose server is asked; request.key is set from it */
    const void *send;
    uint32_t send_size;
    void *body;
    uint32_t body_room, body_size;
    struct thread *thread; /* on whose behalf, NULL: pm's own */
    struct file *magic;    /* /proc: the walk ended at (or goes on from) what this file is; a reference */
};
int file_exchange(struct file_exchange *exchange);
/* The same for a server that may not be there yet: nothing is said of it. */
int file_exchange_quietly(struct file_exchange *exchange);

/* Nodes that pm serves itself carry its own port. */
bool file_node_is_own(const struct file_node *node);
struct file_node file_node_own(uint64_t key);
bool file_node_equal(const struct file_node *a, const struct file_node *b);

/* The segments of a server's files are at another port, its mapper's, which its answers to FILE_OPEN tell. */
void file_server_note_mapper(uint64_t server, uint64_t mapper);
/* The segment of a regular file by its node; false: no file of that server was opened yet. */
bool file_server_segment(const struct file_node *node, KnCap *ret_segment);

/* The node of the disk or partition that a device number stands for. */
struct file_node file_server_block(uint32_t device);

void file_credentials_of(struct file_credentials *to, const struct process *process);

void file_server_close(struct file_node node, uint32_t access);
int file_server_sync(void);
int file_server_shutdown(void);

#endif
