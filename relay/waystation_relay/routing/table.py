"""Which route takes a recipient, and in what order its backends are tried. Pure.

A ``Table`` is compiled once from a configuration's routes and then only read.
Patterns are ``user@domain``, ``*@domain``, ``*@*.domain`` (sub-domains at any
depth, not the domain itself) and ``*``; domains are compared in their A-label
form, local parts without regard to case. The null sender is matched by ``*``
alone. ``docs/routing.md`` states the rules for people.

Invariants
    The winner has the most specific recipient pattern; among equals the most
    specific sender pattern; then the oldest route; then the first by name.
    A match costs a dict look-up a label, whatever the number of routes.
Errors
    ValueError: a pattern ``waystation_contract.grammar.pattern`` would refuse.
"""

from collections.abc import Callable, Sequence

from waystation_contract.model import Backend, Route
from waystation_relay.mail.address import normal_domain

# A pattern's key, and what an address is looked up by: "user@domain", "@domain", ".domain" or "*".
# None can be mistaken for another: a local part is never empty and never just "*" in a pattern.
_ANY = "*"


class _Senders:
    """The routes that share a recipient pattern, by sender key."""

    __slots__ = ("any", "by_key", "wildcards")

    def __init__(self) -> None:
        self.any: Route | None = None
        self.by_key: dict[str, Route] = {}
        self.wildcards = False

    def add(self, key: str, route: Route) -> None:
        # Routes come in order of age and name, so the first to claim a key keeps it.
        if key == _ANY:
            self.any = self.any or route
        else:
            self.by_key.setdefault(key, route)
            self.wildcards |= key[0] == "."

    def find(self, sender: str) -> Route | None:
        at = sender.rfind("@") if self.by_key else -1
        if at > 0:
            domain = normal_domain(sender[at + 1 :])
            found = self.by_key.get(f"{sender[:at].lower()}@{domain}") or self.by_key.get(f"@{domain}")
            if found is not None:
                return found
            if self.wildcards:
                dot = domain.find(".")
                while dot >= 0:
                    found = self.by_key.get(domain[dot:])
                    if found is not None:
                        return found
                    dot = domain.find(".", dot + 1)
        return self.any


class _Recipients:
    """One listener's routes, by recipient key."""

    __slots__ = ("any", "by_key", "wildcards")

    def __init__(self, routes: Sequence[Route]) -> None:
        self.any = _Senders()
        self.by_key: dict[str, _Senders] = {}
        self.wildcards = False
        for route in routes:
            senders = [_key(pattern, route) for pattern in route.senders]
            for pattern in route.recipients:
                key = _key(pattern, route)
                self.wildcards |= key[0] == "."
                entry = self.any if key == _ANY else self.by_key.setdefault(key, _Senders())
                for sender in senders:
                    entry.add(sender, route)

    def find(self, sender: str, recipient: str) -> Route | None:
        by_key = self.by_key
        at = recipient.rfind("@")
        if by_key and at > 0:
            domain = normal_domain(recipient[at + 1 :])
            for key in (f"{recipient[:at].lower()}@{domain}", f"@{domain}"):
                entry = by_key.get(key)
                if entry is not None and (route := entry.find(sender)) is not None:
                    return route
            if self.wildcards:
                dot = domain.find(".")
                while dot >= 0:  # the longest suffix first
                    entry = by_key.get(domain[dot:])
                    if entry is not None and (route := entry.find(sender)) is not None:
                        return route
                    dot = domain.find(".", dot + 1)
        return self.any.find(sender)


class Table:
    """The routes of one configuration. A route serves the listeners it names, and mail made here (``""``)."""

    __slots__ = ("_by_listener",)

    def __init__(self, routes: Sequence[Route]) -> None:
        ordered = sorted(routes, key=lambda route: (route.created, route.name))
        members: dict[str, list[int]] = {"": list(range(len(ordered)))}
        for number, route in enumerate(ordered):
            for listener in dict.fromkeys(route.listeners):
                members.setdefault(listener, []).append(number)
        compiled: dict[tuple[int, ...], _Recipients] = {}  # listeners with the same routes share one
        self._by_listener: dict[str, _Recipients] = {}
        for listener, numbers in members.items():
            same = tuple(numbers)
            if same not in compiled:
                compiled[same] = _Recipients([ordered[number] for number in numbers])
            self._by_listener[listener] = compiled[same]

    def match(self, listener: str, sender: str, recipient: str) -> Route | None:
        """The route for one recipient of a message that came in by ``listener``; None when none takes it."""
        routes = self._by_listener.get(listener)
        return routes.find(sender, recipient) if routes is not None else None


def _key(pattern: str, route: Route) -> str:
    if pattern == _ANY:
        return _ANY
    local, at, domain = pattern.rpartition("@")
    subdomains = local == "*" and domain.startswith("*.")
    domain = normal_domain(domain.removeprefix("*.") if subdomains else domain)
    if not at or not local or not domain or "*" in domain or ("*" in local and local != "*"):
        raise ValueError(f"route {route.name}: {pattern!r} is not an address pattern")
    if local != "*":
        return f"{local.lower()}@{domain}"
    return f".{domain}" if subdomains else f"@{domain}"


def choose(route: Route, roll: Callable[[], float]) -> list[Backend]:
    """The route's backends in the order to try them: by priority, within one by weighted lot.

    A backend of weight w comes first among its priority in w of the weights'
    sum. Weight 0 takes no part, unless no backend of that priority has any
    weight: then all share alike. ``roll`` gives numbers in [0, 1).
    """
    if len(route.backends) == 1:
        return [route.backends[0]]
    ordered: list[Backend] = []
    for priority in sorted({backend.priority for backend in route.backends}):
        level = [backend for backend in route.backends if backend.priority == priority]
        ordered += _draw([(b, b.weight) for b in level if b.weight] or [(b, 1) for b in level], roll)
    return ordered


def _draw(lots: list[tuple[Backend, int]], roll: Callable[[], float]) -> list[Backend]:
    drawn: list[Backend] = []
    while len(lots) > 1:
        mark = roll() * sum(weight for _, weight in lots)
        winner = len(lots) - 1
        for place, (_, weight) in enumerate(lots):
            mark -= weight
            if mark < 0:
                winner = place
                break
        drawn.append(lots.pop(winner)[0])
    return [*drawn, *(backend for backend, _ in lots)]
