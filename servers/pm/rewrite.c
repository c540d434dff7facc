/* Which programs are rewritten, and how their processes get at the rewritten text. */

#include "rewrite.h"

#include <stdio.h>
#include <sys/mman.h>

#include "descriptor.h"
#include "elf_program.h"
#include "file_server.h"
#include "mount.h"
#include "regular.h"
#include "rewrite_code.h"

#define PROGRAMS_MOST 64
#define COUNTERS 1024u
#define WRITERS 1024u
#define PIECE 65536u          /* of the text, copied at once */
#define TEXT_MOST (32u << 20) /* larger programs are left alone */
#define REFUSED_MOST 64u
#define INTERVAL_LEAST (NANOSECONDS / 50) /* between images of a program, */
#define INTERVAL_PER_COST 50              /* and so many times what the last one took: a fiftieth of the time at most */
#define OPAQUE_PRIVATE 1u     /* as in memory.c: a window, though private */

struct rewrite_program {
    struct list link;
    unsigned references; /* the table's, and the spaces' */
    bool is_listed, is_busy, is_refused;
    KnCap segment;
    struct file_attributes attributes;
    uint32_t text_at, text_size; /* in pages, from the lowest page on */
    uint64_t text_offset;        /* in the file */
    uint32_t entry;
    struct rewrite_patch patches[TRAMPOLINES_MOST];
    unsigned patch_count;
    uint32_t refused[REFUSED_MOST];
    unsigned refused_count;
    struct file *image;
    unsigned image_count; /* patches that are in it */
    KnTime next_image;
};

static struct list programs = { &programs, &programs };
static unsigned program_count;

/* ---- writers ---- */

static uint32_t writers[WRITERS];

static uint32_t *writers_of(uint64_t key)
{
    return &writers[(key * 0x9e3779b97f4a7c15ull >> 54) % WRITERS];
}

static void program_release(struct rewrite_program *program)
{
    if (--program->references > 0)
        return;
    if (program->image != NULL)
        file_release(program->image);
    free(program);
}

static void program_unlist(struct rewrite_program *program)
{
    program->is_listed = false;
    list_remove(&program->link);
    program_count--;
    program_release(program);
}

void rewrite_writer(uint64_t key, bool begins)
{
    uint32_t *count = writers_of(key);
    if (!begins) {
        *count -= *count > 0;
        return;
    }
    ++*count;
    LIST_EACH(&programs, at) {
        struct rewrite_program *program = LIST_ENTRY(at, struct rewrite_program, link);
        if (program->segment.key == key) {
            program_unlist(program);
            return;
        }
    }
}

/* ---- programs ---- */

static bool is_same_file(const struct file_attributes *a, const struct file_attributes *b)
{
    return a->mtime == b->mtime && a->mtime_nanoseconds == b->mtime_nanoseconds &&
           a->ctime == b->ctime && a->ctime_nanoseconds == b->ctime_nanoseconds;
}

static bool is_same_segment(const KnCap *a, const KnCap *b)
{
    return uiEqual(&a->ui, &b->ui) && a->key == b->key;
}

static struct rewrite_program *program_find(const struct file *file)
{
    LIST_EACH(&programs, at) {
        struct rewrite_program *program = LIST_ENTRY(at, struct rewrite_program, link);
        if (!is_same_segment(&program->segment, &file->segment))
            continue;
        if (is_same_file(&program->attributes, &file->attributes))
            return program;
        program_unlist(program);
        return NULL;
    }
    return NULL;
}

static int64_t read_program(void *file, uint64_t offset, void *buffer, size_t size)
{
    return regular_read_here(file, offset, buffer, size);
}

/* Where its text is. Only programs with one executable part, above room for the trampolines. */
static bool look_at_elf(struct rewrite_program *program, const struct elf_program *elf)
{
    const struct elf_load *text = NULL;
    for (unsigned i = 0; i < elf->load_count; i++) {
        if (!(elf->loads[i].protection & PROT_EXEC))
            continue;
        if (text != NULL)
            return false;
        text = &elf->loads[i];
    }
    if (text == NULL || (text->protection & PROT_WRITE) || text->memory_size != text->file_size ||
        text->file_size > TEXT_MOST || elf->interpreter[0] != '\0' ||
        (elf->fixed && elf->low < K_USERBOTTOM + REWRITE_SPACE))
        return false;
    uint64_t head = text->address % K_PAGESIZE;
    program->text_at = (uint32_t)(text->address - head - elf->low);
    program->text_offset = text->offset - head;
    program->text_size = (uint32_t)((head + text->file_size + K_PAGESIZE - 1) & ~(K_PAGESIZE - 1ull));
    program->entry = (uint32_t)(elf->entry - elf->low);
    return true;
}

static void make_room_for_program(void)
{
    while (program_count >= PROGRAMS_MOST)
        program_unlist(LIST_ENTRY(programs.next, struct rewrite_program, link));
}

static struct rewrite_program *program_new(struct file *file)
{
    struct elf_program *elf = malloc(sizeof *elf);
    struct rewrite_program *program = calloc(1, sizeof *program);
    int error = elf == NULL || program == NULL ? -ENOMEM : 0;
    int64_t size = error == 0 ? segment_size(&file->segment) : 0; /* its server may not know of the last writes */
    if (error == 0)
        error = elf_read(read_program, file, size > 0 ? (uint64_t)size : 0, elf);
    if (error != 0 || program_find(file) != NULL /* somebody else was faster */) {
        free(elf);
        free(program);
        return NULL;
    }
    program->segment = file->segment;
    program->attributes = file->attributes;
    program->is_refused = !look_at_elf(program, elf);
    free(elf);
    make_room_for_program();
    program->references = 1;
    program->is_listed = true;
    list_append(&programs, &program->link);
    program_count++;
    return program;
}

/* ---- which places are hot ---- */

static struct counter {
    uint64_t program; /* its segment's key */
    uint32_t offset;  /* behind the instruction */
    uint32_t count;
} counters[COUNTERS];

/* Is it time to look at this place? Places that share a counter wear each other down. */
static bool count_trap(uint64_t program, uint32_t offset)
{
    struct counter *counter =
        &counters[((program ^ offset) * 0x9e3779b97f4a7c15ull >> 54) % COUNTERS];
    if (counter->program != program || counter->offset != offset) {
        if (counter->count > 1) {
            counter->count--;
            return false;
        }
        *counter = (struct counter){ .program = program, .offset = offset };
    }
    return ++counter->count % pm_options.rewrite_after == 0;
}

/* The start of an instruction that lies before <offset>, nearest: where a thread has once come back from a trap, or the entry. */
static uint32_t known_before(const struct rewrite_program *program, uint32_t offset)
{
    uint32_t known = program->entry < offset ? program->entry : 0;
    for (unsigned i = 0; i < COUNTERS; i++)
        if (counters[i].program == program->segment.key && counters[i].offset < offset &&
            counters[i].offset > known)
            known = counters[i].offset;
    for (unsigned i = 0; i < program->patch_count; i++)
        if (program->patches[i].site < offset && program->patches[i].site > known)
            known = program->patches[i].site;
    return known;
}

static bool is_refused(const struct rewrite_program *program, uint32_t site)
{
    for (unsigned i = 0; i < program->refused_count && i < REFUSED_MOST; i++)
        if (program->refused[i] == site)
            return true;
    return false;
}

static bool is_planned(const struct rewrite_program *program, uint32_t site)
{
    for (unsigned i = 0; i < program->patch_count; i++)
        if (program->patches[i].site == site)
            return true;
    return false;
}

/* Look at the bytes around the place, in the file. */
static void plan(struct rewrite_program *program, struct file *file, uint32_t site, uint32_t number)
{
    uint32_t known = known_before(program, site), text_end = program->text_at + program->text_size;
    if (known < program->text_at || site - known > REWRITE_SWEEP)
        known = 0;
    struct text_part part = { .start = known != 0 ? known : site };
    uint32_t end = site + REWRITE_SHORT < text_end ? site + REWRITE_SHORT : text_end;
    uint8_t *bytes = malloc(end - part.start);
    if (bytes == NULL)
        return;
    part.bytes = bytes;
    int64_t got = regular_read_here(file, program->text_offset + (part.start - program->text_at),
                                    bytes, end - part.start);
    part.size = got > 0 ? (uint32_t)got : 0;
    struct rewrite_patch patch;
    if (part.size > 0 && rewrite_plan(&part, site, number, known, program->patches, program->patch_count, &patch))
        program->patches[program->patch_count++] = patch;
    else
        program->refused[program->refused_count++ % REFUSED_MOST] = site;
    free(bytes);
}

/* ---- images ---- */

/* FILE_CREATE or FILE_UNLINK of the one name there. */
static int exchange_name(struct file_exchange *exchange, struct file_node root, uint32_t operation)
{
    static const char name[] = "image";
    *exchange = (struct file_exchange){ .node = root, .send = name, .send_size = sizeof name - 1 };
    exchange->request.operation = operation;
    exchange->request.path_length = sizeof name - 1;
    if (operation == FILE_CREATE) {
        exchange->request.open.access = FILE_O_READ | FILE_O_WRITE | FILE_O_EXCLUSIVE;
        exchange->request.open.mode = 0600;
    }
    return file_exchange(exchange);
}

/* A file without a name, on a file system that is mounted nowhere. */
static struct file *image_file(void)
{
    static struct file_node root;
    static bool is_there, is_being_made;
    struct file_exchange exchange;
    if (is_being_made)
        return NULL;
    is_being_made = true;
    if (!is_there)
        is_there = mount_nowhere(&root) == 0;
    struct file *file = is_there ? file_new(&regular_operations, O_RDWR) : NULL;
    if (file != NULL && exchange_name(&exchange, root, FILE_CREATE) != 0) {
        file_release(file);
        file = NULL;
    }
    if (file != NULL) {
        file->held = true;
        file->access = exchange.request.open.access;
        file->opened = (struct file_node){ .port = root.port, .key = exchange.reply.attributes.key };
        file->has_segment = true;
        memcpy(&file->segment.ui, &exchange.reply.node.port, sizeof file->segment.ui);
        file->segment.key = exchange.reply.node.key;
        exchange_name(&exchange, root, FILE_UNLINK);
    }
    is_being_made = false;
    return file;
}

static int write_piece(const KnCap *segment, uint64_t offset, const void *bytes, size_t size)
{
    pm_unlock();
    int64_t done = sgWrite(segment, offset, bytes, size);
    pm_lock();
    return done == (int64_t)size ? 0 : -EIO;
}

/* The last byte comes first. So its size is known, the Nucleus sets frames aside for all of it, side by side, and processes map the image by one order to
 * the host and not page by page. */
static int write_end(const struct rewrite_program *program, struct file *image)
{
    return write_piece(&image->segment, program->text_size + REWRITE_SPACE - 1, "\xcc", 1);
}

static int write_text(struct rewrite_program *program, struct file *file, struct file *image,
                      unsigned count, uint8_t *piece)
{
    for (uint32_t at = 0; at < program->text_size; at += PIECE) {
        uint32_t size = program->text_size - at < PIECE ? program->text_size - at : PIECE;
        memset(piece, 0, size);
        if (regular_read_here(file, program->text_offset + at, piece, size) <= 0)
            return -EIO;
        for (unsigned i = 0; i < count; i++)
            rewrite_apply(piece, program->text_at + at, size, &program->patches[i], i);
        int error = write_piece(&image->segment, at, piece, size);
        if (error != 0)
            return error;
    }
    return 0;
}

static int write_trampolines(struct rewrite_program *program, struct file *image, unsigned count,
                             uint8_t *piece)
{
    memset(piece, 0xcc, REWRITE_SPACE);
    for (unsigned i = 0; i < count; i++)
        rewrite_trampoline(piece + i * TRAMPOLINE_SIZE, &program->patches[i], i);
    return write_piece(&image->segment, program->text_size, piece, REWRITE_SPACE);
}

_Static_assert(PIECE >= REWRITE_SPACE, "one buffer for both");

static KnTime next_image_after(KnTime begun)
{
    KnTime now = time_now(), pause = (now - begun) * INTERVAL_PER_COST;
    return now + (pause > INTERVAL_LEAST ? pause : INTERVAL_LEAST);
}

/* A new image with all that is planned by now. */
static void make_image(struct rewrite_program *program, struct file *file)
{
    KnTime begun = time_now();
    unsigned count = program->patch_count;
    uint8_t *piece = malloc(PIECE);
    struct file *image = piece != NULL ? image_file() : NULL;
    if (image != NULL && (write_end(program, image) != 0 || write_text(program, file, image, count, piece) != 0 ||
                          write_trampolines(program, image, count, piece) != 0)) {
        file_release(image);
        image = NULL;
    }
    free(piece);
    program->next_image = next_image_after(begun);
    if (image == NULL)
        return;
    if (program->image != NULL)
        file_release(program->image);
    program->image = image;
    program->image_count = count;
    if (pm_options.verbose)
        pm_log("%s: %u system calls are rewritten", file->place.path != NULL ? file->place.path : "a program", count);
}

/* ---- spaces ---- */

static VmAddr low_of(const struct space *space)
{
    return space->code_start & ~(VmAddr)(K_PAGESIZE - 1);
}

static int map_image(const KnCap *actor, const struct file *image, VmAddr at, VmSize size,
                     VmOffset offset, uint32_t options)
{
    KnRgnDesc region = { .startAddr = at, .size = size, .opaque = OPAQUE_PRIVATE,
                         .options = K_READABLE | K_EXECUTABLE | K_INHERITSHARE | options };
    KnObjDesc object = { .dataObject = image->segment, .offset = offset };
    return rgnMap(actor, &region, &object);
}

static void take_image(struct space *space, struct rewrite_program *program)
{
    struct file *old = space->image;
    file_reference(program->image);
    space->image = program->image;
    if (old != NULL)
        file_release(old);
    if (space->rewritten == program)
        return;
    program->references++;
    if (space->rewritten != NULL)
        program_release(space->rewritten);
    space->rewritten = program;
}

/* Is its text all there, as it was mapped? */
static bool has_whole_text(const struct space *space, const struct rewrite_program *program)
{
    KnRgnStat stat;
    VmAddr text = low_of(space) + program->text_at;
    const KnCap *wanted = space->image != NULL ? &space->image->segment : &program->segment;
    return rgnStat(&space->actor, text, &stat) == K_OK && stat.startAddr == text &&
           stat.size == program->text_size && (stat.opaque & OPAQUE_PRIVATE) &&
           (stat.options & (K_WRITABLE | K_EXECUTABLE)) == K_EXECUTABLE &&
           is_same_segment(&stat.dataObject, wanted);
}

/* A running process is changed over. The lock is kept, so that nobody changes its memory meanwhile; nothing here waits for
 * another server, since the image has just been written. Its other threads may fault for a moment, and go on. */
static void change_over(struct space *space, struct rewrite_program *program)
{
    VmAddr low = low_of(space);
    if (low < K_USERBOTTOM + REWRITE_SPACE || !has_whole_text(space, program)) {
        space->not_rewritten = true;
        return;
    }
    if (map_image(&space->actor, program->image, low - REWRITE_SPACE, REWRITE_SPACE, program->text_size,
                  space->image != NULL ? K_OVERWRITE : 0) < 0) {
        space->not_rewritten = space->image == NULL; /* something is there already */
        return;
    }
    if (map_image(&space->actor, program->image, low + program->text_at, program->text_size, 0, K_OVERWRITE) >= 0)
        take_image(space, program);
}

static void look_at_place(struct space *space, struct rewrite_program *program, uint32_t site,
                          uint32_t number)
{
    struct file *file = space->program;
    if (!is_planned(program, site) && !is_refused(program, site))
        plan(program, file, site, number);
    if (!program->is_listed || !is_planned(program, site))
        return;
    if (program->image_count < program->patch_count && time_now() >= program->next_image)
        make_image(program, file);
    if (program->is_listed && program->image != NULL && space->image != program->image)
        change_over(space, program);
}

void rewrite_trapped(struct thread *thread, const KnTrapMsg *trap)
{
    struct space *space = thread->process->space;
    if (pm_options.rewrite_after == 0 || trap->code != 0 || space->program == NULL ||
        !space->program->has_segment || space->not_rewritten || trap->ip < space->code_start + 16 ||
        trap->ip >= space->code_end)
        return;
    uint32_t offset = (uint32_t)(trap->ip - low_of(space));
    if (!count_trap(space->program->segment.key, offset) ||
        *writers_of(space->program->segment.key) != 0)
        return;
    struct file *file = space->program;
    file_reference(file);
    struct rewrite_program *program = program_find(file);
    if (program == NULL)
        program = program_new(file);
    if (program != NULL && !program->is_refused && !program->is_busy && offset >= program->text_at + 16) {
        program->references++;
        program->is_busy = true;
        look_at_place(space, program, offset - 2, trap->number);
        program->is_busy = false;
        program_release(program);
    }
    file_release(file);
}

/* ---- birth and death ---- */

const struct file *rewrite_begin(struct space *space, struct file *file, VmAddr low,
                                 uint64_t *ret_text_offset)
{
    if (pm_options.rewrite_after == 0 || *writers_of(file->segment.key) != 0)
        return NULL;
    struct rewrite_program *program = program_find(file);
    if (program == NULL || program->image == NULL)
        return NULL;
    take_image(space, program);
    KnCap actor = space->actor;
    pm_unlock();
    int status = map_image(&actor, space->image, low - REWRITE_SPACE, REWRITE_SPACE, program->text_size, 0);
    pm_lock();
    if (status < 0) {
        rewrite_end(space);
        return NULL;
    }
    *ret_text_offset = program->text_offset;
    return space->image;
}

void rewrite_end(struct space *space)
{
    if (space->image != NULL)
        file_release(space->image);
    if (space->rewritten != NULL)
        program_release(space->rewritten);
    space->image = NULL;
    space->rewritten = NULL;
    space->not_rewritten = false;
}

void rewrite_fork(struct space *space, const struct space *old)
{
    space->not_rewritten = old->not_rewritten;
    space->image = old->image;
    space->rewritten = old->rewritten;
    if (space->image != NULL)
        file_reference(space->image);
    if (space->rewritten != NULL)
        space->rewritten->references++;
}

void rewrite_give_way(struct space *space, VmAddr from, VmAddr to, bool writes)
{
    const struct rewrite_program *program = space->rewritten;
    if (space->image == NULL || space->not_rewritten)
        return;
    VmAddr low = low_of(space), text = low + program->text_at, text_end = text + program->text_size;
    bool hits_trampolines = !writes && from < low && to > low - REWRITE_SPACE;
    bool hits_text = from < text_end && to > text;
    if (!hits_trampolines && !hits_text)
        return;
    bool whole = has_whole_text(space, program);
    space->not_rewritten = true;
    KnRgnDesc region = { .startAddr = text, .size = program->text_size, .opaque = OPAQUE_PRIVATE,
                         .options = K_READABLE | K_EXECUTABLE | K_INHERITSHARE | K_OVERWRITE };
    KnObjDesc object = { .dataObject = program->segment, .offset = program->text_offset };
    if (whole)
        rgnMap(&space->actor, &region, &object);
}
