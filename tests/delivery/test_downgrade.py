"""8-bit mail for 7-bit servers: encoded anew, and the same when decoded."""

import contextlib
import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage, Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_relay.delivery.downgrade import ConversionError, to_seven_bit
from waystation_relay.wire.stuffing import terminated


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def leaves(content: bytes) -> list[tuple[str, str, bytes]]:
    """(path of types, character set, decoded content) of every part that is not a container."""

    def walk(part: Message, path: str) -> Iterator[tuple[str, str, bytes]]:
        path += f"/{part.get_content_type()}"
        if part.is_multipart():
            for child in part.get_payload():  # type: ignore[union-attr]
                assert isinstance(child, Message)
                yield from walk(child, path)
        else:
            decoded = part.get_payload(decode=True)
            assert isinstance(decoded, bytes)
            yield path, str(part.get_content_charset()), decoded

    return list(walk(email.message_from_bytes(content, policy=email.policy.SMTP), ""))


def encodings(content: bytes) -> list[str]:
    return [
        str(part.get("content-transfer-encoding", ""))
        for part in email.message_from_bytes(content, policy=email.policy.SMTP).walk()
    ]


def decoded_alike(before: bytes, after: bytes) -> bool:
    """The same parts with the same content; a line end more or less at the very end of a text is forgiven."""
    old, new = leaves(before), leaves(after)
    return [(path, charset) for path, charset, _ in old] == [
        (path, charset) for path, charset, _ in new
    ] and [body.rstrip(b"\r\n") for _, _, body in old] == [body.rstrip(b"\r\n") for _, _, body in new]


TEXT = crlf(
    "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
    "Content-Transfer-Encoding: 8bit\n\n"
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            TEXT + "grüß\r\n".encode(),
            TEXT.replace(b"8bit", b"quoted-printable") + b"gr=C3=BC=C3=9F\r\n",
            id="text",
        ),
        pytest.param(
            b"Subject: x\r\n\r\ngr\xfc\xdf\r\n",
            b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=FC=DF\r\n",
            id="no MIME at all (RFC 1428)",
        ),
        pytest.param(
            b"\r\ngr\xfc\xdf\r\n",
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=FC=DF\r\n",
            id="no header",
        ),
        pytest.param(
            b"MIME-Version: 1.0\r\nContent-Type: application/x\r\n\r\n\xff\x00\r\n",
            b"MIME-Version: 1.0\r\nContent-Type: application/x\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n/wANCg==\r\n",
            id="no text",
        ),
        pytest.param(
            crlf(
                "MIME-Version: 1.0\nContent-Type: text/plain\ncontent-transfer-ENCODING:\n  8BIT\nX-A: b\n\n"
            )
            + b"\xff\r\n",
            crlf(
                "MIME-Version: 1.0\nContent-Type: text/plain\n"
                "Content-Transfer-Encoding: quoted-printable\nX-A: b\n\n=FF\n"
            ),
            id="the encoding's field folded",
        ),
        pytest.param(TEXT + b"plain\r\n", TEXT + b"plain\r\n", id="ASCII is left alone"),
    ],
)
def test_converted(content: bytes, expected: bytes) -> None:
    """Only what must change does, byte by byte."""
    assert to_seven_bit(content) == expected


def test_only_parts_with_8bit_data_change() -> None:
    """The parts that are 7-bit already keep every byte, and so does what is between the parts."""
    before = crlf(
        """\
Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_b"
Content-Transfer-Encoding: 8bit

This is a message of several parts.
--=_b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

grüß dich
--=_b   \nContent-Type: text/plain
X-Strange:   spacing\t

nothing to do = here
--=_b--
The end.
"""
    )
    after = to_seven_bit(before)
    assert after == before.replace(b"8bit", b"7bit", 1).replace(b"8bit", b"quoted-printable", 1).replace(
        "grüß".encode(), b"gr=C3=BC=C3=9F"
    )


def test_one_line_part_gets_no_bare_line_feed() -> None:
    """A long text without any line end of its own is broken into lines as SMTP has them."""
    part = "grüße " * 100
    before = crlf(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
        f"Content-Type: text/plain; charset=utf-8\n\n{part}\n--b--\n"
    )
    after = to_seven_bit(before)
    assert b"\n" not in after.replace(b"\r\n", b"")
    assert max(map(len, after.split(b"\r\n"))) <= 76
    assert leaves(after)[0][2].decode() == part


def test_part_of_a_digest_is_a_message() -> None:
    """In a digest a part without a type is a message, not a text (RFC 2046 §5.1.5)."""
    before = crlf(
        "MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\n"
        "Subject: inner\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\ngrüß\n--b--\n"
    )
    after = to_seven_bit(before)
    assert b"Subject: inner\r\n" in after
    assert b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BC=C3=9F\r\n--b--" in after
    assert decoded_alike(before, after)


def test_attached_message_is_converted_inside() -> None:
    """An attached message stays one: its own parts are encoded, not the message as a whole."""
    inner = TEXT + "grüß\r\n".encode()
    before = (
        crlf("MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n") + inner
    )
    after = to_seven_bit(before)
    assert encodings(after) == ["7bit", "quoted-printable"]
    assert decoded_alike(before, after)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param("Subject: grüß\r\n\r\nhello\r\n".encode(), "its header holds 8-bit data", id="header"),
        pytest.param(b"\xff", "its header holds 8-bit data", id="nothing but"),
        pytest.param(
            crlf("Content-Type: multipart/signed; boundary=b\n\n--b\n\ngrüß\n--b\n\nsig\n--b--\n"),
            "it is multipart/signed",
            id="signed",
        ),
        pytest.param(
            crlf(
                "Content-Type: multipart/mixed; boundary=a\n\n--a\n"
                "Content-Type: multipart/signed; boundary=b\n\n--b\n\ngrüß\n--b\n\nsig\n--b--\n\n--a--\n"
            ),
            "it is multipart/signed",
            id="signed inside",
        ),
        pytest.param(
            crlf("Content-Type: multipart/encrypted; boundary=b\n\n--b\n\ngrüß\n--b--\n"),
            "it is multipart/encrypted",
            id="encrypted",
        ),
        pytest.param(
            crlf("Content-Type: multipart/mixed\n\n--b\n\ngrüß\n--b--\n"),
            "names no boundary",
            id="no boundary",
        ),
        pytest.param(
            crlf("Content-Type: multipart/mixed; boundary=b\n\ngrüß\n--b\n\nhello\n--b--\n"),
            "outside of its parts",
            id="before the parts",
        ),
        pytest.param(
            crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b--\ngrüß\n"),
            "outside of its parts",
            id="after the parts",
        ),
        pytest.param(
            crlf("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\ngrüß\n"),
            "a part encoded as quoted-printable holds 8-bit data",
            id="encoded already",
        ),
        pytest.param(crlf("Content-Type: message/partial\n\ngrüß\n"), "message/partial", id="fixed encoding"),
        pytest.param(
            b"Content-Type: message/rfc822\r\n\r\n" * 40 + crlf("X: y\n\ngrüß\n"),
            "nested too deeply",
            id="very deep",
        ),
    ],
)
def test_refused(content: bytes, why: str) -> None:
    """What conversion would break, or what was wrong before, is not touched but refused with the reason."""
    with pytest.raises(ConversionError, match=why):
        to_seven_bit(content)


BODY = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=30)
    | st.sampled_from(["\n", "\n.\n", "=", " ", "\t", "é" * 80, "\n--b", "From ", "\n\n"]),
    max_size=20,
).map("".join)


def message_of(bodies: list[str], files: list[bytes], nested: bool) -> bytes:
    """A message with these texts and files, its texts as 8-bit; with ``nested``, attached to another."""
    message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
    message["Subject"] = "parts"
    message.set_content(bodies[0], cte="8bit")
    for body in bodies[1:]:
        message.add_attachment(body, cte="8bit")
    for file in files:
        message.add_attachment(file, maintype="application", subtype="octet-stream", cte="base64")
    if nested:
        outer = EmailMessage(policy=message.policy)
        outer["Subject"] = "attached"
        outer.set_content("see below")
        outer.add_attachment(message)
        message = outer
    return terminated(bytes(message))


@given(st.lists(BODY, min_size=1, max_size=3), st.lists(st.binary(max_size=100), max_size=2), st.booleans())
def test_decodes_to_the_same(bodies: list[str], files: list[bytes], nested: bool) -> None:
    """Whatever a message says, it says the same after conversion, in lines that every server takes."""
    before = message_of(bodies, files, nested)
    after = to_seven_bit(before)
    assert after.isascii()
    assert decoded_alike(before, after)
    assert b"\n" not in after.replace(b"\r\n", b"")
    if not before.isascii():
        assert max(map(len, after.split(b"\r\n"))) <= max(78, *map(len, before.split(b"\r\n")))


@given(st.binary(max_size=400))
def test_anything_is_converted_or_refused(content: bytes) -> None:
    """No bytes, however odd, crash it: they come out in 7 bits or are refused."""
    after = b""
    with contextlib.suppress(ConversionError):
        after = to_seven_bit(content)
    assert after.isascii()


@given(st.binary(max_size=300), st.sampled_from(["application/x", "image/png", "text/plain; charset=x"]))
def test_any_part_decodes_to_the_same_bytes(data: bytes, kind: str) -> None:
    """A part of any bytes is the same bytes when decoded; only text may have its last line ended."""
    header = f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n".encode()
    body = data if not kind.startswith("text") else data.replace(b"\r", b"").replace(b"\n", b"\r\n")
    after = to_seven_bit(header + body)
    ((_, _, decoded),) = leaves(after)
    assert decoded == body
