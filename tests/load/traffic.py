"""Mixed mail for a soak, and the account of it: what was promised, what arrived, what came back.

Senders are threads that share a rate. Each message has a number; its
recipients' names say what the ledger is to do with them: take them, put them off
once, refuse them. Who is refused, or lives at a dead destination, is made good by
a report to the message's sender, who is named by the number too.
"""

import contextlib
import dataclasses
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.load.client import Client, lines
from tests.load.ledger import Entry

KB = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """``share`` of the messages; ``name`` goes before the @, ``domain`` behind it."""

    share: float
    size_bytes: int = 4 * KB
    recipients: int = 1
    name: str = "ok"
    domain: str = "ledger.test"


KINDS = (
    Kind(0.70),
    Kind(0.08, size_bytes=100 * KB),
    Kind(0.01, size_bytes=2000 * KB),
    Kind(0.08, recipients=10),
    Kind(0.005, recipients=100),
    Kind(0.085, name="later"),  # put off once
    Kind(0.02, name="nobody"),  # refused: bounces
    Kind(0.01, domain="dead.test"),  # nobody listens there: expires and bounces
    Kind(0.01, recipients=5, name="later"),
)
ABORTED = 0.01  # messages whose client goes away within the data
REUSED = 20  # messages on a connection, at most


class Account:
    """Every recipient is open from before it is sent until it arrives or its sender hears of its failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, set[str]] = {}
        self._put_off: set[str] = set()
        self.promised = self.recipients = self.arrived = self.reports = self.put_off = self.refused = 0
        self.surprises: Counter[str] = Counter()  # arrivals that nobody waited for: duplicates

    def begin(self, number: str, recipients: list[str]) -> None:
        with self._lock:
            self._open[number] = set(recipients)

    def promise(self, recipients: int) -> None:
        with self._lock:
            self.promised += 1
            self.recipients += recipients

    def withdraw(self, number: str) -> None:
        """No 250: nothing was promised."""
        with self._lock:
            self._open.pop(number, None)

    @property
    def open(self) -> dict[str, set[str]]:
        with self._lock:
            return {number: set(left) for number, left in self._open.items()}

    # What the ledger asks and tells

    def answer(self, recipient: str) -> bytes | None:
        kind = recipient.partition("-")[0]
        if kind == "nobody":
            with self._lock:
                self.refused += 1
            return b"550 5.1.1 no such mailbox\r\n"
        if kind == "later":
            with self._lock:
                if recipient not in self._put_off:
                    self._put_off.add(recipient)
                    self.put_off += 1
                    return b"451 4.7.1 come back later\r\n"
                self._put_off.discard(recipient)
        return None

    def note(self, entry: Entry) -> None:
        with self._lock:
            if not entry.sender:  # a report: its recipient is s-NUMBER@shop.test
                self.reports += 1
                number = entry.recipients[0].partition("@")[0].removeprefix("s-")
                if self._open.pop(number, None) is None:
                    self.surprises["reports"] += 1
                return
            left = self._open.get(entry.number)
            for recipient in entry.recipients:
                if left is None or recipient not in left:
                    self.surprises["messages"] += 1
                    continue
                left.discard(recipient)
                self.arrived += 1
            if left is not None and not left:
                del self._open[entry.number]


class Sender(threading.Thread):
    """Sends its share of the rate until told to stop; every error is its end, and is kept."""

    def __init__(self, name: str, port: int, rate: float, account: Account, stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.error: BaseException | None = None
        self._port, self._rate, self._account, self._stopping = port, rate, account, stop
        self._dice = random.Random(name)
        self._client: Client | None = None
        self._left = 0
        self._count = 0

    def run(self) -> None:
        due = time.monotonic()
        try:
            while not self._stopping.wait(max(0.0, due - time.monotonic())):
                self._one()
                due = max(due + self._dice.expovariate(self._rate), time.monotonic() - 1.0)
        except BaseException as error:  # noqa: BLE001 -- told when the soak is over
            self.error = error
        self._hang_up()

    def _one(self) -> None:
        dice = self._dice
        kind = dice.choices(KINDS, [kind.share for kind in KINDS])[0]
        self._count += 1
        number = f"{self.name}.{self._count}"
        people = [f"{kind.name}-{number}-{n}@{kind.domain}" for n in range(kind.recipients)]
        client = self._connected()
        if dice.random() < ABORTED:
            assert client.say(b"MAIL FROM:<a@shop.test>", b"RCPT TO:<gone@ledger.test>")[:3] == "250"
            client.say(b"DATA")
            client.socket.sendall(next(lines(number, 100)))
            self._hang_up(reset=dice.random() < 0.5)
            return
        self._account.begin(number, people)
        said = client.send(people, lines(number, kind.size_bytes), f"s-{number}@shop.test")
        if not said.startswith("250"):
            self._account.withdraw(number)
            raise AssertionError(f"a message was refused: {said}")
        self._account.promise(len(people))

    def _connected(self) -> Client:
        if self._client is None or not self._left:
            self._hang_up()
            self._client, self._left = Client(self._port), self._dice.randint(1, REUSED)
        self._left -= 1
        return self._client

    def _hang_up(self, *, reset: bool = False) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        if reset:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with contextlib.suppress(OSError):
            client.close()


class Churn(threading.Thread):
    """Connections that come, idle and go: some politely, some within a command, some reset."""

    def __init__(self, port: int, stop: threading.Event, most: int = 50) -> None:
        super().__init__(name="churn", daemon=True)
        self._port, self._stopping, self._most = port, stop, most
        self._dice = random.Random("churn")
        self.connections = 0

    def run(self) -> None:
        held: list[socket.socket] = []
        while not self._stopping.wait(0.05):
            with contextlib.suppress(OSError):
                made = socket.create_connection(("127.0.0.1", self._port), 5)
                made.sendall(self._dice.choice((b"", b"EHLO x\r\n", b"EHL")))
                held.append(made)
                self.connections += 1
            while len(held) > self._dice.randint(self._most // 2, self._most):
                self._leave(held.pop(self._dice.randrange(len(held))))
        for one in held:
            one.close()

    def _leave(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            match self._dice.randrange(3):
                case 0:
                    one.sendall(b"\r\nQUIT\r\n")
                case 1:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        one.close()


class Repeated(threading.Thread):
    """Calls something every so many seconds."""

    def __init__(self, name: str, every_s: float, call: Callable[[], None], stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.error: BaseException | None = None
        self._every_s, self._call, self._stopping = every_s, call, stop

    def run(self) -> None:
        try:
            while not self._stopping.wait(self._every_s):
                self._call()
        except BaseException as error:  # noqa: BLE001 -- told when the soak is over
            self.error = error
