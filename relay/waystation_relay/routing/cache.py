"""DNS answers kept for their time to live, the least recently used leaving first.

Pure: the caller gives the time, seconds that never go back. An answer is kept
at least ``SHORTEST_S`` and at most ``LONGEST_S`` (a negative one at most
``LONGEST_MISSING_S``, RFC 2308 §5), and that nobody could answer is remembered for
``TROUBLE_S`` (RFC 9520 §3.2), so that mail for a broken domain does not hammer
its servers. Records stay usable ``STALE_S`` longer, but only for when asking
again has failed (RFC 8767): yesterday's right server beats none.

Invariants
    At most ``capacity`` answers. ``get`` never returns one past its time.
"""

import dataclasses
from collections import OrderedDict

from waystation_relay.routing.answer import Answer, Found, Missing, Trouble

SHORTEST_S = 5.0
LONGEST_S = 86_400.0
LONGEST_MISSING_S = 3_600.0
TROUBLE_S = 5.0
STALE_S = 3_600.0
STALE_AGAIN_S = 30.0  # how long a stale answer serves before DNS is asked again (RFC 8767 §5)

Key = tuple[str, int]  # name as asked, record type


@dataclasses.dataclass(slots=True)
class _Entry:
    answer: Answer
    fresh_until: float
    stale_until: float


class Cache:
    def __init__(self, capacity: int) -> None:
        assert capacity > 0
        self._capacity = capacity
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> Answer | None:
        entry = self._entries.get(key)
        if entry is None or now >= entry.fresh_until:
            return None
        self._entries.move_to_end(key)
        return entry.answer

    def put(self, key: Key, answer: Answer, ttl_s: float, now: float) -> Answer:
        """Keeps an answer just received; returns what to go by, which is the old one while DNS is failing."""
        old = self._entries.get(key)
        if isinstance(answer, Trouble):
            if old is not None and isinstance(old.answer, Found) and now < old.stale_until:
                old.fresh_until = min(now + STALE_AGAIN_S, old.stale_until)
                self._entries.move_to_end(key)
                return old.answer
            fresh_until = stale_until = now + TROUBLE_S
        else:
            longest_s = LONGEST_MISSING_S if isinstance(answer, Missing) else LONGEST_S
            fresh_until = now + min(max(ttl_s, SHORTEST_S), longest_s)
            stale_until = fresh_until + STALE_S
        self._entries[key] = _Entry(answer, fresh_until, stale_until)
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        return answer
