"""A container of the stand-in, and the program that may run in it."""

import ctypes
import json
import os
import signal
import subprocess

from fakepve import lxc

FOR_EVER = 10 ** 9
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class App:
    """A real program that runs exactly while its container does."""

    def __init__(self, command, env):
        self._command = command
        self._env = env
        self._process = None
        self._has_ended = False
        self.starts = 0

    def start(self):
        if self._process is None and not self._has_ended:
            self.starts += 1
            self._process = subprocess.Popen(
                self._command, env=dict(os.environ, **self._env), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_die_with_parent)

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self):
        """It is not started again, whatever is still under way."""
        self._has_ended = True
        self.stop()


class Guest(lxc.FakeCt):
    """What fakepve keeps of a container, and what the tests decide about it besides."""

    def __init__(self, spec):
        self._status = None
        self.app = None
        if spec.get('app'):
            self.app = App(spec['app']['command'], spec['app'].get('env', {}))
        config = dict(spec.get('config', {}))
        for number, text in enumerate(spec.get('networks', [])):
            config['net{0}'.format(number)] = text
        if spec.get('notes'):
            config['description'] = spec['notes']
        if spec.get('tags'):
            config['tags'] = ';'.join(spec['tags'])
        if spec.get('starts_at_boot'):
            config['onboot'] = 1
        super().__init__(spec['vmid'], spec['name'], node=spec['node'], config=config,
                         template=spec.get('is_template', False), lock=spec.get('lock'))
        self.start_secs = spec.get('start_secs', 1.5)
        self.stop_secs = 1.5
        self.shutdown_secs = FOR_EVER if spec.get('ignores_shutdown') else spec.get('shutdown_secs', 1)
        # The exit status of its next start tasks, and what they log before it.
        self.start_error = spec.get('start_error')
        self.start_log = spec.get('start_log', [])
        # Tasks about it do their work and end with `WARNINGS: n`.
        self.warnings = None
        # Its shutdowns take real seconds.
        self.is_timed_really = spec.get('is_timed_really', False)
        # Its init ends as soon as it has begun.
        self.exits = spec.get('exits', False)
        # What `/interfaces` says instead of what the configuration does.
        self.interfaces = spec.get('interfaces')
        self.ha_state = spec.get('ha_state')

    @property
    def status(self):
        return self._status

    @status.setter
    def status(self, status):
        if status == self._status:
            return
        self._status = status
        if self.app is None:
            return
        if status == 'running':
            self.app.start()
        else:
            self.app.stop()

    def end(self):
        """The container is gone, or its cluster."""
        if self.app is not None:
            self.app.end()

    def reported_interfaces(self):
        """The chosen answer of `/interfaces`, in the API's own form; `None` if none was chosen."""
        if self.interfaces is None:
            return None
        rows = [('lo', '00:00:00:00:00:00', ['127.0.0.1/8', '::1/128'])]
        rows += [(each['name'], each['hwaddr'], each['addresses']) for each in self.interfaces]
        return [_interface(*row) for row in rows]


def _interface(name, hardware, addresses):
    row = {'name': name, 'hwaddr': hardware, 'hardware-address': hardware, 'ip-addresses': []}
    for text in addresses:
        address, prefix = text.split('/')
        family = 'inet6' if ':' in address else 'inet'
        row.setdefault(family, text)
        row['ip-addresses'].append(
            {'ip-address-type': family, 'ip-address': address, 'prefix': prefix})
    return row


def copy(value):
    return json.loads(json.dumps(value))
