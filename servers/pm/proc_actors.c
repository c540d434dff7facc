/* /proc/chorus: the actors of the site, for Unix programs: aps reads it, arun and akill write to it.
 *
 * A command is written to `actors` in one piece, one word a line:
 *     load FD NAME-OF-FILE user|supervisor trusted|untrusted NAME PRIORITY [ARGUMENT...]
 *     kill ACTOR
 * FD is a descriptor of the writer's, open for reading: so the file was found and opened with his rights. How the last
 * command went is read from `answer`. Root alone may write.
 */
#include <limits.h>
#include <sys/stat.h>

#include "descriptor.h"
#include "proc.h"
#include "regular.h"

enum { IMAGE_MOST = 64 << 20, PIECE = 65536, WORDS_MOST = 65536 };

static char answer[512] = "no command was given yet";

static const char *kind_of(int privilege)
{
    return privilege == K_SUPACTOR ? "supervisor" : privilege == K_SYSTEMACTOR ? "system" : "user";
}

int proc_print_actors(FILE *out)
{
    KnActorStat stat;
    fprintf(out, "%-20s %-10s %7s %8s %9s  UI\n", "ACTOR", "KIND", "THREADS", "KB", "CPU s");
    for (unsigned i = 0; actorStat(i, &stat) == K_OK; i++)
        fprintf(out, "%-20s %-10s %7u %8lu %9.2f  %08x.%x\n", stat.name, kind_of(stat.privilege), stat.threads,
                (unsigned long)stat.memory / 1024, (double)stat.cpuTime / 1e9, stat.ui.uiHead, stat.ui.uiTail);
    return 0;
}

int proc_print_answer(FILE *out)
{
    fprintf(out, "%s\n", answer);
    return 0;
}

static int refuse(int error, const char *words)
{
    snprintf(answer, sizeof answer, "%s", words);
    return error;
}

/* The whole file, to be freed. The lock is given up meanwhile, and the file is ours to keep. */
static int read_image(struct file *file, char **ret_image, size_t *ret_size)
{
    int64_t size = regular_size(NULL, file);
    if (file_segment(file) == NULL || size <= 0)
        return refuse(-ENOEXEC, "not a file with anything in it");
    if (size > IMAGE_MOST)
        return refuse(-EFBIG, "larger than an actor can be");
    char *image = malloc((size_t)size);
    if (image == NULL)
        return refuse(-ENOMEM, "pm has not enough memory");
    size_t have = 0;
    int64_t got = 1;
    while (have < (size_t)size && got > 0) {
        size_t step = (size_t)size - have < PIECE ? (size_t)size - have : PIECE;
        got = regular_read_here(file, have, image + have, step);
        have += got > 0 ? (size_t)got : 0;
    }
    if (got < 0) {
        free(image);
        return refuse((int)got, "the file cannot be read");
    }
    *ret_image = image;
    *ret_size = have;
    return 0;
}

/* Words of the Nucleus's: with zeros between them. */
static int do_command(const char *words, size_t size, const void *image, size_t image_size)
{
    char text[sizeof answer] = "";
    pm_unlock();
    int status = sysCommand(words, size, image, image_size, text, sizeof text);
    pm_lock();
    if (status != K_OK && status != K_EFAIL)
        return refuse(error_of(status), knStrError(status));
    return refuse(status == K_OK ? 0 : -EINVAL, text);
}

/* "load\0FD\0PATH\0...": the descriptor is for us. */
static int do_load(char *words, size_t size, struct thread *thread)
{
    char *number = words + 5, *end, *rest = memchr(number, 0, size - 5), *image = NULL;
    unsigned long fd = strtoul(number, &end, 10);
    size_t image_size = 0;
    struct file *file = rest != NULL && end == rest && fd <= INT_MAX ? descriptor_file(thread->process, (int)fd) : NULL;
    if (file == NULL || (file->flags & O_ACCMODE) == O_WRONLY)
        return refuse(-EBADF, "no such descriptor, open for reading");
    file_reference(file);
    int error = read_image(file, &image, &image_size);
    file_release(file);
    if (error == 0) {
        memmove(rest - 4, "load", 5); /* up to the words after the descriptor */
        error = do_command(rest - 4, size - (size_t)(rest - 4 - words), image, image_size);
    }
    free(image);
    return error;
}

int proc_write_actors(const char *text, struct thread *thread)
{
    size_t size = strlen(text);
    if (thread == NULL || thread->process->credentials.euid != 0)
        return -EPERM;
    if (size == 0 || size >= WORDS_MOST || text[size - 1] != '\n')
        return refuse(-EINVAL, "no command: one word a line");
    char *words = strdup(text);
    if (words == NULL)
        return -ENOMEM;
    for (char *at = words; (at = strchr(at, '\n')) != NULL; at++)
        *at = '\0';
    int error = size > 5 && strcmp(words, "load") == 0   ? do_load(words, size, thread)
                : size > 5 && strcmp(words, "kill") == 0 ? do_command(words, size, NULL, 0)
                                                         : refuse(-EINVAL, "no such command");
    free(words);
    return error;
}
