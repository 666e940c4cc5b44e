"""A reply: three digits, an enhanced status code, lines of text (RFC 5321 §4.2, RFC 3463, RFC 2034)."""

import msgspec


class Reply(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """``enhanced`` is ``"5.1.1"`` or ``""`` where none is given (greeting, EHLO, 354, old servers)."""

    code: int
    enhanced: str
    lines: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def is_temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return 500 <= self.code < 600

    @property
    def text(self) -> str:
        """The lines as one, as a person or a log reads them."""
        return " ".join(self.lines)

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}".replace("  ", " ").rstrip()


def reply(code: int, enhanced: str, *lines: str) -> Reply:
    return Reply(code, enhanced, lines)


def encode(value: Reply) -> bytes:
    """The reply on the wire, RFC 5321 §4.2.1: every line but the last with a hyphen, each with its code."""
    prefix = f"{value.enhanced} " if value.enhanced else ""
    lines = value.lines or ("",)
    last = len(lines) - 1
    return "".join(
        f"{value.code}{' ' if n == last else '-'}{prefix}{line}\r\n" for n, line in enumerate(lines)
    ).encode("utf-8")
