"""The way into the cluster's network: connections to a port of 127.0.0.1 outside go to the API server inside.

The listening socket is made before the process enters the namespace, so it
stays outside; every connection made afterwards begins inside. Knows nothing
of what it carries. Ends with its process.
"""

import asyncio
import contextlib
import ctypes
import os
import socket

from tests.cluster.driver.failure import ClusterError
from tests.cluster.driver.place import Place

_CLONE_NEWNET = 0x40000000
_CHUNK = 65536


def serve(place: Place) -> None:
    listening = socket.create_server(("127.0.0.1", place.ports.gate), backlog=128)
    _enter(place.netns)
    asyncio.run(_serve(listening, place.ports.api))


def _enter(netns: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{netns}", "rb") as namespace:  # noqa: PTH123 # its descriptor is what is wanted
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise ClusterError(f"cannot enter the network namespace: {os.strerror(ctypes.get_errno())}")


async def _serve(listening: socket.socket, port: int) -> None:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # the API server is down: so is this connection
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, inner_writer))
                both.create_task(_pass_on(inner_reader, writer))
        finally:
            inner_writer.close()
            writer.close()

    async with await asyncio.start_server(accepted, sock=listening) as server:
        await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends. A side that is reset ends like one that closes: the other is closed."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.close()
