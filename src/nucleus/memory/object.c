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

int object_share(struct region *region)
{
    if (region->object == NULL || region->object->shared)
        return K_OK;
    struct object *object = object_create();
    if (object == NULL || tree_nodes_reserve(tree_share_nodes(0, 0, region->end - region->start) + 2 * TREE_NODES_PATH) != K_OK) {
        free(object);
        return K_ENOMEM;
    }
    struct tree *own = &region->space->own.tree;
    tree_share(&object->tree, region->start, own, region->start, region->end - region->start);
    tree_remove(own, region->start, region->end);
    tree_reap(64);
    region->object = object;
    object_ref(object);
    list_append(&object->windows, &region->of_object);
    return K_OK;
}
