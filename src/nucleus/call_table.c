/* The table of nucleus calls, made from calls.def. */
#include "call_table.h"

#include <string.h>
#include "assert.h"

#define NEVER  false
#define WAITS  true
#define ANY    CALL_ANY
#define SYSTEM CALL_SYSTEM
#define SUPER  CALL_SUPER

static struct call_entry table[CALL_NUMBER_MAX] = {
#define KN_CALL(number, name_, wait, who_, remote, arguments_, words_)                             \
    [number] = { .name = #name_,                                                                   \
                 .function = call_##name_,                                                         \
                 .may_wait = wait,                                                                 \
                 .who = who_,                                                                      \
                 .arguments = arguments_,                                                          \
                 .words = words_ },
#include <calls.def>
#undef KN_CALL
};

/* "cap=C li=R(KnThreadLid)": one letter after each '='. */
static void parse_arguments(struct call_entry *entry)
{
    for (const char *at = strchr(entry->arguments, '='); at != NULL; at = strchr(at + 1, '=')) {
        ASSERT(entry->count < 6 && strchr("iuxtaCUSRMsb", at[1]) != NULL);
        entry->kind[entry->count++] = at[1];
    }
}

void call_table_init(void)
{
    for (unsigned number = 0; number < CALL_NUMBER_MAX; number++)
        if (table[number].name != NULL) {
            table[number].count = 0;
            parse_arguments(&table[number]);
        }
}

const struct call_entry *call_table_find(uint64_t number)
{
    return number < CALL_NUMBER_MAX && table[number].name != NULL ? &table[number] : NULL;
}
