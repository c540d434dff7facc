/* fini.c: the end of a site: nothing is mapped any more, no mapper lives; what is left in local caches goes. What then is not free has leaked. */
#include "cache.h"
#include "vm.h"

void vm_fini(void)
{
    LIST_FOR_EACH_SAFE(link, following, &all_caches) {
        struct cache *cache = LIST_OWNER(link, struct cache, of_all);
        if (cache->window_count > 0)
            continue; /* a leak, to be counted */
        cache_truncate(cache, 0);
        cache->opens = 0;
        cache_release(cache);
    }
    while (cache_free_unused())
        ;
    while (vm_idle_work())
        ;
}
