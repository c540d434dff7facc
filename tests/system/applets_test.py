#!/usr/bin/python3
"""Every applet of the distribution's busybox: the table applets.table, carried out.

The commands of some twenty applets go into one script, each in a folder and a shell of its own, so
that a site is booted some ten times and not two hundred. Where that script does not come to its
end, its applets are tried one by one, so that one bad applet hides no other."""
import os
import re
import subprocess

from harness import (BUSYBOX, Failure, LONG, add_check, check, expect, inside, main, on_host, run,
                     shell)

HERE = os.path.dirname(os.path.realpath(__file__))
PRELUDE = open(os.path.join(HERE, 'applets.prelude')).read()
AT_ONCE = 1 if LONG else 20


def read_table():
    for line in open(os.path.join(HERE, 'applets.table')):
        if not line.startswith('#'):
            yield line.rstrip('\n').split('\t')


TABLE = list(read_table())


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def script_of(commands):
    """One script for many commands; a marker line after each tells its exit status."""
    lines = [f'prelude={quoted(PRELUDE)}']
    for number, command in enumerate(commands):
        lines.append(f'mkdir w{number}; cd w{number}; sh -c "$prelude"{quoted(chr(10) + command)} '
                     f'</dev/null 2>&1; echo; echo "@@@ {number} $?"; cd ..; chmod -R u+rwX w{number}')
    return '\n'.join(lines)


def split(output):
    """{number: (status, output)} of what such a script printed."""
    found, at = {}, 0
    for marker in re.finditer(rb'\n@@@ (\d+) (\d+)\n', output):
        found[int(marker[1])] = int(marker[2]), output[at:marker.start()]
        at = marker.end()
    return found


class Batch:
    """Commands that are carried out together, when the first of their checks asks."""

    def __init__(self, commands, runner):
        self.commands, self.runner, self.results = commands, runner, None

    def result(self, number):
        if self.results is None:
            try:
                self.results = split(self.runner(script_of(self.commands)).out)
            except Failure:
                self.results = {}
        if number not in self.results:  # now alone, and its failure is its own
            alone = split(self.runner(script_of(self.commands[number:number + 1])).out)
            if 0 not in alone:
                raise Failure('the site ended before the commands did')
            self.results[number] = alone[0]
        return self.results[number]


def add_same(name, number, there, here):
    def compare():
        expect(there.result(number), here.result(number), 'status and output')
    add_check(name, compare)


def add_root(name, number, there):
    def succeed():
        status, output = there.result(number)
        if status != 0:
            raise Failure(f'status {status}: {output.decode(errors="replace")}')
    add_check(name, succeed)


def add_all():
    same = [(applet, detail) for applet, way, detail in TABLE if way == 'same']
    for at in range(0, len(same), AT_ONCE):
        commands = [command for _, command in same[at:at + AT_ONCE]]
        there, here = Batch(commands, inside), Batch(commands, on_host)
        for number, (applet, _) in enumerate(same[at:at + AT_ONCE]):
            add_same(f'{applet} prints what it prints on the host', number, there, here)
    root = [(applet, detail) for applet, way, detail in TABLE if way == 'root']
    for at in range(0, len(root), AT_ONCE):
        there = Batch([command for _, command in root[at:at + AT_ONCE]],
                      lambda script: shell('mkdir /tmp/r; cd /tmp/r\n' + script))
        for number, (applet, _) in enumerate(root[at:at + AT_ONCE]):
            add_root(f'{applet} does its work', number, there)
    for applet, way, command in TABLE:
        if way == 'ends':
            add_check(f'{applet} ends the site',
                      lambda command=command: shell(command + '; sleep 1000', timeout=20))


@check
def the_table_names_each_applet_once():
    listed = subprocess.run([BUSYBOX, '--list'], capture_output=True, text=True, check=True)
    expect(sorted(applet for applet, _, _ in TABLE), sorted(set(listed.stdout.split())))


@check
def each_way_is_known_and_each_test_elsewhere_is_there():
    for applet, way, detail in TABLE:
        expect(way in ('same', 'root', 'ends', 'in', 'no') and detail != '', True, applet)
        if way == 'in':
            file, name = detail.split(': ')
            source = open(os.path.join(HERE, file)).read()
            expect(f'def {name.replace(" ", "_")}(' in source, True, f'{applet}: {name}')


add_all()
main()
