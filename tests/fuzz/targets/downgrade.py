"""Messages with 8-bit content, for a server that takes only 7 bits.

Invariant tested: content is converted into 7-bit bytes or refused in so many
words; 7-bit content keeps every byte; what is converted has no new bare CR or
LF and no line longer than before or than the encodings allow, and says the
same when its parts are decoded.
"""

import re

from tests.fuzz.target import explained

from waystation_relay.delivery.downgrade import ConversionError, to_seven_bit

TOKENS = (
    b"\r\n", b"\r\n\r\n", b"Content-Type: ", b"text/plain; charset=utf-8", b"multipart/mixed; boundary=b",
    b'multipart/digest; boundary="b b"', b"multipart/signed; boundary=b", b"message/rfc822",
    b"message/partial", b"application/octet-stream", b"Content-Transfer-Encoding: ", b"8bit", b"7bit",
    b"binary", b"base64", b"quoted-printable", b"MIME-Version: 1.0\r\n", b"--b\r\n", b"--b--\r\n",
    b"\r\n--b\r\n", b"\r\n--b--", b"--b b\r\n", "ü".encode(), b"\xff", b"=", b"=3D", b" \r\n", b"\t", b".",
    b"From ", b"x" * 80, b"\r", b"\n", b"\0", b"; ", b"=?utf-8?q?x?=",
)  # fmt: skip
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def run(data: bytes) -> None:
    try:
        after = to_seven_bit(data)
    except ConversionError as why:
        explained(str(why))
        return
    assert after.isascii()
    if data.isascii():
        assert after == data
        return
    if not BARE.search(data):
        assert not BARE.search(after)
        longest = max(map(len, data.split(b"\r\n")))
        assert max(map(len, after.split(b"\r\n"))) <= max(longest, 78)
    assert to_seven_bit(after) == after
