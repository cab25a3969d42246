"""Runs clusters for tests. A command is a line of JSON on standard input, `{"id", "cluster", "do",
"with"}`, and is answered by one line on standard output, `{"id", "ok"}` or `{"id", "error"}`. Ends,
with all that it started, when standard input does.
"""

import asyncio
import json
import logging
import sys
import time
import traceback

from cluster import Cluster

LINE_LIMIT = 16 * 1024 ** 2


class Commands:
    """What can be done to one cluster. Each method is a command of its name."""

    def __init__(self, cluster):
        self._cluster = cluster

    # --- containers

    async def add(self, ct):
        self._cluster.place(ct)

    async def remove(self, vmid):
        self._cluster.take_away(vmid)

    async def power(self, vmid, action):
        """As another client would: by a task of root@pam. Returns its exit status."""
        cluster = self._cluster
        ct = cluster.known(vmid)
        order = {'start': cluster._lxc_start, 'stop': cluster._lxc_stop, 'shutdown': cluster._lxc_shutdown}[action]
        upid = await order('root@pam', {'node': ct.node, 'vmid': vmid})
        while cluster.tasks[upid]['status'] == 'running':
            await asyncio.sleep(0.005)
        return cluster.tasks[upid]['exitstatus']

    async def power_off_inside(self, vmid):
        """By a command in the container: no task tells of it."""
        self._cluster._halt(self._cluster.known(vmid))

    async def reboot_inside(self, vmid):
        ct = self._cluster.known(vmid)
        self._cluster._halt(ct)
        self._cluster.boot(ct)

    async def has_run_for(self, vmid, seconds):
        self._cluster.known(vmid).started_at = time.time() - seconds

    async def state(self, vmid):
        ct = self._cluster.known(vmid)
        return {'status': ct.status, 'pid': ct.pid, 'node': ct.node, 'lock': ct.lock, 'ha_state': ct.ha_state,
                'config': ct.config, 'app_starts': ct.app.starts if ct.app else 0}

    async def lock(self, vmid, name):
        self._cluster.known(vmid).lock = name

    async def hold_config_lock(self, vmid, is_held):
        if is_held:
            await self._cluster.hold_config_lock(vmid, None)
        else:
            self._cluster.release_config_lock(vmid)

    async def set(self, vmid, name, value):
        """One of what the tests decide about a container."""
        ct = self._cluster.known(vmid)
        if not hasattr(ct, name):
            raise ValueError('a container has no ' + name)
        setattr(ct, name, value)

    async def configure(self, vmid, key, value):
        ct = self._cluster.known(vmid)
        if value is None:
            ct.config.pop(key, None)
        else:
            ct.config[key] = value

    async def move(self, vmid, to):
        self._cluster.nodes.setdefault(to, {'online': True})
        ct = self._cluster.known(vmid)
        ct.node = to
        if ct.status == 'running':
            # There is no other way: it is shut down and started there.
            self._cluster.boot(ct)

    async def ha_delay(self, seconds):
        self._cluster.ha_delay = seconds

    async def tasks(self):
        return [dict((key, each.get(key)) for key in ('upid', 'type', 'id', 'user', 'status', 'exitstatus'))
                for each in self._cluster.tasklog]

    # --- the cluster

    async def node_online(self, node, is_online):
        self._cluster.set_node_offline(node, not is_online)

    async def quorum(self, is_quorate):
        self._cluster.quorate = is_quorate

    async def hold_broadcast(self, is_held):
        if is_held:
            self._cluster.hold_broadcast()
        else:
            self._cluster.broadcast = None

    async def rights(self, who, rights):
        """All that somebody may do: pairs of a path and privileges."""
        self._cluster.acl[who] = [(path, set(privileges)) for path, privileges in rights]

    async def token_valid(self, is_valid):
        cluster = self._cluster
        cluster.apitokens = {cluster.token_id: cluster.token_secret} if is_valid else {}

    async def end_tickets(self):
        self._cluster.revoke_tickets()

    async def second_factor(self, is_needed):
        self._cluster.tfa = is_needed

    # --- the way to it

    async def requests(self):
        return self._cluster.asked

    async def forget_requests(self):
        self._cluster.asked.clear()

    async def fault(self, fault):
        self._cluster.faults.add(fault)

    async def clear_faults(self):
        self._cluster.faults.clear()

    async def latency(self, seconds):
        self._cluster.latency_secs = seconds

    async def reachable(self, endpoint, is_reachable):
        if is_reachable:
            await self._cluster.listen(endpoint)
        else:
            await self._cluster.deafen(endpoint)

    async def renew_certificate(self, has_new_authority):
        await self._cluster.renew_certificate(has_new_authority)
        return self._cluster.fingerprint

    async def clock_skew(self, seconds):
        self._cluster.skew = seconds


class Driver:
    def __init__(self):
        self._clusters = {}

    async def obey(self, line):
        command = json.loads(line)
        try:
            answer = {'ok': await self._do(command)}
        except Exception as error:  # the test is told, and fails
            answer = {'error': '{0}: {1}'.format(type(error).__name__, error)}
            traceback.print_exc()
        print(json.dumps(dict(answer, id=command['id'])), flush=True)

    async def _do(self, command):
        name, arguments = command['do'], command.get('with', {})
        key = command['cluster']
        if name == 'open':
            return await self._open(key, arguments)
        if name == 'close':
            await self._clusters.pop(key).close()
            return None
        return await getattr(Commands(self._clusters[key]), name)(**arguments)

    async def _open(self, key, options):
        number = key % 60000 + 1
        cluster = Cluster(options, '127.88.{0}.{1}'.format(number // 250, number % 250 + 1))
        await cluster.open(options['endpoints'])
        self._clusters[key] = cluster
        return {'urls': ['https://{0}:{1}'.format(cluster.host, port) for port in cluster.ports],
                'fingerprint': cluster.fingerprint, 'ca_file': cluster.authority.file}

    async def close(self):
        """No command may be under way any more."""
        while self._clusters:
            _, cluster = self._clusters.popitem()
            await cluster.close()


async def main():
    logging.basicConfig(level=logging.CRITICAL)
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    driver = Driver()
    print(json.dumps({'ready': True}), flush=True)
    commands = set()
    while line := await reader.readline():
        command = asyncio.ensure_future(driver.obey(line))
        commands.add(command)
        command.add_done_callback(commands.discard)
    # Some wait for what may never come; whoever gave them has gone.
    under_way = list(commands)
    for command in under_way:
        command.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)
    await driver.close()


asyncio.run(main())
