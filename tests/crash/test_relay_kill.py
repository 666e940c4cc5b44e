"""kill -9 at random moments, under load. The one promise: a 250 is never taken back."""

import random
import re
import smtplib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import clients
from tests.support.effort import LONG
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

MESSAGES = 1000 if LONG else 400
CLIENTS = 10
KILLS = 8 if LONG else 4
SEED = random.randrange(2**32)


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    relay = RelayProcess(tmp_path)
    yield relay
    relay.close()


class Sender(threading.Thread):
    """Sends its share of the messages, each until it got a 250 or ``stop``; knows which got one."""

    def __init__(self, port: int, names: list[str], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.names, self.stop = port, names, stop
        self.promised: list[str] = []

    def run(self) -> None:
        client: smtplib.SMTP | None = None
        for name in self.names:
            content = clients.mail(name, "0123456789abcde\n" * (2000 if name.endswith("0") else 200))
            while not self.stop.is_set():
                try:
                    client = client or smtplib.SMTP("127.0.0.1", self.port, timeout=5)
                    client.sendmail("a@shop.test", [f"{name}@next.test"], content)
                except (OSError, smtplib.SMTPException):
                    client = None
                    time.sleep(0.02)  # the port is closed until the relay is back
                    continue
                self.promised.append(name)
                break


def test_nothing_promised_is_lost(relay: RelayProcess) -> None:
    """1,000 messages from 10 clients while the process is killed 8 times: each 250 arrives or is queued."""
    dice = random.Random(SEED)
    stop = threading.Event()
    with Sink() as sink:
        relay.configure(route(to(sink.port)))
        relay.start()
        senders = [
            Sender(relay.port, [f"m{n}" for n in range(MESSAGES) if n % CLIENTS == c], stop)
            for c in range(CLIENTS)
        ]
        for sender in senders:
            sender.start()
        for kill in range(KILLS):
            enough = MESSAGES * (kill + dice.random()) / (KILLS + 1)
            until(
                lambda enough=enough: sum(len(s.promised) for s in senders) >= enough,
                f"{enough:.0f} promises before kill {kill} (seed {SEED})",
                within_s=30,
                every_s=0.001,
            )
            time.sleep(dice.random() * 0.02)
            relay.kill()
            relay.start()
        try:
            for sender in senders:
                sender.join(60)
        finally:
            stop.set()
        promised = {name for sender in senders for name in sender.promised}
        until(lambda: relay.queued() == 0, "an empty queue", within_s=30, every_s=0.1)
        arrived = Counter(recipient.partition("@")[0] for r in sink.received for recipient in r.recipients)
        print(
            f"seed {SEED}: {len(promised)} promised, {len(arrived)} arrived, "
            f"{sum(count - 1 for count in arrived.values())} duplicates, {KILLS} kills"
        )
        assert len(promised) == MESSAGES
        assert promised - set(arrived) == set()
        whole = [r for r in sink.received if re.search(rb"0123456789abcde\r\n(\r\n)?\Z", r.content)]
        assert len(whole) == len(sink.received), "every copy is complete"
