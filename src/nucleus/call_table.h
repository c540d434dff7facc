/* call_table.h: calls.def as data. */
#ifndef NUCLEUS_CALL_TABLE_H
#define NUCLEUS_CALL_TABLE_H

#include "call.h"

#define CALL_NUMBER_MAX 192u

enum call_who { CALL_ANY, CALL_SYSTEM, CALL_SUPER };
struct call_entry {
    const char *name; /* NULL: no such call */
    call_function *function;
    bool may_wait;
    enum call_who who;
    const char *arguments;
    const char *words;
    /* From <arguments>, at boot: */
    unsigned count;
    char kind[6]; /* i u x t a C U S R M s b, 0 none */
};

void call_table_init(void);
const struct call_entry *call_table_find(uint64_t number); /* NULL: none */

#endif
