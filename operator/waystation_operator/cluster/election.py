"""Who leads, decided over one Lease: what a candidate does with the lease it reads. Pure.

As Kubernetes' own controllers do it: a lease is over when its holder has not
renewed it for as long as it lasts *by our clock since we last saw it change*;
no two machines' clocks are ever compared. Every write is conditional on the
version that was read, so of two candidates one loses.

Invariants
    A candidate takes a lease only after watching it unchanged for its duration.
    A leader that has not renewed within ``RENEW_WITHIN_S`` leads no longer, and
    that is shorter than the duration after which others may take over.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DURATION_S = 15.0
RENEW_WITHIN_S = 10.0
RETRY_S = 2.0


class Step(enum.Enum):
    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Record:
    """The part of a Lease's spec that tells who holds it; ``version`` for the conditional write."""

    holder: str
    duration_s: float
    renewed: str
    transitions: int = 0
    acquired: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """A record and when (monotonic) we first saw it like this."""

    record: Record | None = None
    since: float = 0.0


def read(body: Mapping[str, Any]) -> Record:
    """Whatever is missing counts as given up."""
    spec = body.get("spec") or {}
    return Record(
        holder=str(spec.get("holderIdentity") or ""),
        duration_s=float(spec.get("leaseDurationSeconds") or 0),
        renewed=str(spec.get("renewTime") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
        acquired=str(spec.get("acquireTime") or ""),
        version=str(body["metadata"].get("resourceVersion", "")),
    )


def see(sight: Sight, record: Record | None, now: float) -> Sight:
    """What we know after reading ``record``."""
    if sight.record is not None and record is not None:
        before, after = sight.record, record
        if (before.holder, before.renewed, before.transitions) == (
            after.holder,
            after.renewed,
            after.transitions,
        ):
            return Sight(record, sight.since)
    return Sight(record, now)


def step(sight: Sight, me: str, now: float) -> Step:
    record = sight.record
    if record is None:
        return Step.CREATE
    if record.holder == me:
        return Step.RENEW
    if not record.holder or now - sight.since >= record.duration_s:
        return Step.TAKE
    return Step.WAIT


def spec(before: Record | None, me: str, wall: str) -> dict[str, Any]:
    """The Lease's spec when ``me`` holds it at ``wall`` (RFC 3339 with microseconds)."""
    renewing = before is not None and before.holder == me
    transitions = 0 if before is None else before.transitions + (0 if renewing else 1)
    return {
        "holderIdentity": me,
        "leaseDurationSeconds": int(DURATION_S),
        "acquireTime": before.acquired if renewing and before and before.acquired else wall,
        "renewTime": wall,
        "leaseTransitions": transitions,
    }


def given_up(before: Record, wall: str) -> dict[str, Any]:
    """The Lease's spec when its holder leaves: anybody may take it at once."""
    return {
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "acquireTime": before.acquired or wall,
        "renewTime": wall,
        "leaseTransitions": before.transitions,
    }
