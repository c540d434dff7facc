/* exec/chNote.h: the ELF note by which a loader knows an actor. libchorus puts it into every one. */
#ifndef EXEC_CHNOTE_H
#define EXEC_CHNOTE_H

#define K_NOTE_NAME "Chorus"
#define K_NOTE_ACTOR 1   /* its type; the description is one 32-bit word: */
#define K_NOTE_VERSION 1 /* the version of the calls. An actor of another version is refused */

#endif
