"""Every condition we report: its types, and of each type every status and reason.

``docs/conditions.md`` shows the same table. A condition is judged by
:func:`judged` or not at all: it refuses a reason that the table does not have.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from waystation_operator.plan import deferrals, diagnosis, reasons
from waystation_operator.plan.reasons import Row, Status

Subject = Literal["RelayPool", "listener", "MailRoute"]


@dataclass(frozen=True, slots=True)
class Type:
    """``good`` is the status that asks nothing of anybody."""

    name: str
    asks: str
    subjects: tuple[Subject, ...]
    good: Status = "True"


TYPES = (
    Type("Accepted", "Is the resource valid, and does the pool take the route?", ("RelayPool", "MailRoute")),
    Type(
        "ResolvedRefs",
        "Are the Secrets that it names there, readable and usable?",
        ("RelayPool", "listener", "MailRoute"),
    ),
    Type("Programmed", "Does every pod run the configuration that is planned?", ("RelayPool", "MailRoute")),
    Type("Ready", "Does the pool take mail?", ("RelayPool",)),
    Type("QueueHealthy", "Is there room for mail, and does due mail leave in time?", ("RelayPool",)),
    Type("ScalingDown", "Are pods being emptied in order to be removed?", ("RelayPool",), good="False"),
    Type(
        "Reachable",
        "Do the servers that mail goes to answer when they are asked?",
        ("RelayPool", "MailRoute"),
    ),
    Type("Delivering", "Does the route's mail arrive?", ("MailRoute",)),
)


def _of_probes() -> Iterator[Row]:
    """What probes find, one row a reason; where several cases share one, their messages say which it is."""
    cases: dict[str, list[diagnosis.Row]] = {}
    for case in diagnosis.TABLE.values():
        cases.setdefault(case.reason, []).append(case)
    for reason, found in cases.items():
        meanings = dict.fromkeys(_in_general(case.text, "Mx" in reason) for case in found)
        remedies = dict.fromkeys(case.remedy for case in found)
        remedy = remedies.popitem()[0] if len(remedies) == 1 else "see the message"
        meaning = _MEANINGS.get(reason) or _sentence("; ".join(meanings))
        yield Row("Reachable", "True" if found[0].ok else "False", reason, meaning, remedy)


_MEANINGS = {  # where the cases' texts say nothing without their particulars
    "Reachable": "The servers answer, and take the login if there is one.",
    "PortBlocked": "Servers of several domains do not answer at port 25, and no mail arrives at an MX host.",
    "AuthNotOffered": "The server offers no login that can be used, or the password would not be encrypted.",
}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _in_general(text: str, domain: bool) -> str:
    """A case's text without its particulars."""
    host = "the domain" if domain else "the host"
    text = text.replace("{where}", "the server").replace("the domain {host}", host).replace("{host}", host)
    text = text.partition("{")[0].rstrip(" :(")
    return text.removesuffix(" within").removesuffix(" on")


def _table() -> dict[tuple[str, Status, str], Row]:
    """In the order of the types."""
    rows = (*reasons.TABLE, *deferrals.rows(), *_of_probes())
    ordered = [row for type_ in TYPES for row in rows if row.type == type_.name]
    found = {(row.type, row.status, row.reason): row for row in ordered}
    assert len(found) == len(rows)  # each once, and each of a declared type
    return found


ROWS = _table()
BY_NAME = {type_.name: type_ for type_ in TYPES}
REASONS = tuple(dict.fromkeys(row.reason for row in ROWS.values()))


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: Status
    reason: str
    message: str

    @property
    def row(self) -> Row:
        return ROWS[self.type, self.status, self.reason]

    @property
    def is_good(self) -> bool:
        return self.status == BY_NAME[self.type].good


_LONGEST = 4000  # of a message: far below what the definitions allow, and more than anybody reads


def judged(type_: str, status: Status, reason: str, message: str = "") -> Condition:
    """A condition of the table. Without a message of its own it says what the table does."""
    row = ROWS[type_, status, reason]
    meaning = row.meaning[:1].lower() + row.meaning[1:].rstrip(".")
    text = message or "; ".join(filter(None, (meaning, row.remedy)))
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return Condition(type_, status, reason, text)
