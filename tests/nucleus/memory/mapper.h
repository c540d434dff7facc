/* mapper.h: files, and the mapper that the test plays: it answers when the world goes on, as it is told. */
#ifndef TESTS_MEMORY_MAPPER_H
#define TESTS_MEMORY_MAPPER_H

#include <mem/chMapper.h>
#include "world.h"

struct file {
    KnCap cap;
    uint8_t *bytes;
    uint64_t size, room;
    int error;      /* what the mapper says to everything but the opening; K_OK: it works */
    bool unknown;   /* it does not know the file */
    unsigned opens, pulls, pushes, accesses, releases;
    uint64_t pulled, pushed; /* pages */
    int64_t ordinal; /* of the last truncation */
    bool direct;     /* its data goes between pages and devices, which the test plays as well */
    bool idle;       /* and the device does nothing, whatever the mapper says */
    uint64_t skip;   /* a device's first byte of each request: what is before it is not given */
    uint64_t bad;    /* no page of that number can be read or written, if it is not 0 */
    uint64_t pages;  /* of the last request: where devices find them */
    KnCap lc;       /* as the last request said */
};

/* A file of <size> bytes; byte i is file_byte(i). */
struct file *file_new(uint64_t size);
uint8_t file_byte(uint64_t offset);
void file_resize(struct file *file, uint64_t size);

enum mapper_mode {
    MAPPER_ANSWERS,
    MAPPER_SILENT, /* does not answer yet */
    MAPPER_DEAD    /* its port is gone, and so are its callers' requests */
};
extern enum mapper_mode mapper_mode;
extern unsigned mapper_requests; /* in all */
/* Requests that are not answered yet. */
unsigned mapper_waiting(void);
/* Where devices find the pages of the first of them. */
uint64_t mapper_pages_asked(void);

int64_t map_file(struct actor *actor, vaddr_t at, uint64_t pages, uint32_t options, struct file *file, uint64_t offset);
int64_t init_file(struct actor *actor, vaddr_t at, uint64_t pages, uint32_t options, struct file *file, uint64_t offset, uint64_t size);
int64_t read_file(struct actor *actor, struct file *file, uint64_t offset, vaddr_t to, uint64_t size);
int64_t write_file(struct actor *actor, struct file *file, uint64_t offset, vaddr_t from, uint64_t size);

#endif
