#!/usr/bin/python3
"""The script ./chorus on machines that we do not have: what it asks of dpkg, apt, sudo, meson and ninja.

Each of these is a stand-in that notes how it was called, and does what the check has it do. No site is booted here; a
fresh Debian root, which takes a network, is tried by hand."""
import os
import shutil
import subprocess

from harness import SOURCE, check, expect, expect_match, main, restore_signals, scratch

# What the stand-ins do unless a check says otherwise. $0.SOMETHING are files beside them.
STAND_INS = {
    'dpkg-query': 'test ! -e "$0.missing" && echo installed',
    'apt-cache': 'test ! -e "$0.no-lists"',
    'apt-get': 'echo "E: no network"; test ! -e "$0.fails"',
    'sudo': 'test ! -e "$0.refuses" || { echo "you are not in the sudoers file" >&2; exit 1; }; '
            'test "$1" = -- && shift; BY_SUDO="by sudo: " "$@"',
    'meson': 'echo >"$2/build.ninja"',
    'ninja': 'test ! -e "$0.fails" || { echo "error: it is wrong"; exit 1; }; cp "$0.chorus" "$2/chorus"',
}
NOTE = '#!/bin/sh\necho "${BY_SUDO-}${0##*/} $*" >>"${0%/*}/calls"\n'


class Machine:
    """A clone and stand-ins in a scratch folder; `without` names tools that are not there, `with_` what they do."""

    def __init__(self, *conditions, without=()):
        self.folder = scratch()
        self.tools = os.path.join(self.folder, 'tools')
        self.clone = os.path.join(self.folder, 'clone')
        os.makedirs(self.tools), os.makedirs(self.clone)
        for name in ('chorus', 'chorus-packages'):
            shutil.copy(os.path.join(SOURCE, name), self.clone)
        for name, text in STAND_INS.items():
            if name not in without:
                self.write(name, NOTE + text + '\n', 0o755)
        self.write('ninja.chorus', '#!/bin/sh\necho "site: $*"\nexit 7\n', 0o755)
        for name in ('sh', 'env', 'realpath', 'dirname', 'sed', 'id', 'cat', 'grep', 'tail', 'tee', 'mkdir', 'touch',
                     'flock', 'find', 'cp', 'echo', 'true'):
            os.symlink(shutil.which(name, path='/usr/bin:/bin'), os.path.join(self.tools, name))
        for condition in conditions:
            self.write(condition, '')

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.tools, name)
        open(path, 'w').write(text)
        os.chmod(path, mode)

    def mend(self, condition):
        os.unlink(os.path.join(self.tools, condition))

    def start(self, *words):
        """What ./chorus WORDS does; self.calls is how it called the stand-ins, without dpkg-query."""
        self.write('calls', '')
        done = subprocess.run([os.path.join(self.clone, 'chorus'), *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env={'PATH': self.tools}, preexec_fn=restore_signals)
        lines = open(os.path.join(self.tools, 'calls')).read().splitlines()
        self.calls = [line for line in lines if not line.startswith('dpkg-query')]
        return done

    def tools_called(self):
        return [line.split()[0] for line in self.calls]


@check
def with_all_packages_nobody_is_asked_for_root():
    machine = Machine(without=['sudo'])
    done = machine.start()
    expect((done.returncode, done.stdout), (7, 'site: run\n'))
    expect(machine.tools_called(), ['apt-cache', 'meson', 'ninja'])


@check
def a_second_start_only_looks_whether_the_build_is_new():
    machine = Machine()
    machine.start()
    done = machine.start('run', '--', 'true')
    expect((done.returncode, done.stdout, done.stderr), (7, 'site: run -- true\n', ''))
    expect(machine.tools_called(), ['ninja'])


@check
def missing_packages_are_installed_by_sudo_and_nothing_else_is():
    machine = Machine('dpkg-query.missing')
    done = machine.start()
    expect(done.stdout, 'site: run\n')
    expect_match('sudo asks .* apt-get install .*gcc.*gdb', done.stderr)
    by_sudo = [line for line in machine.calls if line.startswith('by sudo: ')]
    expect(len(by_sudo), 1, f'number of commands by sudo in {machine.calls}')
    expect_match('^by sudo: apt-get -y -q install --no-install-recommends gcc .*gdb', by_sudo[0])


@check
def without_sudo_it_says_what_root_has_to_do():
    machine = Machine('dpkg-query.missing', without=['sudo'])
    done = machine.start()
    expect((done.returncode, done.stdout, machine.calls), (1, '', []))
    expect_match('there is no sudo; as root, do: apt-get install gcc .*gdb', done.stderr)


@check
def a_user_whom_sudo_refuses_is_asked_once_and_told_what_root_has_to_do():
    machine = Machine('dpkg-query.missing', 'sudo.refuses')
    done = machine.start()
    expect((done.returncode, machine.tools_called()), (1, ['sudo']))
    expect_match('as root, do: apt-get install gcc .*gdb', done.stderr)


@check
def packages_that_cannot_be_had_are_named_and_apt_is_heard():
    machine = Machine('dpkg-query.missing', 'apt-get.fails')
    done = machine.start('run', '--', 'true')
    expect((done.returncode, done.stdout), (1, ''))
    expect_match('^E: no network$', done.stderr)
    expect_match('cannot install these packages: gcc .*gdb', done.stderr)
    tried = [line.split(' ')[5] for line in machine.calls if line.startswith('by sudo: apt-get')]
    expect(tried, ['install', 'update', 'install'])
    expect('ninja' in machine.tools_called(), False, 'that it builds')


@check
def without_lists_of_packages_apt_fetches_them():
    machine = Machine('apt-cache.no-lists')
    done = machine.start()
    expect(done.stdout, 'site: run\n')
    expect('by sudo: apt-get -y -q update' in machine.calls, True, f'that it is in {machine.calls}')


class LwipMachine:
    """fetch-lwip with a stand-in for apt-get, which fetches `archive`; self.said is what it was asked."""

    def __init__(self, archive=None):
        self.folder = scratch()
        tools = os.path.join(self.folder, 'tools')
        os.makedirs(tools)
        self.calls = os.path.join(self.folder, 'calls')
        text = f'''#!/bin/sh
echo "$*" >>{self.calls}
case "$*" in
indextargets*) echo 'deb-src http://mirror bookworm main'; echo 'deb-src http://mirror bookworm contrib' ;;
*update) grep -q '^deb-src http://mirror bookworm main$' "$(echo "$*" | sed 's/.*sourcelist=//; s/ .*//')" || exit 1 ;;
*source*) {f'cp {archive} .' if archive else 'echo "E: no network" >&2; exit 100'} ;;
esac
'''
        open(os.path.join(tools, 'apt-get'), 'w').write(text)
        os.chmod(os.path.join(tools, 'apt-get'), 0o755)
        for name in ('sh', 'mkdir', 'mktemp', 'realpath', 'rm', 'sort', 'grep', 'sed', 'tar', 'mv', 'cp', 'cat', 'echo', 'xz'):
            os.symlink(shutil.which(name, path='/usr/bin:/bin'), os.path.join(tools, name))
        self.tools = tools
        self.lwip = os.path.join(self.folder, 'lwip')

    def fetch(self, *given):
        return subprocess.run([os.path.join(SOURCE, 'servers/sm/fetch-lwip'), self.lwip, *given], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env={'PATH': self.tools}, preexec_fn=restore_signals)

    def made(self):
        return sorted(os.listdir(self.lwip))


def lwip_archive(name):
    """What the distribution's archive looks like."""
    folder = scratch()
    os.makedirs(os.path.join(folder, 'lwip-2/src/core'))
    open(os.path.join(folder, 'lwip-2/src/core/tcp.c'), 'w').write('/* TCP */\n')
    path = os.path.join(folder, name)
    subprocess.run(['tar', '-caf', path, '-C', folder, 'lwip-2'], check=True)
    return path


@check
def lwip_is_fetched_with_a_source_list_of_our_own_and_not_twice():
    machine = LwipMachine(lwip_archive('lwip_2.orig.tar.xz'))
    done = machine.fetch()
    expect((done.returncode, machine.made()), (0, ['src']), f'{done.stderr}')
    calls = open(machine.calls).read().splitlines()
    for call in calls[1:]:
        for option in ('Dir::Etc::sourcelist=', 'Dir::State::lists=', 'Dir::Cache='):
            expect_match(f'{option}{machine.lwip}/', call)
    expect(machine.fetch().returncode, 0)
    expect(len(open(machine.calls).read().splitlines()), len(calls), 'calls of apt-get after a second time')


@check
def without_a_network_it_says_that_lwip_cannot_be_fetched_and_leaves_nothing():
    machine = LwipMachine()
    done = machine.fetch()
    expect((done.returncode, machine.made()), (1, []))
    expect_match('E: no network\nfetch-lwip: the source package lwip cannot be fetched', done.stderr)


@check
def lwip_can_be_given_and_what_is_none_is_refused():
    machine = LwipMachine()
    for wrong in '/nowhere', lwip_archive('x.tar') + '.cut', machine.tools:
        done = machine.fetch(wrong)
        expect((done.returncode, machine.made()), (1, []), f'what becomes of {wrong}')
        expect_match('fetch-lwip: ', done.stderr)
    expect((machine.fetch(lwip_archive('x.tar')).returncode, machine.made()), (0, ['src']))


@check
def a_build_that_fails_shows_its_errors_and_is_tried_again():
    machine = Machine('ninja.fails')
    done = machine.start()
    expect((done.returncode, done.stdout), (1, ''))
    expect_match('error: it is wrong', done.stderr)
    expect_match('the whole output is in .*/build', done.stderr)
    machine.mend('ninja.fails')
    expect(machine.start().stdout, 'site: run\n')


@check
def another_system_than_debian_is_told_what_it_needs():
    machine = Machine(without=['dpkg-query'])
    done = machine.start()
    expect(done.returncode, 1)
    expect_match('chorus-packages', done.stderr)


main()
