"""A site driven through a terminal of its own, as by a person."""
import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from harness import (PLACED, CHORUS, Failure, LIVE, TIMEOUT, await_no_children, check_left_over,
                     end_at_once, exit_status, expect, restore_signals, scratch, shorten)

PROMPT = 'ready> '


class Terminal:
    """`with Terminal() as t:` boots an interactive shell whose prompt is PROMPT. At its end, the
    terminal must be as it was, and nothing may be left of the site."""

    def __init__(self, *options, command=(), rows=24, columns=80, quiet=True, clean=True):
        self.log_path = scratch('.log')
        self.clean = clean
        self.seen = ''    # all that the site wrote
        self.mark = 0     # what of it was not yet expected
        self.host, site = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.host)
        words = [CHORUS, 'run', '--verbose', '--log', self.log_path, *PLACED, *options]
        if command:
            words += ['--', *command]
        self.process = subprocess.Popen(
            words, stdin=site, stdout=site, stderr=site, start_new_session=True,
            env={**os.environ, 'TERM': 'xterm'},
            preexec_fn=lambda: (restore_signals(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)))
        LIVE.add(self.process.pid)
        os.close(site)
        if not command and quiet:
            self.expect(r'[#$] ')
            self.send("PS1='rea''dy> '\n")
            self.expect(PROMPT)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind:
            end_at_once(self.process)
        elif self.process.returncode is None:
            self.leave()
        if self.host is not None:
            os.close(self.host)

    def resize(self, rows, columns):
        fcntl.ioctl(self.host, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def send(self, text):
        os.write(self.host, text.encode())

    def read(self, timeout):
        """What came within the time; '' when nothing did, None when the terminal is closed."""
        if not select.select([self.host], [], [], max(timeout, 0))[0]:
            return ''
        try:
            data = os.read(self.host, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b''
        return data.decode(errors='replace') if data else None

    def expect(self, pattern, timeout=TIMEOUT):
        """Wait until the site writes this, after what was expected before."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.seen[self.mark:])):
            text = self.read(deadline - time.monotonic())
            if text is None or (text == '' and time.monotonic() > deadline):
                raise Failure(f'{pattern!r} does not come; there is only '
                              f'{shorten(self.seen[self.mark:])}')
            self.seen += text
        self.mark += found.end()
        return found

    def command(self, text, output=None):
        """Type a command line, wait for its output and for the prompt; returns the output."""
        self.send(text + '\n')
        start = self.mark
        if output is not None:
            self.expect(output)
        self.expect(re.escape(PROMPT))
        return self.seen[start:self.mark]

    def leave(self, keys='exit\n'):
        self.send(keys)
        return self.finish()

    def finish(self, timeout=TIMEOUT):
        """Wait for the end of the site; returns the exit status."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise Failure(f'the site did not end; it wrote {shorten(self.seen[self.mark:])}')
            self.seen += self.read(0.05) or ''
        LIVE.discard(self.process.pid)
        await_no_children()
        expect(termios.tcgetattr(self.host), self.before, 'mode of the terminal')
        if self.clean:
            check_left_over(open(self.log_path, errors='replace').read())
        return exit_status(self.process)

    def hang_up(self):
        os.close(self.host)
        self.host = None
        self.process.wait(TIMEOUT)
        LIVE.discard(self.process.pid)
        await_no_children()

    def kill(self, number=signal.SIGKILL):
        self.clean = False
        self.process.send_signal(number)
        return self.finish()
