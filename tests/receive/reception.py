"""A receiver with a real spool behind it, on loopback ports, in this process; and clients to talk to it.

Time is the test's: sessions, deadlines and queue ids follow a ``ManualClock``. Handshakes follow the event
loop's own clock, because TLS belongs to the loop.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec
from tests.support.certificates import Certificate
from tests.support.ports import free_port
from tests.support.spools import ROOMY, SpoolUser

from waystation_contract.model import VERSION, Discard, Document, Limits, Listener, Queue, Route
from waystation_relay.aio.clock import ManualClock
from waystation_relay.config.load import load
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.mail.message import Message
from waystation_relay.observe.events import EVENTS
from waystation_relay.observe.metrics import Metrics
from waystation_relay.receive.deadlines import Deadlines
from waystation_relay.receive.receiver import STANDARD, Receiver
from waystation_relay.spool.values import SpoolLimits, Tuning

WITHIN_S = 5.0
FIELDS = {event.name: set(event.fields) for event in EVENTS}
EVERYTHING = Route(name="test/all", created=0.0, listeners=("smtp",), backends=(Discard(),))


class Log:
    """What would be in the event log; every line must be one the catalogue knows."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def emit(self, event: str, /, **fields: Any) -> None:
        assert set(fields) <= FIELDS[event], f"{event}: a field that is not in the catalogue: {list(fields)}"
        self.lines.append((event, fields))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.lines if name == event]


def listener(port: int, **fields: Any) -> Listener:
    fields.setdefault("name", "smtp")
    fields.setdefault("clients", ("127.0.0.0/8",))
    fields.setdefault("service_port", port)
    return Listener(port=port, **fields)


def limits(**fields: int) -> Limits:
    return Limits(**fields)


class Reception:
    def __init__(
        self,
        folder: Path,
        *,
        deadlines: Deadlines = STANDARD,
        tuning: Tuning | None = None,
        spool_limits: SpoolLimits = ROOMY,
    ) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.log = Log()
        self.metrics = Metrics()
        self.port = free_port()
        self.clients: list[Client] = []
        self.data = folder / "spool"
        self.data.mkdir()
        self.user = SpoolUser(self.data, clock=self.clock, tuning=tuning or Tuning(), limits=spool_limits)
        self.spool = self.user.spool
        self.snapshot: Snapshot | None = None
        self.receiver = Receiver(
            snapshot=lambda: self.snapshot,  # type: ignore[return-value,arg-type] # set before it is asked
            spool=self.spool,
            clock=self.clock,
            metrics=self.metrics,
            log=self.log,  # type: ignore[arg-type] # all of EventLog that it uses
            deadlines=deadlines,
        )

    def configure(
        self, *listeners: Listener, routes: tuple[Route, ...] = (EVERYTHING,), **fields: Any
    ) -> None:
        """Writes the document beside its certificates and loads it, as the watcher does."""
        document = Document(
            version=VERSION,
            pool="test/relay",
            hostname="relay.test",
            listeners=listeners or (listener(self.port),),
            routes=routes,
            queue=Queue(max_bytes=2**30, full_at_percent=99),
            **fields,
        )
        path = self.folder / "relay.json"
        path.write_bytes(msgspec.json.encode(document))
        self.snapshot = load(path)

    def certificate(self, name: str, issued: Certificate) -> None:
        """The files of a certificate, beside the document; ``configure`` reads them."""
        (self.folder / f"{name}.crt").write_bytes(issued.chain.read_bytes())
        (self.folder / f"{name}.key").write_bytes(issued.key.read_bytes())

    async def start(self, *listeners: Listener, bind: str = "127.0.0.1", **fields: Any) -> Self:
        self.configure(*listeners, **fields)
        await self.receiver.start(bind, reuse_port=False)
        return self

    def apply(self, *listeners: Listener, **fields: Any) -> None:
        """A new configuration for the running receiver."""
        self.configure(*listeners, **fields)
        self.receiver.apply()

    async def close(self) -> None:
        stopping = asyncio.ensure_future(self.receiver.stop(0.0))
        await asyncio.wait_for(stopping, WITHIN_S)
        for client in self.clients:
            client.close()
        await self.user.close()

    async def connect(self, port: int | None = None, **options: Any) -> "Client":
        client = await Client.connect(port or self.port, **options)
        self.clients.append(client)  # who is forgotten is closed
        return client

    async def greeted(self, port: int | None = None, **options: Any) -> "Client":
        """A client that has said EHLO."""
        client = await self.connect(port, **options)
        assert (await client.reply()).startswith("220 ")
        assert (await client.say("EHLO client.test")).startswith("250")
        return client

    # What became of it

    @property
    def accepted(self) -> list[Message]:
        return [message for what, message in self.user.told if what == "accepted"]  # type: ignore[misc] # by kind

    async def content(self, message: Message) -> bytes:
        return await self.user.content(message)

    @property
    def sessions(self) -> int:
        return int(sum(self.receiver.sessions.values()))

    async def empty(self) -> None:
        """Nobody inside any more."""
        await eventually(lambda: self.sessions == 0, "every session to end")

    def files(self) -> list[Path]:
        """Bodies on disk."""
        return sorted(path for path in (self.data / "segments").iterdir() if path.is_file())

    def count(self, metric: str, **labels: str) -> float:
        labels.setdefault("listener", "smtp")
        return self.metrics.registry.get_sample_value(f"waystation_{metric}", labels) or 0.0


class Client:
    """One connection, by hand. Every wait has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(
        cls, port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, **options: Any
    ) -> Self:
        async with asyncio.timeout(WITHIN_S):
            return cls(*await asyncio.open_connection(host, port, ssl=tls, **options))

    def write(self, data: bytes) -> None:
        if not self.writer.is_closing():  # the server may have hung up
            self.writer.write(data)

    async def flush(self) -> None:
        async with asyncio.timeout(WITHIN_S):
            await self.writer.drain()

    async def reply(self) -> str:
        """One whole reply, its lines joined by newlines."""
        lines = []
        async with asyncio.timeout(WITHIN_S):
            while True:
                line = (await self.reader.readuntil(b"\r\n"))[:-2].decode()
                lines.append(line)
                if line[3:4] != "-":
                    return "\n".join(lines)

    async def say(self, command: str) -> str:
        self.write(f"{command}\r\n".encode())
        return await self.reply()

    async def script(self, *commands: str) -> list[str]:
        """The replies' codes, command by command."""
        return [(await self.say(command))[:3] for command in commands]

    async def send(
        self, content: bytes = b"Subject: x\r\n\r\ntext\r\n", *recipients: str, sender: str = "a@shop.test"
    ) -> str:
        """A message; the reply to its data."""
        await self.begin(*recipients, sender=sender)
        self.write(content + b".\r\n")
        return await self.reply()

    async def begin(self, *recipients: str, sender: str = "a@shop.test") -> None:
        """As far as the 354."""
        people = recipients or ("b@next.test",)
        commands = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{person}>" for person in people), "DATA"]
        assert await self.script(*commands) == ["250"] * (len(people) + 1) + ["354"]

    async def rest(self) -> bytes:
        """Everything until the server hangs up."""
        rest = b""
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(65536):
                    rest += data
        return rest

    async def start_tls(self, context: ssl.SSLContext, name: str = "relay.test") -> None:
        async with asyncio.timeout(WITHIN_S):
            await self.writer.start_tls(context, server_hostname=name)

    def secured(self) -> ssl.SSLObject:
        found = self.writer.get_extra_info("ssl_object")
        assert found is not None
        return found  # type: ignore[no-any-return] # asyncio's extra info has no types

    def close(self) -> None:
        """As a polite program: FIN."""
        self.writer.close()

    def reset(self) -> None:
        """As a crashed one: RST."""
        connection = self.writer.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def eventually(look: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not look():
            await asyncio.sleep(0.002)
    assert look(), f"waited for {what}"
