"""AUTH (RFC 4954): the mechanism is chosen, its lines are exchanged, the answer is judged.

A refused login is our configuration's fault and never the sender's: it defers.

Errors
    OpeningError: not logged in. Decisive when other addresses of the same host
    would say the same.
"""

from waystation_relay.delivery import sasl
from waystation_relay.delivery.dialogue import Dialogue, OpeningError
from waystation_relay.mail.outcome import Deferred, Reason
from waystation_relay.mail.reply import Reply, reply
from waystation_relay.wire.capabilities import Capabilities

_GO_ON = 334
_WELCOME = 235
_CANCEL = b"*\r\n"


async def log_in(
    dialogue: Dialogue, username: str, password: str, offered: Capabilities, *, secure: bool, within_s: float
) -> None:
    """``secure``: the connection is encrypted. ``within_s`` is for each reply."""
    mechanism = sasl.choose(offered.auth, secure=secure)
    if mechanism is None:
        raise _trouble(dialogue, _why_no_mechanism(offered, secure=secure), decisive=True)
    login = mechanism(username, password)
    line = next(login)
    answer = await dialogue.command(line, "AUTH", within_s)
    while answer.code == _GO_ON and line != _CANCEL:
        line = _next_line(login, answer)
        answer = await dialogue.command(line, "AUTH", within_s)
    if answer.code == _WELCOME:
        return
    if line == _CANCEL:
        raise _trouble(dialogue, f"its challenges make no sense ({answer})")
    text = (
        f"it refused the user name and password it was given ({answer}); "
        "correct the credentials of the route's smart host"
    )
    raise _trouble(dialogue, text, decisive=answer.is_permanent)


def _next_line(login: sasl.Login, answer: Reply) -> bytes:
    """The mechanism's, or the word that ends it when the server wants more than the mechanism has."""
    challenge = sasl.decode(answer.lines[0])
    if challenge is None:
        return _CANCEL
    try:
        return login.send(challenge)
    except StopIteration:
        return _CANCEL


def _trouble(dialogue: Dialogue, why: str, *, decisive: bool = False) -> OpeningError:
    outcome = Deferred(reply(454, "4.7.8", f"cannot log in at {dialogue.name}: {why}"), Reason.AUTH)
    return OpeningError(outcome, decisive=decisive)


def _why_no_mechanism(offered: Capabilities, *, secure: bool) -> str:
    if not offered.auth:
        hint = "" if secure else "; many servers offer it only over TLS: set tls to Required or Implicit"
        return f"it does not offer AUTH{hint}"
    names = ", ".join(sorted(offered.auth))
    if secure:
        return f"it offers only {names}; PLAIN, LOGIN and CRAM-MD5 are known here"
    return (
        f"the connection is not encrypted, so the password is not sent (offered: {names}); "
        "set tls to Required or Implicit"
    )
