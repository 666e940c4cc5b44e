"""MAIL and RCPT as a client writes them, with the parameters a server was found to understand."""

from waystation_relay.mail.envelope import Notify, Recipient, Ret

RSET = b"RSET\r\n"
DATA = b"DATA\r\n"
QUIT = b"QUIT\r\n"

# RFC 3461 §4.1; NEVER stands alone.
_NOTIFY = {
    flags: ",".join(
        flag.name for flag in (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY) if flag & flags and flag.name
    )
    for flags in (Notify(bits) for bits in range(0, 16, 2))
}


def mail(
    reverse_path: str,
    *,
    size_bytes: int | None = None,
    eight_bit: bool = False,
    smtputf8: bool = False,
    ret: Ret | None = None,
    envid: str | None = None,
) -> bytes:
    """SIZE (RFC 1870), BODY=8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), RET and ENVID (RFC 3461)."""
    line = f"MAIL FROM:<{reverse_path}>"
    if size_bytes is not None:
        line += f" SIZE={size_bytes}"
    if eight_bit:
        line += " BODY=8BITMIME"
    if smtputf8:
        line += " SMTPUTF8"
    if ret is not None:
        line += f" RET={ret.value}"
    if envid is not None:
        line += f" ENVID={envid}"
    return _command(line)


def rcpt(recipient: Recipient, *, dsn: bool = False) -> bytes:
    """With ``dsn``, NOTIFY and ORCPT as they came (RFC 3461 §5.2.1)."""
    line = f"RCPT TO:<{recipient.address}>"
    if dsn:
        if recipient.notify & Notify.NEVER:
            line += " NOTIFY=NEVER"
        elif recipient.notify:
            line += f" NOTIFY={_NOTIFY[recipient.notify]}"
        if recipient.orcpt is not None:
            line += f" ORCPT={recipient.orcpt}"
    return _command(line)


def bdat_last(size_bytes: int) -> bytes:
    """RFC 3030 §2: the whole content as one, last, chunk."""
    return b"BDAT %d LAST\r\n" % size_bytes


def _command(line: str) -> bytes:
    assert "\r" not in line and "\n" not in line, "an address or parameter holds a line break"  # noqa: PT018 -- one fact
    return line.encode("utf-8") + b"\r\n"
