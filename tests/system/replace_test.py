#!/usr/bin/python3
"""Servers are replaced while they are used: chorus replace. No call is lost, and none is served twice; both ends count."""
import hashlib
import os
import re
import select
import shutil
import socket
import struct
import threading
import time

from harness import (BUILD, LONG, TEST_IMAGE, Failure, Site, add_check, check, chorus, expect, expect_match, image_copy, main,
                     scratch, shell, wait_until)
from png import picture

HELLO = os.path.join(BUILD, 'servers/hello/hello')
GREETER = os.path.join(BUILD, 'tests/lib/server/greeter')
BAD = os.path.join(BUILD, 'tests/lib/server/bad-successor')
TIMES = 100 if LONG else 12


def replace(site, *words):
    """It must be done; if not, what the site says of it is told."""
    result = chorus('replace', *words)
    if result.status != 0:
        raise Failure(f'replace {words}: {result.err}; the site: {site.process.poll()}, {site.log()[-3000:]}')
    return result.out


class Replacing(Site):
    def __init__(self, *options, command=('cat',)):
        super().__init__(*command, options=['--name', 'r', '--root', TEST_IMAGE, '--snapshot', *options])
        self.wait_until_up()
        wait_until(lambda: any(row[0] == command[0] for row in self.rows()), 'the command')
        time.sleep(0.1)  # by now it waits for its input, and nobody asks for files any more

    def rows(self):
        return [line.split() for line in chorus('ps', '--name', 'r').good().decode().splitlines()[2:]]

    def row(self, name):
        found = [row for row in self.rows() if row[0] == name]
        expect(len(found), 1, f'the number of actors {name}')
        return found[0]


def refused(words, pattern):
    result = chorus('replace', *words)
    expect((result.status, result.out), (1, b''), f'status and output of {words}')
    expect_match(pattern, result.err)


# What fails leaves the old one

@check
def a_successor_that_is_none_leaves_the_old_one():
    with Replacing() as site:
        chorus('load', HELLO).good()
        before = site.row('hello')
        refused(['hello', '/bin/true'], 'dynamically; the old one goes on')
        refused(['nobody', HELLO], 'no actor nobody')
        refused(['hello', GREETER, '--', '1', '20'], 'ended before it had taken over')
        refused(['cat', HELLO], 'was not started by the site|no actor cat')
        expect(site.row('hello')[-1], before[-1], 'its unique identifier')
        site.wait_for_log(r'greeter: \d+ greetings, \d+ waits, 0 failures')  # the old one answered it


@check
def a_successor_of_another_kind_leaves_the_old_one():
    """The disk's driver cannot take over from hello: hello says so."""
    with Replacing() as site:
        chorus('load', HELLO).good()
        before = site.row('hello')
        refused(['hello', os.path.join(BUILD, 'actors/om')], 'the new hello ended before it had taken over')
        expect(site.row('hello')[-1], before[-1], 'its unique identifier')
        site.wait_for_log('does not hand over')


@check
def who_only_pretends_to_take_over_gets_nothing():
    with Replacing() as site:
        chorus('load', HELLO).good()
        before = site.row('hello')
        refused(['hello', BAD, '--', 'hello', 'forges'], 'ended before it had taken over')
        site.wait_for_log('bad successor: forged: K_EPRIV, K_EPRIV, K_EINVAL')
        refused(['hello', BAD, '--', 'goodbye', 'ends'], 'ended before it had taken over')
        site.wait_for_log('bad successor: begun: K_EINVAL')
        expect(site.row('hello')[-1], before[-1], 'its unique identifier')


@check
def a_successor_that_gives_up_is_not_noticed_by_those_who_call():
    with Replacing() as site:
        chorus('load', HELLO).good()
        chorus('load', GREETER, '--', '4', '1500').good()
        for i in range(TIMES):
            refused(['hello', BAD, '--', 'hello', ('cancels', 'ends', 'faults')[i % 3]], 'ended before it had taken over')
        site.wait_for_log(r'greeter: \d+ greetings', timeout=60)
        expect_match(r'greeter: \d+ greetings, \d+ waits, 0 failures', '\n'.join(re.findall('greeter: .*', site.log())))
        expect(site.log().count('begun: K_OK'), TIMES)


# hello, under load

def replaced_under_load(places):
    def function():
        with Replacing('--memory', '64M') as site:
            chorus('load', HELLO, '--place', places[0]).good()
            chorus('load', GREETER, '--', '4', str(150 * TIMES)).good()
            for i in range(TIMES):
                expect_match('hello is replaced', replace(site, 'hello', HELLO, '--place', places[i % len(places)]))
            site.wait_for_log(r'greeter: \d+ greetings', timeout=60)
            counts = re.search(r'greeter: (\d+) greetings, (\d+) waits, (\d+) failures', site.log())
            expect(int(counts[3]), 0, f'failures among {counts[0]}')
            if int(counts[1]) < 10 * TIMES or int(counts[2]) == 0:
                raise Failure(f'that was no load: {counts[0]}')
            chorus('kill', 'hello').good()
    return function


add_check(f'hello is replaced {TIMES} times while it is used, as a user actor', replaced_under_load(['user']))
add_check(f'hello is replaced {TIMES} times while it is used, as a supervisor actor', replaced_under_load(['supervisor']))
add_check(f'hello moves to the other place and back while it is used, {TIMES} times', replaced_under_load(['supervisor', 'user']))


# The disk's driver

DISK = os.path.join(BUILD, 'actors/disk')
PROBER = os.path.join(BUILD, 'tests/drivers/prober')


def driver_counts(site):
    return [int(number) for number in re.findall(r'disk0: handed over after (\d+) requests', site.log())]


def disk_under_load(places):
    """om is ended first, so that all requests are the prober's, which repeats none."""
    def function():
        with Replacing('--place', f'disk={places[0]}') as site:
            chorus('kill', 'om').good()
            replace(site, 'disk0', DISK)
            chorus('load', PROBER, '--', '4', str(100 * TIMES), '20').good()
            for i in range(TIMES):
                expect_match('disk0 is replaced', replace(site, 'disk0', DISK, '--place', places[i % len(places)]))
            site.wait_for_log(r'prober: \d+ requests', timeout=60)
            replace(site, 'disk0', DISK)
            counts = re.search(r'prober: (\d+) requests, (\d+) failures', site.log())
            expect(int(counts[2]), 0, f'failures among {counts[0]}')
            served = driver_counts(site)
            expect(served[-1] - served[0], int(counts[1]), 'requests that the driver counted')
            if int(counts[1]) < 10 * TIMES:
                raise Failure(f'that was no load: {counts[0]}')
    return function


add_check(f'the disk driver is replaced {TIMES} times while it is used, as a user actor', disk_under_load(['user']))
add_check(f'the disk driver is replaced {TIMES} times while it is used, in both places', disk_under_load(['supervisor', 'user']))


@check
def a_driver_that_was_replaced_and_dies_is_started_again_as_it_was_last():
    with Replacing('--place', 'disk=supervisor') as site:
        expect(site.row('disk0')[1], 'supervisor')
        replace(site, 'disk0', DISK, '--place', 'user')
        expect(site.row('disk0')[1], 'system')
        pid = site.row('disk0')[2]
        os.kill(int(pid), 9)
        wait_until(lambda: any(row[0] == 'disk0' and row[2] != pid for row in site.rows()), 'the next driver')
        expect(site.row('disk0')[1], 'system')


@check
def files_are_whole_when_the_disk_driver_was_replaced_below_them():
    script = 'n=0; while [ $n -lt 20 ]; do seq 200000 >/root/f$n; sync; n=$((n+1)); done; echo; cat /root/f* | md5sum; read x'
    with Replacing(command=('sh', '-c', script)) as site:
        replaced = 0
        while not (done := select.select([site.process.stdout], [], [], 0.05)[0]):
            replace(site, 'disk0', DISK)
            replaced += 1
        site.line()
        wanted = hashlib.md5(''.join(f'{i}\n' for i in range(1, 200001)).encode() * 20).hexdigest()
        expect(site.line().split()[0].decode(), wanted)
        if replaced < 5:
            raise Failure(f'only {replaced} replacements')


@check
def a_successor_that_gives_up_gives_the_disk_back():
    with Replacing(command=('sh', '-c', 'while read name; do cat $name | wc -c; done')) as site:
        before = site.row('disk0')
        refused(['disk0', DISK, '--', '3'], 'ended before it had taken over')  # another disk's driver
        for how in 'cancels', 'ends', 'faults':
            for _ in range(5):
                refused(['disk0', BAD, '--', 'disk0', how], 'ended before it had taken over')
        expect(site.row('disk0')[-1], before[-1], 'its unique identifier')
        expect(site.log().count('bad successor: begun: K_OK, 12 bytes, cancelled: K_OK'), 15)
        site.process.stdin.write(b'/bin/busybox\n')
        if int(site.line()) < 500000:
            raise Failure('the disk is not read')


# om

OM = os.path.join(BUILD, 'actors/om')
FILER = os.path.join(BUILD, 'tests/om/filer')


def om_under_load(places):
    """Nobody but the filer asks om for anything meanwhile."""
    def function():
        with Replacing('--place', f'om={places[0]}') as site:
            replace(site, 'om', OM)
            chorus('load', FILER, '--', '4', str(100 * TIMES)).good()
            for i in range(TIMES):
                expect_match('om is replaced', replace(site, 'om', OM, '--place', places[i % len(places)]))
            site.wait_for_log(r'filer: \d+ requests', timeout=60)
            replace(site, 'om', OM)
            counts = re.search(r'filer: (\d+) requests, (\d+) failures', site.log())
            expect(int(counts[2]), 0, f'failures among {counts[0]}; {re.findall("filer: .*", site.log())}')
            served = [int(number) for number in re.findall(r'om: handed over after (\d+) requests', site.log())]
            expect(served[-1] - served[0], int(counts[1]), 'requests that om counted')
            if int(counts[1]) < 10 * TIMES:
                raise Failure(f'that was no load: {counts[0]}')
    return function


add_check(f'om is replaced {TIMES} times while it is used, as a user actor', om_under_load(['user']))
add_check(f'om is replaced {TIMES} times while it is used, in both places', om_under_load(['supervisor', 'user']))

# What programs have open, mapped, without a name, in a tmpfs, half written.
LIFE = """
cd /root; mkdir tmp; mount -t tmpfs none tmp; echo begun >tmp/note; ln -s note tmp/link; mkdir tmp/d
exec 5>nameless 6<nameless; rm nameless
n=0
while [ $n -lt 12 ]; do
    seq 1 20000 >f$n; echo line $n >>log; echo line $n >>tmp/log; echo text $n >&5
    cp f$n tmp/d/f; cmp f$n tmp/d/f || echo differs; mv f$n g$n; rm tmp/d/f
    n=$((n+1))
done
sleep 0.2
cat log; cmp log tmp/log && echo same; cat tmp/link; cat <&6; cat g* | md5sum; ls; ls tmp tmp/d
umount tmp; ls tmp; rm -r tmp
"""


def programs_do_not_notice(places, *options):
    def function():
        image = image_copy()
        wanted = shell(LIFE, options=['--root', image]).good()
        image = image_copy()
        with Site('sh', '-c', LIFE, options=['--name', 'r', '--root', image, '--place', f'om={places[0]}', *options]) as site:
            site.wait_until_up()
            replaced = 0
            while site.process.poll() is None and not select.select([site.process.stdout], [], [], 0.02)[0]:
                done = chorus('replace', 'om', OM, '--site', 'r', '--place', places[replaced % len(places)])
                if done.status != 0 and b'no running site' not in done.err + done.out and b'the site ends' not in done.err:
                    raise Failure(f'{done.err} {site.log()[-2000:]}')
                replaced += 1
            result = site.finish()
            expect((result.status, result.out), (0, wanted))
            if replaced < 5:
                raise Failure(f'only {replaced} replacements')
    return function


add_check('programs do not notice that om is replaced', programs_do_not_notice(['user']))
add_check('programs do not notice that om is replaced, in both places', programs_do_not_notice(['supervisor', 'user']))
add_check('programs do not notice that om is replaced, with little memory', programs_do_not_notice(['user'], '--memory', '24M'))


@check
def a_successor_that_gives_up_leaves_the_files_as_they_were():
    image = image_copy()
    wanted = shell(LIFE, options=['--root', image]).good()
    image = image_copy()
    with Site('sh', '-c', LIFE, options=['--name', 'r', '--root', image]) as site:
        site.wait_until_up()
        tried = 0
        while site.process.poll() is None and not select.select([site.process.stdout], [], [], 0.02)[0]:
            chorus('replace', 'om', BAD, '--site', 'r', '--', 'om', ('cancels', 'ends')[tried % 2])
            tried += 1
        result = site.finish()
        expect((result.status, result.out), (0, wanted))
        if result.log.count('begun: K_OK') < 5:
            raise Failure(f'only {tried} tries')


# The drivers of console, keyboard and screen, and the server of a folder: what they have in hand goes along.

def actor_file(name):
    return os.path.join(BUILD, 'actors', name)


def bad_ones_are_not_noticed(site, server, name):
    """Successors that begin and fail leave the old one."""
    before = site.row(name)
    for how in 'cancels', 'ends', 'faults':
        refused([name, BAD, '--', server, how], 'ended before it had taken over')
    refused([name, actor_file('share'), '--', '7'] if server != 'share7' else [name, OM], 'ended before it had taken over')
    expect(site.row(name)[-1], before[-1], 'its unique identifier')


class Window:
    """What a window tells the site, without a window: lib/devices' struct screen_message, over a socket that the site is given."""
    def __init__(self, name):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(os.path.join(os.environ['XDG_RUNTIME_DIR'], 'chorus', name))
            socket.send_fds(control, [b'do 7\nscreen\0'], [theirs.fileno()])
            answer, descriptors, _, _ = socket.recv_fds(control, 100, 1)
        theirs.close()
        for descriptor in descriptors:
            os.close(descriptor)
        expect(answer[:4], b'done', 'the answer of the site')

    def strike(self, code):
        events = [(0, 1, code, 0, value) for value in (1, 0)]
        body = b''.join(struct.pack('<HHHHi', *event) + struct.pack('<HHHHi', 0, 0, 0, 0, 0) for event in events)
        self.socket.send(struct.pack('<II', 4, 4) + body)


@check
def the_console_driver_is_replaced_below_streams_and_no_byte_is_lost_or_doubled():
    with Replacing('--place', 'console=user') as site:
        bad_ones_are_not_noticed(site, 'console', 'console')
        text, got = b''.join(b'%d\n' % i for i in range(300000)), bytearray()

        def read():
            while len(got) < len(text):
                got.extend(os.read(site.process.stdout.fileno(), 65536))

        def write():
            for at in range(0, len(text), 4096):
                site.process.stdin.write(text[at:at + 4096])
                site.process.stdin.flush()
                time.sleep(0.001)
        threads = threading.Thread(target=read), threading.Thread(target=write)
        for thread in threads:
            thread.start()
        replaced = 0
        while threads[1].is_alive():
            replace(site, 'console', actor_file('console'), '--place', ('supervisor', 'user')[replaced % 2])
            replaced += 1
        for thread in threads:
            thread.join()
        expect(hashlib.md5(got).hexdigest(), hashlib.md5(text).hexdigest(), 'what came out')
        if replaced < 5:
            raise Failure(f'only {replaced} replacements')
        # while the host takes no output
        site.process.stdin.write(text[:200000])
        site.process.stdin.flush()
        for _ in range(3):
            replace(site, 'console', actor_file('console'))
        got = bytearray()
        while len(got) < 200000:
            got += os.read(site.process.stdout.fileno(), 65536)
        expect(got == text[:200000], True, 'the rest is whole')


@check
def the_input_driver_is_replaced_while_keys_are_struck_and_none_is_lost():
    script = 'exec 3</dev/input/event0; echo open; cat <&3; true'  # the shell stays
    with Replacing('--framebuffer', '64x64', '--place', 'input=user', command=('sh', '-c', script)) as site:
        site.line()
        bad_ones_are_not_noticed(site, 'input', 'input')
        window, data, struck = Window('r'), bytearray(), 0
        replacing = threading.Thread(target=lambda: [replace(site, 'input', actor_file('input'), '--place', ('supervisor', 'user')[i % 2])
                                                     for i in range(TIMES)])
        replacing.start()
        while replacing.is_alive():
            window.strike(1 + struck % 80)
            struck += 1
            while len(data) < (struck - 40) * 96:  # a few of them are on their way at any time
                data += os.read(site.process.stdout.fileno(), 65536)
        while len(data) < struck * 96:
            data += os.read(site.process.stdout.fileno(), 65536)
        events = [struct.unpack('<HHi', data[at + 16:at + 24]) for at in range(0, len(data), 24)]
        expect(events, [event for i in range(struck) for event in ((1, 1 + i % 80, 1), (0, 0, 0), (1, 1 + i % 80, 0), (0, 0, 0))])
        if struck < 20 * TIMES:
            raise Failure(f'only {struck} keys')


@check
def the_screen_driver_is_replaced_while_a_program_draws():
    with Site('picture', str(20 * TIMES), options=['--name', 'r', '--root', TEST_IMAGE, '--snapshot', '--framebuffer', '320x200',
                                                   '--place', 'screen=user']) as site:
        expect(site.line(), b'320 x 200, 32 bits, red at 16, lines of 1280 bytes\n')
        before = chorus('ps', '--name', 'r').good()
        refused(['screen', BAD, '--', 'screen', 'cancels'], 'ended before it had taken over')
        expect(re.findall(rb'^screen .*$', before, re.MULTILINE)[0].split()[-1],
               re.findall(rb'^screen .*$', chorus('ps', '--name', 'r').good(), re.MULTILINE)[0].split()[-1], 'its unique identifier')
        replaced = 0
        while not select.select([site.process.stdout], [], [], 0.05)[0]:
            replace(site, 'screen', actor_file('screen'), '--place', ('supervisor', 'user')[replaced % 2])
            replaced += 1
        expect(site.line(), b'drawn\n')
        if replaced < 5:
            raise Failure(f'only {replaced} replacements')
        shots = scratch('.png'), scratch('.png')
        wanted = b'\0\0\0' + b'\xff' * (3 * (320 * 200 - 1))

        def shot(path):
            return chorus('screenshot', path, '--name', 'r', '--framebuffer').status == 0 and b''.join(picture(path)[2]) == wanted
        wait_until(lambda: shot(shots[0]), 'the last picture')
        replace(site, 'screen', actor_file('screen'))  # nobody draws: the picture went along
        wait_until(lambda: shot(shots[1]), 'the same picture')
        site.process.stdin.write(b'\n')
        expect(site.process.wait(20), 0, 'the exit status')


@check
def the_server_of_a_folder_is_replaced_while_it_is_used():
    path = scratch('-share')
    os.mkdir(path)
    shutil.copy(os.path.join(BUILD, 'tests/programs/rewritten'), f'{path}/program')
    script = r"""cd /mnt; exec 5>nameless 6<nameless; rm nameless; n=0
        while [ ! -e end ]; do mkdir d || echo twice; echo line $n >>log; echo $n >&5; mv d e; seq 2000 >e/f; ./program word >e/g
            cmp -s e/g word || echo other; rm e/f e/g; rmdir e || echo lost; n=$((n+1)); done
        wc -l <log; wc -l <&6; echo $n; cat log | md5sum; read x"""
    with open(f'{path}/word', 'w') as file:
        file.write('one\n')
    with Replacing('--share', path, '--place', 'share=user', command=('sh', '-c', script)) as site:
        bad_ones_are_not_noticed(site, 'share0', 'share0')
        refused(['share0', actor_file('share'), '--', '1'], 'ended before it had taken over')
        for i in range(TIMES):
            replace(site, 'share0', actor_file('share'), '--place', ('supervisor', 'user')[i % 2], '--', '0')
            time.sleep(0.02)
        with open(f'{path}/end', 'w'):
            pass
        lines = [int(site.line()) for _ in range(3)]
        expect(lines, [lines[2]] * 3, 'lines of the log, of the nameless file, and rounds')
        wanted = ''.join(f'line {i}\n' for i in range(lines[2])).encode()
        expect(site.line().split()[0].decode(), hashlib.md5(wanted).hexdigest())
        if lines[2] < TIMES // 2:
            raise Failure(f'that was no load: {lines[2]} rounds')


main()
