/* The life of a site. */

#include "site.h"

#include <stdio.h>

int site_run(const struct site_options *options)
{
    fprintf(stderr, "chorus: site %s: not built yet\n", options->name);
    return 1;
}
