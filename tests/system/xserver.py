"""An X server without a screen (Xvfb): what it shows can be read, and keys can be typed (by the XTEST extension). Sites with a window on it."""
import ctypes
import os
import shutil
import signal
import struct
import subprocess

from harness import LIVE, Site, Skip, comm, end_at_once, restore_signals, scratch, wait_until

DARK = (0x10, 0x14, 0x18)  # of the console


class XServer:
    """`with XServer() as x:` runs one; its display's name is in x.name."""

    def __init__(self, width=1100, height=800):
        if not shutil.which('Xvfb'):
            raise Skip('Xvfb is not installed')
        self.folder = scratch('.x')
        os.mkdir(self.folder)
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            ['Xvfb', '-displayfd', str(writing), '-screen', '0', f'{width}x{height}x24', '-fbdir', self.folder, '-nolisten', 'tcp', '-noreset'],
            pass_fds=[writing], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=restore_signals)
        LIVE.add(self.process.pid)  # it is not left over from a site
        os.close(writing)
        number = b''
        while not number.endswith(b'\n') and (more := os.read(reading, 16)):
            number += more
        number = number.decode().strip()
        os.close(reading)
        if not number:
            self.process.wait()
            raise Skip('Xvfb does not start here')
        self.name = ':' + number
        self.environment = {**os.environ, 'DISPLAY': self.name, 'SDL_VIDEODRIVER': 'x11'}

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.end()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        LIVE.discard(self.process.pid)

    def screen(self):
        """(width, height, rows of bytes, four a pixel: blue, green, red, unused)."""
        data = open(self.folder + '/Xvfb_screen0', 'rb').read()
        head = struct.unpack('>25I', data[:100])
        width, height, per_line, start = head[4], head[5], head[12], head[0] + 12 * head[19]
        return width, height, [data[start + y * per_line:start + y * per_line + 4 * width] for y in range(height)]

    def has_colour(self, red, green, blue, least=1, rows=slice(None)):
        if not os.path.exists(self.folder + '/Xvfb_screen0'):
            return False  # it has only just started
        return sum(row.count(bytes((blue, green, red))) for row in self.screen()[2][rows]) >= least

    def press_close(self):
        """What a window manager does when somebody clicks on the button that closes a window: for each window that understands it."""
        try:
            x11 = ctypes.CDLL('libX11.so.6')
        except OSError as error:
            raise Skip(f'no window can be closed: {error}')
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XInternAtom.restype = x11.XDefaultRootWindow.restype = ctypes.c_ulong
        display = ctypes.c_void_p(x11.XOpenDisplay(self.name.encode()))
        protocols, delete = (ctypes.c_ulong(x11.XInternAtom(display, name, 0)) for name in (b'WM_PROTOCOLS', b'WM_DELETE_WINDOW'))
        root, parent, count, found = ctypes.c_ulong(), ctypes.c_ulong(), ctypes.c_uint(), ctypes.POINTER(ctypes.c_ulong)()
        x11.XQueryTree(display, ctypes.c_ulong(x11.XDefaultRootWindow(display)), ctypes.byref(root), ctypes.byref(parent), ctypes.byref(found), ctypes.byref(count))
        for i in range(count.value):
            known, number = ctypes.POINTER(ctypes.c_ulong)(), ctypes.c_int()
            if not x11.XGetWMProtocols(display, ctypes.c_ulong(found[i]), ctypes.byref(known), ctypes.byref(number)) or delete.value not in known[:number.value]:
                continue
            event = ClientMessage(type=33, window=found[i], message_type=protocols.value, format=32)
            event.data[0] = delete.value
            x11.XSendEvent(display, ctypes.c_ulong(found[i]), 0, ctypes.c_long(0), ctypes.byref(event))
        x11.XCloseDisplay(display)

    def type(self, *names):
        """Press and release keys, by their X names: 'a', 'space', 'Return'."""
        try:
            x11, xtest = ctypes.CDLL('libX11.so.6'), ctypes.CDLL('libXtst.so.6')
        except OSError as error:
            raise Skip(f'no keys can be typed: {error}')
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XStringToKeysym.restype = ctypes.c_ulong
        display = x11.XOpenDisplay(self.name.encode())
        for name in names:
            code = x11.XKeysymToKeycode(ctypes.c_void_p(display), ctypes.c_ulong(x11.XStringToKeysym(name.encode())))
            for down in (1, 0):
                xtest.XTestFakeKeyEvent(ctypes.c_void_p(display), code, down, ctypes.c_ulong(0))
        x11.XCloseDisplay(ctypes.c_void_p(display))


class ClientMessage(ctypes.Structure):
    """XClientMessageEvent, as large as any event."""
    _fields_ = [('type', ctypes.c_int), ('serial', ctypes.c_ulong), ('send_event', ctypes.c_int), ('display', ctypes.c_void_p), ('window', ctypes.c_ulong),
                ('message_type', ctypes.c_ulong), ('format', ctypes.c_int), ('data', ctypes.c_long * 5), ('rest', ctypes.c_long * 12)]


def windows():
    """The processes of windows, which are ours when nobody else's: harness makes us the parent of orphans."""
    path = f'/proc/self/task/{os.getpid()}/children'
    return [int(pid) for pid in open(path).read().split() if comm(int(pid)) == 'chorus-window' and not is_dead(pid)]


def is_dead(pid):
    return open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[0] == 'Z'


class Shown(Site):
    """A site with a window on this X server; the window is there. It is nobody's child, and so becomes ours; it belongs to the site."""

    def __init__(self, x, name, *command, options=(), colour=DARK, display='--display'):
        super().__init__(*command, options=['--name', name, display, *options], environment=x.environment)
        self.windows = []
        try:
            wait_until(windows, 'the process of the window')
            self.windows = windows()
            LIVE.update(self.windows)
            wait_until(lambda: x.has_colour(*colour, least=10000), 'the window')
        except BaseException:
            end_at_once(self.process)
            raise

    def finish(self, *arguments, **how):
        LIVE.difference_update(self.windows)
        return super().finish(*arguments, **how)
