#!/usr/bin/python3
"""Pictures against reference images, which lie in the folder pictures. They were looked at; who changes what is drawn looks again, and
puts the new ones there: CHORUS_TEST_PICTURES=FOLDER keeps what is drawn in FOLDER."""
import os
import shutil
import subprocess

from harness import BUILD, SOURCE, Failure, check, chorus, expect, main, scratch, wait_until
from pictures import difference, expect_picture
from png import picture, save
from terminal import PROMPT, Terminal
from xserver import Shown, XServer

SCENE = os.path.join(BUILD, 'tests/src/show-scene')
UPPER = 320         # rows of the window with text in them
REFERENCES = os.path.join(SOURCE, 'tests/system/pictures')
# Each colour in three ways, letters of several alphabets, lines, and what wraps.
TEXT = (r"for i in 0 1 2 3 4 5 6 7; do printf '\033[3%sm text \033[1mbold \033[0;4%sm back \033[0m' $i $i; done; printf '\n\033[4munderlined\033[0m \033[7mreversed\033[0m '; "
        r"echo 'Größe ελληνικά русский ½ ≤ ✓ €'; echo '┌──────┬──────┐'; echo '│ left │ right│'; echo '└──────┴──────┘'")


def matches(ours, name):
    """A picture against its reference; kept where one wishes to look at it."""
    if folder := os.environ.get('CHORUS_TEST_PICTURES'):
        save(os.path.join(folder, name), *ours)
    expect_picture(ours, os.path.join(REFERENCES, name))


def scene(*words):
    path = scratch('.png')
    subprocess.run([SCENE, path, *map(str, words)], check=True)
    return picture(path)


@check
def the_live_picture_is_drawn_as_it_was():
    matches(scene(2, 1, 0), 'live.png')


@check
def the_live_picture_is_drawn_as_it_was_with_an_actor_picked_out_and_four_cpus():
    matches(scene(4, 1000, 4), 'picked.png')


@check
def another_picture_is_noticed_and_kept():
    """Of one where only the names of who runs on the CPUs and of some boxes differ."""
    try:
        expect_picture(scene(4, 1000, 2), os.path.join(REFERENCES, 'picked.png'))
    except Failure as failure:
        kept = str(failure).split()[2]
        expect(picture(kept)[:2], (1280, 720), 'what was kept')
        shutil.rmtree(os.path.dirname(kept))
        return
    raise Failure('nobody noticed')


@check
def the_console_is_drawn_as_it_was():
    with Terminal('--name', 'pictured', rows=12, columns=64) as terminal:
        terminal.send(f'clear; {TEXT}\n')
        terminal.expect('└──────┴──────┘')
        terminal.expect(PROMPT)
        path = scratch('.png')
        wait_until(lambda: chorus('screenshot', path, '--name', 'pictured').status == 0, 'a screenshot')
        matches(picture(path), 'console.png')


@check
def the_window_shows_the_console_as_it_was():
    reference = picture(os.path.join(REFERENCES, 'window.png'))
    script = f'''while [ "$(stty size </dev/console)" = "25 80" ]; do sleep 0.02; done; {{ clear; {TEXT}; }} >/dev/console; cat'''
    with XServer() as x, Shown(x, 'windowed', 'sh', '-c', script):
        def shown():
            width, height, rows = x.screen()
            return width, UPPER, [bytes(part for at in range(0, len(row), 4) for part in (row[at + 2], row[at + 1], row[at])) for row in rows[:UPPER]]
        try:
            wait_until(lambda: not difference(shown(), reference), 'the picture', timeout=10)
        except Failure:
            matches(shown(), 'window.png')


main()
