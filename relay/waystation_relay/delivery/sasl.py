"""Logging in at a server (RFC 4954): PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195). Pure.

A mechanism is a generator of lines: it yields what to send and is sent the
server's decoded challenge. PLAIN and LOGIN hand over the password itself, so
they are for TLS only.
"""

import binascii
import hmac
from collections.abc import Callable, Generator, Set

Login = Generator[bytes, bytes, None]

LINE_BYTES = 500  # a longer initial response waits for the server's 334 (RFC 4954 §4)


def _encode(text: str) -> bytes:
    return binascii.b2a_base64(text.encode("utf-8"), newline=False)


def _plain(username: str, password: str) -> Login:
    credentials = _encode(f"\0{username}\0{password}")
    line = b"AUTH PLAIN " + credentials + b"\r\n"
    if len(line) <= LINE_BYTES:
        yield line
        return
    yield b"AUTH PLAIN\r\n"
    yield credentials + b"\r\n"


def _login(username: str, password: str) -> Login:
    yield b"AUTH LOGIN\r\n"
    yield _encode(username) + b"\r\n"
    yield _encode(password) + b"\r\n"


def _cram_md5(username: str, password: str) -> Login:
    challenge = yield b"AUTH CRAM-MD5\r\n"
    digest = hmac.digest(password.encode("utf-8"), challenge, "md5").hex()
    yield _encode(f"{username} {digest}") + b"\r\n"


# In order of preference.
_OVER_TLS: dict[str, Callable[[str, str], Login]] = {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram_md5}
_IN_PLAIN: dict[str, Callable[[str, str], Login]] = {"CRAM-MD5": _cram_md5}


def choose(offered: Set[str], *, secure: bool) -> Callable[[str, str], Login] | None:
    """The mechanism to use; ``None`` when nothing offered may be used on this connection."""
    usable = _OVER_TLS if secure else _IN_PLAIN
    return next((mechanism for name, mechanism in usable.items() if name in offered), None)


def decode(challenge: str) -> bytes | None:
    """A 334 reply's text; ``None`` when it is not base64."""
    try:
        return binascii.a2b_base64(challenge.encode("ascii"), strict_mode=True)
    except (ValueError, binascii.Error):
        return None
