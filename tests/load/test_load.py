"""Loads that a relay bears: many sessions, many senders, many recipients, large messages. Bounds, no timings.

What is fast enough is for ``make bench``; here nothing is lost, nobody waits for ever and memory stays small.
"""

import hashlib
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.load.client import Client, lines
from tests.load.ledger import Ledger
from tests.support import clients
from tests.support.footprint import MIB, Footprint
from tests.support.relay import RelayProcess
from tests.support.smtpsink import CountingSink
from tests.support.waiting import until

IDLE = 2000
MESSAGES = 2000
MOST_BYTES = 150 * MIB


def footprint(relay: RelayProcess) -> Footprint:
    assert relay.process is not None
    return Footprint.of(relay.process.pid)


def forget_peak(relay: RelayProcess) -> None:
    """The most memory it held is counted from now."""
    assert relay.process is not None
    (Path("/proc") / str(relay.process.pid) / "clear_refs").write_text("5", encoding="ascii")


def emptied(relay: RelayProcess, within_s: float = 20.0) -> None:
    until(lambda: relay.queued() == 0, "an empty queue", within_s=within_s, every_s=0.05)


def test_more_descriptors_than_it_was_begun_with(relay: RelayProcess) -> None:
    """A relay begun with a small limit of open files raises it as far as it may."""
    assert relay.process is not None
    limits = (Path("/proc") / str(relay.process.pid) / "limits").read_text(encoding="ascii")
    soft, hard = re.findall(r"^Max open files +(\d+) +(\d+)", limits, re.MULTILINE)[0]
    assert int(soft) == min(int(hard), 65_536)


def test_idle_sessions_beside_full_traffic(relay: RelayProcess, smtp_sink: CountingSink) -> None:
    """Beside 2,000 sessions that do nothing all mail passes, and these are still served."""
    before = footprint(relay)
    with ThreadPoolExecutor(8) as pool:
        idle = list(pool.map(lambda _: Client(relay.port), range(IDLE)))
    target = smtp_sink.messages + MESSAGES
    begun = time.monotonic()
    clients.smtp_source(relay.port, MESSAGES, sessions=20)
    smtp_sink.wait(target)
    took_s = time.monotonic() - begun
    during = footprint(relay)
    asked = time.monotonic()
    status, _ = relay.get("/readyz")
    answered_s = time.monotonic() - asked
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda client: client.say(b"NOOP"), idle)) == {"250 2.0.0 Ok"}
    for client in idle:
        client.close()
    until(lambda: footprint(relay).fds < before.fds + 100, "the sessions' descriptors to be given back")
    print(f"{MESSAGES / took_s:.0f} messages/s beside {IDLE} sessions: {before} before, {during} during")
    assert status == 200
    assert answered_s < 2.0
    assert during.fds >= IDLE
    assert during.rss_bytes < MOST_BYTES
    emptied(relay)


def test_two_hundred_senders_at_once(relay: RelayProcess, smtp_sink: CountingSink) -> None:
    """Each message of 200 clients that send at the same time arrives once."""
    target = smtp_sink.messages + MESSAGES
    clients.smtp_source(relay.port, MESSAGES, sessions=200)
    smtp_sink.wait(target)
    emptied(relay)
    assert smtp_sink.messages == target
    assert footprint(relay).rss_bytes < MOST_BYTES


def test_ten_thousand_recipients(relay: RelayProcess, ledger: Ledger) -> None:
    """One message to 10,000 people goes out in transactions of 100 at most, to each of them once."""
    ledger.entries.clear()
    people = [f"r{n}@ledger.test" for n in range(10_000)]
    with Client(relay.port) as client:
        assert client.send(people, lines("many", 2000)).startswith("250 2.0.0")
    emptied(relay)
    assert Counter(r for entry in ledger.entries for r in entry.recipients) == Counter(people)
    assert {len(entry.recipients) for entry in ledger.entries} == {100}
    assert {entry.number for entry in ledger.entries} == {"many"}
    assert len({entry.sha256 for entry in ledger.entries}) == 1
    assert footprint(relay).rss_bytes < MOST_BYTES


def test_fifty_megabytes(relay: RelayProcess, ledger: Ledger) -> None:
    """Two messages of 50 MB at the same time pass unchanged, and are never in memory whole."""
    ledger.entries.clear()
    size_bytes = 50 * 1000 * 1000
    forget_peak(relay)
    before = footprint(relay)

    def send(number: str) -> str:
        with Client(relay.port) as client:
            return client.send([f"{number}@ledger.test"], lines(number, size_bytes))

    with ThreadPoolExecutor(2) as pool:
        assert all(said.startswith("250 2.0.0") for said in pool.map(send, ("one", "two")))
    emptied(relay)
    after = footprint(relay)
    print(f"two of 50 MB: {before} before, {after} after")
    assert {entry.number: entry.sha256 for entry in ledger.entries} == {
        number: digest(number, size_bytes) for number in ("one", "two")
    }
    assert after.peak_bytes < MOST_BYTES
    assert after.peak_bytes - before.rss_bytes < 32 * MIB


def digest(number: str, size_bytes: int) -> str:
    """Of what stands behind the header."""
    _, *body = lines(number, size_bytes)
    return hashlib.sha256(b"".join(body)).hexdigest()
