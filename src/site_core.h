/* What an actor that faults unhandled leaves behind: a backtrace in the log, and a core file.
 *
 * The Nucleus logs the registers and then asks us, before it deletes the actor. The core is named
 * chorus-core.NAME.PID, where PID is that of the actor's host process, and is in the folder of the
 * log file, else in $XDG_RUNTIME_DIR, $TMPDIR or /tmp. */

#ifndef CHORUS_SITE_CORE_H
#define CHORUS_SITE_CORE_H

/* <log_file>: its folder gets the cores; NULL: none was given. After nucleus_init. */
void site_core_start(const char *log_file);

#endif
