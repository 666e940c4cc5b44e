"""The Received field written in front of each message (RFC 5321 §4.4, RFC 3848, RFC 6531 §3.7.3)."""

import datetime
import email.utils
import functools

from waystation_relay.receive.terms import SOFTWARE

# What has a meaning in a header field must not come from whoever says EHLO.
_NEUTER = str.maketrans(dict.fromkeys('<>()\\";@,', "?"))


def protocol(*, extended: bool, tls: bool, smtputf8: bool) -> str:
    """The *with* word; AUTH's ``A`` joins it when there is AUTH."""
    if smtputf8:
        return "UTF8SMTPS" if tls else "UTF8SMTP"
    if not extended:
        return "SMTP"
    return "ESMTPS" if tls else "ESMTP"


@functools.lru_cache(maxsize=4)
def _date(second: int) -> str:
    return email.utils.format_datetime(datetime.datetime.fromtimestamp(second, datetime.UTC))


def received(
    *,
    helo: str,
    client: str,
    hostname: str,
    word: str,
    queue_id: str,
    arrival: float,
    recipient: str,
    cipher: str,
) -> bytes:
    """``recipient`` is the only one, or empty: others must not learn of blind copies."""
    literal = f"IPv6:{client}" if ":" in client else client
    secured = f"\r\n\t({cipher})" if cipher else ""
    addressed = f"\r\n\tfor <{recipient}>" if recipient else ""
    return (
        f"Received: from {helo.translate(_NEUTER)} ([{literal}]){secured}\r\n"
        f"\tby {hostname} ({SOFTWARE}) with {word}\r\n"
        f"\tid {queue_id}{addressed};\r\n"
        f"\t{_date(int(arrival))}\r\n"
    ).encode()
