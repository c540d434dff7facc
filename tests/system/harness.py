"""Whole-system tests: boot a site as an ordinary user, feed it, compare what comes out.

A test file is a program that defines checks and calls main():

    @check
    def the_exit_status_is_the_commands():
        expect(run('sh', '-c', 'exit 7').status, 7)
    main()

It speaks TAP, one line a check. run() boots a site for one command; Site is a site that lives on
while the check looks at it; terminal.py drives one through a terminal. When a site has ended,
each of these has checked that

  - within a second no host process of it was left (we are the subreaper, so that orphans come to us),
  - a --root image is clean for e2fsck -fn,
  - by its own report no frame, thread, port or call record was left over.

Started by root, the program starts itself again under tests/as_user.
"""
import ctypes
import fnmatch
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

BUILD = os.environ.get('CHORUS_BUILD') or sys.exit('CHORUS_BUILD must name the build folder')
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
CHORUS = os.environ.get('CHORUS_PROGRAM') or os.path.join(BUILD, 'chorus')
BUSYBOX = os.path.join(BUILD, 'rootfs/busybox')
ROOT_IMAGE = os.path.join(BUILD, 'rootfs/root.img')
TEST_IMAGE = os.path.join(BUILD, 'tests/system/test.img')  # root.img and tests/programs
LONG = 'CHORUS_TEST_LONG' in os.environ
TIMEOUT = int(os.environ.get('CHORUS_TEST_TIMEOUT', 120 if LONG else 60))  # seconds, for what takes one

# Where the servers run, as for --place; nothing: as the program's own configuration file says.
PLACE = os.environ.get('CHORUS_TEST_PLACE')
PLACED = ['--place', PLACE] if PLACE else []

# After how many traps system calls are rewritten, as for --rewrite; with 1 nearly all are.
if REWRITE := os.environ.get('CHORUS_TEST_REWRITE'):
    PLACED += ['--rewrite', REWRITE]

CHECK_TIMEOUT = 5 * TIMEOUT

# What the site says at its end under --verbose.
LEFT_OVER = re.compile(r'left over: (\d+) frames, (\d+) threads, (\d+) ports, (\d+) calls')

PR_SET_CHILD_SUBREAPER = 36

LIVE = set()  # process numbers of the sites that run


class Failure(Exception):
    pass


class Skip(Exception):
    pass


# What was wrong with sites that have ended. A check goes on to what it is about, and fails at its
# end if something stands here: so a leak hides nothing.
PROBLEMS = []


def expect(found, wanted, what=''):
    if found != wanted:
        raise Failure(f'{what or "value"} is {shorten(found)}\ninstead of {shorten(wanted)}')


def expect_match(pattern, text, what='text'):
    if isinstance(text, bytes):
        text = text.decode(errors='replace')
    if not re.search(pattern, text, re.MULTILINE):
        raise Failure(f'{what} does not match {pattern!r}: {shorten(text)}')


def shorten(value):
    text = repr(value)
    return text if len(text) < 2000 else f'{text[:1000]} ... {text[-1000:]}'


# Sites

class Result:
    def __init__(self, status, out, err, log):
        self.status, self.out, self.err, self.log = status, out, err, log

    def good(self):
        """The status must be 0, and nothing may stand on standard error."""
        expect((self.status, self.err), (0, b''), 'status and standard error')
        return self.out


def exit_status(process):
    """As a shell tells it: 128+n for signal n."""
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def orphans():
    """What of our children is no site that runs on, by their names; the dead are buried."""
    found = children()
    for pid in list(found):
        if pid in LIVE or os.waitpid(pid, os.WNOHANG) != (0, 0):
            del found[pid]
    return found


def await_no_children(seconds=1.0):
    """Wait until all processes that came of a site are gone; whoever is left is named and ended."""
    deadline = time.monotonic() + seconds
    while left := orphans():
        if time.monotonic() > deadline:
            break
        time.sleep(0.005)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if left:
        raise Failure(f'host processes are left after {seconds} s: {left}')


def children():
    path = f'/proc/self/task/{os.getpid()}/children'
    return {int(pid): comm(int(pid)) for pid in open(path).read().split()}


def comm(pid):
    try:
        return open(f'/proc/{pid}/comm').read().strip()
    except OSError:
        return '?'


def descendants(pid):
    """The processes of a site, its nucleus process first."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f'/proc/{parent}/task'):
                text = open(f'/proc/{parent}/task/{task}/children').read()
                found += [int(child) for child in text.split()]
        except OSError:
            pass  # it is gone
    return found


def switches(site):
    """How often each thread of each process gave up its CPU by itself."""
    found = {}
    for pid in descendants(site.process.pid):
        for task in os.listdir(f'/proc/{pid}/task'):
            status = open(f'/proc/{pid}/task/{task}/status').read()
            found[f'{comm(pid)} {task}'] = int(re.search(r'^voluntary_ctxt_switches:\t(\d+)', status,
                                                         re.MULTILINE)[1])
    return found


def check_left_over(log):
    found = LEFT_OVER.search(log)
    if not found:
        PROBLEMS.append(f'the site does not say what it left over: {shorten(log)}')
    elif any(int(number) for number in found.groups()):
        PROBLEMS.append(found.group(0))


def check_image(image):
    done = subprocess.run(['/sbin/e2fsck', '-fn', image], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        PROBLEMS.append(f'e2fsck {image}: {done.stdout.decode(errors="replace")}')


def scratch(name=''):
    """The path of a new file or folder in the scratch folder of this program."""
    scratch.count = getattr(scratch, 'count', 0) + 1
    return os.path.join(os.environ['TMPDIR'], f'{scratch.count}{name}')


def image_copy(source=None):
    """A copy of the test image that may be written to; sparse, as the original."""
    path = scratch('.img')
    subprocess.run(['cp', '--sparse=always', source or TEST_IMAGE, path], check=True)
    os.chmod(path, 0o600)
    return path


def end_at_once(process):
    """Kill a site and all its processes, whatever they do, and keep nothing of it open."""
    for pid in descendants(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    process.wait()
    LIVE.discard(process.pid)
    try:
        await_no_children()
    except Failure:
        pass  # something worse has been told


class Site:
    """A site that runs. Standard streams are pipes unless given; options are of `chorus run`.

    `with Site(...) as site:` ends it and checks what it left, unless the check has done that by
    site.finish(). `clean=False` is for a site that is killed: its own report cannot be there."""

    def __init__(self, *command, options=(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                 stderr=subprocess.PIPE, clean=True, prefix=(), environment=None):
        self.log_path = scratch('.log')
        self.clean = clean
        self.options = list(options)
        self.result = None
        words = [*prefix, CHORUS, 'run', '--verbose', '--log', self.log_path, *PLACED, *self.options]
        if command:
            words += ['--', *command]
        self.process = subprocess.Popen(words, bufsize=0, stdin=stdin, stdout=stdout, stderr=stderr,
                                        env=environment, preexec_fn=restore_signals)
        LIVE.add(self.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.result is None and kind:
            end_at_once(self.process)  # the failure that brought us here is the one to tell
        elif self.result is None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            self.finish()

    def line(self, timeout=TIMEOUT):
        """The next line of its output; b'' at the end of it."""
        found, deadline = b'', time.monotonic() + timeout
        while not found.endswith(b'\n'):
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise Failure(f'no line came in {timeout} s; the log: {shorten(self.log())}')
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                break
            found += byte
        return found

    def log(self):
        try:
            return open(self.log_path, errors='replace').read()
        except FileNotFoundError:
            return ''

    def finish(self, input=None, timeout=TIMEOUT):
        """Give it the rest of its input, wait for its end, check what it left."""
        try:
            out, err = self.process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            self.result = Result(None, b'', b'', self.log())
            end_at_once(self.process)
            raise Failure(f'the site did not end within {timeout} s; '
                          f'its log: {shorten(self.result.log)}')
        LIVE.discard(self.process.pid)
        self.result = Result(exit_status(self.process), out, err, self.log())
        await_no_children()
        if self.clean:
            check_left_over(self.result.log)
            if '--root' in self.options:
                check_image(self.options[self.options.index('--root') + 1])
        return self.result

    def wait_for_log(self, pattern, timeout=TIMEOUT):
        wait_until(lambda: re.search(pattern, self.log()), f'{pattern!r} in the log', timeout)

    def actors(self):
        """The host process of each actor, by the actor's name. The site must have a --name."""
        self.wait_until_up()
        name = self.options[self.options.index('--name') + 1]
        lines = chorus('ps', '--name', name).good().decode().splitlines()[2:]
        return {words[0]: int(words[2]) for words in map(str.split, lines)
                if len(words) > 2 and words[2].isdigit()}

    def wait_until_up(self):
        """The site must have a --name."""
        name = self.options[self.options.index('--name') + 1]
        wait_until(lambda: chorus('ps', '--name', name).status == 0, f'site {name} to be up')


def restore_signals():
    """Python ignores SIGPIPE; no program that it starts should."""
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def run(*command, input=b'', timeout=TIMEOUT, **how):
    """Boot a site, run the command in it to its end."""
    with Site(*command, **how) as site:
        return site.finish(input, timeout)


def need_tap():
    if not os.access('/dev/net/tun', os.R_OK | os.W_OK) or not all(map(shutil.which, ('ip', 'nsenter'))) or \
            subprocess.run(['unshare', '-rn', 'true'], capture_output=True).returncode != 0:
        raise Skip('this user may not open /dev/net/tun, or make a network of its own')


def within(site, *words, **how):
    """A program of the host in the network of a site that was started by `unshare -rn`."""
    command = ['nsenter', '-t', str(site.process.pid), '-U', '-n', '--preserve-credentials', *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


def shell(script, **how):
    return run('sh', '-c', script, **how)


def chorus(*words, timeout=TIMEOUT, input=b''):
    """Another subcommand, or a run that must be refused."""
    done = subprocess.run([CHORUS, *words], input=input, timeout=timeout, capture_output=True,
                          preexec_fn=restore_signals)
    result = Result(done.returncode if done.returncode >= 0 else 128 - done.returncode,
                    done.stdout, done.stderr, '')
    await_no_children()
    return result


def wait_until(condition, what, timeout=TIMEOUT):
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failure(f'waited {timeout} s in vain for {what}')
        time.sleep(0.01)
    return value


# The same commands on the host, for comparison

# What `chorus run --user UID:GID` gives to a command, so that both sides have the same.
ENVIRONMENT = {'SHELL': '/bin/sh', 'LANG': 'C.UTF-8', 'TERM': 'dumb', 'TZ': 'UTC0', 'HOME': '/'}
INSIDE_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'


def applet_folder():
    """A folder with a link for each applet: PATH of the host's side."""
    if not hasattr(applet_folder, 'path'):
        applet_folder.path = scratch('-bin')
        os.mkdir(applet_folder.path)
        os.symlink(BUSYBOX, os.path.join(applet_folder.path, 'busybox'))
        listed = subprocess.run([BUSYBOX, '--list'], capture_output=True, check=True, text=True)
        for applet in set(listed.stdout.split()) - {'busybox'}:
            os.symlink('busybox', os.path.join(applet_folder.path, applet))
    return applet_folder.path


def on_host(script, input=b'', timeout=TIMEOUT):
    """Run a shell script by the host's copy of the same busybox, in a new empty folder."""
    folder = scratch('-host')
    os.mkdir(folder)
    done = subprocess.run([os.path.join(applet_folder(), 'sh'), '-c', script], input=input,
                          capture_output=True, cwd=folder, timeout=timeout,
                          env={**ENVIRONMENT, 'PATH': applet_folder()},
                          preexec_fn=lambda: (restore_signals(), os.umask(0o022)))
    return Result(exit_status(done), done.stdout, done.stderr, '')


def inside(script, **how):
    """The same script inside, as the same user, also in a new empty folder."""
    options = ['--user', f'{os.getuid()}:{os.getgid()}', '--cwd', '/tmp']
    for name, value in {**ENVIRONMENT, 'PATH': INSIDE_PATH}.items():
        options += ['--env', f'{name}={value}']
    enter = 'umask 022; mkdir /tmp/inside && cd /tmp/inside || exit 99\n'
    return shell(enter + script, options=options + list(how.pop('options', ())), **how)


# Checks

CHECKS = []


def check(function):
    CHECKS.append((function.__name__.replace('_', ' '), function))
    return function


def long_check(function):
    """One that takes its time: done by ./chorus test --long alone."""
    return check(function) if LONG else function


def add_check(name, function):
    CHECKS.append((name, function))


def become_user():
    if os.geteuid() != 0:
        return
    helper = os.path.join(SOURCE, 'tests/as_user')
    os.execv(helper, [helper, '/usr/bin/python3', os.path.realpath(sys.argv[0]), *sys.argv[1:]])


def on_alarm(number, frame):
    raise Failure(f'the check was not done in {CHECK_TIMEOUT} s')


def run_check(number, name, function):
    PROBLEMS.clear()
    signal.alarm(CHECK_TIMEOUT)
    try:
        function()
    except Skip as reason:
        signal.alarm(0)
        print(f'ok {number} - {name} # SKIP {reason}', flush=True)
        return
    except Exception as error:  # also a time-out or a bug of the check itself: it has failed
        PROBLEMS.insert(0, str(error) if isinstance(error, Failure) else traceback.format_exc())
    signal.alarm(0)
    if PROBLEMS:
        print(f'not ok {number} - {name}')
        print('\n'.join('# ' + line for line in '\n'.join(PROBLEMS).split('\n')), flush=True)
    else:
        print(f'ok {number} - {name}', flush=True)


def main():
    """Do the checks; words on the command line choose some, * and ? being wild."""
    # A shell that started us in the background made us ignore these; our sites shall not inherit that.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    become_user()
    signal.signal(signal.SIGALRM, on_alarm)
    os.environ.setdefault('TMPDIR', '/tmp')
    os.environ['TMPDIR'] = os.environ['XDG_RUNTIME_DIR'] = tempfile.mkdtemp(prefix='site-test.')
    try:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        chosen = [(name, function) for name, function in CHECKS if not sys.argv[1:] or
                  any(fnmatch.fnmatch(name, pattern) for pattern in sys.argv[1:])]
        print(f'1..{len(chosen)}', flush=True)
        for number, (name, function) in enumerate(chosen, 1):
            run_check(number, name, function)
    finally:
        subprocess.run(['chmod', '-R', 'u+rwX', os.environ['TMPDIR']], stderr=subprocess.DEVNULL)
        shutil.rmtree(os.environ['TMPDIR'], ignore_errors=True)
