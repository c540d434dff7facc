#!/usr/bin/python3
"""Servers are replaced while they are used: chorus replace. No call is lost, and none is served twice; both ends count."""
import hashlib
import os
import re
import select
import time

from harness import (BUILD, LONG, TEST_IMAGE, Failure, Site, add_check, check, chorus, expect, expect_match, image_copy, main,
                     shell, wait_until)

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


main()
