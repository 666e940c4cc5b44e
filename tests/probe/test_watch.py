"""The canary in virtual time: what is probed when, which finding stands, how rarely passwords are tried."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from tests.plan.objects import pool, route, secret
from tests.plan.test_port25 import report, stuck

from waystation_operator.api.objects import MailRoute, Secret
from waystation_operator.plan import diagnosis
from waystation_operator.plan.diagnosis import Case
from waystation_operator.plan.probing import Credential, Probe
from waystation_operator.probe.examine import Examined
from waystation_operator.probe.watch import Clock, Gauge, Watch
from waystation_relay.aio.clock import ManualClock

POOL = pool()


def to(host: str, name: str = "", *, login: bool = False) -> MailRoute:
    fields: dict[str, Any] = {"host": host, "port": 587, "tls": "Required"}
    if login:
        fields["authSecretName"] = "up"
    return route(name or host.partition(".")[0], backends=[{"smartHost": fields}])


def password(text: str) -> dict[str, Secret]:
    return secret("mail/up", username="ann", password=text)


class World:
    """The outside, as the probes find it: ``cases`` by host; right is the password ``right``."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.right = "right"
        self.looked: list[str] = []
        self.tried: list[str] = []
        self.broken = False
        self.held = asyncio.Event()
        self.held.set()

    async def look(self, probe: Probe, credential: Credential | None, clock: Clock) -> Examined:
        host = probe.target.host
        self.looked.append(host)
        if self.broken:
            raise RuntimeError("a bug")
        case = self.cases.get(host, Case.ANSWERS)
        login = credential is not None and diagnosis.TABLE[case].ok
        if login:
            assert credential is not None
            self.tried.append(credential.password)
        await self.held.wait()
        if login and credential is not None:
            case = Case.LOGGED_IN if credential.password == self.right else Case.AUTH_REFUSED
        return Examined(diagnosis.finding(case, probe.target, clock.now()), login)


class Site:
    """A watch in virtual time over a world."""

    def __init__(self) -> None:
        self.clock, self.world = ManualClock(), World()
        self.told: list[str] = []
        self.watch = Watch(self.told.append, clock=self.clock, look=self.world.look, roll=lambda: 0.5)

    def want(self, *routes: MailRoute, secrets: dict[str, Secret] | None = None) -> None:
        self.watch.want(POOL, routes, {}, secrets or {})

    async def turn(self) -> float | None:
        """One turn, and everything it started to its end."""
        started: list[asyncio.Task[None]] = []
        while True:
            nap_s = self.watch.turn(lambda probe: started.append(asyncio.create_task(probe)) or started[-1])
            if not started:
                return nap_s
            await asyncio.gather(*started, return_exceptions=True)
            started.clear()

    async def after(self, seconds: float) -> list[str]:
        """What is probed in this time, turn by turn as the watch asks for them."""
        self.world.looked.clear()
        end = self.clock.monotonic() + seconds
        while (nap_s := await self.turn()) is not None and self.clock.monotonic() + nap_s <= end:
            self.clock.advance(nap_s)
        self.clock.advance(end - self.clock.monotonic())
        return list(self.world.looked)

    def reasons(self) -> list[str]:
        return [finding.reason for finding in self.watch.findings_for(POOL.identity.key)]


@pytest.fixture
def site() -> Site:
    return Site()


async def test_what_is_new_is_probed_at_once(site: Site) -> None:
    """A route that is applied is judged within seconds, and its pool is told."""
    site.want(to("a.test"))
    await site.turn()
    (finding,) = site.watch.findings_for("mail/outbound")
    assert (finding.target.route, finding.reason, finding.at) == ("mail/a", "Reachable", site.clock.now())
    assert site.told == ["mail/outbound"]


async def test_what_works_is_probed_every_five_minutes(site: Site) -> None:
    """Whatever is wanted in between, again and again, as each reconciliation does."""
    site.want(to("a.test"))
    await site.turn()
    for _ in range(10):
        site.want(to("a.test"))
        assert await site.after(30) == []
    assert await site.after(40) == ["a.test"]
    assert site.told == ["mail/outbound"]


async def test_what_fails_is_probed_every_minute(site: Site) -> None:
    """That it is mended is seen within a minute, and the pool is told of it."""
    site.world.cases["a.test"] = Case.REFUSED
    site.want(to("a.test"))
    assert len(await site.after(150)) == 3
    assert site.reasons() == ["ConnectionRefused"]
    del site.world.cases["a.test"]
    await site.after(60)
    assert site.reasons() == ["Reachable"]
    assert site.told == ["mail/outbound"] * 2


async def test_each_route_is_told(site: Site) -> None:
    """One probe for a server that three routes share, one finding for each of them."""
    site.want(*(to("a.test", name) for name in ("x", "y", "z")))
    await site.turn()
    assert site.world.looked == ["a.test"]
    routes = [finding.target.route for finding in site.watch.findings_for("mail/outbound")]
    assert routes == ["mail/x", "mail/y", "mail/z"]


async def test_what_is_no_longer_wanted_is_dropped(site: Site) -> None:
    """A deleted route's server is left alone, even in the middle of a probe; so are a deleted pool's."""
    site.want(to("a.test"), to("b.test"))
    await site.turn()
    site.want(to("b.test"))
    assert len(site.watch.snapshot()) == 1
    assert await site.after(400) == ["b.test"]

    site.world.held.clear()
    site.want(to("c.test"))
    started: list[asyncio.Task[None]] = []
    site.watch.turn(lambda probe: started.append(asyncio.create_task(probe)) or started[-1])
    await asyncio.sleep(0)
    site.watch.forget("mail/outbound")
    async with asyncio.timeout(5):
        await asyncio.gather(*started, return_exceptions=True)
    assert started[0].cancelled()
    assert site.watch.findings_for("mail/outbound") == site.watch.snapshot() == ()


async def test_a_refused_password_is_tried_every_five_minutes_only(site: Site) -> None:
    """Ten minutes of a wrong password are two or three tries, not ten: servers lock accounts."""
    site.want(to("a.test", login=True), secrets=password("wrong"))
    await site.after(599)
    assert site.reasons() == ["AuthRefused"]
    assert site.world.tried == ["wrong"] * 2


async def test_a_corrected_password_is_tried_at_once(site: Site) -> None:
    """Until it has been, the refusal of the old one stands."""
    site.want(to("a.test", login=True), secrets=password("wrong"))
    await site.after(100)
    site.want(to("a.test", login=True), secrets=password("right"))
    assert site.reasons() == ["AuthRefused"]
    await site.turn()
    assert site.reasons() == ["Reachable"]
    assert site.world.tried == ["wrong", "right"]


async def test_a_new_password_waits_for_its_turn(site: Site) -> None:
    """Ten seconds after another one it is not tried yet, and nothing is said to be well untried."""
    site.want(to("a.test", login=True), secrets=password("wrong"))
    await site.after(10)
    site.want(to("a.test", login=True), secrets=password("right"))
    await site.after(45)
    assert site.reasons() == ["AuthRefused"]
    await site.after(10)
    assert site.reasons() == ["Reachable"]


async def test_a_password_that_changes_all_the_time_is_tried_once_a_minute(site: Site) -> None:
    """As when two controllers fight over a Secret."""
    for n in range(30):
        site.want(to("a.test", login=True), secrets=password(f"p{n}"))
        await site.after(10)
    assert 5 <= len(site.world.tried) <= 6


async def test_a_secret_that_flaps_between_two_passwords(site: Site) -> None:
    """Each of them once in five minutes, whatever the probes forget in between."""
    for n in range(30):
        site.want(to("a.test", login=True), secrets=password("one" if n % 2 else "two"))
        await site.after(10)
    assert len(site.world.tried) == 2


async def test_a_probe_that_is_stopped_has_tried(site: Site) -> None:
    """A route that comes and goes does not make the operator hammer an account."""
    site.world.held.clear()
    for _ in range(20):
        site.want(to("a.test", login=True), secrets=password("wrong"))
        started: list[asyncio.Task[None]] = []
        site.watch.turn(lambda probe, to=started: to.append(asyncio.create_task(probe)) or to[-1])
        await asyncio.sleep(0)
        site.watch.forget("mail/outbound")
        async with asyncio.timeout(5):
            await asyncio.gather(*started, return_exceptions=True)
        site.clock.advance(1)
    assert site.world.tried == ["wrong"]


async def test_a_refused_login_stands_while_no_other_is_tried(site: Site) -> None:
    """A route that is deleted and made again is told at once that its server refuses its login."""
    site.want(to("a.test", login=True), secrets=password("wrong"))
    await site.turn()
    site.watch.forget("mail/outbound")
    site.want(to("a.test", "again", login=True), secrets=password("wrong"))
    assert site.reasons() == []
    await site.turn()
    assert site.world.looked == ["a.test"] * 2
    assert site.reasons() == ["AuthRefused"]
    assert site.world.tried == ["wrong"]


async def test_a_login_that_never_came_to_be_does_not_count(site: Site) -> None:
    """The server was down: as soon as it is up, the password is tried."""
    site.world.cases["a.test"] = Case.REFUSED
    site.want(to("a.test", login=True), secrets=password("right"))
    await site.after(30)
    del site.world.cases["a.test"]
    await site.after(60)
    assert site.reasons() == ["Reachable"]
    assert site.world.tried == ["right"]


async def test_many_probes_are_spread_over_minutes(site: Site) -> None:
    """Three hundred servers at once are not asked at once; all are asked in the end."""
    site.want(*(to(f"h{n}.test") for n in range(300)))
    assert len(await site.after(59)) == 120
    assert len(await site.after(60)) == 120
    assert len(await site.after(60)) == 60


async def test_a_bug_in_a_probe_is_logged_and_not_the_end(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The last finding stands, the probe is made again, and the others never notice."""
    site.want(to("a.test"))
    await site.turn()
    site.world.broken = True
    assert 2 <= len(await site.after(400)) <= 3
    assert "the probe of smartHost a.test:587 failed" in caplog.text
    assert site.reasons() == ["Reachable"]
    site.world.broken = False
    assert await site.after(60) == ["a.test"]


async def test_a_change_is_logged_once(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """One line when a server stops working, one when it works again, none in between."""
    with caplog.at_level(logging.INFO):
        site.want(to("a.test"))
        await site.after(700)
        site.world.cases["a.test"] = Case.REFUSED
        await site.after(700)
    lines = [(record.levelname, record.getMessage().partition(":")[0]) for record in caplog.records]
    assert lines == [("INFO", "Reachable"), ("WARNING", "ConnectionRefused")]


async def test_figures_for_metrics(site: Site) -> None:
    """One a server, the worst of what is known about it."""
    site.world.cases["b.test"] = Case.REFUSED
    site.want(to("a.test"), to("a.test", "login", login=True), to("b.test"), secrets=password("wrong"))
    await site.turn()
    assert set(site.watch.snapshot()) == {
        Gauge("smartHost", "a.test:587", "AuthRefused", ok=False),
        Gauge("smartHost", "b.test:587", "ConnectionRefused", ok=False),
    }


async def test_what_relays_meet_counts_as_well(site: Site) -> None:
    """Port 25 blocked is found by those who knock there, not by a probe."""
    direct = [route(name, backends=[{"mx": {}}]) for name in "abc"]
    silent = report(a=stuck("mx.a.test"), b=stuck("mx.b.test"), c=stuck("mx.c.test"))
    site.watch.want(POOL, direct, {}, {}, [silent])
    assert site.reasons() == ["PortBlocked"]
    assert site.watch.snapshot() == (Gauge("mx", "*:25", "PortBlocked", ok=False),)
    site.watch.forget("mail/outbound")
    assert site.reasons() == []


async def test_running(site: Site) -> None:
    """The runner wakes up for what is wanted, and ends its probes when it is cancelled."""
    running = asyncio.create_task(site.watch.run())
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
        site.want(to("a.test"))
        while not site.told:
            await asyncio.sleep(0)
        site.world.held.clear()
        site.want(to("b.test"))
        while "b.test" not in site.world.looked:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert site.reasons() == []


def test_nothing_is_wanted() -> None:
    """There is nothing to wake up for."""
    routes: Sequence[MailRoute] = ()
    watch = Watch()
    watch.want(POOL, routes, {}, {})
    assert watch.turn(lambda _: pytest.fail("a probe was started")) is None
