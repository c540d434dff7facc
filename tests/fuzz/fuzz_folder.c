/* The process that serves a shared folder, with requests that a hostile site may send: paths, links, `..`, keys that were given out or not. Beside the folder
 * lies another one with a secret: nothing in it may be changed, and no answer may hold what it says. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <share/share.h>

#include "input.h"

#define KEYS   8
#define SECRET "b5b1a96c-0af6-4c5e"
#define NOBODY 65534

static char base[] = "/tmp/chorus-fuzz-XXXXXX", path[300];
static uint64_t keys[KEYS];

static const char *at(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", base, name);
    return path;
}

static void put(const char *name, const char *text)
{
    int file = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0 || write(file, text, strlen(text)) < 0)
        abort();
    close(file);
}

static int remove_one(const char *name, const struct stat *stat, int kind, struct FTW *where)
{
    (void)stat, (void)kind, (void)where;
    return remove(name);
}

static int open_up(const char *name, const struct stat *stat, int kind, struct FTW *where)
{
    (void)stat, (void)where;
    if (kind == FTW_D || kind == FTW_DNR)
        chmod(name, 0700);
    return 0;
}

/* base/in is shared, base/out is not. */
static void folder_make(void)
{
    if (mkdir(at("in"), 0755) != 0 || mkdir(at("in/d"), 0755) != 0 || symlink("../out", at("in/l")) != 0 || symlink("d/../f", at("in/m")) != 0)
        abort();
    put("in/f", "inside");
    put("in/d/g", "deeper");
}

static void folder_remove(void)
{
    for (int i = 0; i < 5; i++)
        nftw(at("in"), open_up, 10, FTW_PHYS); /* one level more each time */
    if (nftw(at("in"), remove_one, 10, FTW_PHYS | FTW_DEPTH) != 0)
        abort();
}

static void check_outside(void)
{
    char text[sizeof SECRET + 1] = "";
    struct stat folder, file;
    int names = 0, secret = open(at("out/s"), O_RDONLY);
    if (secret < 0 || read(secret, text, sizeof text) != sizeof SECRET - 1 || strcmp(text, SECRET) != 0 || fstat(secret, &file) != 0)
        abort();
    close(secret);
    if (stat(at("out"), &folder) != 0 || (folder.st_mode & 07777) != 0755 || (file.st_mode & 07777) != 0644 || file.st_nlink != 1 || file.st_mtime != 1)
        abort();
    DIR *out = opendir(at("out"));
    while (out != NULL && readdir(out) != NULL)
        names++;
    closedir(out);
    if (names != 3)
        abort();
}

/* Components from a few names; sometimes bytes. */
static uint16_t put_path(struct input *input, char *to)
{
    static const char *const names[] = { "f", "d", "g", "l", "m", "..", ".", "new", "", "s", "out", "in", "/", "..//..", "d/../..", "proc/self/root" };
    size_t size = 0;
    if (pick(input, 16) == 0) {
        size = pick(input, 64);
        take_bytes(input, (uint8_t *)to, size);
        return (uint16_t)size;
    }
    for (unsigned count = pick(input, 5); count > 0; count--) {
        size += (size_t)sprintf(to + size, "%s%s", size > 0 ? "/" : "", names[pick(input, 16)]);
        if (pick(input, 16) == 0)
            to[size++] = '/';
    }
    return (uint16_t)size;
}

static void step(struct input *input, struct share *share)
{
    static char body[4096], answer[FILE_BODY_MAX];
    struct file_request request = { .operation = FILE_STATFS + pick(input, FILE_OPERATION_END - FILE_STATFS + 1), .key = keys[pick(input, KEYS)],
                                    .root = keys[pick(input, KEYS)], .flags = (uint16_t)pick(input, 32) };
    struct share_answer reply;
    size_t size = 0;
    request.path_length = put_path(input, body);
    request.second_length = put_path(input, body + request.path_length);
    size_t length = (size_t)request.path_length + request.second_length + pick(input, 64), own = pick(input, 16);
    for (size_t i = 0; i < own; i++)
        ((uint8_t *)request.words)[i] = (uint8_t)take(input, 1);
    if (request.operation == FILE_RENAME || request.operation == FILE_LINK)
        request.rename.second_key = keys[pick(input, KEYS)];
    if (pick(input, 16) == 0)
        request.key = take(input, 8);
    if (pick(input, 32) == 0)
        request.path_length = (uint16_t)take(input, 2);
    char *exact = malloc(length + 1);
    memcpy(exact, body, length);
    memset(answer, 0, 64);
    share_serve(share, &request, exact, length, &reply, answer, &size);
    free(exact);
    if (size > sizeof answer || memmem(answer, size, SECRET, sizeof SECRET - 1) != NULL)
        abort();
    if (reply.reply.error == 0 && reply.reply.outcome == FILE_DONE)
        keys[pick(input, KEYS)] = reply.reply.attributes.key;
}

static void remove_base(void)
{
    nftw(base, remove_one, 10, FTW_PHYS | FTW_DEPTH);
}

static void start(void)
{
    struct rlimit limit = { 1 << 20, 1 << 20 };
    signal(SIGXFSZ, SIG_IGN);
    if (mkdtemp(base) == NULL || chown(base, NOBODY, NOBODY) != 0)
        (void)!chmod(base, 0700);
    atexit(remove_base);
    setrlimit(RLIMIT_FSIZE, &limit); /* the largest file, of the folder and of the fuzzer */
}

/* As root the calls are made as nobody: what would get out does not get far. */
static void be(uid_t user)
{
    if (geteuid() == 0) {
        setfsgid(user);
        setfsuid(user);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    struct input input = { data, data + size };
    if (!started)
        start();
    be(NOBODY);
    if (!started) {
        mkdir(at("out"), 0755);
        put("out/s", SECRET);
        utimensat(AT_FDCWD, at("out/s"), (struct timespec[2]){ { 1, 0 }, { 1, 0 } }, 0);
    }
    started = true;
    folder_make();
    memset(keys, 0, sizeof keys);
    struct share *share = share_new(open(at("in"), O_PATH | O_DIRECTORY | O_CLOEXEC), pick(&input, 8) == 0);
    if (share == NULL)
        abort();
    for (unsigned steps = 0; input.at < input.end && steps < 60; steps++)
        step(&input, share);
    share_free(share);
    check_outside();
    folder_remove();
    be(0);
    return 0;
}
