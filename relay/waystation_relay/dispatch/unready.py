"""Routes that are not ready: told of in the log, and their mail tried at once when they are.

The configuration says which backends cannot be had (``Unavailable``). Each is
logged when it appears, so that whoever reads the log of mail that waits finds
the cause; when one is gone, mail put off because of such backends is due now.

Known limits
    The queue does not know routes: mail of other routes that are not ready is
    tried along with it, and counts an attempt.
    A relay that was restarted meanwhile leaves the mail to the usual schedule.
"""

import asyncio
import contextlib
from collections import Counter

from waystation_contract.model import Document, Unavailable
from waystation_relay.dispatch.people import People
from waystation_relay.dispatch.ports import DispatchLog
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.values import Query, RetryNow, SpoolUnavailable

SETTLING_S = 0.25  # deferrals under way when the configuration changed are on disk by then
MAIL = Query(reason=Reason.UNAVAILABLE.value)


class Unready:
    def __init__(self, log: DispatchLog) -> None:
        self._log = log
        self._known: frozenset[tuple[str, str]] = frozenset()
        self._counts: Counter[str] = Counter()

    def apply(self, document: Document) -> bool:
        """Logs what is new; whether anything can be had now that could not."""
        found = [
            (route.name, backend.reason)
            for route in document.routes
            for backend in route.backends
            if isinstance(backend, Unavailable)
        ]
        for name, reason in dict.fromkeys(found):
            if (name, reason) not in self._known:
                self._log.emit("route.unavailable", route=name, reason=reason)
        before, counts = self._counts, Counter(name for name, _ in found)
        self._known, self._counts = frozenset(found), counts
        return any(counts[name] < count for name, count in before.items())


async def retry(people: People) -> None:
    """Mail that was put off because a route was not ready is due now. A spool in trouble leaves it to its
    next time."""
    await asyncio.sleep(SETTLING_S)
    with contextlib.suppress(SpoolUnavailable):
        await people.change(MAIL, RetryNow())
