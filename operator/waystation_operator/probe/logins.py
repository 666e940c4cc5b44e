"""How often logins are tried, and what came of them: a canary must not lock the account it watches.

Invariants
    A password is tried at most once in ``SAME_LOGIN_EVERY_S``, an account at most once in
    ``ANY_LOGIN_EVERY_S``.
    A try that somebody stopped counts. One that never came to AUTH does not.
    Between two tries the answer to the last one stands.
"""

import dataclasses
from dataclasses import dataclass

from waystation_operator.plan import probing
from waystation_operator.plan.findings import Finding
from waystation_operator.plan.probing import Credential, Probe
from waystation_operator.probe.examine import Examined

_Key = tuple[str, Credential]


@dataclass(frozen=True, slots=True)
class _Login:
    at: float
    finding: Finding | None = None  # of the probe that tried


@dataclass(frozen=True, slots=True)
class Begun:
    """A probe under way; ``tries`` the login."""

    key: _Key | None
    tries: bool
    before: _Login | None


class Logins:
    """Times are monotonic."""

    def __init__(self) -> None:
        self._last: dict[_Key, _Login] = {}

    def allowed(self, probe: Probe, now: float) -> tuple[Credential | None, float]:
        """What may be logged in with now, and for how long the probe is to wait instead.

        Who has just tried this password goes without; a password that is new waits for its turn.
        """
        key = _key(probe)
        if key is None:
            return None, 0.0
        same = self._last.get(key)
        every = [
            login.at
            for (host, used), login in self._last.items()
            if (host, used.username) == (key[0], key[1].username)
        ]
        wait_s = probing.login_waits_s(same.at if same else None, max(every, default=None), now)
        if not wait_s:
            return probe.credential, 0.0
        return None, 0.0 if same else wait_s

    def begin(self, probe: Probe, credential: Credential | None, now: float) -> Begun:
        key = _key(probe)
        begun = Begun(key, credential is not None, self._last.get(key) if key else None)
        if key and begun.tries:
            self._last[key] = _Login(now)
        return begun

    def end(self, begun: Begun, examined: Examined, now: float) -> Finding:
        """What the probe found, with the answer to the last login if it tried none."""
        if begun.key is None:
            return examined.finding
        if begun.tries:
            self._remember(begun.key, begun.before, examined, now)
            return examined.finding
        return _combined(examined.finding, begun.before.finding if begun.before else None)

    def _remember(self, key: _Key, before: _Login | None, examined: Examined, now: float) -> None:
        if examined.login:
            self._last[key] = _Login(now, examined.finding)
        elif before:
            self._last[key] = before
        else:
            self._last.pop(key, None)
        oldest = now - probing.SAME_LOGIN_EVERY_S
        self._last = {key: login for key, login in self._last.items() if login.at > oldest}


def _combined(finding: Finding, login: Finding | None) -> Finding:
    """``finding`` is of a probe without login: it yields to a refused one and to the same said in full."""
    if login is None or not finding.ok or (login.ok and login.reason != finding.reason):
        return finding
    return dataclasses.replace(login, target=finding.target, at=finding.at)


def _key(probe: Probe) -> _Key | None:
    account = probe.account
    return (account[0], probe.credential) if account and probe.credential else None
