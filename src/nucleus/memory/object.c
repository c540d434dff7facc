/* object.c: pages that belong to no segment and to no single space: shared anonymous memory. */
#include "mapping.h"

#include <stdlib.h>

struct object *object_create(void)
{
    struct object *object = calloc(1, sizeof *object);
    if (object == NULL)
        return NULL;
    object->shared = true;
    list_init(&object->windows);
    return object;
}

void object_ref(struct object *object) { object->regions++; }

void object_unref(struct object *object)
{
    if (--object->regions > 0)
        return;
    tree_remove(&object->tree, 0, (page_t)1 << (TREE_BITS * TREE_LEVEL_MAX));
    free(object);
}
