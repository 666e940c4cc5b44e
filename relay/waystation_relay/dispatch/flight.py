"""A message in memory while its due recipients are attempted, and the jobs that do it."""

import dataclasses

from waystation_contract.model import Backend, Route
from waystation_relay.mail.message import Message, Progress
from waystation_relay.mail.outcome import Outcome


@dataclasses.dataclass(slots=True, eq=False)
class Flight:
    """``progress`` mirrors the spool's rows for this message; ``jobs`` counts what is still under way."""

    message: Message
    progress: dict[int, Progress]
    body: bytes | None = None  # while warm
    jobs: int = 0
    removed: bool = False  # a person deleted it while we worked
    override: Outcome | None = None  # a person decided its outcome while we worked


@dataclasses.dataclass(slots=True, eq=False)
class Job:
    """One transaction to be: recipients that go to ``choices[choice]``, then to the next one on failover."""

    flight: Flight
    numbers: tuple[int, ...]
    route: Route
    choices: tuple[Backend, ...]
    domain: str
    choice: int = 0
