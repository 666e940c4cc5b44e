"""A full disk: new mail is refused for now, accepted mail is kept and goes out."""

import smtplib
from collections.abc import Callable
from pathlib import Path

from tests.support import clients
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import Queue

NewRelay = Callable[..., RelayProcess]


def fill(relay: RelayProcess) -> tuple[int, int]:
    """Sends 100 kB messages until one is refused; how many were taken, and the refusal's code."""
    content = clients.mail("filler", "0123456789abcde\n" * 6250)
    for taken in range(1000):
        try:
            clients.send(relay.port, "a@shop.test", f"b{taken}@next.test", content)
        except smtplib.SMTPSenderRefused as refused:
            return taken, refused.smtp_code
        except smtplib.SMTPRecipientsRefused as refused:
            return taken, next(iter(refused.recipients.values()))[0]
        except smtplib.SMTPDataError as refused:
            return taken, refused.smtp_code
    raise AssertionError("the disk never filled")


def test_disk_full_refuses_and_keeps(new_relay: NewRelay, sink: Sink, small_disk: Path) -> None:
    """On a full disk clients hear 452 or 451; all that got a 250 arrives, then mail is taken again."""
    relay = new_relay(data=small_disk / "spool")
    relay.configure(route(to(free_port())))
    relay.start()
    taken, code = fill(relay)
    assert taken > 20
    assert code in (451, 452)
    assert relay.process is not None
    assert relay.process.poll() is None
    relay.configure(route(to(sink.port)))
    received = sink.wait(taken, within_s=30)
    assert {r.recipients[0] for r in received} >= {f"b{n}@next.test" for n in range(taken)}

    def accepted() -> bool:
        try:
            clients.send(relay.port, "a@shop.test", "after@next.test", clients.mail("room again"))
        except smtplib.SMTPException:
            return False
        return True

    until(accepted, "mail to be taken again", within_s=20, every_s=0.2)


def test_queue_size_is_a_limit_of_its_own(new_relay: NewRelay, sink: Sink) -> None:
    """``queue.size`` fills long before the disk does: 452 4.3.1 at MAIL, until mail has gone out."""
    relay = new_relay()
    relay.configure(route(to(free_port())), queue=Queue(max_bytes=2_000_000, full_at_percent=50))
    relay.start()
    taken, code = fill(relay)
    assert code == 452
    assert 5 <= taken <= 15
    relay.configure(route(to(sink.port)), queue=Queue(max_bytes=2_000_000, full_at_percent=50))
    sink.wait(taken, within_s=20)
    until(lambda: relay.queued() == 0, "an empty queue")
    clients.send(relay.port, "a@shop.test", "after@next.test", clients.mail("room again"))
