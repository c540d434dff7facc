#!/usr/bin/python3
"""Windows on a site: chorus run --display, chorus display. They are the site's monitor and keyboard, and the site does not depend on them."""
import os
import signal
import struct
import subprocess

from harness import CHORUS, LIVE, Site, check, chorus, expect, expect_match, main, restore_signals, scratch, wait_until
from xserver import DARK, Shown, XServer, windows

PAPER, GREEN, YELLOW = (0x0e, 0x13, 0x18), (0x69, 0xd5, 0x8c), (0xff, 0xd8, 0x66)  # of the live picture


@check
def without_an_x_server_the_site_runs_and_says_so():
    environment = {name: value for name, value in os.environ.items() if name not in ('DISPLAY', 'WAYLAND_DISPLAY')}
    environment['SDL_VIDEODRIVER'] = 'x11'
    with Site('sh', '-c', 'echo runs; cat', options=['--name', 'noX', '--display'], environment=environment) as site:
        expect(site.line(), b'runs\n')
        wait_until(lambda: not windows(), 'the end of the window')
        error = site.finish(b'')
        expect_match('no window can be opened.*\n.*the site runs without a window', error.err)
        expect(error.status, 0)


@check
def what_is_typed_at_the_window_is_read_at_the_console():
    script = ('while [ "$(stty size </dev/console)" = "25 80" ]; do sleep 0.02; done; '  # the window has not said how large it is
              'stty size </dev/console; read line </dev/console; echo "$line"; cat')
    with XServer() as x, Shown(x, 'keys', 'sh', '-c', script) as site:
        rows, columns = map(int, site.line().split())
        expect((rows > 30, columns > 80), (True, True), f'{rows} rows and {columns} columns')
        x.type('h', 'e', 'l', 'l', 'o', 'space', 'x', 'Return')
        expect(site.line(), b'hello x\n')


@check
def keys_are_events_of_dev_input():
    script = 'exec 3</dev/input/event0; echo open; dd bs=24 count=2 <&3 2>/dev/null; cat'
    with XServer() as x, Shown(x, 'events', 'sh', '-c', script) as site:
        expect(site.line(), b'open\n')
        x.type('k')
        data = b''
        while len(data) < 48:
            data += os.read(site.process.stdout.fileno(), 48 - len(data))
        expect(struct.unpack('<HHi', data[16:24]), (1, 37, 1), 'type, code and value: K is pressed')
        expect(struct.unpack('<HHi', data[40:48]), (0, 0, 0), 'and that is all')


@check
def the_framebuffer_is_shown_while_it_is_open():
    script = 'exec 3<>/dev/fb0; tr "\\0" "\\252" </dev/zero | head -c 1000000 >&3; echo drawn; read x; exec 3>&-; cat'
    with XServer() as x, Shown(x, 'fb', 'sh', '-c', script, options=['--framebuffer', '640x400'], colour=(0xaa, 0xaa, 0xaa)) as site:
        expect(site.line(), b'drawn\n')
        wait_until(lambda: x.has_colour(0xaa, 0xaa, 0xaa, least=200000), 'the picture in the window')
        site.process.stdin.write(b'\n')
        wait_until(lambda: x.has_colour(*DARK, least=10000) and not x.has_colour(0xaa, 0xaa, 0xaa), 'the console in the window')


def gone_and_opened_again(x, name, close):
    """A window goes by what <close> does to it; the site goes on, and gets another one."""
    with Shown(x, name, 'sh', '-c', 'echo first >/dev/console; read x; echo "$x"; cat') as site:
        close()
        wait_until(lambda: not x.has_colour(*DARK), 'the end of the window')
        wait_until(lambda: not windows(), 'the end of its process')
        site.process.stdin.write(b'still here\n')
        expect(site.line(), b'still here\n')
        chorus('screenshot', scratch('.png'), '--name', name).good()
        LIVE.difference_update(site.windows)
        window = subprocess.Popen([CHORUS, 'display', '--name', name], env=x.environment, preexec_fn=restore_signals)
        LIVE.add(window.pid)
        wait_until(lambda: x.has_colour(*DARK, least=10000), 'another window')
        chorus('stop', '--name', name).good()
        expect(window.wait(10), 0, 'the exit status of the window when the site ends')
        LIVE.discard(window.pid)


@check
def a_window_that_is_killed_leaves_the_site_and_another_can_be_opened():
    with XServer() as x:
        gone_and_opened_again(x, 'killed', lambda: [os.kill(pid, signal.SIGKILL) for pid in windows()])


@check
def so_does_one_that_is_closed_by_its_button():
    with XServer() as x:
        gone_and_opened_again(x, 'closed', x.press_close)


@check
def a_live_picture_that_is_closed_by_its_button_leaves_the_site():
    with XServer(1280, 800) as x, Shown(x, 'look', 'cat', display='--show', colour=PAPER) as site:
        x.press_close()
        wait_until(lambda: not windows(), 'the end of the window')
        site.process.stdin.write(b'on\n')
        expect(site.line(), b'on\n')


@check
def an_x_server_that_dies_leaves_the_site():
    with XServer() as x, Shown(x, 'noserver', 'sh', '-c', 'read x; yes | head -100000 >/dev/console; echo "$x"; cat') as site:
        x.end()
        wait_until(lambda: not windows(), 'the end of the window')
        site.process.stdin.write(b'on and on\n')
        expect(site.line(), b'on and on\n')


@check
def a_site_is_shown_live_paused_and_let_go():
    with XServer(1280, 800) as x, Shown(x, 'live', 'sh', '-c', 'while ls /bin >/dev/null; do :; done', display='--show', colour=PAPER) as site:
        title = slice(40, 80)
        wait_until(lambda: x.has_colour(*GREEN, 100, title), 'the word live')
        x.type('space')
        wait_until(lambda: not x.has_colour(*GREEN, rows=title) and x.has_colour(*YELLOW, 100, title), 'the word paused')
        x.type('Right', 'Down', 'Tab', 'space', 'Up', 'Escape')
        wait_until(lambda: x.has_colour(*GREEN, 100, title), 'the word live again')
        x.type('q')
        wait_until(lambda: not windows(), 'the end of the window')
        expect(site.process.poll(), None, 'the exit status of the site, which runs')


@check
def a_site_without_a_window_has_nothing_of_sdl():
    with Site('cat', options=['--name', 'bare']) as site:
        site.wait_until_up()
        maps = open(f'/proc/{site.process.pid}/maps').read()
        expect('SDL' in maps or 'vterm' in maps or 'freetype' in maps, False, 'libraries for drawing')


main()
