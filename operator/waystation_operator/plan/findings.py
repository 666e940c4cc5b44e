"""What probing the outside world found: one finding a target.

Targets are derived from routes and pools; whoever probes them keeps the
latest finding of each and hands them to the plan, which turns them into
conditions.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["smartHost", "lmtp", "mx", "certificate"]


@dataclass(frozen=True, slots=True)
class Target:
    """What is probed. ``credential`` is the ``namespace/name`` of the Secret to log in with, if any;
    ``route`` the ``namespace/name`` of the MailRoute (of the pool, for a certificate)."""

    kind: Kind
    host: str
    port: int = 0
    tls: str = ""
    credential: str = ""
    route: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """``reason`` is a CamelCase word of ``conditions.REASONS``, ``message`` says what to do; ``at`` is in
    Unix seconds."""

    target: Target
    ok: bool
    reason: str
    message: str
    at: float
