#!/usr/bin/python3
"""What an actor that faults leaves behind: a backtrace in the log, a core that gdb opens. And what it
does not: the rest of the site goes on."""
import glob
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '../system'))
from harness import (BUILD, Failure, Site, await_no_children, check, chorus, expect,  # noqa: E402
                     expect_match, main, scratch, wait_until)

DEBUG_SITE = os.path.join(BUILD, 'tests/debugging/debug-site')
VICTIM = os.path.join(BUILD, 'tests/debugging/victim')
STEPS = ['die_of', 'second_step', 'first_step', 'main']


class Death:
    """A site with one actor that dies of <what>."""

    def __init__(self, what, place='user', environment=None):
        self.folder = scratch('-death')
        os.mkdir(self.folder)
        path = os.path.join(self.folder, 'log')
        words = [DEBUG_SITE, '--log', path, place, f'{VICTIM},{what}']
        done = subprocess.run(words, timeout=60, capture_output=True, env=environment)
        expect((done.returncode, done.stderr), (0, b''), 'status and standard error')
        await_no_children()
        self.log = open(path).read()
        self.cores = glob.glob(self.folder + '/chorus-core.*')

    def backtrace(self):
        """The functions' names, those that are not known as '?'; guesses are left out."""
        found = re.findall(r'^  #\d+ 0x[0-9a-f]{16}(?: \(not code\)| (\w+)\+0x)?', self.log, re.M)
        return [name or '?' for name in found]

    def gdb(self, *commands):
        expect(len(self.cores), 1, 'number of cores')
        words = ['gdb', '-nx', '-batch', '-iex', 'set debuginfod enabled off']
        for command in commands:
            words += ['-ex', command]
        done = subprocess.run([*words, VICTIM, self.cores[0]], timeout=60, capture_output=True, text=True)
        return done.stdout + done.stderr


def expect_steps(death, first=()):
    found = death.backtrace()
    expect(found[:len(first) + 4], [*first, *STEPS], 'backtrace')


@check
def a_bad_address_is_told_with_the_functions_and_lines_that_led_there():
    for place in 'user', 'supervisor':
        death = Death('fault', place)
        expect_match(r'thread 1: a bad address at [0-9a-f]+, address 5550000000', death.log)
        expect_match(r'^  #0 .* die_of\+0x[0-9a-f]+ \(.*tests/debugging/victim\.c:\d+\)$', death.log)
        expect_steps(death)


@check
def a_call_of_what_is_no_code_is_told_with_its_caller():
    expect_steps(Death('jump'), ['?'])
    expect_steps(Death('null', 'supervisor'), ['?'])


@check
def a_fault_inside_the_C_library_is_followed_to_our_functions():
    death = Death('library')
    expect_match(r'^  #0 .*strlen', death.log)
    expect(death.backtrace()[1:5], STEPS, 'backtrace')


@check
def other_exceptions_are_told_too():
    for what, words, signal in (('illegal', 'an illegal instruction', 'SIGILL'),
                                ('divide', 'an arithmetic exception', 'SIGFPE')):
        death = Death(what)
        expect_match(f'thread 1: {words} at', death.log)
        expect_steps(death)
        expect_match(f'terminated with signal {signal}', death.gdb())


@check
def a_recursion_without_end_is_told_once():
    death = Death('stack')
    expect(death.backtrace()[:2], ['recurse', 'recurse'])
    expect_match(r'and \d{3,} times again$', death.log)
    expect(death.backtrace()[2:6], STEPS, 'backtrace after the recursion')


@check
def a_stack_that_was_overwritten_gives_guesses_and_no_more():
    death = Death('smash')
    expect(death.backtrace(), ['smash'])
    expect_match(r'^  \? #1 ', death.log)
    expect(len(death.cores), 1, 'number of cores')


@check
def gdb_opens_the_core_at_the_place_of_the_fault():
    for place in 'user', 'supervisor':
        death = Death('fault', place)
        said = death.gdb('bt', 'print victim_mark', 'print $_siginfo._sifields._sigfault.si_addr')
        expect(re.findall(r'^#\d+ .*?(\w+) \(', said, re.M)[-4:], STEPS, "gdb's backtrace")
        expect_match(r'^\$1 = 4711$', said)
        expect_match(r'^\$2 = \(void \*\) 0x5550000000$', said)


@check
def gdb_sees_the_other_threads_where_they_wait():
    for place in 'user', 'supervisor':
        said = Death('fault', place).gdb('info threads', 'thread 2', 'bt')
        expect_match(r'^  2 .* sleep_here', said)
        expect_match(r'^#1 .* in start_thread', said)


@check
def gdb_sees_the_whole_heap():
    death = Death('big')
    said = death.gdb('print victim_memory[512]', 'print victim_memory[99 << 20]',
                    'print victim_memory[513]')
    expect(re.findall(r'^\$\d = (.*)$', said, re.M), [r"1 '\001'", r"1 '\001'", r"0 '\000'"])


@check
def the_core_is_its_owners_alone_and_no_larger_than_memory_in_use():
    death = Death('fault')
    status = os.stat(death.cores[0])
    expect((status.st_mode & 0o777, status.st_uid), (0o600, os.getuid()))
    if status.st_size > 4 << 20:
        raise Failure(f'the core has {status.st_size} bytes')
    expect_match(r'^chorus-core\.victim\.\d+$', os.path.basename(death.cores[0]))
    expect_match(f'core: {re.escape(death.cores[0])}, \\d+ KB$', death.log)


@check
def without_a_log_file_the_core_is_in_a_folder_for_temporary_files():
    folder = scratch('-temporary')
    os.mkdir(folder)
    environment = {**os.environ, 'TMPDIR': folder}
    environment.pop('XDG_RUNTIME_DIR', None)
    done = subprocess.run([DEBUG_SITE, 'user', f'{VICTIM},fault'], timeout=60, capture_output=True,
                          env=environment, cwd='/')
    expect(done.returncode, 0)
    expect(len(glob.glob(folder + '/chorus-core.victim.*')), 1, 'number of cores')


@check
def a_log_folder_that_cannot_be_written_is_passed_over():
    closed, folder = scratch('-closed'), scratch('-temporary')
    os.mkdir(closed)
    os.mkdir(folder)
    log = os.path.join(closed, 'log')
    open(log, 'w').close()
    os.chmod(closed, 0o500)
    environment = {**os.environ, 'TMPDIR': folder, 'XDG_RUNTIME_DIR': '/nonexistent'}
    done = subprocess.run([DEBUG_SITE, '--log', log, 'user', f'{VICTIM},fault'], timeout=60,
                          capture_output=True, env=environment)
    expect(done.returncode, 0)
    expect(len(glob.glob(folder + '/chorus-core.victim.*')), 1, 'number of cores')


@check
def the_site_outlives_many_that_fault_and_keeps_eight_cores():
    folder = scratch('-many')
    os.mkdir(folder)
    log = os.path.join(folder, 'log')
    words = [DEBUG_SITE, '--log', log]
    for _ in range(10):
        words += ['user', f'{VICTIM},fault']
    done = subprocess.run([*words, 'user', f'{VICTIM},last'], timeout=60, capture_output=True)
    expect((done.returncode, done.stderr), (0, b''))
    deaths = open(log).read().count('thread 1: a bad address')
    expect((deaths, len(glob.glob(folder + '/chorus-core.*'))), (10, 8), 'deaths and cores')


@check
def processes_whose_handler_died_leave_no_cores():
    with Site('cat', options=['--name', 'handlerless', '--place', 'pm=user'], clean=False) as site:
        site.wait_until_up()
        wait_until(lambda: re.search(r'^cat\b|^exe\b', chorus('ps', '--name', 'handlerless').out.decode(), re.M),
                   'the process to be there')
        found = re.search(r'^pm +system +(\d+)', chorus('ps', '--name', 'handlerless').out.decode(), re.M)
        os.kill(int(found.group(1)), signal.SIGKILL)
        site.wait_for_log('pm died; the site ends')
        site.finish()
        expect(glob.glob(os.path.dirname(site.log_path) + '/chorus-core.*'), [])


main()
