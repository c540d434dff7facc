#!/usr/bin/python3
"""The console on a pseudo-terminal or a socket: --serial."""
import contextlib
import hashlib
import os
import re
import select
import socket
import subprocess
import time

from harness import BUSYBOX, CHORUS, LIVE, TIMEOUT, Failure, Site, await_no_children, check, chorus, end_at_once, expect, expect_match, main, scratch


@contextlib.contextmanager
def begin(where, *command):
    """A site, and the line by which it says where its console is. It is ended, whatever fails."""
    words = [CHORUS, 'run', '--serial', where, *(['--', *command] if command else [])]
    site = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    LIVE.add(site.pid)
    try:
        yield site, site.stderr.readline().decode()
    finally:
        if site.pid in LIVE:
            end_at_once(site)


def read_until(descriptor, pattern):
    found, deadline = b'', time.monotonic() + TIMEOUT
    while not re.search(pattern, found):
        left = max(deadline - time.monotonic(), 0)
        if not select.select([descriptor], [], [], left)[0]:
            raise Failure(f'{pattern} did not come: {found}')
        part = os.read(descriptor, 1000)
        if not part:
            raise Failure(f'{pattern} did not come before the end: {found}')
        found += part
    return found


def end(site, status):
    expect((site.wait(TIMEOUT), site.stdout.read()), (status, b''), 'status and output')
    LIVE.discard(site.pid)
    await_no_children()


@check
def a_console_that_cannot_be_made_is_refused():
    there = scratch()
    open(there, 'w').close()
    for where, reason in ((there, 'in use'), ('/nonexistent/socket', 'No such file'), ('/tmp/' + 200 * 'x', 'too long')):
        result = chorus('run', '--serial', where, '--', 'true')
        expect((result.status, result.out), (125, b''), f'status with {where}')
        expect_match(reason, result.err)
    expect(os.path.getsize(there), 0)


@check
def a_shell_on_a_pseudo_terminal():
    with begin('pty') as (site, line):
        name = re.fullmatch('chorus: the console is (/dev/pts/[0-9]+)\n', line)
        terminal = os.open(name[1], os.O_RDWR | os.O_NOCTTY)
        os.write(terminal, b'tty; echo wel""come\n')
        read_until(terminal, rb'/dev/hvc0\r\nwelcome\r\n')
        os.close(terminal)  # who attaches may go, and come again
        terminal = os.open(name[1], os.O_RDWR | os.O_NOCTTY)
        os.write(terminal, b'sh -c \'echo run""ning; sleep 1000; echo not so\'\n')
        read_until(terminal, rb'running\r\n')
        os.write(terminal, b'\x03')
        read_until(terminal, rb'chorus:~# ')
        os.write(terminal, b'echo st""ill; exit 5\n')
        read_until(terminal, rb'still')
        end(site, 5)
        os.close(terminal)


@check
def a_shell_on_a_socket():
    path = scratch('.socket')
    with begin(path) as (site, line):
        expect(line, f'chorus: the site starts when somebody connects to {path}\n')
        expect(os.stat(path).st_mode & 0o777, 0o700)
        with socket.socket(socket.AF_UNIX) as terminal:
            terminal.connect(path)
            terminal.sendall(b'echo wel""come; exit 6\n')
            read_until(terminal.fileno(), rb'welcome\r\n')
            end(site, 6)
        expect(os.path.exists(path), False)


@check
def a_command_has_its_own_streams_and_the_console_beside_them():
    with begin('pty', 'sh', '-c', 'echo to the console >/dev/console; echo to the host; read x </dev/console; echo $x') as (site, line):
        terminal = os.open(line.split()[-1], os.O_RDWR | os.O_NOCTTY)
        read_until(terminal, rb'to the console\r\n')
        os.write(terminal, b'from the console\n')
        expect(site.stdout.read(), b'to the host\nfrom the console\n')
        end(site, 0)
        os.close(terminal)


# A peer that does not read

FLOOD = 'yes | dd of=/dev/console bs=10000 count=100 iflag=fullblock 2>/dev/null && echo written & echo up; while read line; do md5sum </bin/busybox; echo "$line"; done'


@contextlib.contextmanager
def blocked(name, where):
    """A site with a program that writes a million bytes to a console whose other end is open and read by nobody, and a shell beside it; the other end."""
    with Site('sh', '-c', FLOOD, options=['--name', name, '--serial', where]) as site:
        line = site.process.stderr.readline().decode()
        if where == 'pty':
            terminal = os.open(line.split()[-1], os.O_RDWR | os.O_NOCTTY)
        else:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(where)
                terminal = connection.detach()
        try:
            expect(site.line(), b'up\n')
            time.sleep(0.2)  # the flood has come as far as it can
            yield site, terminal
        finally:
            os.close(terminal)


@check
def a_peer_that_does_not_read_holds_up_who_writes_to_it_and_nobody_else():
    sum = hashlib.md5(open(BUSYBOX, 'rb').read()).hexdigest().encode() + b'  -\n'
    for where in 'pty', scratch('.socket'):
        with blocked('slow', where) as (site, terminal):
            for word in b'one\n', b'two\n':
                site.process.stdin.write(word)
                expect((site.line(), site.line()), (sum, word), 'a sum and a word')
            expect(len(chorus('ps', '--name', 'slow').good()) > 100, True, 'a list of actors')
            found = b''
            while len(found) < 1500000:  # each line of yes has a return here
                expect(bool(select.select([terminal], [], [], TIMEOUT)[0]), True, 'there are more')
                found += os.read(terminal, 65536)
            expect(found == b'y\r\n' * 500000, True, 'all of it, once')
            expect(site.line(), b'written\n')


@check
def a_site_ends_although_its_peer_does_not_read_or_has_gone():
    path = scratch('.socket')
    for goes in False, True:
        with blocked('gone', path) as (site, terminal):
            if goes:
                nowhere = os.open('/dev/null', os.O_RDONLY | os.O_CLOEXEC)
                os.dup2(nowhere, terminal)  # the connection is closed
                os.close(nowhere)
                site.process.stdin.write(b'alone\n')
                site.line()
                expect(site.line(), b'alone\n')
            chorus('stop', '--name', 'gone').good()
            expect(site.finish().status, 0, 'the status')


main()
