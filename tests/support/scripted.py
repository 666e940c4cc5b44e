"""Mail servers that do as they are told: say what no decent server says, stall, hang up, flood.

A script is a coroutine that plays one connection through a ``Peer``; a server plays one script a connection,
in the order given, the last one again and again. What goes wrong in a script fails the test when the
server is left::

    async def script(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        peer.drop()

    async with Scripted(script) as server:
        ...server.port
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

from tests.support.ports import free_port

_WITHIN_S = 5.0
_LINE_BYTES = 2**20


class Peer:
    """The server's end of one connection. Reading has a deadline; what is read must be what is expected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.heard: list[str] = []  # every line that was expected and came

    def say(self, *lines: str) -> None:
        self.write("".join(f"{line}\r\n" for line in lines).encode())

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def drip(self, data: bytes) -> None:
        """One byte at a time, each in a packet of its own as far as that can be had."""
        for n in range(len(data)):
            self._writer.write(data[n : n + 1])
            await self._writer.drain()
            await asyncio.sleep(0)

    async def flood(self, block: bytes) -> None:
        """The block again and again, for as long as anybody listens."""
        with contextlib.suppress(ConnectionError):
            while True:
                self._writer.write(block)
                await self._writer.drain()

    @property
    def source(self) -> str:
        """The client's IP address."""
        return str(self._writer.get_extra_info("peername")[0])

    async def line(self) -> str:
        async with asyncio.timeout(_WITHIN_S):
            return (await self._reader.readuntil(b"\r\n"))[:-2].decode()

    async def expect(self, *lines: str) -> None:
        for wanted in lines:
            came = await self.line()
            assert came == wanted, f"expected {wanted!r}, the client wrote {came!r}"
            self.heard.append(came)

    async def exactly(self, data: bytes) -> None:
        async with asyncio.timeout(_WITHIN_S):
            came = await self._reader.readexactly(len(data))
        assert came == data

    async def content(self) -> bytes:
        """The content up to its end, dots removed."""
        lines = []
        while (line := await self.line()) != ".":
            lines.append(line.removeprefix("."))
        return "".join(f"{line}\r\n" for line in lines).encode()

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(_WITHIN_S):
            return await self._reader.readexactly(size)

    async def silence(self) -> None:
        """Says nothing more until the client hangs up."""
        await self.hang_up()

    async def hang_up(self) -> bytes:
        """What still comes until the client closes or resets the connection."""
        rest = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(_WITHIN_S):
                while data := await self._reader.read(65536):
                    rest += data
        return rest

    async def hello(self, *keywords: str, name: str = "mx.test", verb: str = "EHLO") -> None:
        """Greets, and answers EHLO with these keywords."""
        self.say(f"220 {name} ready")
        await self.expect(f"{verb} relay.test")
        self.offer(*keywords, name=name)

    def offer(self, *keywords: str, name: str = "mx.test") -> None:
        """The reply to EHLO."""
        lines = [name, *keywords]
        self.say(*(f"250{'-' if n < len(lines) - 1 else ' '}{line}" for n, line in enumerate(lines)))

    async def upgrade(self, context: ssl.SSLContext) -> None:
        await self._writer.start_tls(context)

    async def take(self, recipients: int = 1) -> bytes:
        """One transaction without extensions, all of it accepted; the content."""
        await self.line()
        self.say("250 2.1.0 ok")
        for _ in range(recipients):
            await self.line()
            self.say("250 2.1.5 ok")
        await self.expect("DATA")
        self.say("354 go on")
        content = await self.content()
        self.say("250 2.0.0 thank you")
        return content

    async def goodbye(self) -> None:
        await self.expect("QUIT")
        self.say("221 2.0.0 bye")

    def drop(self) -> None:
        """Resets the connection."""
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


Script = Callable[[Peer], Awaitable[object]]


async def takes_mail(peer: Peer) -> None:
    """The script of a server as it should be, for one transaction."""
    await peer.hello()
    await peer.take()
    await peer.goodbye()


async def closes_at_once(peer: Peer) -> None:
    """The script of a server that greets nobody."""
    peer.close()


class Scripted:
    def __init__(self, *scripts: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.host, self.port = host, free_port()
        self.connections = 0
        self._scripts, self._tls = scripts, tls
        self._server: asyncio.Server | None = None
        self._playing: set[asyncio.Task[object]] = set()
        self._failures: list[BaseException] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, self.host, self.port, ssl=self._tls, limit=_LINE_BYTES
        )
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, _: object) -> None:
        assert self._server is not None
        self._server.close()
        if self._playing:
            _, late = await asyncio.wait(self._playing, timeout=_WITHIN_S)
            for task in late:
                task.cancel()
                self._failures.append(AssertionError("a script did not come to its end"))
        if self._failures:
            raise self._failures[0] from error

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._playing.add(task)
        try:
            await script(Peer(reader, writer))
        except Exception as failure:  # noqa: BLE001 -- told when the server is left
            self._failures.append(failure)
        finally:
            self._playing.discard(task)
            writer.close()
