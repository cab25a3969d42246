"""What goes wrong between the cluster and its client, request by request."""

import asyncio
import re

from aiohttp import web

HUGE = 100 * 1024 ** 2
CHUNK = b' ' * 65536


class Fault:
    """One thing that happens to the requests that it matches, so many times or until it is lifted."""

    def __init__(self, spec):
        self._method = spec.get('method')
        self._path = re.compile(spec.get('path', '.*'))
        self.left = spec.get('times')
        self.kind = spec['kind']
        self.spec = spec

    def matches(self, method, path):
        return self.left != 0 and self._method in (None, method) and self._path.fullmatch(path) is not None


class Faults:
    def __init__(self):
        self._all = []

    def add(self, spec):
        self._all.append(Fault(spec))

    def clear(self):
        self._all = []

    def take(self, method, path):
        """The first one that matches, which is used up by it."""
        for fault in self._all:
            if fault.matches(method, path):
                if fault.left is not None:
                    fault.left -= 1
                return fault
        return None


def cut(request):
    """Ends the connection without a word. The returned answer reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def answer_raw(request, head, body=b''):
    """Writes an answer as it stands and ends the connection."""
    if request.transport is not None:
        request.transport.write(head.encode() + b'\r\n\r\n' + body)
        request.transport.close()
    return web.Response()


async def apply(fault, request, handle):
    """The answer to `request` under this fault. `handle` does what was asked."""
    kind = fault.kind
    if kind == 'cut_before':
        return cut(request)
    if kind == 'cut_after':
        await handle()
        return cut(request)
    if kind == 'silent':
        await asyncio.Event().wait()
    if kind == 'silent_after':
        await handle()
        await asyncio.Event().wait()
    if kind == 'delay':
        await asyncio.sleep(fault.spec['seconds'])
        return await handle()
    if kind == 'status':
        reason = fault.spec['reason']
        head = 'HTTP/1.1 {0} {1}\r\nConnection: close\r\nContent-Length: 0'.format(fault.spec['status'], reason)
        return answer_raw(request, head)
    if kind == 'body':
        body = fault.spec['body'].encode()
        head = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {0}'
        return answer_raw(request, head.format(len(body)), body)
    if kind == 'half':
        response = await handle()
        whole = response.body or b''
        head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {0}'.format(len(whole))
        return answer_raw(request, head, whole[:len(whole) // 2])
    if kind == 'huge':
        return await _huge(request)
    raise ValueError('no fault is called ' + kind)


async def _huge(request):
    """A JSON answer of 100 MB, which most clients will not read to its end."""
    response = web.StreamResponse(headers={'Content-Type': 'application/json'})
    response.content_length = HUGE
    response.force_close()
    await response.prepare(request)
    await response.write(b'{"data":[')
    left = HUGE - 11
    while left > 0:
        piece = CHUNK[:left]
        await response.write(piece)
        left -= len(piece)
    await response.write(b']}')
    return response
