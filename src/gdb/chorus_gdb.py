"""Commands of gdb that show what the Nucleus knows. Type `chorus` for the list.

They read the Nucleus's own structures, by type, and call nothing: so they work on a process that runs
under gdb, on one that gdb was attached to, and on a core of the nucleus process alike.

Loading this also tells gdb which signals belong to the machine and go to the program unseen."""
import functools

import gdb

CALL_TABLE_MOST = 192
LIST_MOST = 1000000  # a list that is longer goes in circles


# Finding things

def symbol(function, name):
    """A static variable of the file in which <function> is: names like 'actors' are there in several."""
    where = gdb.lookup_global_symbol(function)
    if where is None:
        raise gdb.GdbError(f'{function} is not known: is this the chorus program, with its symbols?')
    found = gdb.lookup_symbol(name, where.symtab.static_block())[0]
    if found is None:
        raise gdb.GdbError(f'{where.symtab.filename} has no variable {name}')
    if not gdb.selected_inferior().pid:
        raise gdb.GdbError('nothing runs: use run, attach, or open a core')
    return found.value()


@functools.lru_cache(None)
def pointer_to(name):
    return gdb.lookup_type(name).pointer()


@functools.lru_cache(None)
def offset_of(name, member):
    return next(field.bitpos // 8 for field in gdb.lookup_type(name).fields() if field.name == member)


def owners(head, kind, member):
    """What is in a list: pointers to <kind>, whose links are <member>."""
    link, count = head['next'], 0
    while link != head.address and int(link) != 0 and count < LIST_MOST:
        yield gdb.Value(int(link) - offset_of(kind, member)).cast(pointer_to(kind))
        link, count = link['next'], count + 1


def length(head):
    return sum(1 for _ in owners(head, 'struct list', 'next'))


def actors():
    return owners(symbol('actor_list', 'actors'), 'struct actor', 'of_site')


def threads(actor):
    return owners(actor['threads'], 'struct thread', 'of_actor')


def ports(actor):
    return owners(actor['ports'], 'struct port', 'of_actor')


# Showing things

def text(array):
    return array.string(errors='replace') if int(array.address) else ''


def ui(value):
    return f"{int(value['uiHead']):08x}.{int(value['uiTail']):x}"


def seconds(ns):
    return f'{int(ns) / 1e9:.3f}'


def size(count):
    """Of bytes; whole pages, so at least kilobytes."""
    for unit in 'KMGT':
        count //= 1024
        if count < 10240 or unit == 'T':
            return f'{count}{unit}'


@functools.lru_cache(None)
def enumerators(type_name):
    try:
        return {field.enumval: field.name for field in gdb.lookup_type(type_name).fields()}
    except gdb.error:
        return {}


def constant(type_name, value, prefix=''):
    name = enumerators(type_name).get(int(value), str(int(value)))
    return name[len(prefix):].lower() if prefix and name.startswith(prefix) else name


def privilege(actor):
    for name in 'K_USERACTOR', 'K_SYSTEMACTOR', 'K_SUPACTOR':
        try:
            if int(gdb.parse_and_eval(name)) == int(actor['privilege']):
                return {'K_USERACTOR': 'user', 'K_SYSTEMACTOR': 'system', 'K_SUPACTOR': 'supervisor'}[name]
        except gdb.error:
            pass
    return str(int(actor['privilege']))


def host_pid(actor):
    host = actor['host']
    if int(host) == 0 or int(host['process']) == 0:
        return '-'
    return str(int(host['process']['pid']))


def table(titles, rows):
    """Columns as wide as needed; titles that begin with '>' are of numbers, to the right."""
    right = [title.startswith('>') for title in titles]
    lines = [[title.lstrip('>') for title in titles]] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    for line in lines:
        cells = [cell.rjust(width) if to_right else cell.ljust(width)
                 for cell, width, to_right in zip(line, widths, right)]
        gdb.write('  '.join(cells).rstrip() + '\n')


# Nucleus calls

@functools.lru_cache(None)
def call_table():
    """Number: (name, [(argument, kind)]), from the Nucleus's own table."""
    found, entries = {}, symbol('call_table_find', 'table')
    for number in range(CALL_TABLE_MOST):
        entry = entries[number]
        if int(entry['name']) == 0:
            continue
        words = entry['arguments'].string().split()
        found[number] = entry['name'].string(), [tuple(word.split('=')) for word in words]
    return found


def argument(kind, value):
    value &= (1 << 64) - 1
    signed = value - (1 << 64) if value >> 63 else value
    if kind[0] == 'i':
        low = value & 0xffffffff
        return str(low - (1 << 32) if low >> 31 else low)
    if kind[0] == 't':
        return 'K_FOREVER' if signed == -1 else f'{signed} ns'
    if kind[0] == 'u':
        return str(value)
    if kind[0] == 'C' and value == 0:
        return 'K_MYACTOR'
    if kind[0] in 'USRMsb' and value == 0:
        return 'NULL'
    return f'{value:#x}'


def call_words(number, arguments):
    name, wanted = call_table().get(number, (f'call {number}', []))
    words = [f'{what}={argument(kind, int(arguments[i]))}' for i, (what, kind) in enumerate(wanted)]
    return f'{name}({", ".join(words)})'


def result_words(result):
    result = int(result)
    if result < 0:
        return enumerators('enum KnStatus').get(result, str(result))
    return str(result) if result < 4096 else f'{result:#x}'


# Threads

def what_it_does(thread):
    """Why is it where it is?"""
    words = []
    if int(thread['call']['number']) != 0:
        words.append(call_words(int(thread['call']['number']), thread['call']['arg']))
    if thread['in_trap']:
        trap = thread['trap']
        words.append(f"trap {constant('enum KnTrapKind', trap['kind'], 'K_TRAP_')}"
                     f" {int(trap['number'])} at {int(trap['ip']):#x}")
    if int(thread['current']) != 0:
        words.append(f"serves {int(thread['current']):#x}")
    if int(thread['calling']['id']) != 0:
        words.append(f"awaits {int(thread['calling']['id']):#x}")
    if thread['aborted']:
        words.append('aborted')
    if int(thread['stopped']) != 0:
        words.append('stopped')
    return ', '.join(words)


# Memory

PROTECTIONS = (1, 'r'), (2, 'w'), (4, 'x')


def region_rights(options):
    return ''.join(letter if options & bit else '-' for bit, letter in PROTECTIONS)


def region_kind(space, region):
    """The four kinds of region.h."""
    words = []
    own = int(region['object']) == int(space['own'].address)
    if int(region['object']) == 0 and int(region['cache']) == 0:
        words.append('nothing')
    elif int(region['cache']) == 0:
        words.append('anonymous' if own else 'anonymous, shared')
    else:
        words.append('window on' if int(region['object']) == 0 else 'copy of' if own else 'shared copy of')
        words.append(f"segment {ui(region['cache']['segment']['ui'])} from page {int(region['cache_page']):#x}")
    if int(region['options']) & 0x40:
        words.append('reserved')
    if int(region['options']) & 0x800:
        words.append('stays in memory')
    return ' '.join(words)


# The commands

def chosen_actor(words, needed=False):
    """By name, serial number or identifier; None: all."""
    if not words:
        if needed:
            raise gdb.GdbError('which actor? Its name, or its number, as `chorus actors` shows them')
        return None
    found = [actor for actor in actors()
             if words in (text(actor['name']), str(int(actor['serial'])), ui(actor['cap']['ui']))]
    if not found:
        raise gdb.GdbError(f'there is no actor {words}')
    if len(found) > 1:
        numbers = ', '.join(str(int(actor['serial'])) for actor in found)
        raise gdb.GdbError(f'several actors have this name: choose one of the numbers {numbers}')
    return found[0]


class Command(gdb.Command):
    def __init__(self, name, show):
        self.__doc__ = show.__doc__
        self.show = show
        super().__init__(name, gdb.COMMAND_DATA)

    def invoke(self, words, from_tty):
        del from_tty
        try:
            self.show(words.strip())
        except gdb.MemoryError as error:
            raise gdb.GdbError(f'the structures cannot be read (has the site booted?): {error}')


def show_actors(words):
    """chorus actors: all actors of the site."""
    chosen = [chosen_actor(words)] if words else actors()
    rows = []
    for actor in chosen:
        space = actor['vm']
        state = 'dying' if actor['deleting'] else 'stopped' if actor['stopped'] else ''
        rows.append((int(actor['serial']), text(actor['name']), ui(actor['cap']['ui']), privilege(actor),
                     host_pid(actor), length(actor['threads']), length(actor['ports']),
                     int(space['region_count']) if int(space) else 0,
                     size(int(space['mapped']) * 4096) if int(space) else 0,
                     int(actor['messages']), int(actor['faults']), state))
    table(['>NO', 'NAME', 'UI', 'KIND', '>HOST PID', '>THREADS', '>PORTS', '>REGIONS', '>MAPPED',
           '>MESSAGES', '>FAULTS', 'STATE'], rows)


def show_threads(words):
    """chorus threads [ACTOR]: threads, what they do or wait for. An actor goes by its name or number."""
    one = chosen_actor(words)
    rows = []
    for actor in [one] if one is not None else actors():
        for thread in threads(actor):
            state = constant('enum thread_state', thread['state'], 'THREAD_')
            rows.append((int(actor['serial']), text(actor['name']), int(thread['li']), text(thread['name']),
                         state, int(thread['sched']['priority']), int(thread['cpu']),
                         seconds(thread['cpu_time']), int(thread['switches']), what_it_does(thread)))
    table(['>NO', 'ACTOR', '>LI', 'NAME', 'STATE', '>PRIO', '>CPU', '>SECONDS', '>SWITCHES', 'DOES'], rows)


def show_ports(words):
    """chorus ports [ACTOR]: ports, their queues and who waits at them."""
    one = chosen_actor(words)
    rows = []
    for actor in [one] if one is not None else actors():
        for port in ports(actor):
            rows.append((ui(port['ui']), int(actor['serial']), text(actor['name']), int(port['li']),
                         str(int(port['priority'])) if port['enabled'] else '-', int(port['received']),
                         int(port['queued']), length(port['unanswered']), length(port['receivers']['threads'])))
    table(['UI', '>NO', 'ACTOR', '>LI', '>ENABLED', '>RECEIVED', '>QUEUED', '>UNANSWERED', '>WAITING'], rows)


def show_regions(words):
    """chorus regions ACTOR: what its address space is made of."""
    actor = chosen_actor(words, needed=True)
    space = actor['vm']
    if int(space) == 0:
        raise gdb.GdbError('it has no memory')
    rows = []
    for index in range(int(space['region_count'])):
        region = space['regions'][index]
        start, end = int(region['start']) << 12, int(region['end']) << 12
        rows.append((f'{start:012x}-{end:012x}', size(end - start), region_rights(int(region['options'])),
                     region_kind(space, region)))
    table(['ADDRESSES', '>SIZE', 'RIGHTS', 'IS'], rows)
    gdb.write(f"{int(space['mapped'])} of {int(space['pages'])} pages are mapped,"
              f" in {int(space['machine_mappings'])} mappings of the machine; {int(space['faults'])} faults\n")


def show_calls(words):
    """chorus calls [N]: the last N nucleus calls of all actors, 20 unless said, the latest last."""
    try:
        count = int(words) if words else 20
    except ValueError:
        raise gdb.GdbError('chorus calls takes a number')
    names = {ui(actor['cap']['ui']): text(actor['name']) for actor in actors()}
    ring = symbol('call_begin', 'nucleus_last_calls')
    following = int(symbol('call_begin', 'nucleus_last_calls_next'))
    room = ring.type.range()[1] + 1
    rows = []
    for index in range(max(0, following - min(count, room)), following):
        note = ring[index % room]
        who = ui(note['actor'])
        rows.append((index + 1, names.get(who, who), int(note['thread']),
                     call_words(int(note['number']), note['arg']), '=', result_words(note['result'])))
    table(['>CALL', 'ACTOR', '>LI', '', '', ''], rows)


class Chorus(gdb.Command):
    """What the Nucleus knows of its actors. An actor goes by its name or by its number.

    chorus actors           all actors
    chorus threads [ACTOR]  threads, what they do or wait for
    chorus ports [ACTOR]    ports, their queues and who waits at them
    chorus regions ACTOR    what its address space is made of
    chorus calls [N]        the last N nucleus calls

They work while the site stands still under gdb, and on a core of the nucleus process."""

    def __init__(self):
        super().__init__('chorus', gdb.COMMAND_DATA, prefix=True)

    def invoke(self, words, from_tty):
        del from_tty
        if words:
            raise gdb.GdbError(f'there is no command "chorus {words}"; type `chorus`')
        gdb.write(self.__doc__ + '\n')


Chorus()
for word, function in (('actors', show_actors), ('threads', show_threads), ('ports', show_ports),
                       ('regions', show_regions), ('calls', show_calls)):
    Command('chorus ' + word, function)


# The machine's signals
#
# Supervisor actors run in the nucleus process: their system calls, faults and ticks are signals of
# it. Until the first of them is made a fault is the Nucleus's own, and gdb stops at it as usual;
# from then on faults pass, and one of the Nucleus's own stops at supervisor_foreign_signal.

PASSED = 'SIGSYS', 'SIGUSR1', 'SIGCHLD', 'SIGWINCH', 'SIGALRM', 'SIGPIPE'
FAULTS = 'SIGSEGV', 'SIGBUS', 'SIGILL', 'SIGFPE'


def let_pass(signals):
    for signal in signals:
        gdb.execute(f'handle {signal} nostop noprint pass', to_string=True)


class OwnFault(gdb.Breakpoint):
    def stop(self):
        gdb.write('A fault of the Nucleus itself: the frames above the signal handler show where.\n')
        return True


class Supervisors(gdb.Breakpoint):
    """Supervisor actors are about to be."""

    def stop(self):
        expect_supervisors()
        return False


def expect_supervisors():
    let_pass(FAULTS)
    if not any(isinstance(point, OwnFault) for point in gdb.breakpoints()):
        OwnFault('supervisor_foreign_signal', internal=True)


def look_for_supervisors():
    """Attached, or a core: they may be there already."""
    try:
        if symbol('supervisor_ready', 'supervisor')['started']:
            expect_supervisors()
    except (gdb.error, gdb.GdbError):
        pass


def prepare():
    for setting in ('follow-fork-mode parent', 'detach-on-fork on', 'follow-exec-mode same',
                    'disable-randomization off', 'print thread-events off', 'breakpoint pending on'):
        try:
            gdb.execute('set ' + setting, to_string=True)
        except gdb.error:
            pass  # of a core it cannot be said
    let_pass(PASSED)
    Supervisors('catch_signals', internal=True)


prepare()
look_for_supervisors()
gdb.events.new_objfile.connect(lambda event: look_for_supervisors())
