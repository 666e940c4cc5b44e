"""Opening connections to test servers and sending mail through them, awaited."""

import asyncio
import dataclasses
from typing import Any

from waystation_relay.delivery.connect import ConnectFailure, Settings, connect
from waystation_relay.delivery.connection import Connection
from waystation_relay.delivery.target import Protocol, Security, Target
from waystation_relay.delivery.timeouts import Timeouts
from waystation_relay.delivery.transaction import Body, Result, Transaction
from waystation_relay.mail.envelope import Recipient
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Outcome

HOSTNAME = "relay.test"
CONTENT = b"Subject: hello\r\n\r\nworld\r\n"
WITHIN_S = 5.0

# A test server has an hour for everything, unless the test is about time: then this long for everything.
PATIENT = Timeouts(*[3600.0] * len(dataclasses.fields(Timeouts)))
SHORT_S = 0.2
IMPATIENT = Timeouts(*[SHORT_S] * len(dataclasses.fields(Timeouts)))


@dataclasses.dataclass(frozen=True, slots=True)
class At:
    """A mail host and its addresses."""

    name: str = "mx.test"
    addresses: tuple[str, ...] = ("127.0.0.1",)


async def opened(
    port: int,
    *hosts: At,
    security: Security = Security.NONE,
    lmtp: bool = False,
    mx: bool = False,
    timeouts: Timeouts = PATIENT,
    **settings: Any,
) -> Connection | ConnectFailure:
    """What ``connect`` comes to, for these hosts in this order."""
    target = Target(Protocol.LMTP if lmtp else Protocol.SMTP, "dest.test", port, security, mx=mx)
    async with asyncio.timeout(WITHIN_S):
        return await connect(
            target, hosts or (At(),), Settings(ehlo_name=HOSTNAME, timeouts=timeouts, **settings)
        )


async def connection_to(port: int, *hosts: At, **options: Any) -> Connection:
    """A connection; its failure fails the test."""
    connection = await opened(port, *hosts, **options)
    assert isinstance(connection, Connection), connection
    return connection


async def failure_of(port: int, *hosts: At, **options: Any) -> ConnectFailure:
    failure = await opened(port, *hosts, **options)
    assert isinstance(failure, ConnectFailure), failure
    return failure


async def send(connection: Connection, what: Transaction) -> Result:
    """The result, told exactly once."""
    done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    connection.send(what, done.set_result)
    async with asyncio.timeout(WITHIN_S):
        return await done


def transaction(*recipients: str | Recipient, body: Body = CONTENT, **fields: Any) -> Transaction:
    people = tuple(Recipient(r) if isinstance(r, str) else r for r in recipients or ("ann@x.test",))
    return Transaction("app@shop.test", people, body, **fields)


def told(outcome: Outcome) -> str:
    """An outcome in a line: ``failed bad-address 550 5.1.1``."""
    kind = {Delivered: "delivered", Deferred: "deferred", Failed: "failed"}[type(outcome)]
    reason = "" if isinstance(outcome, Delivered) else f"{outcome.reason} "
    return f"{kind} {reason}{outcome.reply.code} {outcome.reply.enhanced}"


async def closed(connection: Connection) -> None:
    """Returns when the connection is closed, or fails."""
    if connection.closing:
        return
    over = asyncio.Event()
    connection.on_closed = lambda _: over.set()
    async with asyncio.timeout(WITHIN_S):
        await over.wait()
