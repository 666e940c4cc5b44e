"""Names, networks, addresses and patterns, as configuration and envelopes give them.

Invariant tested: each rule answers with nothing or with a problem and a remedy;
an accepted address has a local part, a domain with a stable normal form and no
line break, and the route made for exactly it, for its domain or for the
domain's parent takes it.
"""

from tests.support.mail import route

from waystation_contract import grammar
from waystation_relay.mail.address import domain_of, normal_domain, split
from waystation_relay.routing import mx
from waystation_relay.routing.table import Table

TOKENS = (
    b"a", b"@", b".", b"-", b"_", b"*", b"*@", b"*@*.", b"shop.test", b"xn--bcher-kva.test",
    "bücher".encode(), "ß".encode(), "İ".encode(), "。".encode(), b'"', b'"a\\"b"', b"\\", b"[192.0.2.1]",
    b"[IPv6:2001:db8::1]", b"[", b"]", b"/24", b"10.0.0.0/8", b"::ffff:0:0/96", b":", b"%eth0", b"5.7.1",
    b" ", b"\t", b"\n", "\u2028".encode(), "\u200d".encode(), "\u0301".encode(), b"x" * 64,
)  # fmt: skip

RULES = (
    grammar.domain, grammar.host_name, grammar.host, grammar.ip, grammar.network, grammar.dns_server,
    grammar.address, grammar.pattern, grammar.file_name, grammar.enhanced_code, grammar.reply_text,
)  # fmt: skip


def run(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    for rule in RULES:
        complaint = rule(text)
        assert complaint is None or (complaint.problem and complaint.remedy), (rule, complaint)
    grammar.everybody([text, "10.0.0.0/8"])
    normal = normal_domain(text)
    assert normal_domain(normal) == normal
    if grammar.pattern(text) is None:
        Table([route(recipients=(text,), senders=(text,))])
    if grammar.address(text) is None:
        accepted(text)


def accepted(address: str) -> None:
    local, domain = split(address)
    assert local
    assert domain
    assert not set(address) & set("\r\n\0")
    found = domain_of(address)
    assert found
    assert mx.literal(found) != "", "an accepted literal is an address"
    patterns = [f"*@{domain}"]
    if "*" not in address:
        patterns.append(address)
    if not found.startswith("[") and "." in found:
        patterns.append(f"*@*.{found.partition('.')[2]}")
    for pattern in patterns:
        if grammar.pattern(pattern) is None:
            assert Table([route(recipients=(pattern,))]).match("smtp", "a@shop.test", address), pattern
