#!/usr/bin/python3
"""Network programs made by nobody who knew of Chorus: on the loopback interface, between sites, and with the host outside."""
import hashlib
import http.server
import os
import socket
import struct
import subprocess
import threading
import time
import urllib.request

from harness import (BUILD, CHORUS, LIVE, Site, check, chorus, expect, expect_match, long_check, main, need_tap, restore_signals, scratch, shell, switches,
                     wait_until, within)

TIMEOUT = 30
# In the shell: wait until somebody listens at a port, until a file has a word.
LISTENS = 'listens() { until netstat -tln | grep -q ":$1 "; do sleep 0.05; done; }; has() { until grep -q "$2" $1; do sleep 0.05; done; }\n'


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@check
def ping_reaches_this_machine_by_both_protocols():
    result = shell('ping -c 2 -i 0.1 127.0.0.1 && ping6 -c 1 ::1 && ping -c 1 -W 1 localhost')
    expect(result.status, 0)
    expect(result.out.count(b' 0% packet loss'), 3, f'answers in {result.out}')


@check
def the_way_to_this_machine_is_one_step():
    result = shell('traceroute -n -q 1 127.0.0.1; traceroute6 -n -q 1 ::1')
    expect_match(r' 1  127\.0\.0\.1  [0-9.]+ ms\n', result.out)
    expect_match(r' 1  ::1  [0-9.]+ ms\n', result.out)


@check
def nobody_else_is_reached_without_an_interface():
    result = shell('ping -c 1 192.0.2.1; echo $?; nc 192.0.2.1 80 </dev/null; echo $?', options=['--net', 'none'])
    expect(result.out.split()[-2:], [b'1', b'1'])
    expect_match('Network is unreachable', result.err)


@check
def what_netcat_says_is_heard_both_ways():
    # Each holds its input until it has heard the other one: netcat ends when the other side does.
    result = shell(LISTENS + '''touch heard got; (echo from the server; has heard client) | nc -l -p 5000 >heard &
        listens 5000; (echo from the client; has got server) | nc 127.0.0.1 5000 >got; wait; cat heard got''', options=['--cwd', '/tmp'])
    expect(result.out.splitlines(), [b'from the client', b'from the server'])


@check
def a_page_is_served_and_fetched_a_hundred_times_at_once():
    result = shell('''mkdir w; head -c 300000 /dev/urandom >w/page; httpd -p 127.0.0.1:8000 -h w
        for i in 1 2 3 4 5; do
            for j in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do wget -q -O $i.$j http://127.0.0.1:8000/page & done; wait
        done
        cmp w/page 1.1 && md5sum w/page *.* | cut -d" " -f1 | sort | uniq -c; wget -q -O - http://127.0.0.1:8000/none; echo $?''',
                   options=['--cwd', '/tmp'], timeout=60)
    lines = result.out.split()
    expect((lines[0], lines[2]), (b'101', b'1'), f'copies that are alike, and the end of a page that is not there, in {result.out}')


@check
def a_shell_is_reached_by_telnet():
    result = shell(LISTENS + '''mkfifo in; telnetd -p 2323 -l /bin/sh; listens 2323; telnet 127.0.0.1 2323 <in >out 2>&1 &
        exec 3>in; has out '[#$] '; echo 'echo the sum is $((20 + 22))' >&3; has out 'is 42'; echo exit >&3; wait; cat out''', options=['--cwd', '/tmp'])
    expect_match('the sum is 42', result.out)


@check
def the_network_can_be_looked_at():
    script = '''ifconfig lo | grep -o 'inet addr:127.0.0.1'; route -n | tail -n 2; grep -c lo: /proc/net/dev; ifconfig eth0 10.8.0.1 netmask 255.255.0.0 up; route -n | tail -n 1
        ifconfig eth0 down; ping -c 1 10.8.0.9 2>&1 | tail -n 1; ifconfig eth7 up; echo $?'''
    result = shell(script, options=['--net', 'user'])
    lines = [line.split() for line in result.out.decode().splitlines()]
    expect(lines[0], ['inet', 'addr:127.0.0.1'])
    expect(lines[1][:4] + lines[1][-1:], ['0.0.0.0', '10.0.2.2', '0.0.0.0', 'UG', 'eth0'])
    expect(lines[2][:3], ['10.0.2.0', '0.0.0.0', '255.255.255.0'])
    expect(lines[3:], [['1'], '10.8.0.0 0.0.0.0 255.255.0.0 U 0 0 0 eth0'.split(), 'ping: sendto: Network is unreachable'.split(), ['1']])


@check
def interfaces_addresses_and_routes_are_looked_at_and_changed_by_ip():
    script = '''ip -o link | cut -d' ' -f2 | tr '\\n' ' '; ip -4 -o addr show eth0 | cut -d' ' -f3-8; ip route; ip route get 8.8.8.8
        ip link set eth0 mtu 1400; ip -o link show eth0 | grep -o 'mtu [0-9]*'; ip addr del 10.0.2.15/24 dev eth0; ip route; ip addr add 10.0.2.15/24 dev eth0
        ip route add default via 10.0.2.2; ip route add 172.16.0.0/12 via 10.0.2.9; ip route; ping -c 1 10.0.2.2 | grep -o ' 0% packet loss'; ipneigh | cut -d' ' -f1-4
        ip addr add fd00::5/64 dev eth0; ip -6 -o addr show eth0 | grep -o fd00.*global; ip route del 172.16.0.0/12; ip link set eth0 down; ip route; ip route add default via 10.0.2.2; echo $?'''
    result = shell(script, options=['--net', 'user'])
    attached, default = '10.0.2.0/24 dev eth0 scope link  src 10.0.2.15', 'default via 10.0.2.2 dev eth0'
    expect([line.strip() for line in result.out.decode().splitlines()],
           ['lo: eth0:    inet 10.0.2.15/24 brd', default, attached, '8.8.8.8 via 10.0.2.2 dev eth0  src 10.0.2.15', 'mtu 1400', default, attached,
            '172.16.0.0/12 via 10.0.2.9 dev eth0', '0% packet loss', '10.0.2.2 dev eth0 lladdr', 'fd00::5/64 scope global', '2'])
    expect(result.err.strip(), b'ip: RTNETLINK answers: Network is unreachable')


def serve(answer):
    """A server of datagrams on the host's loopback, in a thread; each goes to <answer>. Its port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(('127.0.0.1', 0))

    def run():
        while True:
            data, client = listener.recvfrom(2000)
            answer(listener, data, client)
    threading.Thread(target=run, daemon=True).start()
    return listener.getsockname()[1]


def answer_name(listener, query, client):
    """Every name's address is 192.0.2.7."""
    is_v4 = query.endswith(b'\0\1\0\1')
    record = b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\7' if is_v4 else b''
    listener.sendto(query[:2] + b'\x85\x80\0\1\0' + (b'\1' if is_v4 else b'\0') + b'\0\0\0\0' + query[12:] + record, client)


class Trivial:
    """A file that is given and taken by TFTP, in blocks of 512 bytes."""
    body = os.urandom(100 * 512 + 77)

    def __init__(self):
        self.taken = b''

    def answer(self, listener, request, client):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as transfer:
            transfer.settimeout(TIMEOUT)
            if request[1] == 1:
                for block in range(len(self.body) // 512 + 1):
                    transfer.sendto(struct.pack('>HH', 3, block + 1) + self.body[block * 512:][:512], client)
                    transfer.recv(600)
                return
            data, block = bytes(516), 0
            while len(data) == 516:
                transfer.sendto(struct.pack('>HH', 4, block), client)
                data, block = transfer.recv(600), block + 1
                self.taken += data[4:]
            transfer.sendto(struct.pack('>HH', 4, block), client)


@check
def names_are_looked_up_and_files_fetched_and_put_by_datagrams():
    files = Trivial()
    names_port, files_port = serve(answer_name), serve(files.answer)
    result = shell(f'''nslookup some.example 10.0.2.2:{names_port} | grep -A1 some.example | tail -n 1; tftp -g -r file -l /tmp/got 10.0.2.2 {files_port} && md5sum </tmp/got
        tftp -p -l /tmp/got -r other 10.0.2.2 {files_port}; echo $?''', options=['--net', 'user,loopback'])
    expect(result.out.decode().splitlines(), ['Address: 192.0.2.7', hashlib.md5(Trivial.body).hexdigest() + '  -', '0'], f'after {result.err}')
    expect(files.taken == Trivial.body, True, 'the file that was put is the one that was fetched')


@check
def an_address_is_had_by_dhcp():
    result = shell('arping -c 1 -I eth0 10.0.2.2 | grep -c "Received 1"; ifconfig eth0 0.0.0.0; udhcpc -i eth0 -n -q -f; ping -c 1 10.0.2.2 | grep -c " 0% packet loss"; cat /etc/resolv.conf',
                   options=['--net', 'user'])
    expect(result.out.decode().splitlines(), ['1', '1', 'nameserver 10.0.2.3'], f'after {result.err}')


@check
def the_death_of_sm_resets_its_connections_and_the_next_one_serves():
    with Site('sh', options=['--name', f'sockets{os.getpid()}', '--place', 'sm=user']) as site:
        site.process.stdin.write(LISTENS.encode() + b'mkfifo /tmp/f; exec 3<>/tmp/f; nc -l -p 5000 <&3 >/dev/null & listens 5000; (nc 127.0.0.1 5000 </tmp/f; echo ended) &\n'
                                 b'until netstat -tn | grep -q ":5000 .*ESTABLISHED"; do sleep 0.05; done; echo up\n')
        expect(site.line(), b'up\n')
        os.kill(site.actors()['sm'], 9)
        expect(site.line(), b'ended\n')
        site.process.stdin.write(b'nc -l -p 5000 >/dev/null & listens 5000; echo again | nc 127.0.0.1 5000; ping -c 1 127.0.0.1 | grep -c " 0% packet loss"; exit\n')
        expect(site.line(), b'1\n')
        site.finish()
        expect_match('the Socket Manager is gone; its connections are reset', site.result.log)


@check
def who_receives_when_sm_dies_is_told_of_a_reset_and_the_next_transfer_is_whole():
    script = '''mkdir w; head -c 3000000 /dev/urandom >w/page; httpd -p 127.0.0.1:8000 -h w; mkfifo held go; (read x <go; cat) <held >/dev/null & exec 3>held
        (wget -q -O - http://127.0.0.1:8000/page; echo status $? >&2) >&3 2>said &
        until netstat -tn | grep -q "127.0.0.1:8000 .*ESTABLISHED"; do sleep 0.05; done; echo up; read x; echo >go; wait %2; cat said; killall httpd; httpd -p 127.0.0.1:8001 -h w
        wget -q -O - http://127.0.0.1:8001/page | cmp - w/page && echo whole; exec 3>&-; read x'''
    with Site('sh', '-c', script, options=['--name', f'reset{os.getpid()}', '--place', 'sm=user', '--cwd', '/tmp']) as site:
        expect(site.line(), b'up\n')
        os.kill(site.actors()['sm'], 9)
        site.process.stdin.write(b'\n')
        expect_match('Connection reset by peer', site.line())
        expect(site.line(), b'status 1\n')
        expect(site.line(), b'whole\n')
        site.finish(b'\n')


@long_check
def an_idle_site_with_connections_is_never_woken():
    with Site('sh', '-c', 'nc -l -p 5000 & sleep 0.3; (sleep 99 | nc 127.0.0.1 5000) & sleep 1; ping -c 1 127.0.0.1 >/dev/null; echo up; read x; kill %1 %2') as site:
        site.line()
        time.sleep(8)  # what was written is written back once
        before = switches(site)
        time.sleep(3)
        woken = {task: count - before.get(task, 0) for task, count in switches(site).items() if count != before.get(task, 0)}
        expect(woken, {}, 'wake-ups in 3 s')
        site.finish(b'\n')


@check
def two_sites_fetch_from_each_other_over_a_hub():
    path = scratch('.hub')
    hub = subprocess.Popen([CHORUS, 'hub', path], preexec_fn=restore_signals)
    LIVE.add(hub.pid)
    wait_until(lambda: os.path.exists(path), 'the hub')
    serve = 'ifconfig eth0 10.9.0.1; mkdir /tmp/w; head -c 20000000 /dev/urandom >/tmp/w/big; md5sum </tmp/w/big; httpd -p 80 -h /tmp/w; echo up; read x'
    fetch = 'ifconfig eth0 10.9.0.2; ping -c 2 -i 0.2 10.9.0.1 >&2; wget -q -O - http://10.9.0.1/big | md5sum; arp -n | grep -c 10.9.0.1'
    with Site('sh', '-c', serve, options=['--net', f'hub:{path}']) as server:
        sum_there = server.line()
        expect(server.line(), b'up\n')
        result = shell(fetch, options=['--net', f'hub:{path}'], timeout=60)
        expect(result.out.splitlines(), [sum_there.strip(), b'1'])
        server.finish(b'\n')
    hub.terminate()
    expect(hub.wait(10), 0, 'status of the hub')
    LIVE.discard(hub.pid)


def disturb(site, way):
    """The network driver of a site is killed, or replaced while it runs."""
    wait_until(lambda: 'net' in site.actors(), 'the driver')
    if way == 'kill':
        os.kill(site.actors()['net'], 9)
    else:
        chorus('replace', 'net', os.path.join(BUILD, 'actors/net'), '--site', site.options[site.options.index('--name') + 1]).good()


@check
def a_connection_survives_drivers_that_die_and_are_replaced():
    # Ten pieces, each with its sum: after each of the first ones a driver is killed or replaced, while the next one is under way.
    path, pieces = scratch('.hub'), 10
    hub = subprocess.Popen([CHORUS, 'hub', path], preexec_fn=restore_signals)
    LIVE.add(hub.pid)
    wait_until(lambda: os.path.exists(path), 'the hub')
    sums = f'for i in $(seq {pieces}); do dd bs=10000 count=500 iflag=fullblock 2>/dev/null | md5sum; done'
    serve = f'ip addr add 10.9.0.1/24 dev eth0; mkdir /tmp/w; head -c {pieces * 5000000} /dev/urandom >/tmp/w/big; ({sums}) </tmp/w/big; httpd -p 80 -h /tmp/w; echo up; read x'
    fetch = f'ip addr add 10.9.0.2/24 dev eth0; read x; wget -q -O - http://10.9.0.1/big | ({sums}); read x'
    how = ['--net', f'hub:{path}', '--place', 'net=user', '--name']
    with Site('sh', '-c', serve, options=[*how, f'server{os.getpid()}']) as server, Site('sh', '-c', fetch, options=[*how, f'client{os.getpid()}']) as client:
        there = [server.line() for _ in range(pieces)]
        expect(server.line(), b'up\n')
        client.process.stdin.write(b'\n')
        for i, piece in enumerate(there):
            expect(client.line(), piece, f'piece {i}')
            if i < 8:
                disturb([client, server][i // 2 % 2], ['kill', 'replace'][i % 2])
        client.finish(b'\n')
        server.finish(b'\n')
    hub.terminate()
    expect(hub.wait(10), 0, 'status of the hub')
    LIVE.discard(hub.pid)


# At the other end of a tap: takes a stream at port 8000, sends one at 8001, and says the sums of their pieces.
TAP_END = '''
import hashlib, os, socket, subprocess, sys, threading
subprocess.run('ip link set lo up; ip link set tap9 up; ip addr add 10.8.0.1/24 dev tap9; ip -6 addr add fd00:8::1/64 dev tap9 nodad', shell=True, stderr=subprocess.DEVNULL)
pieces, size, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
listeners = [socket.create_server((address, port), family=socket.AF_INET6 if ':' in address else socket.AF_INET) for port in (8000, 8001)]
data = [os.urandom(size) for _ in range(pieces)]
sums = [hashlib.md5(piece).hexdigest() for piece in data]
print('listens', flush=True)
def give():
    end = listeners[1].accept()[0]
    for piece in data:
        end.sendall(piece)
    end.close()
giver = threading.Thread(target=give)
giver.start()
end, taken = listeners[0].accept()[0], []
for _ in range(pieces):
    sum, left = hashlib.md5(), size
    while left > 0 and (more := end.recv(min(left, 1 << 18))):
        sum.update(more)
        left -= len(more)
    taken.append(sum.hexdigest())
end.close()
giver.join()
print(*sums, flush=True)
print(*taken, flush=True)
'''


def stream_over_tap(site, address, pieces, size, when_piece=lambda number: None):
    """The site has said the sums of what it sends; it asks for a line, and sends and takes then."""
    sent = [site.line().decode().split()[0] for _ in range(pieces)]
    expect(site.line(), b'ready\n')
    other = within(site, 'python3', '-c', TAP_END, str(pieces), str(size), address)
    LIVE.add(other.pid)
    expect(other.stdout.readline(), 'listens\n')
    site.process.stdin.write(b'\n')
    taken = []
    for i in range(pieces):
        taken.append(site.line(60).decode().split()[0])
        when_piece(i)
    out, err = other.communicate(timeout=60)
    LIVE.discard(other.pid)
    expect((out.splitlines(), err), ([' '.join(taken), ' '.join(sent)], ''), 'the sums of what came out of the site, and into it')


def both_ways(address, pieces, size):
    sums = f'for i in $(seq {pieces}); do dd bs=10000 count={size // 10000} iflag=fullblock 2>/dev/null | md5sum; done'
    return f'({sums}) </tmp/out; echo ready; read x; nc {address} 8000 </tmp/out & nc {address} 8001 </dev/null | ({sums}); wait; '


def lengths_of(path):
    """Of the longest frames of TCP in a capture, that go to port 8000, and that come from 8001, by both protocols."""
    data, at, most = open(path, 'rb').read(), 24, {}
    while at < len(data):
        length, = struct.unpack('<I', data[at + 8:at + 12])
        frame = data[at + 16:at + 16 + length]
        kind, tcp = frame[12:14], 54 if frame[12:14] == b'\x86\xdd' else 34
        ports = struct.unpack('>HH', frame[tcp:tcp + 4]) if len(frame) > tcp + 4 and frame[20 if tcp == 54 else 23] == 6 else (0, 0)
        if 8000 == ports[1] or 8001 == ports[0]:
            most[kind.hex(), 8001 in ports] = max(most.get((kind.hex(), 8001 in ports), 0), length)
        at += 16 + length
    return most


@check
def streams_over_a_tap_are_whole_and_their_segments_large_both_ways():
    need_tap()
    pieces, size, capture = 2, 2000000, scratch('.pcap')
    addresses = ['10.8.0.1'] + (['fd00:8::1'] if os.path.exists('/proc/net/if_inet6') else [])
    script = f'ifconfig eth0 10.8.0.2; ip -6 addr add fd00:8::2/64 dev eth0; head -c {pieces * size} /dev/urandom >/tmp/out; '
    with Site('sh', '-c', script + ''.join(both_ways(address, pieces, size) for address in addresses), options=['--net', 'tap:tap9', '--capture', capture],
              prefix=('unshare', '-rn')) as site:
        for address in addresses:
            stream_over_tap(site, address, pieces, size)
        site.finish()
    for way, length in lengths_of(capture).items():
        expect(length > 3000, True, f'a frame of more than a segment ({way}: {length})')
    expect(len(lengths_of(capture)), 2 * len(addresses), 'streams seen')


@check
def streams_over_a_tap_survive_drivers_that_die_and_are_replaced():
    need_tap()
    pieces, size = 6, 4000000
    script = f'ifconfig eth0 10.8.0.2; head -c {pieces * size} /dev/urandom >/tmp/out; ' + both_ways('10.8.0.1', pieces, size)
    with Site('sh', '-c', script, options=['--net', 'tap:tap9', '--place', 'net=user', '--name', f'tap{os.getpid()}'], prefix=('unshare', '-rn')) as site:
        stream_over_tap(site, '10.8.0.1', pieces, size, lambda number: disturb(site, ['kill', 'replace'][number % 2]) if number < 4 else None)
        site.finish()


class Page(http.server.BaseHTTPRequestHandler):
    body = os.urandom(5000000)

    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *unused):
        pass


@check
def the_host_is_reached_where_that_is_allowed():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        result = shell(f'wget -q -O - http://10.0.2.2:{server.server_port}/ | md5sum; cat /etc/resolv.conf',
                       options=['--net', 'user,loopback'])
        expect(result.out.split()[0].decode(), hashlib.md5(Page.body).hexdigest())
        expect_match('nameserver 10.0.2.3', result.out)
        result = shell(f'nc -w 2 10.0.2.2 {server.server_port} </dev/null; echo $?', options=['--net', 'user'])
        expect(result.out.split()[-1], b'1', 'the end of nc where it is not allowed')
    finally:
        server.shutdown()
        server.server_close()


@check
def a_page_served_inside_is_fetched_from_outside():
    port = free_port()
    serve = 'mkdir w; head -c 5000000 /dev/urandom >w/big; md5sum <w/big; httpd -p 80 -h w; echo up; read x'
    with Site('sh', '-c', serve, options=['--cwd', '/tmp', '--net', 'user', '--forward', f'{port}:80']) as site:
        sum_there = site.line().split()[0].decode()
        expect(site.line(), b'up\n')
        sums, threads = [], []

        def fetch():
            with urllib.request.urlopen(f'http://127.0.0.1:{port}/big', timeout=TIMEOUT) as answer:
                sums.append(hashlib.md5(answer.read()).hexdigest())
        for _ in range(8):
            threads.append(threading.Thread(target=fetch))
            threads[-1].start()
        for thread in threads:
            thread.join()
        expect(sums, [sum_there] * 8)
        site.finish(b'\n')


main()
