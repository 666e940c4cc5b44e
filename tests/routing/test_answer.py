"""What a DNS server's response means, message by message."""

import dns.message
import dns.rdatatype
import pytest

from waystation_relay.routing.answer import Alias, Answer, Found, Missing, Trouble, read
from waystation_relay.routing.lookup import MX, A
from waystation_relay.routing.mx import Exchange

SOA = "d.test. 600 IN SOA ns.d.test. host.d.test. 1 2 3 4 60"


def response(
    question: str, *answers: str, code: str = "NOERROR", authority: str = "", flags: str = "QR RD RA"
) -> dns.message.Message:
    lines = [
        "id 1", "opcode QUERY", f"rcode {code}", f"flags {flags}",
        ";QUESTION", question, ";ANSWER", *answers, ";AUTHORITY", authority,
    ]  # fmt: skip
    return dns.message.from_text("\n".join(lines))


@pytest.mark.parametrize(
    ("message", "kind", "answer", "ttl_s"),
    [
        pytest.param(
            response("d.test. IN MX", "d.test. 300 IN MX 10 Mail.D.test.", "d.test. 300 IN MX 20 ."),
            MX,
            Found(exchanges=(Exchange(10, "mail.d.test"), Exchange(20, ""))),
            300,
            id="MX, in lower case, the root as nothing",
        ),
        pytest.param(
            response("d.test. IN A", "d.test. 30 IN A 192.0.2.1"),
            A,
            Found(addresses=("192.0.2.1",)),
            30,
            id="A",
        ),
        pytest.param(
            response(
                "a.test. IN A",
                "a.test. 300 IN CNAME b.test.",
                "b.test. 20 IN CNAME d.test.",
                "d.test. 100 IN A 192.0.2.1",
            ),
            A,
            Found(addresses=("192.0.2.1",)),
            20,
            id="the least TTL of the chain",
        ),
        pytest.param(
            response("a.test. IN A", "a.test. 300 IN CNAME d.test."),
            A,
            "alias of d.test",
            300,
            id="alias alone",
        ),
        pytest.param(
            response("a.test. IN A", "a.test. 300 IN CNAME d.test.", authority=SOA),
            A,
            Missing(exists=True),
            60,
            id="alias of a name without such records",
        ),
        pytest.param(
            response("a.test. IN A", "a.test. 300 IN CNAME d.test.", code="NXDOMAIN", authority=SOA),
            A,
            Missing(exists=False),
            60,
            id="alias of nothing",
        ),
        pytest.param(
            response("a.test. IN A", "a.test. 5 IN CNAME b.test.", "b.test. 5 IN CNAME a.test."),
            A,
            Trouble("a CNAME loop"),
            0,
            id="alias of itself",
        ),
        pytest.param(
            response("d.test. IN A", code="NXDOMAIN", authority=SOA),
            A,
            Missing(exists=False),
            60,
            id="NXDOMAIN",
        ),
        pytest.param(
            response("d.test. IN A", code="NXDOMAIN"), A, Missing(exists=False), 0, id="without SOA"
        ),
        pytest.param(
            response("d.test. IN A", authority=SOA), A, Missing(exists=True), 60, id="no such records"
        ),
        pytest.param(response("d.test. IN A"), A, Missing(exists=True), 0, id="no such records, without SOA"),
        pytest.param(
            response("d.test. IN A", authority="d.test. 300 IN NS ns.d.test.", flags="QR RD"),
            A,
            Trouble("the DNS server refers to others and does not recurse"),
            0,
            id="referral",
        ),
        pytest.param(
            response("d.test. IN A", code="SERVFAIL"),
            A,
            Trouble("the DNS server answered SERVFAIL"),
            0,
            id="SERVFAIL",
        ),
        pytest.param(
            response("d.test. IN A", code="REFUSED"),
            A,
            Trouble("the DNS server answered REFUSED"),
            0,
            id="REFUSED",
        ),
        pytest.param(
            response("d.test. IN A", "other.test. 30 IN A 192.0.2.9"),
            A,
            Missing(exists=True),
            0,
            id="not asked for",
        ),
    ],
)
def test_response(
    message: dns.message.Message, kind: dns.rdatatype.RdataType, answer: Answer | str, ttl_s: float
) -> None:
    """Each kind of response is read as the RFCs have it, and kept no longer than it says."""
    found, kept_s = read(message, kind)
    shown = f"alias of {found.target.to_text(omit_final_dot=True)}" if isinstance(found, Alias) else found
    assert (shown, kept_s) == (answer, ttl_s)


def test_response_that_asks_nothing() -> None:
    """A response without a question answers none."""
    message = response("d.test. IN A", "d.test. 30 IN A 192.0.2.1")
    message.question.clear()
    found, _ = read(message, A)
    assert isinstance(found, Trouble)
