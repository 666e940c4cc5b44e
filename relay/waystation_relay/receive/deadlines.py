"""How long a client may take (RFC 5321 §4.5.3.2.7). Pure.

A sweep compares these with what a session has done, every few seconds; there
is no timer a session.
"""

import dataclasses
import enum


@dataclasses.dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds.

    ``command_s``: to the next complete command, counted from the last, so that
    a byte now and then wins nothing. ``silence_s``: between two pieces of a
    message, which must bring ``least_rate`` bytes a second on average once
    ``patience_s`` have passed. ``session_s``: the connection in all, ended
    between messages. ``handshake_s``: TLS. ``reading_s``: for a client to
    take replies it lets pile up. ``closing_s``: for it to take the last one.
    """

    command_s: float = 300.0
    silence_s: float = 180.0
    patience_s: float = 300.0
    least_rate: float = 256.0
    session_s: float = 3600.0
    handshake_s: float = 30.0
    reading_s: float = 120.0
    closing_s: float = 10.0


class Overdue(enum.Enum):
    IDLE = "idle"
    SLOW = "slow"
    SESSION = "session"
    DEAF = "deaf"  # does not read what it is told


@dataclasses.dataclass(frozen=True, slots=True)
class Activity:
    """Monotonic seconds. ``content_at``: when the message under way began, ``None`` outside of one;
    ``in_envelope``: between MAIL and the content; ``deaf_since``: when our replies stopped draining."""

    began_at: float
    command_at: float
    byte_at: float
    content_at: float | None
    content_bytes: int
    in_envelope: bool
    deaf_since: float | None


def overdue(activity: Activity, deadlines: Deadlines, now: float) -> Overdue | None:
    """What has lasted too long; SESSION where the end costs nothing, or can wait for a message's reply."""
    if activity.deaf_since is not None and now - activity.deaf_since >= deadlines.reading_s:
        return Overdue.DEAF
    if activity.content_at is not None:
        lasted_s = now - activity.content_at
        slow = lasted_s >= deadlines.patience_s and activity.content_bytes < lasted_s * deadlines.least_rate
        if slow or now - activity.byte_at >= deadlines.silence_s:
            return Overdue.SLOW
    elif now - activity.command_at >= deadlines.command_s:
        return Overdue.IDLE
    if not activity.in_envelope and now - activity.began_at >= deadlines.session_s:
        return Overdue.SESSION
    return None
