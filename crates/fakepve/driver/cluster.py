"""fakepve, made more like a real cluster where it differs, and disturbed as a test asks.

All that is known of a real one is in the project's notes on Proxmox; where fakepve does otherwise,
what is here comes before it.
"""

import asyncio
import email.utils
import itertools
import json
import re
import ssl
import tempfile
import time

from aiohttp import web
from fakepve import lxc, server
from fakepve.model import PveError, TaskError

import faults
from certificates import Authority
from guest import Guest, copy

API = '/api2/json'
# Calls that pveproxy hands on to pvedaemon: after the answer the connection is closed.
PROTECTED = re.compile(r'/nodes/[^/]+/(lxc|lxc/\d+/(status/.*|interfaces)|tasks/[^/]+/(status|log))')
BOOLEANS = ('forceStop', 'overrule-shutdown', 'skiplock', 'debug')
REQUESTS_PER_CONNECTION = 100
KEEP_ALIVE_SECS = 5
# Real ones: what hangs on purpose is not waited for at the end.
UNWIND_SECS = 0.01
REFUSED_LOGIN_SECS = 3
HA_TASK_SECS = 1.5
# The least time for which a container that was just started shows an uptime of -1.
YOUNG_SECS = 0.1


class Connection:
    def __init__(self, transport):
        address = transport.get_extra_info('sockname') if transport is not None else None
        self.port = address[1] if address else None
        self.requests = 0


class Cluster(server.FakePve):
    def __init__(self, options, host):
        super().__init__(user='root@pam', password=options['password'], host=host, port=0)
        self.time_scale = options['time_scale']
        self.nodes = dict((name, {'online': True}) for name in options['nodes'])
        self.version = options['version']
        self.release_version = '.'.join(self.version.split('.')[:2])
        self.numbers = tuple(int(part) for part in self.version.split('.')[:2])
        self.token_id = options['token_id']
        self.token_secret = options['token_secret']
        self.users = {options['user']: options['password']}
        self.apitokens = {self.token_id: self.token_secret}
        self.acl = {}
        self.folder = tempfile.TemporaryDirectory(prefix='drowse-fakepve-')
        self.faults = faults.Faults()
        self.asked = []
        self.skew = 0
        self.latency_secs = 0
        # Without the live states of `/cluster/resources`: those of the last broadcast.
        self.broadcast = None
        self._connections = {}
        self._sites = []
        self._workers = {}
        self._is_closed = False
        self._later = set()
        self._pids = itertools.count(1000)
        self._ct_pids = itertools.count(2000)
        # A virtual machine, which is none of the client's business.
        self.add_vm(9000, 'machine', node=options['nodes'][0], status='running')

    # ---------------------------------------------------------------- listening

    async def open(self, endpoints):
        """Listens at so many ports, as so many nodes of one cluster."""
        self.authority = Authority(self.folder.name)
        self._make_certificate()
        app = self._build_app()
        app.middlewares.insert(0, self._front)
        self.runner = web.AppRunner(app, keepalive_timeout=KEEP_ALIVE_SECS, access_log=None,
                                    shutdown_timeout=UNWIND_SECS)
        await self.runner.setup()
        self._sites = [None] * endpoints
        self.ports = [0] * endpoints
        for number in range(endpoints):
            await self.listen(number)

    async def listen(self, number):
        site = web.TCPSite(self.runner, self.host, self.ports[number], ssl_context=self._tls,
                           reuse_address=True)
        await site.start()
        self.ports[number] = site._server.sockets[0].getsockname()[1]
        self._sites[number] = site

    async def deafen(self, number):
        """This endpoint refuses, and the connections to it are broken."""
        site, self._sites[number] = self._sites[number], None
        if site is not None:
            await site.stop()
        for transport, connection in list(self._connections.items()):
            if connection.port == self.ports[number]:
                transport.abort()

    def _make_certificate(self):
        file, key, self.fingerprint = self.authority.issue([self.host])
        # Another context knows no sessions of before, as a restarted pveproxy.
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(file, key)

    async def renew_certificate(self, has_new_authority):
        if has_new_authority:
            self.authority = Authority(self.folder.name)
        self._make_certificate()
        for number in range(len(self.ports)):
            await self.deafen(number)
            await self.listen(number)

    async def close(self):
        """Ends all that is under way. No program of a container runs or starts from here on."""
        self._is_closed = True
        for ct in self.cts:
            ct.end()
        for transport in list(self._connections):
            transport.abort()
        for future in [*self._later, *self._workers.values()]:
            future.cancel()
        if self.runner:
            await self.runner.cleanup()
        self.folder.cleanup()

    # ---------------------------------------------------------------- the front

    @web.middleware
    async def _front(self, request, handler):
        path = request.path[len(API):] if request.path.startswith(API) else request.path
        connection = self._count(request.transport)
        body = await request.read()
        self.asked.append({'method': request.method, 'path': path, 'query': request.query_string,
                           'body': '' if path == '/access/ticket' else body.decode('utf-8', 'replace')})

        async def handle():
            if self.latency_secs:
                await asyncio.sleep(self.latency_secs)
            response = await self._handle(request, path, body, handler)
            return self._finish(request, path, response, connection)

        fault = self.faults.take(request.method, path)
        return await (handle() if fault is None else faults.apply(fault, request, handle))

    def _count(self, transport):
        """One more request on a connection. Forgets those that have ended."""
        for dead in [each for each in self._connections if each.is_closing()]:
            del self._connections[dead]
        if transport is None:
            return Connection(None)
        connection = self._connections.get(transport)
        if connection is None:
            connection = self._connections[transport] = Connection(transport)
        connection.requests += 1
        return connection

    async def _handle(self, request, path, body, handler):
        refusal = self._refusal(request, path, body)
        if refusal is None:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                text = "Method '{0} {1}' not implemented".format(request.method, path)
                response = server.error(501, text) if error.status in (404, 405) else server.error(500, error.reason)
        else:
            response = refusal
        if response.status == 401:
            await self.pause(REFUSED_LOGIN_SECS)
        return response

    def _refusal(self, request, path, body):
        """What the real one does not even look at."""
        if request.headers.get('Transfer-Encoding'):
            return server.error(501, 'chunked transfer encoding not supported')
        if request.method == 'GET' and body:
            return server.error(501, 'Unexpected content for method GET')
        if body and request.content_type not in ('application/x-www-form-urlencoded', 'application/json'):
            return server.error(506, 'Variant Also Negotiates')
        if path == '/access/ticket' and b'%40' not in body and b'@' not in body:
            return server.error(401, 'authentication failure')
        if request.content_type == 'application/x-www-form-urlencoded':
            for pair in body.decode('utf-8', 'replace').split('&'):
                name, _, value = pair.partition('=')
                if name in BOOLEANS and value not in ('0', '1'):
                    return server.error(400, 'Parameter verification failed.', {
                        name: "type check ('boolean') failed - got '{0}'".format(value)})
                if name == 'overrule-shutdown' and self.numbers < (8, 2):
                    return server.error(400, 'Parameter verification failed.', {
                        name: 'property is not defined in schema and the schema does not allow '
                              'additional properties'})
        if path.endswith('/interfaces') and self.numbers < (8, 1):
            return server.error(501, "Method '{0} {1}' not implemented".format(request.method, path))
        return None

    def _finish(self, request, path, response, connection):
        status = response.status
        date = email.utils.formatdate(time.time() + self.skew, usegmt=True)
        if status == 401 and path != '/access/ticket':
            text = json.loads(response.text).get('message', '').strip()
            reason = text if 'csrf' in text else 'Authentication failed!'
            if not request.headers.get('Authorization') and 'PVEAuthCookie' not in request.cookies:
                reason = 'No ticket'
            head = 'HTTP/1.1 401 {0}\r\nCache-Control: max-age=0\r\nConnection: close\r\nDate: {1}\r\n' \
                   'Pragma: no-cache\r\nServer: pve-api-daemon/3.0'
            return faults.answer_raw(request, head.format(reason, date))
        if status in (595, 596, 599):
            head = 'HTTP/1.1 {0} {1}\r\nCache-Control: max-age=0\r\nConnection: close\r\nDate: {2}\r\n' \
                   'Content-Length: 0\r\nServer: pve-api-daemon/3.0'
            return faults.answer_raw(request, head.format(status, response.reason, date))
        if status >= 400 and self.numbers < (8, 3):
            body = json.loads(response.text)
            body.pop('message', None)
            response.text = json.dumps(body)
        response.headers['Server'] = 'pve-api-daemon/3.0'
        response.headers['Date'] = date
        if status >= 400 or connection.requests >= REQUESTS_PER_CONNECTION:
            response.force_close()
        elif PROTECTED.fullmatch(path):
            response.headers.add('Connection', 'close')
            response.headers.add('Connection', 'Keep-Alive')
            response.force_close()
        return response

    # ---------------------------------------------------------------- who may what

    def check_password(self, user, password):
        session = self.tickets.get(password)
        if session is not None and session['user'] == user and session['expires'] >= time.time():
            return True
        return super().check_password(user, password)

    # ---------------------------------------------------------------- tasks

    def _upid(self, node, ttype, tid, user):
        pid, start = next(self._pids), int(time.time() + self.skew)
        pstart = pid * 7
        return 'UPID:{0}:{1:08X}:{2:08X}:{3:08X}:{4}:{5}:{6}:'.format(
            node, pid, pstart, start, ttype, tid, user), pid, start

    async def task(self, node, ttype, tid, user, body, vm=None, lock=True, log=()):
        """As fakepve's, but it can be ended by somebody, and end with warnings."""
        name = None

        async def interruptible():
            # It may have waited for the container's lock until now.
            if self._is_closed:
                raise TaskError('received interrupt')
            worker = self._workers[name] = asyncio.ensure_future(body())
            try:
                note = await worker
            except asyncio.CancelledError:
                raise TaskError('received interrupt') from None
            finally:
                del self._workers[name]
            if isinstance(vm, Guest) and vm.warnings:
                self.tasks[name]['log'] += ['WARN: ' + line for line in vm.warnings]
                raise TaskError('WARNINGS: {0}'.format(len(vm.warnings)))
            return note

        name = await super().task(node, ttype, tid, user, interruptible, vm, lock, log)
        return name

    def _get_task(self, request):
        upid = request.match_info['upid']
        if upid not in self.tasks:
            known = re.fullmatch(r'UPID(:[^:]+){7}:', upid)
            raise PveError(400, 'Parameter verification failed.', {
                'upid': 'no such task' if known else 'unable to parse worker upid'})
        return super()._get_task(request)

    async def _task_log(self, request):
        values = self._verify(request, await server.params(request))
        record = self._get_task(request)
        lines = [line.replace('TASK ERROR: WARNINGS:', 'TASK WARNINGS:') for line in record['log']]
        if record.get('exitstatus', 'OK') != 'OK':
            # fakepve says it twice.
            del lines[-2]
        start, limit = values.get('start', 0), values.get('limit', 50) or len(lines)
        rows = [{'n': number, 't': line} for number, line in enumerate(lines, 1)]
        return web.json_response({'data': rows[start:start + limit], 'total': len(lines)})

    async def _task_list(self, request):
        response = await super()._task_list(request)
        source = request.query.get('source', 'archive')
        rows = []
        for row in json.loads(response.text)['data']:
            is_running = 'status' not in row
            if is_running:
                row['status'] = 'RUNNING'
            if source == 'all' or is_running == (source == 'active'):
                rows.append(row)
        return web.json_response({'data': rows, 'total': len(rows)})

    # ---------------------------------------------------------------- reading

    def ct_resources(self, user, kind=None):
        rows = super().ct_resources(user, kind)
        if self.broadcast is not None:
            for row in rows:
                row.update(self.broadcast.get(row['vmid'], {'status': 'unknown', 'uptime': 0}))
        for row in rows:
            if row['status'] == 'unknown':
                row['uptime'] = 0
        return rows

    def hold_broadcast(self):
        """From here on `/cluster/resources` says what is so now."""
        self.broadcast = None
        rows = super().ct_resources('root@pam', 'vm')
        self.broadcast = dict((row['vmid'], {'status': row['status'], 'uptime': row['uptime']}) for row in rows)

    @staticmethod
    def _uptime(ct):
        if ct.status != 'running' or not ct.started_at:
            return 0
        age = time.time() - ct.started_at
        return -1 if age < YOUNG_SECS else int(age)

    def _status(self, ct):
        data = super()._status(ct)
        for key in data:
            if key.startswith('pressure'):
                data[key] = None
        if ct.status == 'running':
            data['cpu'] = -2.83390576385433e-05
        return data

    async def _nodes(self, request):
        response = await super()._nodes(request)
        body = json.loads(response.text)
        for row in body['data']:
            row['ssl_fingerprint'] = self.fingerprint
            if not self.allowed(request[server.USER], '/nodes/' + row['node'], 'Sys.Audit'):
                for key in ('cpu', 'maxcpu', 'mem', 'maxmem', 'disk', 'maxdisk', 'uptime'):
                    row.pop(key, None)
        return web.json_response(body)

    async def _lxc_interfaces(self, user, values):
        ct = self.ct(int(values['vmid']))
        if ct is None or ct.node != values['node'] or ct.status != 'running':
            return None
        chosen = ct.reported_interfaces()
        return await super()._lxc_interfaces(user, values) if chosen is None else chosen

    async def _lxc_status_current(self, user, values):
        data = await super()._lxc_status_current(user, values)
        if data['ha'].get('managed'):
            data['ha']['state'] = None
        return data

    # ---------------------------------------------------------------- power

    async def _start_steps(self, ct, user, skiplock=False):
        if ct.start_error:
            record = self._task_of(ct)
            if record is not None:
                record['log'] += ct.start_log
        await super()._start_steps(ct, user, skiplock)
        if ct.exits:
            self._halt(ct)
            if self.numbers >= (9, 0):
                raise TaskError('unable to get PID for CT {0} (not running?)'.format(ct.vmid))

    def _task_of(self, ct):
        return self.tasks.get(ct.lock_holder)

    def _halt(self, ct):
        ct.status = 'stopped'
        ct.pid = None

    def boot(self, ct):
        ct.started_at = time.time()
        ct.pid = next(self._ct_pids)
        ct.status = 'running'

    async def _ct_powerdown(self, ct, timeout, force):
        if timeout == 0:
            # lxc-stop only signals then, and the task waits for ever.
            await asyncio.Event().wait()
        pause = asyncio.sleep if ct.is_timed_really else self.pause
        if ct.shutdown_secs <= timeout:
            await pause(ct.shutdown_secs)
        elif force:
            await pause(timeout + 2)
        else:
            await pause(2 * timeout + 5)
            record = self._task_of(ct)
            if record is not None:
                record['log'].append("command 'lxc-stop -n {0} --nokill --timeout {1}' failed: exit code 1"
                                     .format(ct.vmid, timeout))
            raise TaskError('container did not stop')
        self._halt(ct)

    async def _lxc_stop(self, user, values):
        ct = self._here(values)
        if ct is not None and values.get('overrule-shutdown') and not ct.ha_managed:
            for record in self.tasklog:
                if record['type'] == 'vzshutdown' and record['id'] == str(ct.vmid) \
                        and record['upid'] in self._workers and self._task_owner(user, record):
                    self._workers[record['upid']].cancel()
        return await super()._lxc_stop(user, values)

    async def _ct_ha(self, ct, user, state, timeout=None):
        """The task only asks for the state; the manager comes to it much later."""
        async def later():
            await self.pause(self.ha_delay)
            # Somebody may have asked for another state meanwhile.
            if ct.ha_state != state or ct not in self.cts:
                return
            if state == 'started' and ct.status != 'running' and not ct.start_error:
                self.boot(ct)
            elif state == 'stopped':
                self._halt(ct)

        async def body():
            await self.pause(HA_TASK_SECS)
            ct.ha_state = state
            future = asyncio.ensure_future(later())
            self._later.add(future)
            future.add_done_callback(self._later.discard)
        verb = 'start' if state == 'started' else 'stop'
        return await self._ct_task(ct, 'ha' + verb, user, body, lock=False,
                                   log=['Requesting HA {0} for CT {1}'.format(verb, ct.vmid)])

    # ---------------------------------------------------------------- containers

    def place(self, spec):
        """Adds a container; it has run for an hour if it runs."""
        spec = copy(spec)
        guest = Guest(spec)
        self._check_vmid_unused(guest.vmid)
        for key in [each for each in guest.config if re.fullmatch(r'net\d+', each)]:
            guest.config[key] = lxc.normalise(key, guest.config[key])
        self.cts.append(guest)
        self.nodes.setdefault(guest.node, {'online': True})
        if spec.get('is_running'):
            self.boot(guest)
            guest.started_at -= 3600
        return guest

    def take_away(self, vmid):
        ct = self.ct(vmid)
        self._halt(ct)
        self._drop(ct)
        ct.end()

    def known(self, vmid):
        ct = self.ct(vmid)
        if ct is None:
            raise ValueError('there is no container {0}'.format(vmid))
        return ct
