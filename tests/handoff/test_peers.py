"""Who gets what: shared out, the same way each time, and not elsewhere while it may be there already."""

import collections

from waystation_relay.handoff.peers import ASKING_S, FIRST_S, MOST_S, MOST_STUCK, Peer, Peers

URLS = [f"http://pool-{n}:8025" for n in range(4)]
NAMES = [f"{n:011d}-AAAAA" for n in range(400)]


def peers(*urls: str, stick_s: float = 100.0) -> Peers:
    """All of them open; their spools' tags are their places."""
    made = Peers("AAAAA", stick_s)
    made.replace(urls)
    for peer in made.to_ask(0):
        made.welcomed(peer, f"TAG-{peer.url}")
    return made


def chosen(made: Peers, now: float = 0) -> dict[str, Peer | None]:
    return {name: made.best(name, now) for name in NAMES}


def one(made: Peers, url: str) -> Peer:
    return next(peer for peer in made if peer.url == url)


def test_the_load_is_shared() -> None:
    """Each of four relays gets about a quarter."""
    counts = collections.Counter(peer.url for peer in chosen(peers(*URLS)).values() if peer)
    assert counts.keys() == set(URLS)
    assert min(counts.values()) > 60


def test_who_goes_takes_nothing_from_the_others() -> None:
    """When one relay is full, only its part goes elsewhere: what is sent again goes where it went before."""
    made = peers(*URLS)
    before = chosen(made)
    made.refused(one(made, URLS[0]), "full", 0)
    for name, peer in chosen(made).items():
        was = before[name]
        assert peer is not None
        assert was is not None
        assert peer.url != URLS[0]
        assert was.url in (peer.url, URLS[0])


def test_the_choice_goes_by_the_spool_not_by_the_address() -> None:
    """A pod that comes back with another address gets what it had been sent."""
    made, again = peers(*URLS[:2]), Peers("AAAAA")
    again.replace(["http://a:1", "http://b:2"])
    for peer, url in zip(again.to_ask(0), reversed(URLS[:2]), strict=True):
        again.welcomed(peer, f"TAG-{url}")
    for name, peer in chosen(made).items():
        other = again.best(name, 0)
        assert peer is not None
        assert other is not None
        assert peer.tag == other.tag


def test_our_own_spool_gets_nothing() -> None:
    """Whatever its address is."""
    made = peers(*URLS[:1])
    made.welcomed(one(made, URLS[0]), "AAAAA")
    assert made.best(NAMES[0], 0) is None


def test_nobody_unasked_gets_anything() -> None:
    """Nor do those who refused, before they are asked again, ever more seldom."""
    made = Peers("AAAAA")
    made.replace(URLS[:1])
    assert made.best(NAMES[0], 0) is None
    (peer,) = made.to_ask(0)
    assert made.to_ask(ASKING_S - 1) == [], "it is being asked"
    now, waits = 0.0, []
    for _ in range(8):
        made.refused(peer, "full", now)
        assert made.to_ask(peer.ask_at - 0.01) == []
        waits.append(peer.ask_at - now)
        now = peer.ask_at
        assert made.to_ask(now) == [peer]
    assert waits[:3] == [FIRST_S, FIRST_S * 2, FIRST_S * 4]
    assert waits[-1] == MOST_S
    made.welcomed(peer, "TAG")
    made.refused(peer, "full", now)
    assert peer.ask_at - now == MOST_S, "a greeting alone proves nothing"
    made.answered(peer)
    made.refused(peer, "full", now)
    assert peer.ask_at - now == FIRST_S


def test_what_may_be_there_waits_for_that_relay() -> None:
    """While it is away nobody else gets it; after a while everybody but that one may."""
    made = peers(*URLS[:2])
    first = made.best(NAMES[0], 0)
    assert first is not None
    made.stick([NAMES[0]], first, 0)
    made.refused(first, "no-answer", 0)
    assert made.best(NAMES[0], 50) is None
    made.stick([NAMES[0]], first, 90)  # once more in vain: it does not wait for longer
    other = made.best(NAMES[0], 101)
    assert other is not None
    assert other is not first
    made.welcomed(first, first.tag)
    assert made.best(NAMES[0], 102) is other
    made.unstick([NAMES[0]])
    assert made.best(NAMES[0], 103) is first


def test_the_only_relay_is_tried_again() -> None:
    """With nobody else to give to, there is nothing to avoid it for."""
    made = peers(*URLS[:1])
    peer = one(made, URLS[0])
    made.stick(NAMES[:1], peer, 0)
    assert made.best(NAMES[0], 50) is peer
    assert made.best(NAMES[0], 150) is peer


def test_peers_that_stay_are_not_forgotten() -> None:
    """A new list keeps what is known of those that were on the old one."""
    made = peers(*URLS[:2])
    made.replace(URLS[1:3])
    assert [(peer.url, bool(peer.reason)) for peer in made] == [(URLS[1], False), (URLS[2], True)]


def test_what_sticks_has_a_bound() -> None:
    """What was offered long ago is swept out."""
    made = peers(*URLS[:1])
    peer = one(made, URLS[0])
    made.stick([str(n) for n in range(MOST_STUCK + 1)], peer, 0)
    made.stick(["late"], peer, 1_000)
    assert len(made._stuck) == 1
