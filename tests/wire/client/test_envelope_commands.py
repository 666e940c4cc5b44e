"""MAIL and RCPT as they are written."""

import pytest

from waystation_relay.mail.envelope import Notify, Recipient, Ret
from waystation_relay.wire import envelope_commands as commands


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        pytest.param({}, b"MAIL FROM:<a@x.test>", id="bare"),
        pytest.param({"size_bytes": 42}, b"MAIL FROM:<a@x.test> SIZE=42", id="SIZE"),
        pytest.param({"size_bytes": 0}, b"MAIL FROM:<a@x.test> SIZE=0", id="SIZE of nothing"),
        pytest.param({"eight_bit": True}, b"MAIL FROM:<a@x.test> BODY=8BITMIME", id="8BITMIME"),
        pytest.param({"smtputf8": True}, b"MAIL FROM:<a@x.test> SMTPUTF8", id="SMTPUTF8"),
        pytest.param({"ret": Ret.HEADERS}, b"MAIL FROM:<a@x.test> RET=HDRS", id="RET"),
        pytest.param({"envid": "a+2Bb"}, b"MAIL FROM:<a@x.test> ENVID=a+2Bb", id="ENVID as it came"),
        pytest.param(
            {"size_bytes": 7, "eight_bit": True, "smtputf8": True, "ret": Ret.FULL, "envid": "e"},
            b"MAIL FROM:<a@x.test> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=e",
            id="all",
        ),
    ],
)
def test_mail(parameters: dict[str, object], line: bytes) -> None:
    """MAIL carries the parameters it is given and no other."""
    assert commands.mail("a@x.test", **parameters) == line + b"\r\n"  # type: ignore[arg-type]


def test_null_sender() -> None:
    """A bounce is sent from nobody."""
    assert commands.mail("") == b"MAIL FROM:<>\r\n"


def test_internationalized_address_is_utf8() -> None:
    """Addresses beyond ASCII go out as UTF-8 (RFC 6531 §3.3)."""
    assert (
        commands.mail("jürgen@bücher.test", smtputf8=True)
        == "MAIL FROM:<jürgen@bücher.test> SMTPUTF8\r\n".encode()
    )


@pytest.mark.parametrize(
    ("notify", "parameter"),
    [
        (Notify.DEFAULT, b""),
        (Notify.NEVER, b" NOTIFY=NEVER"),
        (Notify.SUCCESS, b" NOTIFY=SUCCESS"),
        (Notify.FAILURE, b" NOTIFY=FAILURE"),
        (Notify.DELAY, b" NOTIFY=DELAY"),
        (Notify.SUCCESS | Notify.FAILURE, b" NOTIFY=SUCCESS,FAILURE"),
        (Notify.SUCCESS | Notify.FAILURE | Notify.DELAY, b" NOTIFY=SUCCESS,FAILURE,DELAY"),
        (Notify.NEVER | Notify.SUCCESS, b" NOTIFY=NEVER"),
    ],
    ids=str,
)
def test_notify(notify: Notify, parameter: bytes) -> None:
    """NOTIFY is passed on as it came, NEVER alone; no NOTIFY stays none (RFC 3461 §4.1, §5.2.1)."""
    recipient = Recipient("b@x.test", notify)
    assert commands.rcpt(recipient, dsn=True) == b"RCPT TO:<b@x.test>" + parameter + b"\r\n"


def test_orcpt() -> None:
    """The original recipient is passed on to a server that offers DSN, and to no other."""
    recipient = Recipient("b@x.test", Notify.FAILURE, "rfc822;b+2Bc@y.test")
    assert (
        commands.rcpt(recipient, dsn=True)
        == b"RCPT TO:<b@x.test> NOTIFY=FAILURE ORCPT=rfc822;b+2Bc@y.test\r\n"
    )
    assert commands.rcpt(recipient, dsn=False) == b"RCPT TO:<b@x.test>\r\n"


@pytest.mark.parametrize("address", ["a\r\nDATA@x.test", "a\n@x.test", "a@x.test>\r"])
def test_line_break_in_an_address_never_gets_out(address: str) -> None:
    """An address that would be two commands is our own bug and stops here."""
    with pytest.raises(AssertionError):
        commands.rcpt(Recipient(address))
    with pytest.raises(AssertionError):
        commands.mail(address)
