/* /proc: its tree. Keys hold what a node is, and of which process or thread.
 *
 *   bits 56..63  1      bits 48..55  kind      bits 16..47  pid or tid      bits 0..15  number
 */

#include "proc.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "descriptor.h"
#include "path.h"
#include "process.h"

#define ROOT (UINT64_C(1) << 56)

enum kind {
    KIND_ROOT,
    KIND_SELF,        /* the link /proc/self */
    KIND_THREAD_SELF,
    KIND_MOUNTS_LINK, /* /proc/mounts -> self/mounts */
    KIND_SYSTEM_FILE, /* number: in proc_system_files */
    KIND_FOLDER,      /* number: of the first file below it; pid: length of its path */
    KIND_PROCESS,
    KIND_PROCESS_FILE, /* number: in proc_process_files */
    KIND_PROCESS_LINK, /* number: LINK_ */
    KIND_FD_FOLDER,
    KIND_FD,           /* number: the descriptor */
    KIND_TASK_FOLDER,
    KIND_TASK
};
enum { LINK_EXE, LINK_CWD, LINK_ROOT, LINKS };
static const char *const link_names[LINKS] = { "exe", "cwd", "root" };

static uint64_t make_key(enum kind kind, uint32_t id, uint32_t number)
{
    return ROOT | (uint64_t)kind << 48 | (uint64_t)id << 16 | number;
}

static enum kind kind_of(uint64_t key)
{
    return (enum kind)(key >> 48 & 0xff);
}

static uint32_t id_of(uint64_t key)
{
    return (uint32_t)(key >> 16);
}

static uint32_t number_of(uint64_t key)
{
    return (uint32_t)key & 0xffff;
}

static struct thread *first_thread(const struct process *process)
{
    return list_is_empty(&process->threads)
               ? NULL
               : LIST_ENTRY(process->threads.next, struct thread, of_process);
}

/* The process of a key; its thread too, if the key names one. */
static struct process *process_of(uint64_t key, struct thread **ret_thread)
{
    struct process *process = process_find((pid_t)id_of(key));
    *ret_thread = NULL;
    if (process != NULL) {
        *ret_thread = first_thread(process);
        return process;
    }
    *ret_thread = thread_find((pid_t)id_of(key));
    return *ret_thread != NULL ? (*ret_thread)->process : NULL;
}

static bool is_number(const char *name, uint32_t *ret_number)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (name[0] < '0' || name[0] > '9' || *end != '\0' || number > UINT16_MAX * 16 ||
        (name[0] == '0' && name[1] != '\0'))
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

/* ---- the fixed part ---- */

/* The path of a folder is a beginning of its first file's path. */
static const char *folder_path(uint64_t key, size_t *length)
{
    if (kind_of(key) == KIND_ROOT) {
        *length = 0;
        return "";
    }
    *length = id_of(key);
    return proc_system_files[number_of(key)].path;
}

/* The <index>th thing below a fixed folder: each name once. */
static bool system_entry(uint64_t folder, uint64_t index, struct own_entry *entry)
{
    size_t length;
    const char *prefix = folder_path(folder, &length);
    const char *before = NULL;
    size_t before_length = 0;
    for (uint32_t i = 0; proc_system_files[i].path != NULL; i++) {
        const char *path = proc_system_files[i].path;
        if (strncmp(path, prefix, length) != 0 || (length > 0 && path[length] != '/'))
            continue;
        const char *name = path + length + (length > 0);
        size_t name_length = strcspn(name, "/");
        if (before != NULL && before_length == name_length &&
            strncmp(before, name, name_length) == 0)
            continue;
        before = name;
        before_length = name_length;
        if (index-- > 0)
            continue;
        memcpy(entry->name, name, name_length);
        entry->name[name_length] = '\0';
        entry->key = name[name_length] == '/'
                         ? make_key(KIND_FOLDER, (uint32_t)(name - path + (long)name_length), i)
                         : make_key(KIND_SYSTEM_FILE, 0, i);
        return true;
    }
    return false;
}

static int system_lookup(uint64_t folder, const char *name, uint64_t *ret_key)
{
    struct own_entry entry;
    for (uint64_t i = 0; system_entry(folder, i, &entry); i++) {
        if (strcmp(entry.name, name) != 0)
            continue;
        *ret_key = entry.key;
        return 0;
    }
    return -ENOENT;
}

/* ---- lookup ---- */

static int lookup_root(const char *name, uint64_t *ret_key)
{
    uint32_t pid;
    if (strcmp(name, "self") == 0)
        *ret_key = make_key(KIND_SELF, 0, 0);
    else if (strcmp(name, "thread-self") == 0)
        *ret_key = make_key(KIND_THREAD_SELF, 0, 0);
    else if (strcmp(name, "mounts") == 0)
        *ret_key = make_key(KIND_MOUNTS_LINK, 0, 0);
    else if (is_number(name, &pid))
        *ret_key = make_key(KIND_PROCESS, pid, 0);
    else
        return system_lookup(ROOT, name, ret_key);
    return 0;
}

static int lookup_process(uint64_t folder, const char *name, uint64_t *ret_key)
{
    uint32_t pid = id_of(folder);
    if (strcmp(name, "fd") == 0) {
        *ret_key = make_key(KIND_FD_FOLDER, pid, 0);
        return 0;
    }
    if (strcmp(name, "task") == 0 && kind_of(folder) == KIND_PROCESS) {
        *ret_key = make_key(KIND_TASK_FOLDER, pid, 0);
        return 0;
    }
    for (uint32_t i = 0; i < LINKS; i++) {
        if (strcmp(name, link_names[i]) == 0) {
            *ret_key = make_key(KIND_PROCESS_LINK, pid, i);
            return 0;
        }
    }
    for (uint32_t i = 0; proc_process_files[i].name != NULL; i++) {
        if (strcmp(name, proc_process_files[i].name) == 0) {
            *ret_key = make_key(KIND_PROCESS_FILE, pid, i);
            return 0;
        }
    }
    return -ENOENT;
}

static int proc_lookup(uint64_t folder, const char *name, struct thread *thread, uint64_t *ret_key)
{
    uint32_t number;
    (void)thread;
    switch (kind_of(folder)) {
    case KIND_ROOT: return lookup_root(name, ret_key);
    case KIND_FOLDER: return system_lookup(folder, name, ret_key);
    case KIND_PROCESS:
    case KIND_TASK: return lookup_process(folder, name, ret_key);
    case KIND_FD_FOLDER:
        if (!is_number(name, &number) || number > 0xffff)
            return -ENOENT;
        *ret_key = make_key(KIND_FD, id_of(folder), number);
        return 0;
    case KIND_TASK_FOLDER:
        if (!is_number(name, &number))
            return -ENOENT;
        *ret_key = make_key(KIND_TASK, number, 0);
        return 0;
    default: return -ENOTDIR;
    }
}

static uint64_t proc_parent(uint64_t key)
{
    struct thread *thread;
    struct process *process;
    switch (kind_of(key)) {
    case KIND_PROCESS_FILE:
    case KIND_PROCESS_LINK:
    case KIND_FD_FOLDER:
    case KIND_TASK_FOLDER: return make_key(KIND_PROCESS, id_of(key), 0);
    case KIND_FD: return make_key(KIND_FD_FOLDER, id_of(key), 0);
    case KIND_TASK:
        process = process_of(key, &thread);
        return make_key(KIND_TASK_FOLDER, process == NULL ? 0 : (uint32_t)process->pid, 0);
    case KIND_FOLDER:
        for (uint32_t length = id_of(key); length > 0; length--)
            if (proc_system_files[number_of(key)].path[length - 1] == '/')
                return make_key(KIND_FOLDER, length - 1, number_of(key));
        return ROOT;
    default: return ROOT;
    }
}

/* ---- attributes ---- */

static int describe_process(uint64_t key, struct file_attributes *attributes)
{
    struct thread *thread;
    struct process *process = process_of(key, &thread);
    const struct file *file;
    if (process == NULL)
        return -ENOENT;
    attributes->uid = process->credentials.euid;
    attributes->gid = process->credentials.egid;
    switch (kind_of(key)) {
    case KIND_PROCESS:
    case KIND_TASK:
    case KIND_TASK_FOLDER: attributes->mode = S_IFDIR | 0555; break;
    case KIND_FD_FOLDER: attributes->mode = S_IFDIR | 0500; break;
    case KIND_PROCESS_LINK: attributes->mode = S_IFLNK | 0777; break;
    case KIND_FD:
        file = descriptor_file(process, (int)number_of(key));
        if (file == NULL)
            return -ENOENT;
        attributes->mode = S_IFLNK | 0100 | (file_may_read(file) ? 0400 : 0) | (file_may_write(file) ? 0200 : 0);
        attributes->size = 64;
        break;
    default:
        attributes->mode = S_IFREG | proc_process_files[number_of(key)].mode;
        break;
    }
    return 0;
}

static int proc_describe(uint64_t key, struct file_attributes *attributes)
{
    switch (kind_of(key)) {
    case KIND_ROOT:
    case KIND_FOLDER: attributes->mode = S_IFDIR | 0555; return 0;
    case KIND_SELF:
    case KIND_THREAD_SELF:
    case KIND_MOUNTS_LINK: attributes->mode = S_IFLNK | 0777; return 0;
    case KIND_SYSTEM_FILE:
        attributes->mode = S_IFREG | 0444;
        if (proc_system_files[number_of(key)].write != NULL)
            attributes->mode |= 0200;
        if (proc_system_files[number_of(key)].size != NULL)
            attributes->size = proc_system_files[number_of(key)].size();
        return 0;
    default: return describe_process(key, attributes);
    }
}

/* ---- lists ---- */

static void name_entry(struct own_entry *entry, uint64_t key, const char *name)
{
    entry->key = key;
    snprintf(entry->name, sizeof entry->name, "%s", name);
}

static bool list_root(uint64_t index, struct own_entry *entry)
{
    static const char *const links[] = { "self", "thread-self", "mounts" };
    if (index < 3) {
        name_entry(entry, make_key(KIND_SELF + (uint32_t)index, 0, 0), links[index]);
        return true;
    }
    index -= 3;
    /* A process keeps its place while others come and go: its number is its index, beyond the files. */
    if (index < 1000 && system_entry(ROOT, index, entry))
        return true;
    return false;
}

static bool list_process(uint64_t folder, uint64_t index, struct own_entry *entry)
{
    uint32_t pid = id_of(folder);
    if (index == 0) {
        name_entry(entry, make_key(KIND_FD_FOLDER, pid, 0), "fd");
    } else if (index <= LINKS) {
        name_entry(entry, make_key(KIND_PROCESS_LINK, pid, (uint32_t)index - 1),
                   link_names[index - 1]);
    } else {
        uint32_t number = (uint32_t)index - LINKS - 1, count = 0;
        while (proc_process_files[count].name != NULL)
            count++;
        if (number == count && kind_of(folder) == KIND_PROCESS)
            name_entry(entry, make_key(KIND_TASK_FOLDER, pid, 0), "task");
        else if (number >= count)
            return false;
        else
            name_entry(entry, make_key(KIND_PROCESS_FILE, pid, number),
                       proc_process_files[number].name);
    }
    return true;
}

static bool list_numbers(uint64_t folder, uint64_t index, struct own_entry *entry)
{
    struct thread *thread;
    struct process *process = process_of(folder, &thread);
    if (process == NULL)
        return false;
    if (kind_of(folder) == KIND_TASK_FOLDER) {
        LIST_EACH(&process->threads, at) {
            if (index-- > 0)
                continue;
            uint32_t tid = (uint32_t)LIST_ENTRY(at, struct thread, of_process)->tid;
            entry->key = make_key(KIND_TASK, tid, 0);
            snprintf(entry->name, sizeof entry->name, "%u", tid);
            return true;
        }
        return false;
    }
    for (int fd = 0; process->descriptors != NULL && fd < process->descriptors->size; fd++) {
        if (process->descriptors->slots[fd].file == NULL || index-- > 0)
            continue;
        entry->key = make_key(KIND_FD, id_of(folder), (uint32_t)fd);
        snprintf(entry->name, sizeof entry->name, "%d", fd);
        return true;
    }
    return false;
}

static bool proc_list(uint64_t folder, uint64_t index, struct own_entry *entry)
{
    uint64_t fixed = 0;
    switch (kind_of(folder)) {
    case KIND_FOLDER: return system_entry(folder, index, entry);
    case KIND_PROCESS:
    case KIND_TASK: return list_process(folder, index, entry);
    case KIND_FD_FOLDER:
    case KIND_TASK_FOLDER: return list_numbers(folder, index, entry);
    case KIND_ROOT: break;
    default: return false;
    }
    if (list_root(index, entry))
        return true;
    while (list_root(fixed, entry))
        fixed++;
    index -= fixed;
    LIST_EACH(&processes, at) {
        struct process *process = LIST_ENTRY(at, struct process, link);
        if (index-- > 0)
            continue;
        entry->key = make_key(KIND_PROCESS, (uint32_t)process->pid, 0);
        snprintf(entry->name, sizeof entry->name, "%d", process->pid);
        return true;
    }
    return false;
}

/* ---- contents ---- */

static int proc_text(uint64_t key, FILE *out)
{
    struct thread *thread;
    if (kind_of(key) == KIND_SYSTEM_FILE)
        return proc_system_files[number_of(key)].text(out);
    if (kind_of(key) != KIND_PROCESS_FILE)
        return -EISDIR;
    struct process *process = process_of(key, &thread);
    if (process == NULL)
        return -ESRCH;
    process_reference(process);
    int error = proc_process_files[number_of(key)].text(process, thread, out);
    process_release(process);
    return error;
}

static int proc_write(uint64_t key, const char *text, struct thread *thread)
{
    if (kind_of(key) != KIND_SYSTEM_FILE || proc_system_files[number_of(key)].write == NULL)
        return -EPERM;
    return proc_system_files[number_of(key)].write(text, thread);
}

/* ---- links ---- */

void proc_name_file(const struct file *file, char *text, size_t size)
{
    if (file->place.path != NULL)
        snprintf(text, size, "%s", file->place.path);
    else if (file->operations->name == NULL)
        snprintf(text, size, "anon_inode:[file]");
    else if (strchr(file->operations->name, ':') != NULL)
        snprintf(text, size, "%s", file->operations->name);
    else
        snprintf(text, size, "%s:[%llu]", file->operations->name,
                 (unsigned long long)file->number);
}

static bool may_look(const struct process *process, const struct thread *thread)
{
    const struct credentials *mine = &thread->process->credentials;
    return mine->euid == 0 || mine->euid == process->credentials.uid;
}

static int process_link(uint64_t key, const struct process *process, char *text, size_t size)
{
    const struct file *program = process->space != NULL ? process->space->program : NULL;
    const char *path = NULL;
    if (number_of(key) == LINK_EXE)
        path = program != NULL ? program->place.path : NULL;
    else if (process->fs != NULL)
        path = number_of(key) == LINK_CWD ? process->fs->cwd.path : process->fs->root.path;
    if (path == NULL)
        return -ENOENT;
    snprintf(text, size, "%s", path);
    return 0;
}

static int proc_link(uint64_t key, struct thread *thread, char *text, size_t size)
{
    struct thread *of;
    const struct process *process;
    if (thread == NULL)
        return -EACCES;
    switch (kind_of(key)) {
    case KIND_SELF: snprintf(text, size, "%d", thread->process->pid); return 0;
    case KIND_THREAD_SELF:
        snprintf(text, size, "%d/task/%d", thread->process->pid, thread->tid);
        return 0;
    case KIND_MOUNTS_LINK: snprintf(text, size, "self/mounts"); return 0;
    default: break;
    }
    process = process_of(key, &of);
    if (process == NULL)
        return -ENOENT;
    if (!may_look(process, thread))
        return -EACCES;
    if (kind_of(key) == KIND_PROCESS_LINK)
        return process_link(key, process, text, size);
    const struct file *file = descriptor_file(process, (int)number_of(key));
    if (file == NULL)
        return -ENOENT;
    proc_name_file(file, text, size);
    return 0;
}

/* A place as a file to go on from. */
static struct file *file_at(const struct place *place)
{
    static const struct file_operations none = { 0 };
    struct file *file = file_new(&none, O_PATH);
    if (file != NULL && place_copy(&file->place, place) != 0) {
        free(file);
        return NULL;
    }
    if (file != NULL)
        file->attributes.mode = S_IFDIR | 0755;
    return file;
}

static struct file *proc_magic_file(uint64_t key, struct thread *thread)
{
    struct thread *of;
    struct file *file = NULL;
    if (kind_of(key) != KIND_PROCESS_LINK && kind_of(key) != KIND_FD)
        return NULL;
    struct process *process = process_of(key, &of);
    if (process == NULL || thread == NULL || !may_look(process, thread))
        return NULL;
    if (kind_of(key) == KIND_FD)
        file = descriptor_file(process, (int)number_of(key));
    else if (number_of(key) == LINK_EXE)
        file = process->space != NULL ? process->space->program : NULL;
    else if (process->fs != NULL)
        return file_at(number_of(key) == LINK_CWD ? &process->fs->cwd : &process->fs->root);
    if (file != NULL)
        file_reference(file);
    return file;
}

const struct own_file_system proc_files = {
    .type = "proc", .root = ROOT, .magic = 0x9fa0, .lookup = proc_lookup, .parent = proc_parent,
    .describe = proc_describe, .list = proc_list, .text = proc_text, .write = proc_write,
    .link = proc_link, .magic_file = proc_magic_file,
};
