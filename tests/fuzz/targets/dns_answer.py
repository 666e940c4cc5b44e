"""DNS responses from the network.

Invariant tested: any datagram is an answer or one of the errors that a look-up
expects of dnspython; an answer names hosts and addresses in their usual
form, with a TTL that is no less than 0, and its mail hosts can be put in order.
"""

import dns.exception
import dns.message

from waystation_relay.routing import mx
from waystation_relay.routing.answer import Alias, Found, Missing, Trouble, name_text, read
from waystation_relay.routing.lookup import AAAA, MX, A

TOKENS = (
    dns.message.from_text(
        "id 1\nopcode QUERY\nrcode NOERROR\nflags QR RD RA\n;QUESTION\nd.test. IN MX\n;ANSWER\n"
        "d.test. 300 IN MX 10 mail.d.test.\nd.test. 300 IN MX 0 ."
    ).to_wire(),
    dns.message.from_text(
        "id 1\nopcode QUERY\nrcode NXDOMAIN\nflags QR RD RA\n;QUESTION\na.test. IN A\n;ANSWER\n"
        "a.test. 3 IN CNAME b.test.\n;AUTHORITY\ntest. 60 IN SOA ns.test. h.test. 1 2 3 4 60"
    ).to_wire(),
    dns.message.from_text(
        "id 1\nopcode QUERY\nrcode NOERROR\nflags QR RA\n;QUESTION\na.test. IN AAAA\n;ANSWER\n"
        "a.test. 3 IN AAAA 2001:db8::1"
    ).to_wire(),
    b"\x00\x01\x81\x80", b"\xc0\x0c", b"\x00\x0f\x00\x01", b"\x00\x01\x00\x01", b"\x00\x05\x00\x01",
    b"\x00\x1c\x00\x01", b"\x00\x29", b"\x00\x00\x01\x2c", b"\x03abc\x04test\x00", b"\x00",
    b"\xff\xff\xff\xff", b"\x3f",
)  # fmt: skip
EXPECTED = (
    dns.exception.DNSException,
    OSError,
    EOFError,
)  # what a look-up takes for a server that cannot be asked


def run(data: bytes) -> None:
    try:
        response = dns.message.from_wire(data)
    except EXPECTED:
        return
    if not isinstance(response, dns.message.QueryMessage):
        return  # an update or the like: a look-up takes it for no answer to its question
    for kind in (MX, A, AAAA):
        answer, ttl_s = read(response, kind)
        assert ttl_s >= 0
        match answer:
            case Found(exchanges, addresses):
                for exchange in exchanges:
                    assert 0 <= exchange.preference < 2**16
                    assert exchange.name == exchange.name.lower()
                for address in addresses:
                    assert mx.is_address(address)
                    mx.is_destination(address)
                if exchanges:
                    ordered = mx.exchanges(exchanges, "d.test")
                    assert isinstance(ordered, mx.NullMX) or len(ordered) <= mx.MOST_EXCHANGES
            case Trouble(why):
                assert why
                assert why.isprintable()
            case Alias(target):
                assert name_text(target).isascii()
            case Missing():
                pass
