"""How long a server may take, step by step (RFC 5321 §4.5.3.2)."""

import dataclasses
import operator
from collections.abc import Callable

from waystation_relay.wire.client import Stage


@dataclasses.dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. The RFC's minimum each, but for the three marked: a server that takes minutes to say hello
    holds up mail that its other hosts would take."""

    connect_s: float = 30.0  # no figure in the RFC
    greeting_s: float = 60.0  # RFC: 300; also EHLO, STARTTLS and AUTH replies
    handshake_s: float = 30.0  # TLS; no figure in the RFC
    mail_s: float = 300.0
    rcpt_s: float = 300.0
    data_s: float = 120.0
    block_s: float = 180.0
    end_s: float = 600.0
    quit_s: float = 5.0

    def of(self, stage: Stage, *, sending: bool) -> float:
        """For the reply awaited at a stage; ``sending``: the content is still on its way out."""
        return self.block_s if sending else _OF_STAGE[stage](self)

    @property
    def sweep_s(self) -> float:
        """How often a busy connection looks at its deadline: it may be overdrawn by as much."""
        return min(self.mail_s, self.rcpt_s, self.data_s, self.block_s, self.end_s) / 4


_OF_STAGE: dict[Stage, Callable[[Timeouts], float]] = {
    Stage.RESET: operator.attrgetter("mail_s"),
    Stage.MAIL: operator.attrgetter("mail_s"),
    Stage.RCPT: operator.attrgetter("rcpt_s"),
    Stage.DATA: operator.attrgetter("data_s"),
    Stage.END: operator.attrgetter("end_s"),
    Stage.DONE: operator.attrgetter("end_s"),
}
