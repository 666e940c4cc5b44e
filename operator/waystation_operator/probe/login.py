"""AUTH, as the relay does it: the same mechanisms in the same order, a password only over TLS.

Errors
    TroubleError: not logged in; ``login`` says whether the server was asked at all.
"""

from collections.abc import Awaitable, Callable, Set

import aiosmtplib
from aiosmtplib.response import SMTPResponse

from waystation_operator.plan.diagnosis import Case
from waystation_operator.plan.probing import Credential
from waystation_operator.probe.trouble import TroubleError, words

Mechanism = Callable[[aiosmtplib.SMTP, Credential], Awaitable[SMTPResponse]]

# In order of preference.
_OVER_TLS: dict[str, Mechanism] = {
    "plain": lambda smtp, x: smtp.auth_plain(x.username, x.password),
    "login": lambda smtp, x: smtp.auth_login(x.username, x.password),
    "cram-md5": lambda smtp, x: smtp.auth_crammd5(x.username, x.password),
}
_IN_PLAIN: dict[str, Mechanism] = {"cram-md5": _OVER_TLS["cram-md5"]}


async def log_in(smtp: aiosmtplib.SMTP, credential: Credential, *, secure: bool) -> None:
    """``secure``: the connection is encrypted."""
    offered = frozenset(smtp.server_auth_methods)
    usable = _OVER_TLS if secure else _IN_PLAIN
    mechanism = next((mechanism for name, mechanism in usable.items() if name in offered), None)
    if mechanism is None:
        raise _unavailable(offered, secure=secure)
    try:
        await mechanism(smtp, credential)
    except aiosmtplib.SMTPAuthenticationError as error:
        case = Case.AUTH_LATER if 400 <= error.code < 500 else Case.AUTH_REFUSED
        said = words(f"{error.code} {error.message}", credential)
        raise TroubleError(case, said=said, login=True) from None
    except aiosmtplib.SMTPException as error:
        # Whatever it was, the password has been sent: it counts as a try.
        said = words(f"the connection failed ({type(error).__name__})")
        raise TroubleError(Case.AUTH_LATER, said=said, login=True) from None


def _unavailable(offered: Set[str], *, secure: bool) -> TroubleError:
    if not offered:
        return TroubleError(Case.NO_AUTH)
    names = words(", ".join(sorted(offered)).upper())
    return TroubleError(Case.AUTH_UNKNOWN if secure else Case.AUTH_NEEDS_TLS, said=names)
