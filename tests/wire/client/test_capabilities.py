"""What a server offers, from its EHLO reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_relay.mail.reply import Reply
from waystation_relay.wire import capabilities
from waystation_relay.wire.capabilities import Capabilities


def parsed(*lines: str) -> Capabilities:
    return capabilities.parse(Reply(250, "", lines))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("PIPELINING", {"pipelining": True}, id="PIPELINING"),
        pytest.param("pipelining", {"pipelining": True}, id="lower case"),
        pytest.param("8BITMIME", {"eight_bit_mime": True}, id="8BITMIME"),
        pytest.param("SMTPUTF8", {"smtputf8": True}, id="SMTPUTF8"),
        pytest.param("CHUNKING", {"chunking": True}, id="CHUNKING"),
        pytest.param("DSN", {"dsn": True}, id="DSN"),
        pytest.param("STARTTLS", {"starttls": True}, id="STARTTLS"),
        pytest.param("SIZE", {"size": True}, id="SIZE without a limit"),
        pytest.param("SIZE 0", {"size": True}, id="SIZE 0 is no limit"),
        pytest.param("SIZE 1000", {"size": True, "size_bytes": 1000}, id="SIZE"),
        pytest.param("SIZE much", {"size": True}, id="SIZE that is no number"),
        pytest.param("SIZE -1", {"size": True}, id="SIZE below zero"),
        pytest.param("SIZE " + "9" * 30, {"size": True}, id="SIZE beyond all measure"),
        pytest.param("AUTH PLAIN login", {"auth": frozenset({"PLAIN", "LOGIN"})}, id="AUTH"),
        pytest.param("AUTH=CRAM-MD5", {"auth": frozenset({"CRAM-MD5"})}, id="AUTH as of old"),
        pytest.param("AUTH", {}, id="AUTH without mechanisms"),
        pytest.param("LIMITS RCPTMAX=50 MAILMAX=3", {"rcpt_max": 50, "mail_max": 3}, id="LIMITS"),
        pytest.param("LIMITS RCPTDOMAINMAX=1", {"rcpt_domain_max": 1}, id="LIMITS for domains"),
        pytest.param("LIMITS RCPTMAX=0 OTHER=1 MAILMAX", {}, id="LIMITS that make no sense"),
        pytest.param("PIPELININGX", {}, id="longer keyword"),
        pytest.param("X-PIPELINING", {}, id="private keyword"),
        pytest.param("", {}, id="empty line"),
        pytest.param("   ", {}, id="blank line"),
    ],
)
def test_keyword(line: str, expected: dict[str, object]) -> None:
    """Each keyword offers what its RFC says; what is unknown or makes no sense offers nothing."""
    assert parsed("MX.Example.Net. at your service", line) == Capabilities("mx.example.net", **expected)  # type: ignore[arg-type]


def test_keyword_in_the_first_line_is_a_name() -> None:
    """The first line greets; a host that is called like an extension does not offer it."""
    assert parsed("PIPELINING") == Capabilities("pipelining")


def test_auth_lines_add_up() -> None:
    """Servers that announce AUTH twice, in the old form and the new, offer all they name."""
    assert parsed("mx", "AUTH PLAIN", "AUTH=LOGIN PLAIN").auth == {"PLAIN", "LOGIN"}


@pytest.mark.parametrize(
    ("line", "name"),
    [("mx.test", "mx.test"), ("MX.Test. ESMTP", "mx.test"), ("", ""), ("   ", ""), (" mx.test", "mx.test")],
)
def test_server_name(line: str, name: str) -> None:
    """A server's name is the first word of its greeting."""
    assert capabilities.server_name(Reply(220, "", (line,))) == name


@given(st.lists(st.text(max_size=40), min_size=1, max_size=10))
def test_any_reply_can_be_read(lines: list[str]) -> None:
    """No EHLO reply, however odd, is an error."""
    assert isinstance(parsed(*lines), Capabilities)
