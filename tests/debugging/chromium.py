"""Chromium without a screen: have it read a trace file, and ask what it found.

What reads it is the engine of DevTools' Performance panel, which took over from chrome://tracing.
Chromium is driven by its debugging protocol over two pipes, messages ending with a zero byte."""
import json
import os
import select
import shutil
import subprocess
import time

PANEL = 'devtools://devtools/bundled/devtools_app.html?panel=timeline'

# Names of processes; per process and thread its name and the number of its slices and marks.
READ = '''(async () => {
  const engine = await import('./models/trace/trace.js');
  const model = engine.TraceModel.Model.createWithAllHandlers();
  await model.parse(EVENTS, {metadata: {}});
  const {Meta, Renderer} = model.parsedTrace(0).data;
  const summary = {generic: Meta.traceIsGeneric, processes: {}};
  for (const [pid, event] of Meta.processNames)
    summary.processes[pid] = {name: event.args.name, threads: {}};
  for (const [pid, process] of Renderer.processes)
    for (const [tid, thread] of process.threads)
      summary.processes[pid].threads[tid] = {name: thread.name, entries: thread.entries.length};
  return JSON.stringify(summary);
})()'''


class Chromium:
    """`with Chromium(folder) as chromium:` a browser with one page, whose profile is in <folder>."""

    def __init__(self, folder):
        to_read, self.to_write = os.pipe()
        self.to_hear, to_tell = os.pipe()

        def place_pipes():  # where the protocol expects them; 3 and 4 may be our own ends
            first, second = os.dup(to_read), os.dup(to_tell)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self.process = subprocess.Popen(
            [shutil.which('chromium'), '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run',
             '--disable-dev-shm-usage', '--disable-crash-reporter', '--remote-debugging-pipe',
             '--user-data-dir=' + folder, 'about:blank'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, preexec_fn=place_pipes, env={**os.environ, 'HOME': folder})
        os.close(to_read)
        os.close(to_tell)
        self.rest, self.last = b'', 0

    def __enter__(self):
        target = self.ask('Target.createTarget', url=PANEL)['targetId']
        self.session = self.ask('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        return self

    def __exit__(self, kind, error, trace):
        self.process.terminate()
        self.process.wait()
        os.close(self.to_write)
        os.close(self.to_hear)

    def hear(self, deadline):
        while b'\0' not in self.rest:
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self.to_hear], [], [], left)[0]:
                raise TimeoutError('Chromium does not answer')
            part = os.read(self.to_hear, 1 << 20)
            if not part:
                raise EOFError('Chromium ended')
            self.rest += part
        message, self.rest = self.rest.split(b'\0', 1)
        return json.loads(message)

    def ask(self, method, timeout=60, session=None, **parameters):
        self.last += 1
        question = {'id': self.last, 'method': method, 'params': parameters}
        if session:
            question['sessionId'] = session
        bytes_left = json.dumps(question).encode() + b'\0'
        while bytes_left:
            bytes_left = bytes_left[os.write(self.to_write, bytes_left):]
        deadline = time.monotonic() + timeout
        while (answer := self.hear(deadline)).get('id') != self.last:
            pass
        if 'error' in answer:
            raise RuntimeError(f'{method}: {answer["error"]}')
        return answer['result']

    def evaluate(self, expression):
        answer = self.ask('Runtime.evaluate', session=self.session, expression=expression, awaitPromise=True)
        if 'exceptionDetails' in answer:
            raise RuntimeError(answer['exceptionDetails'])
        return answer['result'].get('value')

    def await_true(self, expression, timeout=60):
        deadline = time.monotonic() + timeout
        while not self.evaluate(expression):
            if time.monotonic() > deadline:
                raise TimeoutError(f'waited in vain for {expression}')
            time.sleep(0.2)

    def read_trace(self, path):
        """What it finds in a trace file: see READ."""
        self.await_true('document.readyState === "complete"')
        self.evaluate(f'globalThis.EVENTS = {open(path).read()}; 0')
        return json.loads(self.evaluate(READ))
