/* mapper.c: mappers for tests. */
#include "world.h"
void world_mappers_answer(void) {}
void world_mappers_end(void) {}
