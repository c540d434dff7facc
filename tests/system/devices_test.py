#!/usr/bin/python3
"""Devices and their drivers: the smallest pair, and drivers that are killed by hand while everything is in use. Random moments and data come from a seed,
which is printed; CHORUS_TEST_SEED sets it."""
import hashlib
import os
import random
import re
import socket
import struct
import threading
import time

from harness import BUILD, LONG, TEST_IMAGE, Failure, Site, check, chorus, expect, main, scratch, wait_until
from xserver import Shown, XServer

SEED = int(os.environ.get('CHORUS_TEST_SEED') or time.time_ns() % 1000000)
RANDOM = random.Random(SEED)
if os.geteuid() != 0:
    print(f'# CHORUS_TEST_SEED={SEED}')
ENTROPY = os.path.join(BUILD, 'actors/entropy')
ROLLER = os.path.join(BUILD, 'tests/drivers/roller')


# The smallest pair

@check
def the_entropy_driver_is_loaded_asked_killed_and_loaded_again():
    with Site('cat', options=['--name', 'e']) as site:
        site.wait_until_up()
        for place in 'user', 'supervisor':
            chorus('load', ENTROPY, '--place', place).good()
            chorus('load', ROLLER, '--', '50').good()
            wait_until(lambda place=place: site.log().count(' failures') == 1 + (place != 'user'), 'the roller')
            chorus('kill', 'entropy').good()
        found = re.findall(r'roller: (\d+) requests, (\d+) failures', site.log())
        expect(([int(count) > 10 for count, _ in found], [bad for _, bad in found]), ([True, True], ['0', '0']), 'requests and failures')


@check
def who_asks_the_entropy_driver_goes_on_when_it_dies():
    with Site('cat', options=['--name', 'e']) as site:
        site.wait_until_up()
        chorus('load', ENTROPY).good()
        chorus('load', ROLLER, '--', '400').good()
        for _ in range(3):
            time.sleep(0.05)
            chorus('kill', 'entropy').good()
            chorus('load', ENTROPY).good()
        site.wait_for_log(r'roller: \d+ requests, 0 failures')


@check
def the_driver_of_dev_hwrng_is_started_when_somebody_reads_it_and_again_when_it_dies():
    script = '''stat -c '%A %t %T' /dev/hwrng; su -s /bin/sh nobody -c 'cat /dev/hwrng' 2>&1; echo x 2>&1 >/dev/hwrng; while read line; do head -c 3000 /dev/hwrng | md5sum; done'''
    with Site('sh', '-c', script, options=['--name', 'h', '--place', 'entropy=user']) as site:
        expect([site.line() for _ in range(3)], [b'crw------- a b7\n', b"cat: can't open '/dev/hwrng': Permission denied\n", b'sh: write error: Invalid argument\n'])
        expect('entropy' in site.actors(), False, 'a driver that nobody has asked for')
        sums = set()
        for _ in range(3):
            site.process.stdin.write(b'\n')
            sums.add(site.line())
            os.kill(site.actors()['entropy'], 9)
        expect(len(sums), 3, 'different sums')
        expect(site.finish(b'').out, b'')


# Killed by hand under load

DEVICES = {'disk0': ['disk0'], 'disk1': ['disk1'], 'console': ['console0'], 'screen': ['screen0'], 'input': ['keyboard0', 'mouse0'], 'net': ['net0']}


class Server:
    """A server of the host's loopback that sends the same bytes to whoever connects."""

    def __init__(self, data):
        self.listener, self.data = socket.create_server(('127.0.0.1', 0)), data
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client = self.listener.accept()[0]
                with client:
                    client.sendall(self.data)
            except OSError:
                if self.listener.fileno() < 0:
                    return

    def close(self):
        self.listener.close()


class Stream(threading.Thread):
    """Random bytes to a site's standard input, as fast as they come back on its output, until told to end; compares them."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site, self.ends, self.bytes, self.wrong = site, False, 0, None

    def run(self):
        while not self.ends and self.wrong is None:
            data = RANDOM.randbytes(200000)
            writer = threading.Thread(target=self.site.process.stdin.write, args=(data,), daemon=True)
            writer.start()
            back = b''
            while len(back) < len(data):
                back += os.read(self.site.process.stdout.fileno(), len(data) - len(back)) or bytes(len(data))
            if back != data:
                at = next(i for i in range(len(data)) if back[i] != data[i])
                self.wrong = f'byte {self.bytes + at} came back as another'
            writer.join()
            self.bytes += len(data)


class Deaths:
    """Kills drivers, and measures how long their devices are without one: as the host sees it, and by the site's clock."""

    def __init__(self, site):
        self.site, self.outside, self.inside = site, {name: [] for name in DEVICES}, {name: [] for name in DEVICES}

    def kill(self, name):
        log = open(self.site.log_path)
        log.seek(0, os.SEEK_END)
        pid = wait_until(lambda: self.site.actors().get(name), f'the driver {name}')
        began, text, deadline = time.monotonic(), '', time.monotonic() + 20
        os.kill(pid, 9)
        while not all(f'device {device}: driven again' in text for device in DEVICES[name]):
            if time.monotonic() > deadline:
                raise Failure(f'{name} did not come back (seed {SEED}): {self.site.log()[-2000:]}')
            time.sleep(0.001)
            text += log.read()
        self.outside[name].append(1000 * (time.monotonic() - began))
        self.inside[name] += [int(us) / 1000 for us in re.findall(r'driven again after (\d+) us', text)]

    def tell(self):
        for name, times in self.outside.items():
            times.sort()
            within = sum(time <= 100 for time in times)
            print(f'# {name}: {len(times)} kills, back after {times[len(times) // 2]:.0f} ms in the middle, {times[-1]:.0f} ms at most, {within} within 100 ms; '
                  f'by the site\'s clock {max(self.inside[name]):.0f} ms at most')


@check
def every_driver_is_killed_while_everything_is_in_use_and_nothing_is_lost():
    """A checksum of a disk again and again, of files, of what the network brings; the framebuffer is drawn on in a window, keys are typed, bytes go in and out."""
    kills, image, data = (100 if LONG else 3), scratch('.disk'), RANDOM.randbytes(300000)
    with open(image, 'wb') as file:
        file.write(RANDOM.randbytes(24 << 20))
    server = Server(data)
    script = r'''
        cat /dev/input/event0 >/tmp/keys & keys=$!
        while [ ! -e /tmp/end ]; do md5sum </dev/vdb; done >/tmp/disk 2>&1 & work=$!
        while [ ! -e /tmp/end ]; do nc 10.0.2.2 PORT </dev/null | md5sum; done >/tmp/net 2>&1 & work="$work $!"
        while [ ! -e /tmp/end ]; do picture 20 </dev/null >/dev/null || echo failed; done >/tmp/picture 2>&1 & work="$work $!"
        echo up; cat; >/tmp/end; wait $work; kill $keys
        for file in disk net picture; do sort </tmp/$file | uniq -c; done; echo keys; cat /tmp/keys'''.replace('PORT', str(server.port))
    options = ['--root', TEST_IMAGE, '--snapshot', '--disk', image, '--framebuffer', '640x400', '--net', 'user,loopback', '--memory', '96M',
               '--place', 'disk=user,console=user,net=user,screen=user,input=user']
    with XServer() as x, Shown(x, 'deaths', 'sh', '-c', script, options=options) as site:
        expect(site.line(), b'up\n')
        wait_until(lambda: 'net' in site.actors(), "the network's driver")
        stream, deaths = Stream(site), Deaths(site)
        stream.start()
        for _ in range(kills):
            for name in RANDOM.sample(list(DEVICES), len(DEVICES)):
                x.type('a')
                time.sleep(RANDOM.uniform(0, 0.05))
                deaths.kill(name)
        deaths.tell()
        stream.ends = True
        stream.join(60)
        expect((stream.is_alive(), stream.wrong), (False, None), f'bytes in and out (seed {SEED})')
        out = site.finish(b'').out
    server.close()
    text, keys = out.split(b'keys\n', 1)
    lines = [line.split(None, 1)[1].decode() for line in text.splitlines()]
    expect(lines, [hashlib.md5(open(image, 'rb').read()).hexdigest() + '  -', hashlib.md5(data).hexdigest() + '  -'],
           f'sums of the disk and of what the network brought, and complaints of who draws (seed {SEED})')
    events = [struct.unpack('<HHi', keys[at + 16:at + 24]) for at in range(0, len(keys) - 23, 24)]
    expect(len([1 for event in events if event == (0, 3, 0)]), kills, 'how often the reader of keys is told that some may be lost')
    expect(stream.bytes > 0 and (1, 30, 1) in events, True, 'bytes and keys')


main()
