"""Text from strangers inside header-like fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_relay.bounce import fields


@pytest.mark.parametrize(
    ("orcpt", "plain", "utf8"),
    [
        ("rfc822;bob@x.test", "rfc822; bob@x.test", "rfc822; bob@x.test"),
        ("rfc822;b+2Bob@x.test", "rfc822; b+ob@x.test", "rfc822; b+ob@x.test"),
        ("rfc822;a+0D+0ABcc:+20x@x.test", "rfc822; a??Bcc: x@x.test", "rfc822; a??Bcc: x@x.test"),
        ("x400;/G=Bob/", "x400; /G=Bob/", "x400; /G=Bob/"),
        (r"utf-8;d\x{F6}rte@x.test", r"utf-8; d\x{F6}rte@x.test", "utf-8; dörte@x.test"),
        ("utf-8;dörte@x.test", r"utf-8; d\x{F6}rte@x.test", "utf-8; dörte@x.test"),
        (r"utf-8;a\x{0D}\x{0A}b@x.test", "utf-8; a??b@x.test", "utf-8; a??b@x.test"),
        (r"utf-8;a\x{FFFFFF}b@x.test", "utf-8; a?b@x.test", "utf-8; a?b@x.test"),
        ("no-type@x.test", "rfc822; no-type@x.test", "rfc822; no-type@x.test"),
    ],
)
def test_original_recipient_is_decoded(orcpt: str, plain: str, utf8: str) -> None:
    """ORCPT goes back as the sender wrote it, xtext undone, and never as a line of its own."""
    assert fields.original_recipient(orcpt, utf8=False) == plain
    assert fields.original_recipient(orcpt, utf8=True) == utf8


def test_dates_are_rfc_5322_in_utc() -> None:
    """Dates are written in the form every mail program reads."""
    assert fields.date(1_800_000_000.0) == "Fri, 15 Jan 2027 08:00:00 +0000"


@given(st.text())
def test_embedding_is_undone(text: str) -> None:
    """What RFC 6533 writes with \\x{…} is read back as it was."""
    encoded = fields.embed(text)
    assert encoded.isascii()
    assert fields.embedded(encoded) == text


@given(st.text(), st.booleans())
def test_a_field_is_one_field(value: str, utf8: bool) -> None:
    """Whatever the value, a folded field has no second field, no blank line and no overlong line."""
    folded = fields.field("Diagnostic-Code", fields.clean(value, utf8=utf8))
    lines = folded.split("\r\n")
    assert lines[0].startswith("Diagnostic-Code:")
    for line in lines[1:]:
        assert line.startswith(" ")
        assert line.strip()
    assert all(len(line.encode()) <= 998 and "\n" not in line and "\r" not in line for line in lines)
    if utf8 is False:
        assert folded.isascii()


@given(st.text(alphabet="ab ", max_size=300))
def test_unfolding_gives_the_value_back(value: str) -> None:
    """Folding changes the look, not the value (RFC 5322 §2.2.3)."""
    assert fields.field("X", value).replace("\r\n", "") == f"X: {value}"
