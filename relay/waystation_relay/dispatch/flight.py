"""A message in memory while its due recipients are attempted, and the jobs that do it."""

import dataclasses
from collections.abc import Callable, Mapping

import msgspec

from waystation_contract.model import Backend, Route
from waystation_relay.mail.message import Message, Progress
from waystation_relay.mail.outcome import Failed


@dataclasses.dataclass(slots=True, eq=False)
class Flight:
    """``progress`` mirrors the spool's rows of this message; ``jobs`` counts what is still under way.

    ``touched``: a person changed something, so jobs must look before they
    begin. ``verdicts``: what a person decided for recipients.
    """

    message: Message
    progress: dict[int, Progress]
    body: bytes | None = None  # while warm
    jobs: int = 0
    touched: bool = False
    verdicts: dict[int, Failed] | None = None
    on_settled: Callable[[], None] | None = None  # called once, when all jobs are settled

    def refresh(self, stored: Message | None, *, due: bool) -> None:
        """A person changed the spool's rows of this message; ``due``: due times too.

        Only what a person can change is taken over: ``stored`` may be older
        than the outcomes that ``progress`` already holds.
        """
        self.touched = True
        rows = {row.number: row for row in stored.pending} if stored is not None else {}
        for number, progress in tuple(self.progress.items()):
            row = rows.get(number)
            if row is None:
                del self.progress[number]
                continue
            self.progress[number] = msgspec.structs.replace(
                progress,
                status=row.status,
                hold_reason=row.hold_reason,
                due=row.due if due else progress.due,
            )

    def overrule(self, verdicts: Mapping[int, Failed]) -> None:
        """A person's word on some recipients: told in place of a deferral, else when the jobs are over."""
        self.touched = True
        self.verdicts = {**(self.verdicts or {}), **verdicts}


@dataclasses.dataclass(slots=True, eq=False)
class Job:
    """One transaction to be: recipients that go to ``choices[choice]``, then to the next one on failover."""

    flight: Flight
    numbers: tuple[int, ...]
    route: Route
    choices: tuple[Backend, ...]
    domain: str
    choice: int = 0
    since: float = 0.0  # when it joined its lane; monotonic seconds
