#!/usr/bin/python3
"""Hostile traffic and back ends that fail: the site goes on, honest connections go on, what the Socket Manager keeps is bounded, and nobody comes in where nobody was let in."""
import os
import re
import signal
import socket
import struct
import subprocess
import time

from harness import (CHORUS, LIVE, LONG, TEST_IMAGE, Failure, Site, check, children, chorus, descendants, comm, expect, expect_match, main, need_tap, restore_signals,
                     run, scratch, wait_until)

ROOT = ('--root', TEST_IMAGE, '--snapshot')
OURS, ITS = b'\x02\0\0\0\0\x0b', b'\x02\0\0\0\0\x0a'
SYN, ACK = 2, 16
MEGABYTE = 1 << 20
PATIENCE = 50


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def page(port):
    with socket.create_connection(('127.0.0.1', port), timeout=PATIENCE) as end:
        end.sendall(b'GET /page HTTP/1.0\r\n\r\n')
        answer = b''
        while more := end.recv(1 << 16):
            answer += more
    return answer.partition(b'\r\n\r\n')[2]


class Hub:
    def __init__(self):
        self.path = scratch('.hub')
        self.start()

    def start(self):
        self.process = subprocess.Popen([CHORUS, 'hub', self.path], preexec_fn=restore_signals)
        LIVE.add(self.process.pid)
        wait_until(lambda: os.path.exists(self.path), 'the hub')

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait()
        LIVE.discard(self.process.pid)


def memory(name, actor='sm'):
    """Bytes of an actor."""
    line = next(line.split() for line in chorus('ps', '--name', name).good().decode().splitlines() if line.startswith(actor + ' '))
    number = next(re.fullmatch(r'([0-9.]+)([KMG])', word) for word in line if re.fullmatch(r'[0-9.]+[KMG]', word))
    return float(number[1]) * {'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}[number[2]]


# Frames of a stranger

def checksum(data):
    total = sum(struct.unpack(f'>{(len(data) + 1) // 2}H', data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Stranger:
    """10.9.0.9 on the hub: it sends what frames it likes, at once with their length before them."""

    def __init__(self, path):
        self.end = socket.socket(socket.AF_UNIX)
        self.end.connect(path)
        self.end.settimeout(PATIENCE)
        self.have = b''
        time.sleep(0.1)  # the hub knows us
        # Who we are: so that the site need not ask, and we need not answer.
        self.send([ITS + OURS + b'\x08\x06' + struct.pack('>HHBBH', 1, 0x800, 6, 4, 1) + OURS + socket.inet_aton('10.9.0.9') + bytes(6) + socket.inet_aton('10.9.0.1')])

    def send(self, frames):
        self.end.sendall(b''.join(struct.pack('>I', len(frame)) + frame for frame in frames))

    def frames(self):
        """Those that have come, without waiting."""
        self.end.setblocking(False)
        try:
            while more := self.end.recv(1 << 18):
                self.have += more
        except BlockingIOError:
            pass
        self.end.settimeout(PATIENCE)
        found = []
        while len(self.have) >= 4 and len(self.have) >= 4 + (length := struct.unpack('>I', self.have[:4])[0]):
            found.append(self.have[4:4 + length])
            self.have = self.have[4 + length:]
        return found

    def tcp(self, from_port, flags, sequence=1000, acknowledge=0):
        head = struct.pack('>HHIIBBHHH', from_port, 80, sequence, acknowledge, 5 << 4, flags, 60000, 0, 0)
        addresses = socket.inet_aton('10.9.0.9') + socket.inet_aton('10.9.0.1')
        head = head[:16] + struct.pack('>H', checksum(addresses + struct.pack('>BBH', 0, 6, 20) + head)) + head[18:]
        ip = struct.pack('>BBHHHBBH', 0x45, 0, 40, 0, 0, 64, 6, 0) + addresses
        return ITS + OURS + b'\x08\x00' + ip[:10] + struct.pack('>H', checksum(ip)) + ip[12:] + head

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.end.close()


class Attacked(Site):
    """A site with a web server: strangers are on its hub, honest clients come by a forwarded port."""

    def __init__(self, hub):
        self.name, self.port = f'flood{os.getpid()}', free_port()
        serve = 'ifconfig eth0 10.9.0.1; mkdir w; head -c 20000 /dev/zero >w/page; httpd -p 80 -h w; echo up; read x'
        super().__init__('sh', '-c', serve, options=[*ROOT, '--name', self.name, '--cwd', '/tmp', '--net', f'hub:{hub.path},mac=02:00:00:00:00:0a', '--net', 'user',
                                                     '--forward', f'{self.port}:80'])
        expect(self.line(), b'up\n')
        self.honest()
        self.before = memory(self.name)

    def honest(self):
        expect(page(self.port), bytes(20000), 'the page for an honest client')

    def expect_little(self, megabytes):
        grown = memory(self.name) - self.before
        expect(grown <= megabytes * MEGABYTE, True, f'sm has grown by at most {megabytes} MB, and not by {grown / MEGABYTE:.1f}')


@check
def a_flood_of_syns_keeps_no_honest_client_out_and_little_memory():
    with Hub() as hub, Attacked(hub) as site, Stranger(hub.path) as stranger:
        for first in range(0, 200000 if LONG else 20000, 2000):
            stranger.send([stranger.tcp(1024 + (first + i) % 60000, SYN) for i in range(2000)])
            stranger.frames()
            site.honest()
        site.expect_little(4)
        site.finish(b'\n')


@check
def connections_that_are_made_by_the_thousand_and_never_used_keep_no_honest_client_out_for_good():
    with Hub() as hub, Attacked(hub) as site, Stranger(hub.path) as stranger:
        made = 0
        for first in range(0, 3000, 100):
            stranger.send([stranger.tcp(2000 + first + i, SYN) for i in range(100)])
            for _ in range(20):
                time.sleep(0.002)
                answers = [frame for frame in stranger.frames() if frame[12:14] == b'\x08\x00' and frame[23] == 6 and frame[47] == SYN | ACK]
                made += len(answers)
                stranger.send([stranger.tcp(struct.unpack('>H', frame[36:38])[0], ACK, 1001, struct.unpack('>I', frame[38:42])[0] + 1) for frame in answers])
        expect(made >= 1000, True, f'connections were made, and not only {made}')
        site.expect_little(16)
        # Each is a process of httpd that waits for a request; those that made them go away.
        stranger.send([stranger.tcp(2000 + i, 4, 1001) for i in range(3000)])
        site.honest()
        site.finish(b'\n')


@check
def sockets_that_are_never_read_keep_little_and_give_it_back():
    name = f'stuff{os.getpid()}'
    script = '''traffic serve 127.0.0.1 80 & S=$!; while read word; do case $word in
        stuff) traffic stuff 127.0.0.1 80 100 & C=$! ;; end) kill -9 $C; wait $C; while netstat -tn | grep -q ":80 .*ESTABLISHED"; do sleep 0.05; done; echo ended ;; stop) break ;; esac; done; kill $S'''
    with Site('sh', '-c', script, options=[*ROOT, '--name', name]) as site:
        expect(site.line(), b'listens\n')
        before = memory(name)
        for _ in range(4):
            site.process.stdin.write(b'stuff\n')
            expect(site.line(), b'hold 100 connections\n')
            time.sleep(0.5)
            grown = memory(name) - before  # a round uses what the one before gave back
            expect(grown <= 40 * MEGABYTE, True, f'100 connections keep at most 40 MB, and not {grown / MEGABYTE:.1f}')
            site.process.stdin.write(b'end\n')
            expect(site.line(), b'ended\n')
        site.process.stdin.write(b'stop\n')
        site.finish()


# Back ends that stall or vanish

def own_hubs():
    """Hubs that sites have started, and that end with the last site: children of ours, since we are the subreaper."""
    return [pid for pid, name in children().items() if name == 'chorus-hub' and os.waitpid(pid, os.WNOHANG) == (0, 0)]


def stream_over(hub, size, during):
    """A stream between two sites, while something happens."""
    net = [*ROOT, '--net', f'hub:{hub.path}']
    with Site('sh', '-c', 'ifconfig eth0 10.9.0.1; traffic serve 10.9.0.1 80 & read x; kill $!', options=net) as server, \
            Site('sh', '-c', f'ifconfig eth0 10.9.0.2; ping -c 1 10.9.0.1 >/dev/null; read x; echo begins; traffic send 10.9.0.1 80 {size} 7; echo $?', options=net) as client:
        expect(server.line(), b'listens\n')
        client.process.stdin.write(b'\n')
        expect(client.line(), b'begins\n')
        time.sleep(0.1)
        during()
        line = client.line(PATIENCE)
        if not line.startswith(b'send '):
            client.finish()
            raise Failure(f'the client ends with {line}: {client.result.err}')
        expect(client.line(), b'0\n')
        LIVE.update(own_hubs())
        client.finish()
        server.finish(b'\n')


@check
def a_stream_goes_on_after_its_hub_has_stalled():
    with Hub() as hub:
        def stall():
            hub.process.send_signal(signal.SIGSTOP)
            time.sleep(1)
            hub.process.send_signal(signal.SIGCONT)
        stream_over(hub, 30 * 10**6, stall)


@check
def a_stream_goes_on_when_its_hub_is_killed_and_another_one_comes():
    with Hub() as hub:
        def kill():
            hub.process.kill()
            hub.process.wait()
            LIVE.discard(hub.process.pid)
            wait_until(own_hubs, 'the hub that a site starts')
        stream_over(hub, 30 * 10**6, kill)
        wait_until(lambda: not own_hubs(), 'the hub to end with its sites')


@check
def a_site_goes_on_when_the_helper_of_user_stalls_and_is_killed():
    port = free_port()
    with Site('sh', '-c', 'mkdir w; head -c 20000 /dev/zero >w/page; httpd -p 80 -h w; echo up; read x', options=['--cwd', '/tmp', '--net', 'user', '--forward', f'{port}:80']) as site:
        expect(site.line(), b'up\n')
        expect(page(port), bytes(20000))
        helper = next(pid for pid in descendants(site.process.pid) if comm(pid).startswith('net-user'))
        os.kill(helper, signal.SIGSTOP)
        with socket.create_connection(('127.0.0.1', port), timeout=PATIENCE) as end:
            end.sendall(b'GET /page HTTP/1.0\r\n\r\n')
            time.sleep(0.3)
            os.kill(helper, signal.SIGCONT)
            expect_match('^HTTP/1.1 200', end.recv(100))
        os.kill(helper, signal.SIGKILL)

        def again():
            try:
                return page(port) == bytes(20000)
            except OSError:
                return False
        wait_until(again, 'the page by the next helper')
        site.finish(b'\n')


@check
def a_site_goes_on_when_its_tap_interface_is_taken_away():
    need_tap()
    script = 'ifconfig eth0 10.8.0.2; echo up; read x; ping -c 1 -W 1 10.8.0.1 >/dev/null; echo $?; ping -c 1 127.0.0.1 >/dev/null; echo $?'
    with Site('sh', '-c', script, options=['--net', 'tap:tap9'], prefix=('unshare', '-rn')) as site:
        expect(site.line(), b'up\n')
        subprocess.run(['nsenter', '-t', str(site.process.pid), '-U', '-n', '--preserve-credentials', 'ip', 'link', 'del', 'tap9'], check=True)
        site.process.stdin.write(b'\n')
        expect(site.line(), b'1\n')
        expect(site.line(), b'0\n')
        site.finish()


# Who comes in

def listening(pids):
    """Addresses at which these processes listen, or receive datagrams."""
    sockets = set()
    for pid in pids:
        for number in os.listdir(f'/proc/{pid}/fd'):
            try:
                sockets.add(os.readlink(f'/proc/{pid}/fd/{number}'))
            except OSError:
                pass
    found = []
    for name in 'tcp', 'tcp6', 'udp', 'udp6':
        try:
            lines = open(f'/proc/net/{name}').read().splitlines()[1:]
        except OSError:
            continue  # no IPv6 here
        for words in map(str.split, lines):
            if f'socket:[{words[9]}]' in sockets and (words[3] == '0A' or name.startswith('udp')):
                address, port = words[1].split(':')
                found.append((name, address, int(port, 16)))
    return sorted(found)


@check
def nobody_outside_reaches_a_port_that_was_not_forwarded():
    tcp, udp = free_port(), free_port()
    script = 'telnetd -p 23 -l /bin/sh; httpd -p 80; nc -l -p 5000 & until netstat -tln | grep -q :5000; do sleep 0.05; done; echo up; read x; kill %1'
    with Site('sh', '-c', script, options=['--net', 'user', '--forward', f'{tcp}:80', '--forward', f'udp:{udp}:5000']) as site:
        expect(site.line(), b'up\n')
        one = '0100007F'  # 127.0.0.1
        expect(listening(descendants(site.process.pid)), [('tcp', one, tcp), ('udp', one, udp)], 'where processes of the site listen')
        with socket.create_connection(('127.0.0.1', tcp), timeout=PATIENCE) as end:
            end.sendall(b'GET / HTTP/1.0\r\n\r\n')
            expect_match('^HTTP/1.1 ', end.recv(100))
        site.finish(b'\n')


@check
def inside_reaches_a_service_of_the_hosts_loopback_only_when_told_so():
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.settimeout(0.2)
        words = ['nc', '-w', '2', '10.0.2.2', str(server.getsockname()[1])]
        expect(run(*words, options=['--net', 'user']).status, 1, 'status of nc')
        try:
            raise Failure(f'the host was reached: {server.accept()}')
        except TimeoutError:
            pass
        server.settimeout(PATIENCE)
        with Site(*words, options=['--net', 'user,loopback']) as site:
            server.accept()[0].close()
            site.finish()


main()
