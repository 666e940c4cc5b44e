"""What a server offers, read from its EHLO or LHLO reply (RFC 5321 §4.1.1.1)."""

import msgspec

from waystation_relay.mail.reply import Reply


class Capabilities(msgspec.Struct, frozen=True):
    """``HELO_ONLY`` is a server that knows no extensions. Limits are ``None`` when none is announced."""

    name: str = ""  # what the server calls itself
    pipelining: bool = False  # RFC 2920
    eight_bit_mime: bool = False  # RFC 6152
    smtputf8: bool = False  # RFC 6531
    chunking: bool = False  # RFC 3030
    dsn: bool = False  # RFC 3461
    starttls: bool = False  # RFC 3207
    size_bytes: int | None = None  # RFC 1870; an announced 0 means no fixed limit and is None here
    size: bool = False  # SIZE offered at all
    auth: frozenset[str] = frozenset()  # RFC 4954 mechanisms, upper case
    rcpt_max: int | None = None  # RFC 9422: recipients a transaction
    mail_max: int | None = None  # RFC 9422: transactions a connection
    rcpt_domain_max: int | None = None  # RFC 9422: recipient domains a transaction


HELO_ONLY = Capabilities()

_FLAGS = {
    "PIPELINING": "pipelining",
    "8BITMIME": "eight_bit_mime",
    "SMTPUTF8": "smtputf8",
    "CHUNKING": "chunking",
    "DSN": "dsn",
    "STARTTLS": "starttls",
}
_LIMITS = {"RCPTMAX": "rcpt_max", "MAILMAX": "mail_max", "RCPTDOMAINMAX": "rcpt_domain_max"}


def parse(reply: Reply) -> Capabilities:
    """The first line names the server; each further line is a keyword and its parameters."""
    name = server_name(reply)
    found: dict[str, object] = {"name": name}
    auth: set[str] = set()
    for line in reply.lines[1:]:
        keyword, *parameters = line.upper().replace("AUTH=", "AUTH ", 1).split() or [""]
        if keyword in _FLAGS:
            found[_FLAGS[keyword]] = True
        elif keyword == "SIZE":
            found["size"] = True
            found["size_bytes"] = _positive(parameters[0]) if parameters else None
        elif keyword == "AUTH":
            auth.update(parameters)
        elif keyword == "LIMITS":
            for item in parameters:
                limit, _, value = item.partition("=")
                if limit in _LIMITS:
                    found[_LIMITS[limit]] = _positive(value)
    return msgspec.convert({**found, "auth": frozenset(auth)}, Capabilities)


def server_name(reply: Reply) -> str:
    """The domain a greeting or EHLO reply begins with, lower case; ``""`` when it begins with none."""
    words = reply.lines[0].split(maxsplit=1)
    return words[0].lower().rstrip(".") if words else ""


def _positive(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 and int(text) else None
