/* Actors from files. */

#include "site_load.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Few: the actors that the site itself starts. */
static struct site_image *images;
static size_t image_count;

/* The whole file, mapped; NULL with errno. */
static const void *map_file(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct stat stat;
    void *image = MAP_FAILED;
    errno = ENOEXEC; /* an empty file */
    if (fstat(fd, &stat) == 0 && stat.st_size > 0)
        image = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int error = errno;
    close(fd);
    errno = error;
    if (image == MAP_FAILED)
        return NULL;
    *ret_size = (size_t)stat.st_size;
    return image;
}

/* The loader has checked the file. */
static uint64_t headers_address(const Elf64_Ehdr *header, uint64_t base)
{
    const Elf64_Phdr *segment = (const Elf64_Phdr *)((const char *)header + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (segment[i].p_type == PT_LOAD && header->e_phoff >= segment[i].p_offset &&
            header->e_phoff - segment[i].p_offset < segment[i].p_filesz)
            return base + segment[i].p_vaddr + (header->e_phoff - segment[i].p_offset);
    return 0;
}

static void arguments_free(char **argv)
{
    for (char **word = argv; word != NULL && *word != NULL; word++)
        free(*word);
    free(argv);
}

/* NULL: no memory. */
static char **arguments_copy(const char *const *argv)
{
    size_t count = 0;
    while (argv != NULL && argv[count] != NULL)
        count++;
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = strdup(argv[i]);
        if (copy[i] == NULL) {
            arguments_free(copy);
            return NULL;
        }
    }
    return copy;
}

/* Without memory for it, it is a stranger whose backtraces have no names, and that cannot be replaced. */
static void remember(const struct actor *actor, const char *path, const struct loader_program *program, uint64_t base)
{
    const Elf64_Ehdr *header = program->image;
    char *copy = strdup(path);
    char **argv = arguments_copy(program->argv);
    struct site_image *more = reallocarray(images, image_count + 1, sizeof *images);
    if (more != NULL)
        images = more;
    if (copy == NULL || argv == NULL || more == NULL) {
        free(copy);
        arguments_free(argv);
        return;
    }
    images[image_count++] = (struct site_image){
        .serial = actor->serial, .path = copy, .argv = argv, .priority = program->priority,
        .base = base, .entry = base + header->e_entry,
        .headers = headers_address(header, base), .header_count = header->e_phnum,
    };
}

int site_load_file(const struct site_file *file, const struct loader_program *program, struct actor **ret_actor, char *why,
                   size_t why_size)
{
    uint64_t base = 0;
    struct loader_program whole = *program;
    whole.image = file->bytes;
    whole.image_size = file->size;
    whole.ret_base = &base;
    int status = loader_start(&whole, ret_actor, why, why_size);
    if (status == K_OK)
        remember(*ret_actor, file->path, &whole, base);
    return status;
}

int site_load(const char *path, const struct loader_program *program, struct actor **ret_actor,
              char *why, size_t why_size)
{
    size_t size;
    const void *image = map_file(path, &size);
    if (image == NULL) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        return K_EINVAL;
    }
    struct site_file file = {.path = (char *)path, .bytes = (void *)image, .size = size};
    int status = site_load_file(&file, program, ret_actor, why, why_size);
    munmap((void *)image, size);
    return status;
}

/* Files of others */

enum { FILE_MOST = 256 << 20 };

static int read_whole(int fd, struct site_file *file)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return errno;
    if (!S_ISREG(stat.st_mode) || stat.st_size == 0)
        return ENOEXEC;
    if (stat.st_size > FILE_MOST)
        return EFBIG;
    file->bytes = malloc((size_t)stat.st_size);
    if (file->bytes == NULL)
        return ENOMEM;
    while (file->size < (size_t)stat.st_size) {
        ssize_t got = read(fd, (char *)file->bytes + file->size, (size_t)stat.st_size - file->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            return file->size > 0 ? 0 : ENOEXEC; /* it was cut meanwhile: the loader judges what is left */
        file->size += (size_t)got;
    }
    return 0;
}

bool site_file_read(const char *path, struct site_file *file)
{
    *file = (struct site_file){.path = strdup(path)};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int error = file->path == NULL ? ENOMEM : fd < 0 ? errno : read_whole(fd, file);
    if (fd >= 0)
        close(fd);
    if (error == 0)
        return true;
    site_file_free(file);
    errno = error;
    return false;
}

void site_file_free(struct site_file *file)
{
    free(file->path);
    free(file->bytes);
    *file = (struct site_file){0};
}

const struct site_image *site_load_image(const struct actor *actor)
{
    for (size_t i = 0; i < image_count; i++)
        if (images[i].serial == actor->serial)
            return &images[i];
    return NULL;
}

void site_load_forget(const struct actor *actor)
{
    const struct site_image *found = site_load_image(actor);
    if (found == NULL)
        return;
    struct site_image *image = &images[found - images];
    free(image->path);
    arguments_free(image->argv);
    *image = images[--image_count];
}
