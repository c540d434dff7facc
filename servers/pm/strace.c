/* Linux calls in words. One line for each call that ends: name, arguments, result. A call that waits is told
 * when it begins to, by strace_enter's line being kept until then: programs' lines are not mixed. */

#include "strace.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "call.h"
#include "process.h"
#include "user.h"

#define TEXT_MOST 48 /* bytes of a string or buffer that are shown */

struct line {
    char *text;
    size_t size, used;
};

static void put(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct line *line, const char *format, ...)
{
    va_list arguments;
    if (line->used >= line->size)
        return;
    va_start(arguments, format);
    int length = vsnprintf(line->text + line->used, line->size - line->used, format, arguments);
    va_end(arguments);
    line->used += length > 0 ? (size_t)length : 0;
    if (line->used >= line->size)
        line->used = line->size - 1;
}

static void put_bytes(struct line *line, const char *bytes, size_t size, bool more)
{
    put(line, "\"");
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\n')
            put(line, "\\n");
        else if (c == '\t')
            put(line, "\\t");
        else if (c == '"' || c == '\\')
            put(line, "\\%c", c);
        else if (c >= 32 && c < 127)
            put(line, "%c", c);
        else
            put(line, "\\x%02x", c);
    }
    put(line, more ? "\"..." : "\"");
}

static void put_string(struct call *call, struct line *line, VmAddr at)
{
    char text[TEXT_MOST + 1];
    int length = at == 0 ? -EFAULT : copy_in_string(call, text, at, sizeof text);
    if (length == -ENAMETOOLONG)
        put_bytes(line, text, TEXT_MOST, true);
    else if (length < 0)
        put(line, at == 0 ? "NULL" : "%#llx", (unsigned long long)at);
    else
        put_bytes(line, text, (size_t)length, false);
}

static void put_buffer(struct call *call, struct line *line, VmAddr at, uint64_t size)
{
    char text[TEXT_MOST];
    size_t part = size < sizeof text ? size : sizeof text;
    if (copy_in(call, text, at, part) != 0)
        put(line, "%#llx", (unsigned long long)at);
    else
        put_bytes(line, text, part, size > part);
}

struct flag {
    uint64_t bit;
    const char *name;
};

static void put_flags(struct line *line, uint64_t value, const struct flag *flags, bool any)
{
    for (; flags->name != NULL; flags++) {
        if (!(value & flags->bit))
            continue;
        put(line, "%s%s", any ? "|" : "", flags->name);
        value &= ~flags->bit;
        any = true;
    }
    if (value != 0 || !any)
        put(line, "%s%#llx", any ? "|" : "", (unsigned long long)value);
}

static void put_open(struct line *line, uint64_t value)
{
    static const char *const modes[] = { "O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE" };
    static const struct flag flags[] = {
        { O_CREAT, "O_CREAT" }, { O_EXCL, "O_EXCL" }, { O_NOCTTY, "O_NOCTTY" },
        { O_TRUNC, "O_TRUNC" }, { O_APPEND, "O_APPEND" }, { O_NONBLOCK, "O_NONBLOCK" },
        { O_DIRECTORY, "O_DIRECTORY" }, { O_NOFOLLOW, "O_NOFOLLOW" }, { O_CLOEXEC, "O_CLOEXEC" },
        { O_PATH, "O_PATH" }, { 0100000, "O_LARGEFILE" }, { 0, NULL },
    };
    put(line, "%s", modes[value & O_ACCMODE]);
    if (value & ~(uint64_t)O_ACCMODE)
        put_flags(line, value & ~(uint64_t)O_ACCMODE, flags, true);
}

static void put_protection(struct line *line, uint64_t value)
{
    static const struct flag flags[] = { { PROT_READ, "PROT_READ" }, { PROT_WRITE, "PROT_WRITE" },
                                         { PROT_EXEC, "PROT_EXEC" }, { 0, NULL } };
    if (value == 0)
        put(line, "PROT_NONE");
    else
        put_flags(line, value, flags, false);
}

static void put_map(struct line *line, uint64_t value)
{
    static const struct flag flags[] = {
        { MAP_PRIVATE, "MAP_PRIVATE" }, { MAP_SHARED, "MAP_SHARED" }, { MAP_FIXED, "MAP_FIXED" },
        { MAP_ANONYMOUS, "MAP_ANONYMOUS" }, { MAP_STACK, "MAP_STACK" },
        { MAP_NORESERVE, "MAP_NORESERVE" }, { 0, NULL },
    };
    put_flags(line, value, flags, false);
}

static void put_time(struct call *call, struct line *line, VmAddr at)
{
    struct timespec time;
    if (at == 0 || copy_in(call, &time, at, sizeof time) != 0)
        put(line, at == 0 ? "NULL" : "%#llx", (unsigned long long)at);
    else
        put(line, "{%lld, %lld}", (long long)time.tv_sec, (long long)time.tv_nsec);
}

static void put_signal(struct line *line, uint64_t value)
{
    const char *name = value > 0 && value < 32 ? sigabbrev_np((int)value) : NULL;
    if (name != NULL)
        put(line, "SIG%s", name);
    else
        put(line, "%lld", (long long)value);
}

static void put_argument(struct call *call, struct line *line, const char *kind, size_t length,
                         unsigned index)
{
    uint64_t value = call->arg[index];
#define IS(word) (length == sizeof word - 1 && strncmp(kind, word, length) == 0)
    if (IS("str"))
        put_string(call, line, value);
    else if (IS("in") && index < 5)
        put_buffer(call, line, value, call->arg[index + 1]);
    else if (IS("fd") || IS("int"))
        put(line, "%d", (int)value);
    else if (IS("off"))
        put(line, "%lld", (long long)value);
    else if (IS("at"))
        put(line, (int)value == AT_FDCWD ? "AT_FDCWD" : "%d", (int)value);
    else if (IS("uint") || IS("size"))
        put(line, "%llu", (unsigned long long)value);
    else if (IS("oct"))
        put(line, "%#o", (unsigned)value);
    else if (IS("sig"))
        put_signal(line, value);
    else if (IS("time"))
        put_time(call, line, value);
    else if (IS("open"))
        put_open(line, value);
    else if (IS("prot"))
        put_protection(line, value);
    else if (IS("map"))
        put_map(line, value);
    else if ((IS("ptr") || IS("out")) && value == 0)
        put(line, "NULL");
    else
        put(line, "%#llx", (unsigned long long)value);
#undef IS
}

size_t strace_decode(struct call *call, char *text, size_t size)
{
    struct line line = { .text = text, .size = size };
    const struct linux_call *entry = call->entry;
    if (entry == NULL || entry->name == NULL) {
        put(&line, "call_%u(%#llx, %#llx, %#llx)", call->number, (unsigned long long)call->arg[0],
            (unsigned long long)call->arg[1], (unsigned long long)call->arg[2]);
        return line.used;
    }
    put(&line, "%s(", entry->name);
    unsigned index = 0;
    for (const char *at = entry->arguments; *at != '\0' && index < 6; index++) {
        const char *kind = strchr(at, '=') + 1;
        size_t length = strcspn(kind, " ");
        put(&line, index > 0 ? ", " : "%s", "");
        put_argument(call, &line, kind, length, index);
        at = kind + length + (kind[length] == ' ');
    }
    put(&line, ")");
    return line.used;
}

static void say(struct call *call, const char *text, const char *end)
{
    char line[600];
    const struct thread *thread = call_thread(call);
    int length = snprintf(line, sizeof line, "%s[%d] %s%s", thread->name, thread->tid, text, end);
    sysLog(line, length < (int)sizeof line ? (size_t)length : sizeof line - 1);
}

void strace_enter(struct call *call)
{
    char text[480];
    uint64_t n = call->number;
    /* These do not come back to tell. */
    if (n != 59 && n != 60 && n != 231 && n != 322)
        return;
    strace_decode(call, text, sizeof text);
    say(call, text, "");
}

static bool gives_address(const struct linux_call *entry)
{
    static const char *const names[] = { "mmap", "mremap", "brk" };
    for (unsigned i = 0; entry != NULL && entry->name != NULL && i < 3; i++)
        if (strcmp(entry->name, names[i]) == 0)
            return true;
    return false;
}

void strace_leave(struct call *call, int64_t result)
{
    char text[480], end[64];
    strace_decode(call, text, sizeof text);
    if (result == CALL_REPLIED)
        end[0] = '\0';
    else if (result < 0 && result > -4096)
        snprintf(end, sizeof end, " = -1 E%s (%s)", strerrorname_np((int)-result) + 1,
                 strerror((int)-result));
    else if (gives_address(call->entry))
        snprintf(end, sizeof end, " = %#llx", (unsigned long long)result);
    else
        snprintf(end, sizeof end, " = %lld", (long long)result);
    say(call, text, end);
}
