#!/usr/bin/python3
"""Framebuffer, screenshots and windows, as a user has them. Pictures are compared by what must be in them, not byte by byte: letters may be drawn
a little differently by the next release of a font."""
import os

from harness import TEST_IMAGE, Failure, Site, check, chorus, expect, expect_match, main, run, scratch, wait_until
from png import picture
from terminal import PROMPT, Terminal


def screenshot(name, *options):
    path = scratch('.png')
    result = chorus('screenshot', path, '--name', name, *options)
    if result.status != 0:
        raise Failure(f'screenshot: {result.status} {result.err}')
    return picture(path)


def refused(words, pattern, status=1):
    result = chorus(*words)
    expect((result.status, result.out), (status, b''), f'status and output of {words}')
    expect_match(pattern, result.err)


@check
def wrong_words_are_refused():
    for size in ('1024', '1024x', 'x768', '0x0', '63x64', '4097x100', '100x2161', '100x100x100', '-5x100', '1e3x100', '100x 100'):
        refused(['run', '--framebuffer', size, '--', 'true'], 'not WIDTHxHEIGHT', 2)
    refused(['screenshot', 'x.png', '--name', 'nobody'], 'no running site has the name nobody|no site is running')
    refused(['screenshot'], 'FILE.png', 2)


@check
def without_a_framebuffer_there_are_no_such_devices():
    expect(run('sh', '-c', 'ls /dev/fb0 /dev/input 2>&1 | wc -l').good(), b'2\n')
    with Site('cat', options=['--name', 'plain']) as site:
        site.wait_until_up()
        names = chorus('ps', '--name', 'plain').good().decode()
        expect('screen' in names or 'input' in names, False, 'drivers of what is not there')
        refused(['screenshot', scratch('.png'), '--name', 'plain'], 'no console')
        refused(['screenshot', scratch('.png'), '--name', 'plain', '--framebuffer'], 'nobody has the framebuffer open')


@check
def what_is_written_to_fb0_is_in_the_screenshot():
    # 64x64 pixels: 16 rows of 0x33, then 0x55 from pixel (8, 20) on for four of them.
    script = ('exec 3<>/dev/fb0; head -c 4096 /dev/zero | tr "\\0" "\\63" >&3; '
              'printf UUUUUUUUUUUUUUUU | dd of=/dev/fb0 bs=16 seek=322 2>/dev/null; wc -c </dev/fb0; '
              'dd if=/dev/fb0 bs=1 skip=5152 count=4 2>/dev/null; echo; cat')
    with Site('sh', '-c', script, options=['--name', 'fb', '--framebuffer', '64x64']) as site:
        expect((site.line(), site.line()), (b'16384\n', b'UUUU\n'), 'its size, and what is read back')
        wait_until(lambda: screenshot('fb', '--framebuffer')[2][20][24:27] == b'UUU', 'the picture')
        width, height, rows = screenshot('fb')
        expect((width, height), (64, 64), 'its size')
        expect(rows[15], b'3' * 192, 'row 15')
        expect(rows[16], bytes(192), 'row 16')
        expect(rows[20], bytes(24) + b'U' * 12 + bytes(156), 'row 20')


@check
def more_than_the_framebuffer_is_no_space():
    result = run('sh', '-c', 'dd if=/dev/zero of=/dev/fb0 bs=4096 2>&1 | head -1; ls -l /dev/input | wc -l', options=['--framebuffer', '64x64'])
    expect_match('No space left on device', result.out)
    expect_match('^3$', result.out)


@check
def a_driver_that_dies_comes_back_with_the_picture():
    with Site('sh', '-c', 'exec 3<>/dev/fb0; tr "\\0" "\\63" </dev/zero | head -c 16384 >&3; echo drawn; read x; '
              'printf UUUU | dd of=/dev/fb0 bs=4 seek=4095 2>/dev/null; echo again; cat',
              options=['--name', 'dies', '--framebuffer', '64x64', '--place', 'screen=user,input=user']) as site:
        expect(site.line(), b'drawn\n')
        wait_until(lambda: screenshot('dies', '--framebuffer')[2][63] == b'3' * 192, 'the picture')
        for name in ('screen', 'input'):
            os.kill(site.actors()[name], 9)
            site.wait_for_log(name + ' is started again')
        wait_until(lambda: chorus('screenshot', scratch('.png'), '--name', 'dies', '--framebuffer').status == 0, 'a picture again')
        wait_until(lambda: screenshot('dies', '--framebuffer')[2][63] == b'3' * 192, 'the same picture')
        site.process.stdin.write(b'\n')
        expect(site.line(), b'again\n')
        wait_until(lambda: screenshot('dies', '--framebuffer')[2][63][-3:] == b'UUU', 'the new pixel')


@check
def a_program_that_maps_the_framebuffer_draws_on_while_its_driver_is_killed():
    with Site('picture', '150', options=['--name', 'maps', '--root', TEST_IMAGE, '--snapshot', '--framebuffer', '320x200', '--place', 'screen=user']) as site:
        expect(site.line(), b'320 x 200, 32 bits, red at 16, lines of 1280 bytes\n')
        for _ in range(5):
            os.kill(site.actors()['screen'], 9)
            wait_until(lambda: 'screen' in site.actors(), 'another driver')
        expect(site.line(), b'drawn\n')
        wait_until(lambda: screenshot('maps')[2][0][:6] == b'\0\0\0\377\377\377', 'the last picture')
        rows = screenshot('maps')[2]
        expect((rows[0][3:], rows[199]), (b'\xff' * 957, b'\xff' * 960), 'the first and the last line')
        site.process.stdin.write(b'\n')
        expect(site.process.wait(20), 0, 'the exit status')


@check
def the_console_is_drawn_without_a_window():
    with Terminal('--name', 'con', rows=10, columns=40) as terminal:
        terminal.send("clear; printf '\\033[41m%5s\\033[0m\\n' ''\n")
        terminal.expect(PROMPT)
        wait_until(lambda: chorus('screenshot', scratch('.png'), '--name', 'con').status == 0, 'a screenshot')
        width, height, rows = screenshot('con')
        cell = width // 40, height // 10
        expect(cell[0] >= 7 and cell[1] >= 14, True, 'cells')
        red = rows[cell[1] // 2][3 * cell[0]:3 * cell[0] + 3]
        expect(red[0] > 180 and red[1] < 120, True, f'a red cell in the first row ({red.hex()})')
        beside = rows[cell[1] // 2][3 * 20 * cell[0]:3 * 20 * cell[0] + 3]
        expect(max(beside) < 60, True, f'a dark cell beside it ({beside.hex()})')
        prompt = {rows[cell[1] + y][3 * x:3 * x + 3] for x in range(6 * cell[0]) for y in range(cell[1])}
        expect(len(prompt) > 4, True, 'letters of the prompt')


@check
def the_live_picture_is_drawn_and_one_looks_at_a_time():
    with Site('sh', '-c', 'while ls -l /bin >/dev/null; do :; done', options=['--name', 'live']) as site:
        site.wait_until_up()
        for options in ([], ['--slower', '1000', '--actor', 'pm']):
            path = scratch('.png')
            result = chorus('show', '--picture', path, '--name', 'live', '--after', '1', *options)
            expect((result.status, result.err), (0, b''), 'status and standard error')
            width, height, rows = picture(path)
            expect((width, height), (1280, 720), 'its size')
            colours = {row[3 * x:3 * x + 3] for row in rows[::3] for x in range(0, 1280, 3)}
            expect(len(colours) > 30, True, f'{len(colours)} colours')
        refused(['show', '--picture', scratch('.png'), '--name', 'live', '--after', '0'], 'number|seconds|must', 2)
        refused(['show', '--picture', '/nowhere/x.png', '--name', 'live', '--after', '1'], 'No such file')


@check
def beside_a_trace_there_is_no_live_picture():
    with Site('cat', options=['--name', 'traced', '--trace', scratch('.json')]) as site:
        site.wait_until_up()
        refused(['show', '--picture', scratch('.png'), '--name', 'traced'], 'writes a trace')


main()
