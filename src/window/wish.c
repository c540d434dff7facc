#include "wish.h"

#include <stddef.h>

#define PATIENCE    20000 /* ms that a site which is being started may need */
#define FIELD(field) offsetof(struct wish, field)

const struct option_entry wish_entries[] = {
    OPTION_SITE(FIELD(site)),
    OPTION_SITE_NAME(FIELD(site)),
    { "wait", NULL, "Wait until the site is there.", option_set_flag, FIELD(wait) },
    { 0 },
};

int wish_patience(const struct wish *wish)
{
    return wish->wait ? PATIENCE : 0;
}
