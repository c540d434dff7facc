/* A host whose disk fails: reads, writes and flushes of one file end with EIO where a control file says so. To be preloaded; the wrapped calls are those of
 * src/devices/disk_image.c.
 *
 *     FAULTY_FILE     the file
 *     FAULTY_CONTROL  eight bytes each, of this machine's order: where reads begin to fail, and where they end to; the same for writes; whether flushes fail
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    volatile uint64_t read_from, read_to, write_from, write_to, flushes_fail;
};

static struct {
    const struct control *control; /* NULL: nothing fails */
    struct stat file;
    ssize_t (*read)(int, const struct iovec *, int, off_t, int);
    ssize_t (*write)(int, const struct iovec *, int, off_t, int);
    int (*flush)(int);
} host;

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("FAULTY_FILE"), *control = getenv("FAULTY_CONTROL");
    host.read = (ssize_t(*)(int, const struct iovec *, int, off_t, int))dlsym(RTLD_NEXT, "preadv64v2");
    host.write = (ssize_t(*)(int, const struct iovec *, int, off_t, int))dlsym(RTLD_NEXT, "pwritev64v2");
    host.flush = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (host.read == NULL || host.write == NULL || host.flush == NULL)
        abort();
    if (file == NULL || control == NULL || stat(file, &host.file) != 0)
        return;
    int fd = open(control, O_RDONLY | O_CLOEXEC);
    void *found = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *host.control, PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (found != MAP_FAILED)
        host.control = found;
}

static bool is_ours(int fd)
{
    struct stat about;
    return host.control != NULL && fstat(fd, &about) == 0 && about.st_ino == host.file.st_ino && about.st_dev == host.file.st_dev;
}

static bool fails(int fd, const struct iovec *pieces, int count, off_t offset, uint64_t from, uint64_t to)
{
    uint64_t end = (uint64_t)offset;
    for (int i = 0; i < count; i++)
        end += pieces[i].iov_len;
    return from < to && is_ours(fd) && (uint64_t)offset < to && end > from;
}

ssize_t preadv64v2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    if (host.control != NULL && fails(fd, pieces, count, offset, host.control->read_from, host.control->read_to)) {
        errno = EIO;
        return -1;
    }
    return host.read(fd, pieces, count, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    if (host.control != NULL && fails(fd, pieces, count, offset, host.control->write_from, host.control->write_to)) {
        errno = EIO;
        return -1;
    }
    return host.write(fd, pieces, count, offset, flags);
}

int fdatasync(int fd)
{
    if (host.control != NULL && host.control->flushes_fail && is_ours(fd)) {
        errno = EIO;
        return -1;
    }
    return host.flush(fd);
}
