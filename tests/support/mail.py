"""Messages and routes for tests, with everything defaulted that a test does not care about."""

from waystation_contract.model import MX, Backend, Retry, Route
from waystation_relay.mail.envelope import Envelope, Origin, Recipient
from waystation_relay.mail.message import Message, Progress

NOON = 1_800_000_000.0


def recipient(address: str) -> Recipient:
    return Recipient(address)


def message(
    *recipients: str | Recipient,
    sender: str = "app@shop.test",
    arrival: float = NOON,
    id: int = 1,  # noqa: A002 -- the field's name
    content: bytes | None = b"Subject: hello\r\n\r\nworld\r\n",
    pending: tuple[Progress, ...] | None = None,
    listener: str = "smtp",
) -> Message:
    everyone = tuple(Recipient(r) if isinstance(r, str) else r for r in recipients or ("ann@corp.test",))
    return Message(
        id=id,
        queue_id=f"Q{id}",
        envelope=Envelope(sender, everyone),
        origin=Origin(listener=listener),
        arrival=arrival,
        size_bytes=len(content or b""),
        pending=tuple(Progress(n, due=arrival) for n in range(len(everyone))) if pending is None else pending,
        content=content,
    )


def route(
    name: str = "shop/all",
    *,
    recipients: tuple[str, ...] = ("*",),
    senders: tuple[str, ...] = ("*",),
    backends: tuple[Backend, ...] = (MX(),),
    retry: Retry = Retry(),  # noqa: B008 -- a frozen value
    listeners: tuple[str, ...] = ("smtp",),
    created: float = 0.0,
) -> Route:
    return Route(
        name=name,
        created=created,
        listeners=listeners,
        senders=senders,
        recipients=recipients,
        backends=backends,
        retry=retry,
    )
