/* rewrite.h: hot system-call instructions of programs become jumps into the gate. See docs/rewriting.md.
 *
 * A program whose calls trap often from the same places gets an image: a copy of its text, in a file without a name, in which
 * these places are rewritten. Processes are changed over to it at one of their traps, and begin with it when the
 * program is run again. The program's own file, and its pages in memory, are never touched.
 */
#ifndef PM_REWRITE_H
#define PM_REWRITE_H

#include "pm.h"

struct elf_program;

/* A system call of <thread> came by the instruction: count it, and do what is due. Gives up the lock. */
void rewrite_trapped(struct thread *thread, const KnTrapMsg *trap);

/* <file> is about to be run in <space>, its lowest page at <low>: the image to take the text from, and where that begins in the
 * file; NULL: it is taken from the file itself. The trampolines are mapped. Gives up the lock. */
const struct file *rewrite_begin(struct space *space, struct file *file, VmAddr low,
                                 uint64_t *ret_text_offset);
/* The space runs no program any more. */
void rewrite_end(struct space *space);
/* It runs what <old> runs. */
void rewrite_fork(struct space *space, const struct space *old);

/* The process is about to change what is mapped in [from, to), or (<writes>) to make it writable: its own text is put back if that
 * concerns it, for good. */
void rewrite_give_way(struct space *space, VmAddr from, VmAddr to, bool writes);

/* A regular file is open for writing, once more or once less; its contents cannot be relied on meanwhile. */
void rewrite_writer(uint64_t key, bool begins);

#endif
