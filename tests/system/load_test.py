#!/usr/bin/python3
"""Actors come and go while a site runs: chorus load, kill."""
import os
import re
import struct
import time

from harness import (BUILD, TEST_IMAGE, Failure, Site, add_check, check, chorus, expect, expect_match, main, scratch, shell, wait_until)

HELLO = os.path.join(BUILD, 'servers/hello/hello')
CLIENT = os.path.join(BUILD, 'servers/hello/hello-client')
DISK = os.path.join(BUILD, 'actors/disk')
SPARE = 16  # host processes that may wait for another actor
PAIR = os.path.join(BUILD, 'tests/lib/server/greeter')


class Loading(Site):
    """A site called `l` whose command waits for its input to end."""

    def __init__(self, *options, command=('cat',)):
        super().__init__(*command, options=['--name', 'l', '--root', TEST_IMAGE, '--snapshot', *options])
        self.wait_until_up()
        # The command runs, so nothing is on its way any more.
        wait_until(lambda: len(self.rows()) >= 6, 'the command')

    def rows(self):
        return [line.split() for line in chorus('ps', '--name', 'l').good().decode().splitlines()[2:]]

    def names(self):
        return [row[0] for row in self.rows()]

    def host_processes(self):
        heading = chorus('ps', '--name', 'l').good().decode().splitlines()[0]
        return int(re.search(r'(\d+) of \d+ host processes', heading)[1])


    def settled(self):
        """What there is, when spare processes have come and gone. A process that was used may wait for its next actor."""
        found = None
        while (now := (self.names(), self.host_processes())) != found:
            found = now
            time.sleep(0.3)
        return found

    def expect_nothing_more(self, before):
        names, processes = self.settled()
        expect(names, before[0], 'what is there')
        if processes > before[1] + SPARE:
            raise Failure(f'{processes} host processes, and {before[1]} before')


def load(path, *words):
    return chorus('load', path, *words)


def refused(path, pattern, *words):
    result = load(path, *words)
    expect((result.status, result.out), (1, b''), f'status and output for {path}')
    expect_match(pattern, result.err)


# What is refused

@check
def without_a_site_nothing_is_loaded():
    for words in ['load', HELLO], ['kill', 'om'], ['replace', 'om', HELLO]:
        result = chorus(*words)
        expect((result.status, result.out), (1, b''))
        expect_match('no site is running', result.err)


@check
def wrong_words_are_refused():
    for words in (['load'], ['load', HELLO, HELLO], ['load', HELLO, '--place', 'moon'], ['load', HELLO, '--priority', '256'],
                  ['load', HELLO, '--name', 'two words'], ['kill'], ['kill', 'a', 'b'], ['replace', 'hello'], ['load', HELLO, '--']):
        result = chorus(*words)
        expect((result.status, result.out), (2, b''), f'{words}')


def damaged(change):
    path = scratch('-actor')
    data = bytearray(open(HELLO, 'rb').read())
    with open(path, 'wb') as file:
        file.write(change(data) or data)
    return path


def put(offset, layout, value):
    return lambda data: struct.pack_into(layout, data, offset, value)


def segments(data):
    """(offset in the file of the header, type) of each program header."""
    start, count = struct.unpack_from('<Q', data, 32)[0], struct.unpack_from('<H', data, 56)[0]
    return [(start + 56 * i, struct.unpack_from('<I', data, start + 56 * i)[0]) for i in range(count)]


def overlapping(data):
    place = [at for at, kind in segments(data) if kind == 1][3]
    struct.pack_into('<Q', data, place + 16, struct.unpack_from('<Q', data, place + 8)[0] % 4096)


def nth_load(n, field, value):
    def change(data):
        place = [at for at, kind in segments(data) if kind == 1][n]
        struct.pack_into('<Q', data, place + field, value)
    return change


def without_note(data):
    """Another owner's name in every note."""
    at = data.index(b'Chorus\0')
    data[at:at + 6] = b'Chaos!'


LIES = {
    'it is empty': (lambda data: data.__delitem__(slice(0, None)) or b'', 'not a file with anything'),
    'its header is cut': (lambda data: data[:40], 'too short'),
    'its program headers are cut': (lambda data: data[:100], 'outside the file'),
    'its code is cut': (lambda data: data[:20000], 'outside the file'),
    'it is for another machine': (put(18, '<H', 183), 'machine 183'),
    'it is of 32 bits': (put(4, 'B', 1), 'not a 64-bit'),
    'it is an object file': (put(16, '<H', 1), 'not a program'),
    'it has no program headers': (put(56, '<H', 0), '0 program headers'),
    'it has too many program headers': (put(56, '<H', 60000), '60000 program headers'),
    'its program headers lie beyond its end': (put(32, '<Q', 2 ** 63), 'outside the file'),
    'its entry is nowhere': (put(24, '<Q', 2 ** 40), 'not in its code'),
    'a segment begins beyond its end': (nth_load(1, 8, 2 ** 62), 'outside the file'),
    'a segment is larger in the file than in memory': (nth_load(3, 40, 16), 'more bytes in the file'),
    'a segment is as large as the world': (nth_load(3, 40, 2 ** 60), 'cannot be'),
    'a segment lies over another': (overlapping, 'overlaps'),
    'a segment is in the upper half': (nth_load(3, 16, 2 ** 63), 'cannot be'),
    'it is no actor': (without_note, 'without libchorus'),
}


@check
def what_lies_is_refused_with_the_reason_and_leaves_nothing():
    with Loading() as site:
        before = site.settled()
        for change, pattern in LIES.values():
            path = damaged(change)
            for place in 'user', 'supervisor':
                refused(path, pattern, '--place', place)
        refused('/no/such/file', 'No such file')
        refused('/', 'not a file with anything')
        refused('/etc/passwd', 'not a 64-bit')
        refused('/bin/sh', 'dynamically')
        site.expect_nothing_more(before)


@check
def what_does_not_fit_is_refused_and_leaves_nothing():
    def larger(data):
        place = [at for at, kind in segments(data) if kind == 1][-1]
        struct.pack_into('<QQ', data, place + 32, 200 << 20, 200 << 20)
    path = damaged(larger)
    os.truncate(path, 210 << 20)
    with Loading('--memory', '64M') as site:
        before = site.settled()
        for place in 'user', 'supervisor':
            refused(path, r'takes \d+ KB of memory, and \d+ KB are free', '--place', place)
        site.expect_nothing_more(before)
        os.truncate(path, 300 << 20)
        refused(path, 'File too large')


@check
def a_site_that_is_full_refuses_and_goes_on():
    with Loading('--processes', '16') as site:
        for _ in range(16):
            result = load(HELLO, '--name', 'many')
            if result.status != 0:
                break
        expect(result.status, 1)
        expect_match('could not be made', result.err)
        pids = [row[2] for row in site.rows() if row[0] == 'many']
        for pid in pids:
            chorus('kill', pid).good()
        wait_until(lambda: load(HELLO, '--name', 'again').status == 0, 'room for another')


# What is done

def loads_and_kills(place):
    def function():
        with Loading() as site:
            before = site.settled()
            expect_match(r'^hello runs \(\w+\.1\), in [\d.]+ ms\n$', load(HELLO, '--place', place).good())
            expect_match(r'^hello ', '\n'.join(site.names()) + ' ')
            load(CLIENT, '--place', place).good()
            site.wait_for_log('hello-client: passed')
            wait_until(lambda: not {'hello', 'hello-client'} & set(site.names()), 'the end of both')
            for _ in range(40):
                load(HELLO, '--place', place).good()
                expect(chorus('kill', 'hello').good().startswith(b'hello is gone'), True)
            site.expect_nothing_more(before)
    return function


for where in 'user', 'supervisor':
    add_check(f'a server is loaded, asked, ended and loaded again as a {where} actor', loads_and_kills(where))


@check
def an_actor_has_the_name_the_arguments_and_the_priority_that_were_asked_for():
    with Loading() as site:
        load(HELLO, '--name', 'friend', '--priority', '77').good()
        expect(site.names().count('friend'), 1)
        expect_match(r'thread 1 .* priority +77 .* friend', chorus('ps', '--threads').good())
        load(PAIR, '--name', 'counter', '--', '1', '50').good()
        site.wait_for_log(r'greeter: \d+ greetings')


@check
def an_actor_that_is_not_trusted_is_no_server():
    with Loading() as site:
        load(HELLO, '--untrusted').good()
        site.wait_for_log('cannot start: the caller has not the right')
        wait_until(lambda: 'hello' not in site.names(), 'its end')


@check
def one_of_several_actors_of_a_name_is_chosen_by_its_number():
    with Loading() as site:
        for _ in range(2):
            load(HELLO).good()
        result = chorus('kill', 'hello')
        expect(result.status, 1)
        expect_match('2 actors are called hello', result.err)
        first, second = [row for row in site.rows() if row[0] == 'hello']
        chorus('kill', first[2]).good()
        expect([row[2] for row in site.rows() if row[0] == 'hello'], [second[2]])
        chorus('kill', second[-1]).good()
        expect('hello' in site.names(), False)
        expect_match('no actor hello', chorus('kill', 'hello').err)


@check
def a_driver_is_unloaded_and_loaded_and_its_clients_go_on():
    with Loading(command=('sh', '-c', 'while read name; do cat $name | wc -c; done')) as site:
        chorus('kill', 'disk0').good()
        site.process.stdin.write(b'/bin/busybox\n')  # of which not all is in memory
        load(DISK).good()
        size = int(site.line())
        expect(size > 500000, True, f'the size read, {size},')
        expect(site.names().count('disk0'), 1)
        # It has its old place: when it dies it is started again.
        pid = next(int(row[2]) for row in site.rows() if row[0] == 'disk0')
        os.kill(pid, 9)
        wait_until(lambda: any(row[0] == 'disk0' and int(row[2]) != pid for row in site.rows()), 'the next driver')


@check
def a_unix_process_that_is_killed_from_outside_is_gone_for_its_parent():
    with Site('sh', '-c', 'sleep 1000; echo status $?', options=['--name', 'l']) as site:
        site.wait_until_up()
        wait_until(lambda: chorus('kill', 'sleep').status == 0, 'sleep to be there')
        expect(site.line(), b'status 137\n')


@check
def without_pm_the_site_ends_with_a_message():
    with Loading() as site:
        chorus('kill', 'pm').good()
        result = site.finish()
        expect(result.status, 125)
        expect_match('pm died; the site ends', result.log)


# From inside

def inside(script):
    result = shell(script, options=['--root', TEST_IMAGE, '--snapshot'])
    expect(result.err, b'', 'standard error')
    return result.out.decode()


@check
def inside_actors_are_started_seen_and_ended():
    text = inside("""arun /usr/local/bin/hello; aps | grep '^hello ' | wc -l
                     arun -S -n two -p 70 /usr/local/bin/hello; aps | grep '^two  *supervisor' | wc -l
                     akill hello two; aps | grep -c -e '^hello ' -e '^two '; aps | grep -c '^pm '""")
    expect_match(r'\Ahello runs \(\w+\.1\)\n1\ntwo runs \(\w+\.1\)\n1\nhello is gone\ntwo is gone\n0\n1\n\Z', text)


@check
def inside_what_cannot_be_started_is_refused_with_the_reason():
    script = """for file in /no/such/file /bin/busybox /etc/passwd /dev/null /root; do arun $file; echo $?; done
                head -c 20000 /usr/local/bin/hello >/root/cut; arun /root/cut; akill nobody; echo $?
                arun; echo $?; akill; echo $?; aps | grep -c hello; arun -p 256 /usr/local/bin/hello"""
    result = shell(script, options=['--root', TEST_IMAGE, '--snapshot'])
    expect(result.out.decode().split(), ['1', '1', '1', '1', '1', '1', '2', '2', '0'])
    for pattern in ("can't open /no/such/file", 'arun: /bin/busybox: it is no actor', 'arun: /etc/passwd: not a 64-bit', 'arun: not a file with anything',
                    'arun: /root/cut: segment . lies outside', 'akill: there is no actor nobody', 'usage: arun', 'usage: akill', 'no such place or priority'):
        expect_match(pattern, result.err)


@check
def inside_only_root_may():
    script = 'arun /usr/local/bin/hello; akill om; aps | grep -c "^om "; echo kill >/proc/chorus/actors'
    result = shell(script, options=['--user', '1000', '--root', TEST_IMAGE, '--snapshot'])
    expect(result.out, b'1\n')
    expect_match('arun: only root may\nakill: only root may\n.*ermission denied', result.err)


@check
def nonsense_in_the_file_of_commands_is_refused():
    script = """for text in 'load' 'load\\n' 'load\\n9\\n' 'load\\n0\\n\\n' 'load\\n99999999999999\\nx\\nuser\\ntrusted\\n\\n\\n' \\
                            'kill\\n' 'kill\\n\\n' 'replace\\nom\\nx\\n\\n' '\\n' 'load\\n-1\\nx\\n' 'kill\\nom'; do
                    printf "$text" >/proc/chorus/actors && echo taken: $text; done 2>/dev/null
                aps | grep -c '^om '"""
    expect(inside(script), '1\n')


main()
