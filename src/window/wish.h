/* wish.h: which site a window is to be on: what `chorus display` and `chorus show` can be told. */
#ifndef WINDOW_WISH_H
#define WINDOW_WISH_H

#include <stdbool.h>

#include "../options.h"

struct wish {
    const char *site; /* NULL: the only one */
    bool wait;
};

extern const struct option_entry wish_entries[];

/* ms that a site may need to be there: 0 unless --wait was said. */
int wish_patience(const struct wish *wish);

#endif
