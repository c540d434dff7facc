/* Places: where the program's own files are. */

#include "places.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder that holds the running program. */
static char *program_folder(void)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0)
        return NULL;
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        errno = ENOENT;
        return NULL;
    }
    *slash = '\0';
    return strdup(path);
}

static char *place(const char *in_build, const char *installed, const char *name)
{
    char *folder = program_folder();
    if (folder == NULL)
        return NULL;
    char *path = NULL;
    if (asprintf(&path, "%s/%s/%s", folder, in_build, name) < 0)
        path = NULL;
    if (path != NULL && access(path, R_OK) != 0) {
        free(path);
        if (asprintf(&path, "%s/%s/%s", folder, installed, name) < 0)
            path = NULL;
    }
    free(folder);
    if (path == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    if (access(path, R_OK) != 0) {
        int error = errno;
        free(path);
        errno = error;
        return NULL;
    }
    return path;
}

char *place_of_actor(const char *name)
{
    return place("actors", CHORUS_LIBRARY_FOLDER, name);
}

char *place_of_root_image(void)
{
    return place("rootfs", CHORUS_LIBRARY_FOLDER, "root.img");
}

char *place_of_program(const char *name)
{
    return place("src/window", CHORUS_LIBRARY_FOLDER, name);
}

char *place_of_tool(const char *name)
{
    return place("src", CHORUS_LIBRARY_FOLDER, name);
}
