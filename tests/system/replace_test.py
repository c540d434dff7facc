#!/usr/bin/python3
"""Servers are replaced while they are used: chorus replace. No call is lost, and none is served twice; both ends count."""
import os
import re

from harness import (BUILD, LONG, TEST_IMAGE, Failure, Site, add_check, check, chorus, expect, expect_match, main, wait_until)

HELLO = os.path.join(BUILD, 'servers/hello/hello')
GREETER = os.path.join(BUILD, 'tests/lib/server/greeter')
TIMES = 100 if LONG else 12


class Replacing(Site):
    def __init__(self, *options, command=('cat',)):
        super().__init__(*command, options=['--name', 'r', '--root', TEST_IMAGE, '--snapshot', *options])
        self.wait_until_up()

    def rows(self):
        return [line.split() for line in chorus('ps', '--name', 'r').good().decode().splitlines()[2:]]

    def row(self, name):
        found = [row for row in self.rows() if row[0] == name]
        expect(len(found), 1, f'the number of actors {name}')
        return found[0]


def refused(words, pattern):
    result = chorus('replace', *words)
    expect((result.status, result.out), (1, b''), f'status and output of {words}')
    expect_match(pattern, result.err)


# What fails leaves the old one

@check
def a_successor_that_is_none_leaves_the_old_one():
    with Replacing() as site:
        chorus('load', HELLO).good()
        before = site.row('hello')
        refused(['hello', '/bin/true'], 'dynamically; the old one goes on')
        refused(['nobody', HELLO], 'no actor nobody')
        refused(['hello', GREETER, '--', '1', '20'], 'ended before it had taken over')
        refused(['cat', HELLO], 'was not started by the site|no actor cat')
        expect(site.row('hello')[-1], before[-1], 'its unique identifier')
        site.wait_for_log(r'greeter: \d+ greetings, \d+ waits, 0 failures')  # the old one answered it


@check
def a_successor_of_another_kind_leaves_the_old_one():
    """The disk's driver cannot take over from hello: hello says so."""
    with Replacing() as site:
        chorus('load', HELLO).good()
        before = site.row('hello')
        refused(['hello', os.path.join(BUILD, 'actors/om')], 'the new hello ended before it had taken over')
        expect(site.row('hello')[-1], before[-1], 'its unique identifier')
        site.wait_for_log('does not hand over')


# hello, under load

def replaced_under_load(places):
    def function():
        with Replacing('--memory', '64M') as site:
            chorus('load', HELLO, '--place', places[0]).good()
            chorus('load', GREETER, '--', '4', str(150 * TIMES)).good()
            for i in range(TIMES):
                expect_match('hello is replaced', chorus('replace', 'hello', HELLO, '--place', places[i % len(places)]).good())
            site.wait_for_log(r'greeter: \d+ greetings', timeout=60)
            counts = re.search(r'greeter: (\d+) greetings, (\d+) waits, (\d+) failures', site.log())
            expect(int(counts[3]), 0, f'failures among {counts[0]}')
            if int(counts[1]) < 100 * TIMES or int(counts[2]) < TIMES:
                raise Failure(f'that was no load: {counts[0]}')
            chorus('kill', 'hello').good()
    return function


add_check(f'hello is replaced {TIMES} times while it is used, as a user actor', replaced_under_load(['user']))
add_check(f'hello is replaced {TIMES} times while it is used, as a supervisor actor', replaced_under_load(['supervisor']))
add_check(f'hello moves to the other place and back while it is used, {TIMES} times', replaced_under_load(['supervisor', 'user']))


main()
