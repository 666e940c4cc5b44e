"""What two relays say to each other about a batch, in JSON. Pure."""

import enum

import msgspec


class Verdict(enum.StrEnum):
    ACCEPTED = "accepted"  # on disk here
    DUPLICATE = "duplicate"  # was here before
    REFUSED = "refused"  # not here: keep it


class Hello(msgspec.Struct, frozen=True):
    """``spool`` is the tag that its queue ids end with; ``refusal``: why it takes nothing now, or ""."""

    spool: str
    format: int
    refusal: str = ""


class Result(msgspec.Struct, frozen=True):
    """``name`` as in the parcel; ``reason`` is the word for a refusal."""

    name: str
    verdict: Verdict
    reason: str = ""


class Answer(msgspec.Struct, frozen=True):
    """One result for each message of the batch."""

    spool: str
    results: list[Result]


class RefusedBatch(msgspec.Struct, frozen=True):
    """The body of 503: nothing was taken."""

    reason: str
