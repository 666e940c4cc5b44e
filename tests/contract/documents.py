"""Documents for tests: a small one to change, and any valid one."""

import msgspec
from hypothesis import strategies as st

from waystation_contract.model import (
    LMTP,
    MX,
    VERSION,
    Backend,
    Delivery,
    Discard,
    Document,
    Limits,
    Listener,
    ListenerTLS,
    MXPolicy,
    Quarantine,
    Queue,
    Reject,
    Retry,
    Route,
    SmartHost,
    Unavailable,
    UpstreamTLS,
)

SMALL = Document(
    version=VERSION,
    pool="mail/outbound",
    hostname="relay.example.com",
    listeners=(
        Listener(name="smtp", port=2525, service_port=25, clients=("10.0.0.0/8",)),
        Listener(name="apps", port=3087, service_port=587, tls=ListenerTLS.REQUIRED, certificate="mail.tls"),
    ),
    routes=(
        Route(
            name="mail/all",
            created=0.0,
            listeners=("smtp", "apps"),
            backends=(MX(), SmartHost(host="smtp.example.net", credential="mail.up", priority=1)),
        ),
        Route(
            name="mail/no", created=1.5, listeners=("apps",), senders=("*@a.example",), backends=(Reject(),)
        ),
    ),
)


def small(**changes: object) -> Document:
    return msgspec.structs.replace(SMALL, **changes)  # type: ignore[arg-type]


_labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_names = st.builds(lambda a, b: f"{a}.{b}", _labels, st.sampled_from(["example", "test", "xn--bcher-kva.de"]))
_hosts = _names | st.sampled_from(["192.0.2.1", "2001:db8::1", "localhost"])
_addresses = st.builds(lambda local, domain: f"{local}@{domain}", _labels, _names)
_patterns = st.one_of(
    st.just("*"),
    _addresses,
    _names.map("*@{}".format),
    _names.map("*@*.{}".format),
    st.just("*@bücher.example"),
)
_networks = st.sampled_from(["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "127.0.0.0/8"])
_ports = st.integers(1, 65535)
_seconds = st.floats(0.001, 1e8)
_ranks = {"priority": st.integers(0, 65535), "weight": st.integers(0, 10**6)}
_materials = st.builds(lambda a, b: f"{a}.{b}", _labels, _labels)


@st.composite
def _retries(draw: st.DrawFn) -> Retry:
    first, most = sorted((draw(_seconds), draw(_seconds)))
    expire = draw(_seconds)
    warn = draw(st.floats(0, expire, exclude_max=True))
    return Retry(
        first_s=first, max_s=most, expire_after_s=expire, warn_after_s=warn,
        factor=draw(st.floats(1, 100)), jitter_percent=draw(st.integers(0, 100)),
    )  # fmt: skip


@st.composite
def _rejects(draw: st.DrawFn) -> Reject:
    code = draw(st.integers(400, 599))
    return Reject(code=code, enhanced=f"{code // 100}.7.{draw(st.integers(0, 999))}", message="No, thank you")


_deliveries: st.SearchStrategy[Backend] = st.one_of(
    st.builds(MX, tls=st.sampled_from(MXPolicy), port=_ports, **_ranks),
    st.builds(
        SmartHost, host=_hosts, port=_ports, tls=st.sampled_from(UpstreamTLS),
        credential=st.none() | _materials, **_ranks,
    ),
    st.builds(LMTP, host=_hosts, port=_ports, **_ranks),
    st.builds(Unavailable, reason=st.sampled_from(["SecretNotFound: Secret mail/up", "über"]), **_ranks),
)  # fmt: skip
_verdicts: st.SearchStrategy[Backend] = st.one_of(_rejects(), st.builds(Discard), st.builds(Quarantine))
_backends = st.lists(_deliveries, min_size=1, max_size=3) | st.lists(_verdicts, min_size=1, max_size=1)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Any document that the check lets pass."""
    names = draw(st.lists(_labels, min_size=1, max_size=3, unique=True))
    ports = draw(st.lists(_ports, min_size=len(names), max_size=len(names), unique=True))
    listeners = []
    for name, port in zip(names, ports, strict=True):
        tls = draw(st.sampled_from(ListenerTLS))
        listeners.append(
            Listener(
                name=name, port=port, service_port=port, tls=tls,
                certificate=None if tls is ListenerTLS.NONE else draw(_materials),
                clients=tuple(draw(st.lists(_networks, max_size=3))),
                limits=draw(st.builds(Limits, max_recipients=st.integers(1, 10**6))),
            )
        )  # fmt: skip
    routes = [
        Route(
            name=f"mail/{name}",
            created=draw(st.floats(0, 1e10)),
            listeners=tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=2))),
            senders=tuple(draw(st.lists(_patterns, min_size=1, max_size=2))),
            recipients=tuple(draw(st.lists(_patterns, min_size=1, max_size=2))),
            backends=tuple(draw(_backends)),
            retry=draw(_retries()),
        )
        for name in draw(st.lists(_labels, max_size=3, unique=True))
    ]
    return Document(
        version=VERSION,
        pool=f"mail/{draw(_labels)}",
        hostname=draw(_names),
        postmaster=draw(st.just("") | _addresses),
        listeners=tuple(listeners),
        queue=draw(st.builds(Queue, max_bytes=st.integers(1, 2**60), full_at_percent=st.integers(1, 100))),
        retry=draw(_retries()),
        delivery=draw(
            st.builds(
                Delivery,
                bind_address=st.sampled_from(["", "192.0.2.1", "2001:db8::1"]),
                dns_servers=st.sampled_from([(), ("127.0.0.1:5353",), ("192.0.2.53", "[2001:db8::53]:53")]),
            )
        ),
        routes=tuple(routes),
    )
