"""What follows MAIL and RCPT: paths, ESMTP parameters, xtext.

Invariant tested: each text is a command or is refused with one whole reply; and
a command, written by our own client, is read back as the same command: nothing
is accepted that cannot be passed on unchanged.
"""

from tests.fuzz.targets.server import REPLIES

from waystation_relay.mail.envelope import BodyType
from waystation_relay.wire import envelope, envelope_commands

TOKENS = (
    b"FROM:", b"TO:", b"<", b">", b"<>", b" ", b"a@shop.test", b'"a b"@shop.test', b"@one.test,@two.test:",
    b"a@[192.0.2.1]", b"a@[IPv6:2001:db8::1]", b"postmaster", " ü@bücher.test".encode(), b"SIZE=",
    b"0000012", b"BODY=7BIT", b"BODY=8BITMIME", b"SMTPUTF8", b"RET=FULL", b"RET=HDRS", b"ENVID=",
    b"NOTIFY=NEVER", b"NOTIFY=SUCCESS,FAILURE,DELAY", b"ORCPT=rfc822;", b"ORCPT=utf-8;", b"+2B", b"\\x{F6}",
    b"=", b",", b";", b'"', b"\\", b"@", b":", b"\x7f", "\u2028".encode(), "\u017f".encode(),
)  # fmt: skip


def run(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return  # the machine has said so already
    for arguments_ in (text, f"FROM:{text}", f"TO:{text}"):
        mail(arguments_)
        for smtputf8 in (False, True):
            rcpt(arguments_, smtputf8=smtputf8)


def mail(text: str) -> None:
    command = envelope.mail(text)
    if isinstance(command, bytes):
        assert REPLIES.fullmatch(command), command
        return
    line = envelope_commands.mail(
        command.reverse_path,
        size_bytes=command.size_bytes,
        eight_bit=command.body is BodyType.EIGHT_BIT,
        smtputf8=command.smtputf8,
        ret=command.ret,
        envid=command.envid,
    )
    assert envelope.mail(arguments(line)) == command


def rcpt(text: str, *, smtputf8: bool) -> None:
    command = envelope.rcpt(text, smtputf8=smtputf8)
    if isinstance(command, bytes):
        assert REPLIES.fullmatch(command), command
        return
    line = envelope_commands.rcpt(command, dsn=True)
    assert envelope.rcpt(arguments(line), smtputf8=smtputf8) == command


def arguments(line: bytes) -> str:
    """As the server machine would hand them over."""
    assert line.endswith(b"\r\n")
    assert line.count(b"\n") == line.count(b"\r") == 1
    return line[:-2].decode().partition(" ")[2]
