#!/usr/bin/python3
"""Frames between sites, the hub, captures and the helper of --net user, below the Socket Manager: an actor of the test's own sends and receives."""
import os
import re
import signal
import socket
import struct
import subprocess
import time

from harness import (BUILD, CHORUS, LIVE, LONG, Failure, Site, check, children, chorus, expect, expect_match, main, need_tap, restore_signals,
                     scratch, wait_until, within)

FRAMER = os.path.join(BUILD, 'tests/drivers/framer')
NET = os.path.join(BUILD, 'actors/net')
NET_USER = os.path.join(BUILD, 'src/net-user')
KIND = 0x88b5
ASK, ANSWER, END = 1, 2, 3
PATIENT = 10000  # ms: what is not lost is not sent again, however busy the machine is


class Wire:
    """One end of a stream of frames."""

    def __init__(self, end):
        self.end = end
        self.have = b''

    def send(self, *frames):
        self.end.sendall(b''.join(struct.pack('>I', len(frame)) + frame for frame in frames))

    def receive(self, wanted=lambda frame: True, seconds=5.0):
        """The next frame that is wanted, or None."""
        deadline = time.monotonic() + seconds
        while True:
            while len(self.have) >= 4 and len(self.have) >= 4 + (length := struct.unpack('>I', self.have[:4])[0]):
                frame, self.have = self.have[4:4 + length], self.have[4 + length:]
                if wanted(frame):
                    return frame
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.end.settimeout(left)
            try:
                more = self.end.recv(1 << 18)
            except TimeoutError:
                return None
            if not more:
                raise Failure('the other side closed the connection')
            self.have += more

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.end.close()


def station(path):
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    end.connect(path)
    return Wire(end)


class Hub:
    """`chorus hub` in a process of its own."""

    def __init__(self, *options):
        self.path = scratch('.hub')
        self.start(*options)

    def start(self, *options):
        self.process = subprocess.Popen([CHORUS, 'hub', *options, self.path], preexec_fn=restore_signals)
        LIVE.add(self.process.pid)
        wait_until(lambda: try_connect(self.path), 'the hub')

    def kill(self):
        self.process.kill()
        self.process.wait()
        LIVE.discard(self.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        expect(self.process.wait(10), 0, 'status of the hub')
        LIVE.discard(self.process.pid)
        expect(os.path.exists(self.path), False, 'the hub leaves its socket')


class OwnHub:
    """A hub that a site starts, and that ends with the last site: a child of ours, since we are the subreaper."""

    def __init__(self, path):
        self.path = path
        self.found = []

    def see(self):
        wait_until(lambda: any(name == 'chorus-hub' and pid not in LIVE for pid, name in children().items()), 'its hub')
        self.found = [pid for pid, name in children().items() if name == 'chorus-hub' and pid not in LIVE]
        LIVE.update(self.found)

    def ends(self):
        wait_until(lambda: not os.path.exists(self.path), 'the hub to end')
        LIVE.difference_update(self.found)


class NetSite(Site):
    """A site without much in it; the framer is loaded into it."""

    def __init__(self, name, *options, waits=True, **how):
        self.name = name
        super().__init__('cat', options=['--name', name, '--memory', '128M', *options], **how)
        if waits:
            self.wait_until_up()

    def framer(self, *words):
        chorus('load', FRAMER, '--site', self.name, '--', *map(str, words)).good()

    def says(self, pattern, timeout=30):
        self.wait_for_log(pattern, timeout)
        return re.findall(pattern, self.log())[-1]


def site_on(name, hub, mac, *options, **how):
    return NetSite(name, '--net', f'hub:{hub},mac={mac}', *options, **how)


A, B = '02:00:00:00:00:0a', '02:00:00:00:00:0b'


def address(text):
    return bytes.fromhex(text.replace(':', ''))


def frame(to, from_, what, number, payload=b''):
    return address(to) + address(from_) + struct.pack('>HBB', KIND, what, 0) + struct.pack('<I', number) + payload


def pcap(path):
    """The frames of a capture."""
    data = open(path, 'rb').read()
    expect(data[:4], struct.pack('<I', 0xa1b23c4d), 'the file begins')
    frames, at = [], 24
    while at < len(data):
        captured, length = struct.unpack('<II', data[at + 8:at + 16])
        expect(captured, length, 'all of a frame is captured')
        frames.append(data[at + 16:at + 16 + captured])
        at += 16 + captured
    expect(at, len(data), 'the file ends with a frame')
    return frames


# Options

def refused(words, status, why):
    result = chorus('run', *words, '--', 'true')
    expect(result.status, status, f'status of {words}')
    expect_match(why, result.err)


@check
def what_makes_no_sense_is_refused():
    for words, why in {('--net', 'ether'): 'must begin with user',
                       ('--net', 'hub:'): '1 to 107 characters',
                       ('--net', 'tap:' + 'x' * 16): '1 to 15',
                       ('--net', 'user,mtu=9'): '576 to 65506',
                       ('--net', 'user,mac=01:00:00:00:00:00'): 'group',
                       ('--net', 'user,speed=3'): 'is not known',
                       ('--net', 'hub:/x,loopback'): 'is not known',
                       ('--net', 'none', '--forward', '80:80'): '--forward needs --net user',
                       ('--net', 'user', '--forward', '80'): 'HOSTPORT:PORT',
                       ('--net', 'user', '--forward', '0:80'): 'HOSTPORT:PORT',
                       ('--net', 'user', '--forward', 'tcp:host:1:80'): 'HOSTPORT:PORT'}.items():
        refused(words, 2, why)


@check
def what_the_host_refuses_is_said_and_nothing_is_left():
    busy = socket.create_server(('127.0.0.1', 0))
    for words, why in {('--net', 'hub:/no/such/folder/hub'): 'No such file',
                       ('--net', 'user', '--forward', f'{busy.getsockname()[1]}:80'): 'in use',
                       ('--net', 'hub:' + CHORUS): 'socket|exists|refused|denied',
                       ('--net', 'tap:chorus-none'): r'tap:chorus-none: ',
                       ('--net', 'user', '--capture', '/no/such/file'): 'No such file'}.items():
        refused(words, 125, why)


@check
def a_hub_says_that_there_is_one_already():
    with Hub() as hub:
        result = chorus('hub', hub.path)
        expect(result.status, 1)
        expect_match('a hub is there already', result.err)


# The hub alone

@check
def what_one_station_sends_all_others_get_in_order():
    with Hub() as hub, station(hub.path) as one, station(hub.path) as two, station(hub.path) as three:
        frames = [frame(A, B, ASK, i, bytes([i % 256]) * (i % 1500)) for i in range(500)]
        time.sleep(0.1)  # all three are known to the hub
        one.send(*frames)
        for other in two, three:
            for wanted in frames:
                expect(other.receive(), wanted)
        expect(one.receive(seconds=0.1), None, 'what the sender gets')


@check
def a_station_that_sends_nonsense_is_dropped_and_the_others_go_on():
    with Hub() as hub, station(hub.path) as one, station(hub.path) as two, station(hub.path) as bad, station(hub.path) as short:
        bad.end.sendall(b'\xff' * 100)
        short.end.sendall(struct.pack('>I', 1) + b'x' + struct.pack('>I', 0))  # passed over
        bad.end.settimeout(5)
        expect(bad.end.recv(100), b'', 'the connection of who sends nonsense')
        short.end.sendall(struct.pack('>I', 1000) + b'half a frame')
        one.send(frame(A, B, ASK, 1))
        expect(two.receive(), frame(A, B, ASK, 1))


@check
def a_station_that_takes_nothing_does_not_stop_the_others():
    with Hub('--patience', '50') as hub, station(hub.path) as one, station(hub.path) as two, station(hub.path):
        time.sleep(0.1)
        for i in range(300):
            one.send(frame(A, B, ASK, i, bytes(8000)))
            expect(two.receive()[16:20], struct.pack('<I', i))


@check
def the_hub_replaces_the_socket_of_a_dead_one():
    with Hub() as hub:
        hub.kill()
        expect(os.path.exists(hub.path), True)
        hub.start()


def try_connect(path):
    try:
        station(path).end.close()
        return True
    except OSError:
        return False


@check
def a_bad_hub_loses_and_doubles_and_reorders():
    with Hub('--lose', '100', '--double', '100', '--reorder', '100') as hub, station(hub.path) as one, station(hub.path) as two:
        time.sleep(0.1)
        one.send(*[frame(A, B, ASK, i) for i in range(2000)])
        got = []
        while (some := two.receive(seconds=0.5)) is not None:
            got.append(struct.unpack('<I', some[16:20])[0])
        lost, twice = 2000 - len(set(got)), len(got) - len(set(got))
        late = sum(after < before for before, after in zip(got, got[1:]))
        expect([100 < lost < 320, 100 < twice < 320, 80 < late < 320], [True] * 3, f'lost {lost}, doubled {twice}, late {late}')


# Sites

@check
def two_sites_exchange_frames_over_a_hub_and_both_capture_them():
    files = [scratch('.pcap'), scratch('.pcap')]
    with Hub() as hub, site_on('a', hub.path, A, '--capture', files[0]) as a, site_on('b', hub.path, B, '--capture', files[1]) as b:
        b.framer(0, 'echo')
        b.says('framer: echo on hub')
        a.framer(0, 'ask', B, 3000, 1500, 40, PATIENT)
        expect_match(r'3000 frames of 1500 bytes there and back, 0 sent again, 0 bad', a.says('framer: .* there and back.*'))
        b.says('framer: echo ended')
        a.finish()
        b.finish()
        first, second = (sorted(pcap(file)) for file in files)
        expect(len(first), 6001, 'frames in the capture')
        expect(first == second, True, 'both captures are the same')


@check
def a_fast_sender_is_slowed_down_and_nothing_is_lost():
    with Hub('--patience', '100000') as hub, site_on('a', hub.path, A) as a, site_on('b', hub.path, B) as b:
        for one, other, mac in (a, b, B), (b, a, A):
            other.framer(0, 'count')
            other.says('framer: counts on hub')
            one.framer(0, 'flood', mac, 1000000 if LONG else 50000, 1514)
            expect_match(f'framer: {1000001 if LONG else 50001} frames came', other.says('framer: .* frames came'))
            one.says('framer: .* sent, ')


@check
def the_driver_is_started_when_somebody_asks_for_it():
    with Hub() as hub, site_on('a', hub.path, A) as site:
        expect('net' in site.actors(), False, 'the driver is there')
        site.framer(0, 'info')
        site.says('framer: .* net0')
        expect('net' in site.actors(), True, 'the driver is there')


@check
def frames_of_all_lengths_pass_with_a_large_mtu():
    with Hub() as hub, NetSite('a', '--net', f'hub:{hub.path},mac={A},mtu=65506') as site, station(hub.path) as one:
        site.framer(0, 'echo')
        site.says('framer: echo on hub')
        for length in [0, 1, 44, 1480, 1481, 2012, 2013, 4063, 4064, 4065, 30000, 65499, 65500]:
            payload = os.urandom(length)
            one.send(frame(A, B, ASK, length, payload))
            expect(one.receive(), frame(B, A, ANSWER, length, payload), f'the echo of {length} bytes')


@check
def frames_for_others_and_too_long_ones_do_not_come_in():
    with Hub() as hub, site_on('a', hub.path, A) as site, station(hub.path) as one:
        site.framer(0, 'echo')
        site.says('framer: echo on hub')
        one.send(frame('02:00:00:00:00:0c', B, ASK, 1), frame('ff:ff:ff:ff:ff:ff', B, ASK, 2), frame('03:00:00:00:00:0c', B, ASK, 3),
                 frame(A, B, ASK, 4, bytes(30000)), frame(A, B, ASK, 5))
        # The echo of the long one does not go out: it is longer than the interface's MTU.
        expect([one.receive()[16] for _ in range(3)], [2, 3, 5], 'what the site answered')


@check
def requests_that_make_no_sense_are_refused_by_the_driver():
    with Hub() as hub, site_on('a', hub.path, A) as site:
        site.framer(0, 'wrong')
        expect(site.says(r'framer: \d+ wrong results'), 'framer: 0 wrong results', site.log())


@check
def each_of_several_interfaces_has_its_own_wire():
    with Hub() as one, Hub() as two, NetSite('a', '--net', f'hub:{one.path},mac={A}', '--net', 'user', '--net', f'hub:{two.path},mac={B}') as site, \
            station(two.path) as here:
        for number, wanted in enumerate([f'{A} net0 hub:.*hub mtu 1500 features 0 link 1 hint 0.0.0.0/0',
                                         r'02:43:48:\S+ net1 user mtu 1500 features 0 link 1 hint 10.0.2.15/24',
                                         f'{B} net2 hub:.*hub mtu 1500']):
            site.framer(number, 'info')
            site.says('framer: ' + wanted)
        site.framer(2, 'echo')
        site.says('framer: echo on hub')
        here.send(frame(B, A, ASK, 1), frame(A, B, END, 1), frame(B, A, END, 1))
        expect(here.receive(), frame(A, B, ANSWER, 1))
        site.says('framer: echo ended')
        site.framer(3, 'info')  # there is none: it waits for a driver
        time.sleep(0.2)
        expect('net3' in site.log(), False)


@check
def a_driver_that_dies_under_traffic_comes_back_and_its_clients_go_on():
    with Hub() as hub, site_on('a', hub.path, A) as a, site_on('b', hub.path, B) as b:
        b.framer(0, 'echo')
        b.says('framer: echo on hub')
        a.framer(0, 'ask', B, 200000 if LONG else 50000, 400, 40, 100)
        for _ in range(4):
            for site in a, b:
                wait_until(lambda site=site: 'net' in site.actors(), 'the driver')
                os.kill(site.actors()['net'], signal.SIGKILL)
            time.sleep(0.15)
        expect_match(' 0 bad', a.says('framer: .* there and back.*', 60))
        for site in a, b:
            expect_match('framer: another state, the link is up', site.log())


@check
def a_driver_is_replaced_under_traffic_and_no_frame_is_lost():
    with Hub() as hub, site_on('a', hub.path, A) as a, site_on('b', hub.path, B) as b:
        b.framer(0, 'echo')
        b.says('framer: echo on hub')
        a.framer(0, 'ask', B, 100000 if LONG else 12000, 1500, 20, PATIENT)
        wait_until(lambda: 'net' in a.actors(), 'the driver, which comes when it is asked for')
        for i in range(12):
            chorus('replace', 'net', NET, '--site', 'ab'[i % 2], '--place', ['user', 'supervisor'][i // 2 % 2]).good()
        expect_match(' 0 sent again, 0 bad', a.says('framer: .* there and back.*', 60))
        b.says('framer: echo ended')
        for site in a, b:
            expect('another state' in site.log(), False, 'clients notice nothing')


@check
def a_hub_that_dies_takes_the_link_down_and_the_next_one_brings_it_up():
    with Hub() as hub, site_on('a', hub.path, A) as site:
        site.framer(0, 'echo')
        site.says('framer: echo on hub')
        own = OwnHub(hub.path)
        hub.kill()
        own.see()
        site.says('framer: another state, the link is down')
        site.says('framer: another state, the link is up')
        with station(hub.path) as one:
            one.send(frame(A, B, ASK, 1))
            expect(one.receive(), frame(B, A, ANSWER, 1))
        site.process.send_signal(signal.SIGTERM)
        own.ends()
        hub.start()


@check
def a_hub_that_sends_nonsense_harms_nothing():
    path = scratch('.hub')
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen(8)
    server.settimeout(10)
    with site_on('a', path, A) as site:
        with Wire(server.accept()[0]) as one:
            site.framer(0, 'echo')
            site.says('framer: echo on hub')
            one.send(b'', b'x', os.urandom(13), os.urandom(65520))
            one.send(frame(A, B, ASK, 1))
            expect(one.receive(), frame(B, A, ANSWER, 1))
            one.end.sendall(struct.pack('>I', 65521) + os.urandom(70000))
            site.says('framer: another state, the link is down')
        with Wire(server.accept()[0]) as one:  # it has connected again
            site.says('framer: another state, the link is up')
            one.send(frame(A, B, ASK, 2))
            expect(one.receive(), frame(B, A, ANSWER, 2))
    server.close()


@check
def two_sites_without_a_hub_start_one_that_ends_with_them():
    path = scratch('.hub')
    own = OwnHub(path)
    with site_on('a', path, A, waits=False) as a, site_on('b', path, B, waits=False) as b:
        own.see()
        for site in a, b:
            site.wait_until_up()
        a.framer(0, 'echo')
        a.says('framer: echo on hub')
        b.framer(0, 'ask', A, 100, 60, 10, PATIENT)
        expect_match('0 bad', b.says('framer: .* there and back.*'))
        for site in a, b:
            site.process.send_signal(signal.SIGTERM)
        own.ends()


def switches(pid):
    """How often the threads of a process went to sleep."""
    return sum(int(re.search(r'^voluntary_ctxt_switches:\s+(\d+)', open(f'/proc/{pid}/task/{task}/status').read(), re.M)[1])
               for task in os.listdir(f'/proc/{pid}/task'))


@check
def an_idle_site_with_a_network_is_never_woken():
    with Hub() as hub, NetSite('a', '--net', 'user', '--net', f'hub:{hub.path}') as site:
        site.framer(0, 'echo')
        site.says('framer: echo on user')
        time.sleep(0.7)
        before = {pid: switches(pid) for pid in [site.process.pid, *site_children(site)]}
        time.sleep(10 if LONG else 3)
        expect({pid: switches(pid) for pid in before}, before, 'sleeps of its processes')


def site_children(site):
    """Its helpers: the keeper and what that has started."""
    found = []
    for parent in [site.process.pid]:
        for task in os.listdir(f'/proc/{parent}/task'):
            found += [int(child) for child in open(f'/proc/{parent}/task/{task}/children').read().split()]
    return found


# A tap interface, in a network of its own

ON_TAP = """
import socket, subprocess, sys, time
subprocess.run(['ip', 'link', 'set', 'tap9', 'up'], check=True)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('tap9', 0))
s.settimeout(10)
ask = bytes.fromhex(sys.argv[1])
def wait(wanted):
    while not wanted(some := s.recv(70000)):
        pass
    return some
if ask:
    s.send(ask)
    print(wait(lambda some: some[:6] == ask[6:12]).hex())
else:
    print('ready', flush=True)
    parts = b''
    while len(parts) < 4000:
        parts += wait(lambda some: some[12:14] == b'\\x08\\x00' and some[23] == 6)[54:]
    print(parts.hex())
"""


@check
def frames_pass_through_a_tap_and_large_ones_are_cut_by_the_host():
    need_tap()
    with NetSite('t', '--net', f'tap:tap9,mac={A}', prefix=('unshare', '-rn')) as site:
        site.framer(0, 'info')
        site.says('net0 tap:tap9 mtu 1500 features 77 link 1')
        site.framer(0, 'echo')
        site.says('framer: echo on tap:tap9')
        for number, length in enumerate([46, 1000, 1480]):
            payload = os.urandom(length)
            out, err = within(site, 'python3', '-c', ON_TAP, frame(A, B, ASK, number, payload).hex()).communicate(timeout=20)
            expect((out.strip(), err), (frame(B, A, ANSWER, number, payload).hex(), ''), 'the echo')
        listener = within(site, 'python3', '-c', ON_TAP, '')
        LIVE.add(listener.pid)
        expect(listener.stdout.readline(), 'ready\n')
        site.framer(0, 'large')
        expect(site.says('framer: features .*'), 'framer: features 77: 0; a large frame: 0')
        expect(listener.communicate(timeout=20)[0].strip(), bytes(i % 256 for i in range(4000)).hex())
        LIVE.discard(listener.pid)


# The helper of --net user

OURS, ROUTER = '02:00:00:00:00:01', '52:55:0a:00:02:02'


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f'>{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip(to, protocol, payload, from_='10.0.2.15'):
    addresses = socket.inet_aton(from_) + socket.inet_aton(to)
    head = struct.pack('>BBHHHBBH', 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + addresses
    return address(ROUTER) + address(OURS) + b'\x08\x00' + head[:10] + struct.pack('>H', checksum(head)) + head[12:] + payload


def udp(to, port, payload, from_port=4000):
    return ip(to, 17, struct.pack('>HHHH', from_port, port, 8 + len(payload), 0) + payload)


def tcp(to, port, flags, sequence=1000, acknowledge=0, from_port=4000, payload=b''):
    head = struct.pack('>HHIIBBHHH', from_port, port, sequence, acknowledge, 5 << 4, flags, 60000, 0, 0)
    pseudo = socket.inet_aton('10.0.2.15') + socket.inet_aton(to) + struct.pack('>BBH', 0, 6, len(head) + len(payload))
    return ip(to, 6, head[:16] + struct.pack('>H', checksum(pseudo + head + payload)) + head[18:] + payload)


ARP = bytes(6 * [255]) + address(OURS) + b'\x08\x06' + struct.pack('>HHBBH', 1, 0x800, 6, 4, 1)
IS_TCP, IS_UDP = (lambda some, protocol=protocol: some[12:14] == b'\x08\x00' and some[23] == protocol for protocol in (6, 17))
SYN, RST, ACK = 2, 4, 16


class Helper(Wire):
    """net-user, and we are the site."""

    def __init__(self, *options):
        ours, its = socket.socketpair()
        self.process = subprocess.Popen(['sh', '-c', 'exec "$@" 3<&0 0</dev/null', 'sh', NET_USER, *options], stdin=its, stderr=subprocess.PIPE,
                                        preexec_fn=restore_signals)
        its.close()
        super().__init__(ours)
        expect(self.process.stderr.read(), b'', 'what the helper says')
        # Who we are.
        self.send(ARP + address(OURS) + socket.inet_aton('10.0.2.15') + bytes(6) + socket.inet_aton('10.0.2.2'))
        expect(self.receive()[6:12], address(ROUTER), "the router's address")

    def __exit__(self, *unused):
        self.end.close()
        expect(self.process.wait(10), 0, 'status of the helper')
        self.process.stderr.close()


# Ways to say "the host itself".
SELF = ['10.0.2.2', '127.0.0.1', '127.1.2.3', '0.0.0.0', '255.255.255.255']


@check
def inside_does_not_reach_the_hosts_own_loopback():
    server, datagrams = socket.create_server(('127.0.0.1', 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(('127.0.0.1', 0))
    server.settimeout(0.3)
    datagrams.settimeout(0.3)
    with Helper() as helper:
        for to in SELF:
            helper.send(tcp(to, server.getsockname()[1], SYN), udp(to, datagrams.getsockname()[1], b'hello'))
        helper.send(tcp('10.0.2.2', server.getsockname()[1], SYN, from_port=4001))
        answer = helper.receive(IS_TCP)
        expect(answer and answer[47] & (SYN | RST), RST, 'flags of the answer')
        for wait in server.accept, lambda: datagrams.recv(100):
            try:
                raise Failure(f'the host was reached: {wait()}')
            except TimeoutError:
                pass


@check
def inside_reaches_the_hosts_loopback_when_told_so():
    server, datagrams = socket.create_server(('127.0.0.1', 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(('127.0.0.1', 0))
    server.settimeout(5)
    datagrams.settimeout(5)
    with Helper('--loopback') as helper:
        helper.send(tcp('10.0.2.2', server.getsockname()[1], SYN), udp('10.0.2.2', datagrams.getsockname()[1], b'hello'))
        expect(datagrams.recv(100), b'hello')
        server.accept()[0].close()
        expect(helper.receive(IS_TCP)[47], SYN | ACK)


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@check
def forwarded_ports_come_in_and_are_answered():
    port, other = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM)
    with Helper('--forward', f'tcp:127.0.0.1:{port}:80', '--forward', f'udp:127.0.0.1:{other}:53') as helper:
        with socket.create_connection(('127.0.0.1', port)):
            syn = helper.receive(IS_TCP)
            expect((syn[36:38], syn[47]), (struct.pack('>H', 80), SYN), 'port and flags of what comes in')
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            client.settimeout(5)
            stranger.bind(('127.0.0.1', 0))
            stranger.settimeout(0.3)
            client.sendto(b'question', ('127.0.0.1', other))
            question = helper.receive(IS_UDP)
            expect(question[42:], b'question')
            # Only who has asked is answered.
            helper.send(udp('10.0.2.2', stranger.getsockname()[1], b'sneaky', from_port=53),
                        udp(socket.inet_ntoa(question[26:30]), struct.unpack('>H', question[34:36])[0], b'answer', from_port=53))
            expect(client.recv(100), b'answer')
            try:
                raise Failure(f'a stranger got {stranger.recv(100)}')
            except TimeoutError:
                pass


@check
def a_helper_that_only_listens_sleeps():
    with Helper('--forward', f'tcp:127.0.0.1:{free_port(socket.SOCK_STREAM)}:80', '--forward', f'udp:127.0.0.1:{free_port(socket.SOCK_DGRAM)}:53') as helper:
        time.sleep(1.5)
        before = switches(helper.process.pid)
        time.sleep(1.5)
        expect(switches(helper.process.pid), before, 'sleeps')


@check
def the_helper_bears_random_frames():
    with Helper() as helper:
        for i in range(3000):
            kind = [b'\x08\x00', b'\x08\x06', b'\x86\xdd', os.urandom(2)][i % 4]
            helper.send(address(ROUTER) + address(OURS) + kind + [b'', b'\x45\x00', b'\x60\x00'][i % 3] + os.urandom(i % 300))
        helper.send(ARP + address(OURS) + socket.inet_aton('10.0.2.15') + bytes(6) + socket.inet_aton('10.0.2.2'))
        expect(helper.receive(lambda some: some[12:14] == b'\x08\x06' and some[20:22] == b'\x00\x02', 20) is not None, True, 'it answers still')


main()
