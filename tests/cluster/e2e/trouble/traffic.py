"""Numbered mail through a Service while something breaks: what was accepted, and what arrived.

The generator is a client as it should be: it takes every temporary refusal and
every broken connection as a reason to come again, until it hears 250. The sink
is the next hop; while it is ``held`` it defers everything. Both run in one thread
of the test's process whose sockets are in the cluster's network, on the node:
nothing that happens to pods or to Kubernetes touches them.

Invariants
    A number is in ``accepted`` only after its 250, in ``arrivals`` only after
    the sink's. At most ``CLIENTS`` connections are open at once.
Known limits
    A mail is known by its envelope sender, so nothing may rewrite that.
"""

import asyncio
import collections
import ctypes
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiosmtplib
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.cluster.driver.place import NODE_IP, Place
from tests.support.waiting import until

DOMAIN = "trouble.test"
CLIENTS = 20
AGAIN_S = 0.5
ATTEMPT_S = 15.0
_CLONE_NEWNET = 0x40000000


@dataclass(slots=True)
class Flow:
    """One stream of mails. ``setbacks`` counts what made the client come again: a code or an error."""

    name: str
    accepted: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    setbacks: collections.Counter[str] = field(default_factory=collections.Counter)
    arrivals: collections.Counter[int] = field(default_factory=collections.Counter)
    stopping: bool = False

    def sender(self, number: int) -> str:
        return f"{self.name}-{number}@{DOMAIN}"

    @property
    def missing(self) -> set[int]:
        """Accepted, and not arrived yet."""
        return set(self.accepted) - set(self.arrivals)

    @property
    def duplicates(self) -> int:
        return self.arrivals.total() - len(self.arrivals)

    def wait_for_accepted(self, more: int, within_s: float = 90.0) -> None:
        """So many further mails have been answered 250."""
        self._wait(self.accepted, more, "accepted", within_s)

    def wait_for_arrived(self, more: int, within_s: float = 90.0) -> None:
        """So many further mails have arrived."""
        self._wait(self.arrivals, more, "arrived", within_s)

    def _wait(
        self, where: set[int] | collections.Counter[int], more: int, what: str, within_s: float
    ) -> None:
        enough = len(where) + more
        until(
            lambda: len(where) >= enough,
            f"{more} more mails to be {what}; {self}",
            within_s=within_s,
            every_s=0.05,
        )

    def __str__(self) -> str:
        setbacks = ", ".join(f"{count} x {what}" for what, count in sorted(self.setbacks.items()))
        return (
            f"{self.name}: {len(self.accepted)} mails accepted, {len(self.arrivals)} arrived, "
            f"{self.duplicates} duplicates; setbacks of the client: {setbacks or 'none'}"
        )


class Traffic:
    """The thread with the generator and the sink. ``port`` is the sink's, on the node's address."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._flows: dict[str, Flow] = {}
        self._held = False
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        assert self._up.wait(10), "the sink did not start"
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def flows(self) -> list[Flow]:
        """All there were, the latest last."""
        return list(self._flows.values())

    @contextmanager
    def held(self) -> Iterator[None]:
        """The sink takes nothing, so that mail waits in queues."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    @contextmanager
    def flow(
        self,
        name: str,
        address: str,
        *,
        port: int = 25,
        per_s: float = 40.0,
        size_bytes: int = 2000,
        queued: Callable[[], set[str]] = set,
        within_s: float = 120.0,
    ) -> Iterator[Flow]:
        """Mail flows from here to the end of the block; then all mails that were started have to be
        accepted, and to arrive, within a deadline. ``queued`` gives the senders of what the relays'
        queues show, to tell what waits from what is lost."""
        assert name not in self._flows, f"a flow {name} was there before"
        flow = self._flows[name] = Flow(name)
        source = self._source(flow, address, port, per_s, b"x" * 70 + b"\r\n", size_bytes)
        task = asyncio.run_coroutine_threadsafe(source, self._loop)
        try:
            yield flow
            flow.stopping = True
            task.result(within_s)  # every mail that was started has been answered for good
            until(lambda: not flow.missing, "every accepted mail to arrive", within_s=within_s, every_s=0.05)
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(
                f"{error or 'mails are not accepted'}; {flow}{_account(flow, queued)}"
            ) from error
        finally:
            task.cancel()
        assert not flow.refused, f"refused for good: {flow.refused}"

    # What runs in the thread

    def _run(self) -> None:
        try:
            _enter(self._place)
            asyncio.set_event_loop(self._loop)
            server = self._loop.run_until_complete(self._loop.create_server(self._session, NODE_IP, 0))
            self.port = server.sockets[0].getsockname()[1]
        except BaseException as error:  # noqa: BLE001 -- raised again where the thread was started
            self._failure = error
            return
        finally:
            self._up.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._cancel_all())
        self._loop.close()

    async def _cancel_all(self) -> None:
        """Sessions of relays that keep their connections open."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    def _session(self) -> SMTP:
        return SMTP(self, hostname="sink", data_size_limit=2**20, loop=self._loop)

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name for it
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self._held:
            return "451 4.3.0 not now"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 -- as above
        name, _, number = str(envelope.mail_from).partition("@")[0].rpartition("-")
        if name in self._flows:
            self._flows[name].arrivals[int(number)] += 1
        return "250 2.0.0 kept"

    async def _source(
        self, flow: Flow, address: str, port: int, per_s: float, line: bytes, size_bytes: int
    ) -> None:
        """Mails at this pace, or as fast as ``CLIENTS`` connections carry them."""
        numbers, began = itertools.count(), self._loop.time()
        body = line * (size_bytes // len(line) + 1)

        async def client() -> None:
            while not flow.stopping:
                number = next(numbers)
                await asyncio.sleep(max(0.0, began + number / per_s - self._loop.time()))
                while not await self._attempt(flow, number, address, port, body):
                    await asyncio.sleep(AGAIN_S)

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(client())

    async def _attempt(self, flow: Flow, number: int, address: str, port: int, body: bytes) -> bool:
        """Whether this mail is done with."""
        sender = flow.sender(number)
        content = f"From: <{sender}>\r\nSubject: {number}\r\n\r\n".encode() + body
        client = aiosmtplib.SMTP(hostname=address, port=port, local_hostname="client.test", timeout=ATTEMPT_S)
        try:
            async with client:
                await client.sendmail(sender, [f"someone@{DOMAIN}"], content)
                flow.accepted.add(number)
        except aiosmtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[0].code, error.recipients[0].message
        except aiosmtplib.SMTPResponseException as error:
            code, text = error.code, error.message
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            code, text = 0, type(error).__name__
        else:
            return True
        if number in flow.accepted:
            return True  # it was QUIT that met trouble
        if code >= 500:
            flow.refused[number] = f"{code} {text}"
            return True
        flow.setbacks[str(code) if code else text] += 1
        return False


def _account(flow: Flow, queued: Callable[[], set[str]]) -> str:
    """What waits in queues, and what is nowhere."""
    missing = flow.missing
    if not missing:
        return ""
    waiting = queued()
    lost = sorted(number for number in missing if flow.sender(number) not in waiting)
    return f"; {len(missing) - len(lost)} wait in a queue; LOST: {lost or 'none'}"


def _enter(place: Place) -> None:
    """This thread's sockets are the cluster's from now on. (os.setns came with Python 3.12.)"""
    descriptor = os.open(Path("/run/netns", place.netns), os.O_RDONLY)
    try:
        libc: Any = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the network {place.netns}")
    finally:
        os.close(descriptor)
