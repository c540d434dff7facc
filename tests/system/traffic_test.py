#!/usr/bin/python3
"""Load: many requests at once, and streams of which every byte is looked at, over good wires and bad ones. `--long`: 1,000 requests, 1 GB each way."""
import hashlib
import os
import shutil
import socket
import subprocess
import threading

from harness import (BUILD, CHORUS, LIVE, LONG, TEST_IMAGE, Failure, Site, Skip, add_check, await_no_children, check, expect, expect_match, main, restore_signals, run, scratch,
                     wait_until)

TRAFFIC = os.path.join(BUILD, 'bench/traffic')
NET_USER = os.path.join(BUILD, 'src/net-user')
PATIENCE = 580 if LONG else 60
ROOT = ('--root', TEST_IMAGE, '--snapshot')


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


class Child:
    """A program of the host that runs beside a check."""

    def __init__(self, *words, **how):
        self.process = subprocess.Popen(words, preexec_fn=restore_signals, **how)
        LIVE.add(self.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait()
        LIVE.discard(self.process.pid)
        if self.process.stdout:
            self.process.stdout.close()


def listens_at(path):
    """The socket is there a moment before it listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


class Hub(Child):
    def __init__(self, *options):
        self.path = scratch('.hub')
        super().__init__(CHORUS, 'hub', *options, self.path)
        wait_until(lambda: listens_at(self.path), 'the hub')


# Requests

def page_of(port, name):
    """The body that the server inside gives, from first to last byte."""
    with socket.create_connection(('127.0.0.1', port), timeout=PATIENCE) as end:
        end.sendall(f'GET /{name} HTTP/1.0\r\n\r\n'.encode())
        answer = b''
        while more := end.recv(1 << 16):
            answer += more
    head, _, body = answer.partition(b'\r\n\r\n')
    expect(head.split(b'\r\n')[0], b'HTTP/1.1 200 OK', f'the answer for {name}')
    return body


@check
def of_many_requests_of_fifty_clients_at_once_none_is_lost_and_none_is_wrong():
    clients, each, port = 50, 20 if LONG else 4, free_port()
    serve = 'mkdir w; cd w; for i in 1 2 3 4 5 6 7 8 9 10; do head -c $((i * i * 997)) /dev/urandom >$i; done; md5sum *; httpd -p 80; echo; read x'
    with Site('sh', '-c', serve, options=['--cwd', '/tmp', '--net', 'user', '--forward', f'{port}:80']) as site:
        pages = dict(reversed(line.split()) for line in iter(lambda: site.line().decode(), '\n'))
        expect(len(pages), 10, 'pages')
        results, begin = [], threading.Barrier(clients)

        def client(number):
            begin.wait()
            for i in range(each):
                name = str((number + i) % 10 + 1)
                try:
                    results.append('right' if hashlib.md5(page_of(port, name)).hexdigest() == pages[name] else f'another page than {name}')
                except (OSError, Failure) as error:
                    results.append(f'{name}: {error!r}')
        threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect((len(results), [result for result in results if result != 'right'][:5]), (clients * each, []), 'answers, and wrong ones')
        site.finish(b'\n')


# The page of /var/www, about the site itself

def with_page(look):
    port = free_port()
    with Site('sh', '-c', 'httpd -p 80 -h /var/www; echo up; read x', options=['--net', 'user', '--forward', f'{port}:80']) as site:
        expect(site.line(), b'up\n')
        look(port)
        site.finish(b'\n')


@check
def the_page_about_the_site_is_whole():
    def look(port):
        page = page_of(port, '')
        for words in b'A page from inside Chorus', b'<td>sm</td><td>', b'httpd -p 80 -h /var/www', b'</html>':
            expect(words in page, True, f'{words} in {page}')
    with_page(look)


@check
def a_browser_outside_shows_the_page_about_the_site():
    browser = shutil.which('chromium')
    if not browser:
        raise Skip('there is no chromium here')

    def look(port):
        home = scratch('-browser')
        os.mkdir(home)
        done = subprocess.run([browser, '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-dev-shm-usage', '--disable-crash-reporter',
                               '--disable-breakpad', f'--user-data-dir={home}', '--dump-dom', f'http://127.0.0.1:{port}/'],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, env={**os.environ, 'HOME': home})
        expect_match('<h1>A page from inside Chorus</h1>', done.stdout)
        expect_match('HeadlessChrome', done.stdout)
        await_no_children(10)
    with_page(look)


# Streams. Each way another seed: what was sent must not come back by mistake.

def both_ways(address, port, size, setup=''):
    return ['sh', '-c', f'{setup} traffic send {address} {port} {size} 7; traffic take {address} {port} {size} 9']


def expect_both_ways(result, what):
    expect((result.status, result.err), (0, b''), f'end of the client, after {result.out}')
    expect_match(r'\Asend [0-9.]+ MB/s\ntake [0-9.]+ MB/s\n\Z', result.out, what)
    print(f'# {what}: {", ".join(result.out.decode().splitlines())}', flush=True)


def server_on_host(port):
    server = Child(TRAFFIC, 'serve', '127.0.0.1', str(port), stdout=subprocess.PIPE)
    server.process.stdout.readline()
    return server


@check
def a_stream_each_way_between_inside_and_the_host_over_user_is_right():
    port, size = free_port(), 10**9 if LONG else 10**7
    with server_on_host(port):
        result = run(*both_ways('10.0.2.2', port, size), options=[*ROOT, '--net', 'user,loopback'], timeout=PATIENCE)
        expect_both_ways(result, f'{size} bytes each way, out of the site')


@check
def a_stream_each_way_into_a_site_by_a_forwarded_port_is_right():
    port, size = free_port(), 10**9 if LONG else 10**7
    with Site('sh', '-c', 'traffic serve 10.0.2.15 80 & read x; kill $!', options=[*ROOT, '--net', 'user', '--forward', f'{port}:80']) as site:
        expect(site.line(), b'listens\n')
        for way, seed in ('send', '5'), ('take', '6'):
            done = subprocess.run([TRAFFIC, way, '127.0.0.1', str(port), str(size), seed], capture_output=True, timeout=PATIENCE)
            expect((done.returncode, done.stderr), (0, b''), f'end of {way}')
            print(f'# {size} bytes into the site: {done.stdout.decode().strip()}', flush=True)
        site.finish(b'\n')


def between_sites(size, *options):
    with Hub(*options) as hub:
        net = [*ROOT, '--net', f'hub:{hub.path}']
        with Site('sh', '-c', 'ifconfig eth0 10.9.0.1; traffic serve 10.9.0.1 80 & read x; kill $!', options=net) as server:
            expect(server.line(), b'listens\n')
            result = run(*both_ways('10.9.0.1', 80, size, 'ifconfig eth0 10.9.0.2;'), options=net, timeout=PATIENCE)
            expect_both_ways(result, f'{size} bytes each way between sites {" ".join(options)}')
            server.finish(b'\n')


def add_wire(what, *options):
    size = 10**9 if LONG else 10**7 if not options else 2 * 10**6
    add_check(f'a stream each way between two sites over {what} is right', lambda: between_sites(size, *options))


add_wire('a hub')
add_wire('a hub that loses one frame in a hundred', '--lose', '10')
add_wire('a hub that doubles one frame in a hundred', '--double', '10')
add_wire('a hub that swaps one frame in a hundred with its successor', '--reorder', '10')


@check
def a_stream_each_way_over_user_with_a_bad_wire_before_it_is_right():
    """The helper of `user` is a station of a hub like any other."""
    port, size = free_port(), 10**9 if LONG else 2 * 10**6
    with server_on_host(port), Hub('--lose', '3', '--double', '3', '--reorder', '3') as hub, socket.socket(socket.AF_UNIX) as station:
        station.connect(hub.path)
        with Child('sh', '-c', 'exec "$@" 3<&0 0</dev/null', 'sh', NET_USER, '--loopback', stdin=station):
            result = run(*both_ways('10.0.2.2', port, size, 'ifconfig eth0 10.0.2.15; route add default gw 10.0.2.2;'),
                         options=[*ROOT, '--net', f'hub:{hub.path}'], timeout=PATIENCE)
            expect_both_ways(result, f'{size} bytes each way over user on a bad wire')


main()
