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

/* Few: the actors that the site itself starts. They stay when the actor has gone. */
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

/* Without memory for it, it is a stranger whose backtraces have no names. */
static void remember(const struct actor *actor, const char *path, const Elf64_Ehdr *header,
                     uint64_t base)
{
    char *copy = strdup(path);
    struct site_image *more = reallocarray(images, image_count + 1, sizeof *images);
    if (more != NULL)
        images = more;
    if (copy == NULL || more == NULL) {
        free(copy);
        return;
    }
    images[image_count++] = (struct site_image){
        .serial = actor->serial, .path = copy, .base = base, .entry = base + header->e_entry,
        .headers = headers_address(header, base), .header_count = header->e_phnum,
    };
}

int site_load(const char *path, const struct loader_program *program, struct actor **ret_actor,
              char *why, size_t why_size)
{
    size_t size;
    uint64_t base = 0;
    const void *image = map_file(path, &size);
    if (image == NULL) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
        return K_EINVAL;
    }
    struct loader_program whole = *program;
    whole.image = image;
    whole.image_size = size;
    whole.ret_base = &base;
    int status = loader_start(&whole, ret_actor, why, why_size);
    if (status == K_OK)
        remember(*ret_actor, path, image, base);
    munmap((void *)image, size);
    return status;
}

const struct site_image *site_load_image(const struct actor *actor)
{
    for (size_t i = 0; i < image_count; i++)
        if (images[i].serial == actor->serial)
            return &images[i];
    return NULL;
}
