"""Which DNS servers are asked."""

from pathlib import Path

import pytest

from waystation_relay.routing.servers import Server, find, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.53", Server("192.0.2.53", 53)),
        ("192.0.2.53:5353", Server("192.0.2.53", 5353)),
        ("2001:db8::53", Server("2001:db8::53", 53)),
        ("[2001:db8::53]", Server("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", Server("2001:db8::53", 5353)),
    ],
)
def test_parse(text: str, expected: Server) -> None:
    """Every form the configuration allows is understood."""
    assert parse(text) == expected


RESOLV_CONF = """
# a pod's
nameserver 192.0.2.1
nameserver 2001:db8::1
nameserver 192.0.2.2
nameserver 192.0.2.3
search mail.svc.cluster.test svc.cluster.test cluster.test
options ndots:5
"""


def test_system_servers(tmp_path: Path) -> None:
    """Without configured servers resolv.conf's first three are asked, with its search list."""
    file = tmp_path / "resolv.conf"
    file.write_text(RESOLV_CONF)
    found = find((), file)
    assert [s.address for s in found.servers] == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
    assert found.search == ("mail.svc.cluster.test", "svc.cluster.test", "cluster.test")
    assert found.ndots == 5


def test_configured_servers_keep_the_search_list(tmp_path: Path) -> None:
    """Configured servers replace the system's; names of Services stay short."""
    file = tmp_path / "resolv.conf"
    file.write_text(RESOLV_CONF)
    found = find(["127.0.0.1:5353"], file)
    assert found.servers == (Server("127.0.0.1", 5353),)
    assert (found.search[0], found.ndots) == ("mail.svc.cluster.test", 5)


@pytest.mark.parametrize("content", [None, "", "nameserver not-an-address\n", "search x.test\n"])
def test_unusable_resolv_conf(content: str | None, tmp_path: Path) -> None:
    """Where the system names no server, the one on this machine is asked, as the C library does."""
    file = tmp_path / "resolv.conf"
    if content is not None:
        file.write_text(content)
    assert find((), file).servers == (Server("127.0.0.1", 53),)
