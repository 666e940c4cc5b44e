"""The queue's life, whatever happens in it: everybody who was accepted is accounted for.

Random mail, servers, people, time and ends of the process against one law.
For each address, of all copies ever accepted: those delivered, those reported
to their sender as failed, those a person deleted and those still in the queue
are all there are. Only where the process died may a copy be delivered and
still be here.
"""

import asyncio
import email
import email.policy
import tempfile
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.dispatch.world import LOST, REFUSED, World, later, refused, taken
from tests.support.effort import LONG
from tests.support.mail import route

from waystation_contract.model import MX, Quarantine, Retry, Route
from waystation_relay.mail.envelope import Notify, Recipient
from waystation_relay.mail.message import Status
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.values import Delete, Hold, Query, Release, RetryNow

T = TypeVar("T")
RETRY = Retry(first_s=60, factor=4, max_s=3600, jitter_percent=0, expire_after_s=20_000, warn_after_s=3600)
HOSTS = ("one.test", "two.test", "senders.test", "pm.test")
POSTMASTER = "pm@pm.test"
ANSWERS = {
    "takes": taken(),
    "defers": later(),
    "greylists": later("later", Reason.GREYLISTED, retry_after_s=300),
    "throttles": later("slow down", Reason.THROTTLED),
    "refuses": refused(),
    "drops": LOST,
}
NOTIFIES = (
    Notify.DEFAULT,
    Notify.NEVER,
    Notify.SUCCESS,
    Notify.FAILURE,
    Notify.SUCCESS | Notify.FAILURE | Notify.DELAY,
)
MAILS = st.tuples(
    st.lists(st.sampled_from(("one.test", "two.test", "nowhere.test")), min_size=1, max_size=4),
    st.sampled_from(NOTIFIES),
    st.sampled_from((False, False, False, True)),  # a null sender
    st.sampled_from(("", "", "", "wait")),  # held from the start
)
MOODS = st.tuples(st.sampled_from(("is down", *sorted(ANSWERS))), st.booleans())


class Life(RuleBasedStateMachine):
    @initialize(postmaster=st.booleans())
    def begin(self, postmaster: bool) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.routes: dict[str, Route] = {
            host: route(f"mail/{host}", recipients=(f"*@{host}",), backends=(MX(),), retry=RETRY)
            for host in HOSTS
        }
        self.document = {"retry": RETRY, "postmaster": POSTMASTER if postmaster else ""}
        self.world = World(Path(self.folder.name) / "spool", *self.routes.values(), **self.document)
        self.created: Counter[str] = Counter()
        self.deleted: Counter[str] = Counter()
        self.reported: Counter[str] = Counter()
        self.delayed: Counter[str] = Counter()
        self.unnoticed: set[str] = set()  # NOTIFY asks for no failure report
        self.muddled: set[str] = set()  # deleted while it was being sent
        self.doubtful: set[str] = set()  # in the queue when the process died
        self.number = 0
        self.set_back_s = 0.0  # how much longer mail waits because the clock was set back
        self.run(self.world.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 120))

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            self.all_ends_well()
            self.run(self.world.close())
        finally:
            self.loop.close()
            self.folder.cleanup()

    async def answered(self) -> None:
        """Every server answers what it hesitated to answer; patient ones hesitate again at what follows."""
        for server in self.world.network.servers.values():
            server.answer()
        await self.world.quiet()

    # What happens

    @rule(mails=st.lists(MAILS, min_size=1, max_size=4))
    def mail_comes(self, mails: list[tuple[list[str], Notify, bool, str]]) -> None:
        for where, notify, null_sender, hold in mails:
            self.number += 1
            addresses = [f"m{self.number}r{n}@{host}" for n, host in enumerate(where)]
            self.created.update(addresses)
            if notify and Notify.FAILURE not in notify:
                self.unnoticed.update(addresses)
            people = [Recipient(address, notify) for address in addresses]
            sender = "" if null_sender else f"s{self.number}@senders.test"
            self.run(self.world.receive(*people, sender=sender, hold=hold))
        self.run(self.world.quiet())

    @rule(moods=st.lists(MOODS, min_size=len(HOSTS), max_size=len(HOSTS)))
    def the_servers_change(self, moods: list[tuple[str, bool]]) -> None:
        """How they answer from now on, and whether they hesitate; mail under way is answered or goes on."""
        for host, (mood, patient) in zip(HOSTS, moods, strict=True):
            server = self.world.network[host]
            server.down = REFUSED if mood == "is down" else None
            server.otherwise = ANSWERS.get(mood, taken())
            server.patient = patient
        self.run(self.answered())

    @rule(seconds=st.sampled_from((1.0, 61.0, 900.0, 4000.0, 30_000.0)))
    def time_passes(self, seconds: float) -> None:
        self.run(self.world.pass_time(seconds))

    @rule()
    def the_next_is_due(self) -> None:
        if self.run(self.world.next_due()) is not None:
            self.run(self.world.to_next_due())

    @rule(seconds=st.sampled_from((-7200.0, 7200.0)))
    def the_clock_is_set(self, seconds: float) -> None:
        self.world.clock.jump(seconds)
        self.set_back_s += max(0.0, -seconds)
        self.run(self.world.quiet())

    @rule(
        what=st.sampled_from(("hold", "release", "retry", "delete", "bounce")),
        which=st.sampled_from(
            (
                Query(),
                Query(domain="one.test"),
                Query(domain="two.test"),
                Query(domain="senders.test"),
                Query(status=Status.HELD),
                Query(reason="other"),
            )
        ),
    )
    def somebody_acts(self, what: str, which: Query) -> None:
        people = self.world.people
        if what == "bounce":
            self.run(people.bounce(which, "enough"))
        else:
            action = {"hold": Hold("wait"), "release": Release(), "retry": RetryNow(), "delete": Delete("x")}
            before = self.waiting()
            self.run(people.change(which, action[what]))
            if what == "delete":
                gone = before - self.waiting()
                self.deleted.update(gone)
                self.muddled |= set(gone) & self.being_sent()
        self.run(self.world.quiet())

    @rule(host=st.sampled_from(("nowhere.test", "one.test")), there=st.booleans(), odd=st.booleans())
    def a_route_comes_or_goes(self, host: str, there: bool, odd: bool) -> None:
        self.routes.pop(host, None)
        if there:
            backend = Quarantine() if odd else MX()
            self.routes[host] = route(
                f"mail/{host}", recipients=(f"*@{host}",), backends=(backend,), retry=RETRY
            )
        self.world.configure(*self.routes.values(), **self.document)

    @rule()
    def it_is_restarted(self) -> None:
        self.doubtful |= self.being_sent()  # cut off when the grace is over
        self.run(self.world.stop())
        self.count_reports()
        self.run(self.world.start())

    @rule()
    def it_dies(self) -> None:
        self.doubtful |= self.being_sent()
        self.run(self.world.kill())
        self.count_reports()
        self.run(self.world.start())

    # What holds

    def being_sent(self) -> set[str]:
        waiting = [link for server in self.world.network.servers.values() for link in server.waiting]
        return {r.address for link in waiting if link.now for r in link.now.recipients}

    def waiting(self) -> Counter[str]:
        """Copies in the queue, by address."""
        return Counter(
            message.envelope.recipients[row.number].address
            for message in self.run(self.world.queue())
            for row in message.pending
        )

    def count_reports(self) -> None:
        settlements, self.world.spool.settlements = self.world.spool.settlements, []
        for new in (new for settlement in settlements for new in settlement.new):
            self.created.update(r.address for r in new.envelope.recipients)
            parsed = email.message_from_bytes(new.content, policy=email.policy.SMTP)
            for group in parsed.get_payload()[1].get_payload()[1:]:
                address = group["Final-Recipient"].removeprefix("rfc822; ")
                if group["Action"] == "failed":
                    self.reported[address] += 1
                elif group["Action"] == "delayed":
                    self.delayed[address] += 1

    @invariant()
    def everybody_is_accounted_for(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.check()
        self.count_reports()
        delivered = Counter(
            mail.recipient for server in self.world.network.servers.values() for mail in server.taken
        )
        dropped = Counter(
            address
            for line in self.world.logged("message.failed")
            for address in line["recipients"]  # type: ignore[attr-defined]
            if address in self.unnoticed
        )
        waiting = self.waiting()
        for address, created in self.created.items():
            settled = self.reported[address] + waiting[address] + dropped[address] + self.deleted[address]
            told = f"{address}: {created} created, {delivered[address]} delivered, "
            told += f"{self.reported[address]} reported, {waiting[address]} waiting, "
            told += f"{dropped[address]} dropped, {self.deleted[address]} deleted"
            if address in self.muddled:
                assert waiting[address] < created, told
            elif address in self.doubtful:
                assert settled <= created <= settled + delivered[address], told
            else:
                assert settled + delivered[address] == created, told
        assert all(count == 1 for address, count in self.delayed.items() if address.startswith("m"))
        assert set(delivered) <= set(self.created)

    def all_ends_well(self) -> None:
        """Once the servers answer and nothing is held, the queue becomes empty by itself."""
        for host in (*HOSTS, "nowhere.test"):
            server = self.world.network[host]
            server.otherwise, server.down, server.patient = taken(), None, False
            self.routes[host] = route(f"mail/{host}", recipients=(f"*@{host}",), backends=(MX(),))
        self.world.configure(*self.routes.values(), **self.document)
        self.run(self.answered())
        for _ in range(3):  # a person releases; what is due later comes in time
            self.run(self.world.people.change(Query(status=Status.HELD), Release()))
            self.run(self.world.pass_time(self.set_back_s + 4000))
        self.everybody_is_accounted_for()
        assert self.waiting() == Counter()
        assert self.world.dispatcher.flights == {}
        assert self.world.lanes.slots_busy == len(self.open_links())

    def open_links(self) -> list[object]:
        return [link for server in self.world.network.servers.values() for link in server.open_links]


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=20 if LONG else 10,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
