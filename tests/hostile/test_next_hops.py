"""Hostile next hops, all at once, around one relay process: nobody else notices, and no mail is lost.

The relay is given mail for each of them and for a decent server. While they misbehave, mail for the decent
one is timed and the relay's memory and descriptors are counted; then they behave, and the mail they were
meant to have must arrive.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hostile.hop import GIGABYTE, LARGE_BYTES, WAYS, Hop
from tests.support import clients
from tests.support.footprint import MIB, Footprint
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import Delivery

EACH = 3  # messages to each hop
MEANWHILE = 40  # messages to the decent server
CONNECTIONS = 5  # to a destination, at most


@dataclasses.dataclass
class Story:
    """What was seen."""

    relay: RelayProcess
    hops: dict[str, Hop]
    slowest_s: float  # of the mail to the decent server, from the client's first byte to its arrival
    before: Footprint
    during: Footprint
    after: Footprint

    def deferrals(self, way: str) -> list[str]:
        lines = self.relay.log("message.deferred", route=f"test/{way}")
        return [line["reason"] for line in lines]


def content(way: str, number: int) -> bytes:
    text = "0123456789abcdef\n" * (LARGE_BYTES // 18 if WAYS[way].large else 3)
    return clients.mail(f"{way} {number}", text)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Sink())
        hops = {way: stack.enter_context(Hop(way)) for way in WAYS}
        relay = stack.enter_context(RelayProcess(folder))
        routes = [
            route(to(hop.port), recipients=(f"*@{way}.test",), name=f"test/{way}")
            for way, hop in hops.items()
        ]
        relay.configure(
            *routes, route(to(sink.port)), delivery=Delivery(connections_per_destination=CONNECTIONS)
        )
        relay.start()
        pid = relay.process.pid  # type: ignore[union-attr] # it was started just now
        clients.send(relay.port, "a@shop.test", "warm@decent.test", clients.mail("warm"))
        sink.wait(1)
        before = Footprint.of(pid)
        for way in WAYS:
            for number in range(EACH):
                clients.send(relay.port, "a@shop.test", f"r{number}@{way}.test", content(way, number))
        until(lambda: all(hop.hits for hop in hops.values()), "every hop to be called")
        slowest_s = 0.0
        for number in range(MEANWHILE):
            begun = time.monotonic()
            clients.send(
                relay.port, "a@shop.test", f"m{number}@decent.test", clients.mail(f"meanwhile {number}")
            )
            sink.wait(number + 2)
            slowest_s = max(slowest_s, time.monotonic() - begun)
        during = Footprint.of(pid)
        for hop in hops.values():
            hop.behave()
        settled = until(lambda: delivered(relay, hops), "all mail to arrive", within_s=20, every_s=0.3)
        assert settled
        after = Footprint.of(pid)
        yield Story(relay, hops, slowest_s, before, during, after)
        assert relay.log("internal.error") == []


def delivered(relay: RelayProcess, hops: dict[str, Hop]) -> bool:
    """Asks for another attempt, as an operator would who knows that the hops are well again."""
    relay.request("POST", "/queue/retry", {"all": True})
    return relay.queued() == 0 and all(len(hop.received) >= EACH for hop in hops.values())


def test_decent_servers_get_their_mail_at_once(story: Story) -> None:
    """Mail for a decent server takes no longer than ever while eighteen others hang, flood and drip."""
    assert story.slowest_s < 5.0


def test_memory_and_descriptors_are_bounded(story: Story) -> None:
    """Eighteen hostile servers cost the relay little memory and the connections it may have to each."""
    print(f"before: {story.before}; during: {story.during}; after: {story.after}")
    assert story.during.peak_bytes - story.before.rss_bytes < 64 * MIB
    assert story.during.fds - story.before.fds <= len(WAYS) * (CONNECTIONS + EACH)


@pytest.mark.parametrize("way", WAYS)
def test_mail_arrives_once_the_hop_behaves(story: Story, way: str) -> None:
    """Whatever a server did to it, each message is kept and arrives, whole."""
    arrived = [mail.partition(b"Subject: ")[2] for mail in story.hops[way].received]
    sent = [content(way, number).partition(b"Subject: ")[2] for number in range(EACH)]
    assert sorted(set(arrived)) == sorted(sent)


@pytest.mark.parametrize("way", WAYS)
def test_deferral_says_what_happened(story: Story, way: str) -> None:
    """Whoever asks why the mail was late is told: the connection, the protocol, the server's word."""
    assert WAYS[way].reason in story.deferrals(way)
    assert story.relay.log("message.failed", route=f"test/{way}") == []


@pytest.mark.parametrize("way", [way for way in WAYS if "gigabyte" in way or "flood" in way])
def test_endless_replies_are_cut_off(story: Story, way: str) -> None:
    """Nobody listens to a gigabyte: the connection ends as soon as a reply is longer than any is."""
    hop = story.hops[way]
    assert 0 < hop.poured < hop.hits * 32 * MIB < GIGABYTE


def test_nobody_is_told_of_failures(story: Story) -> None:
    """What is temporary is not bounced."""
    assert story.relay.log("bounce.created") == []
