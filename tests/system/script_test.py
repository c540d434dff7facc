#!/usr/bin/python3
"""A long script of ordinary shell use gives what the same busybox gives on the host."""
import difflib
import os

from harness import Failure, applet_folder, check, expect, inside, main, on_host

SCRIPT = open(os.path.join(os.path.dirname(os.path.realpath(__file__)), 'script.sh')).read()


def sections():
    """The script's parts: each begins with an echo "== ..."."""
    parts = SCRIPT.split('\necho "== ')
    return ['echo "== ' + part for part in parts[1:]]


def compare(script, **how):
    there, here = inside(script, **how), on_host(script)
    if there.out != here.out:
        lines = [result.out.decode(errors='replace').splitlines() for result in (here, there)]
        raise Failure('\n'.join(difflib.unified_diff(*lines, 'host', 'inside', lineterm='', n=1)))
    errors = here.err.replace(os.path.join(applet_folder(), 'sh').encode(), b'sh')  # as the shell is called
    if there.err != errors:
        lines = [text.decode(errors='replace').splitlines() for text in (errors, there.err)]
        raise Failure('\n'.join(difflib.unified_diff(*lines, 'host, errors', 'inside', lineterm='', n=0)))
    expect(there.status, here.status, 'status')


@check
def the_script_is_long_enough():
    lines = [line for line in SCRIPT.splitlines() if line and not line.startswith('#')]
    expect(len(lines) >= 80, True, f'{len(lines)} lines >= 80')


@check
def the_whole_script_prints_the_same():
    compare(SCRIPT)


@check
def more_uses_print_the_same():
    compare(open(os.path.join(os.path.dirname(os.path.realpath(__file__)), 'uses.sh')).read() + '\nexit 0\n')


@check
def it_prints_the_same_on_one_cpu():
    compare(SCRIPT, prefix=['taskset', '-c', '0'])


@check
def it_prints_the_same_in_little_memory():
    compare(SCRIPT, options=['--memory', '64M'])


main()
