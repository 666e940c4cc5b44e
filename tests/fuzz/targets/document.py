"""The configuration document, as a relay reads it from its volume.

What does not begin with a brace are changes to a sound document: ``routes.0.backends.0.host="x"`` a line.

Invariant tested: any bytes are a document or a ``ConfigError`` whose findings say
what is wrong and what to do; a document taken is written and read back the
same, with the same hash, and its routes make a table.
"""

import contextlib

import msgspec
from tests.contract.documents import SMALL
from tests.fuzz.target import explained

from waystation_contract import codec
from waystation_contract.check import ConfigError
from waystation_relay.routing.table import Table

TOKENS = (
    b"hostname=", b"pool=", b"listeners.0.port=", b"listeners.0.clients=", b"routes.0.recipients=",
    b"routes.0.backends.1.host=", b"routes.0.retry.first_s=", b"retry.warn_after_s=",
    b"routes.1.backends.0.code=", b"delivery.dns_servers=", b"delivery.bind_address=",
    b"listeners.1.certificate=", b"\n",
    (
        b'{"version":1,"pool":"mail/out","hostname":"relay.test","listeners":[{"name":"smtp","port":2525,'
        b'"service_port":25}]}'
    ),
    b"{", b"}", b"[", b"]", b":", b",", b'"', b"null", b"true", b"1", b"-1", b"1e999", b"0.5",
    b'"version":1', b'"pool":"a/b"', b'"hostname":"x"', b'"listeners":[', b'"name":"smtp"', b'"port":25',
    b'"service_port":25', b'"clients":["10.0.0.0/8"]', b'"tls":"Required"', b'"certificate":"a.b"',
    b'"limits":{"max_sessions":1}',
    b'"routes":[{"name":"m/a","created":0,"listeners":["smtp"],"backends":[', b'{"kind":"mx"}',
    b'"senders":["*"]', b'{"kind":"smartHost","host":"h.test","credential":"a.b"}',
    b'{"kind":"reject","code":550}', b'{"kind":"lmtp"', b'{"kind":"discard"}', b'{"kind":"quarantine"}',
    b'"retry":{"first_s":60,"max_s":1}', b'"queue":{}', b'"delivery":{"dns_servers":["127.0.0.1:53"]}',
    b'"\\ud800"', b"\xff", b"[" * 500,
)  # fmt: skip


def run(data: bytes) -> None:
    if not data.startswith(b"{"):
        data = patched(data)
    try:
        document, digest = codec.decode(data)
    except ConfigError as error:
        explained(str(error), *[text for found in error.findings for text in (found.problem, found.remedy)])
        return
    written = codec.encode(document)
    assert codec.decode(written) == (document, digest)
    Table(document.routes)


def patched(data: bytes) -> bytes:
    document = msgspec.to_builtins(SMALL)
    for line in data.splitlines():
        path, _, value = line.partition(b"=")
        with contextlib.suppress(LookupError, ValueError, TypeError, AttributeError, RecursionError):
            *steps, last = [int(step) if step.isdigit() else step for step in path.decode().split(".")]
            place = document
            for step in steps:
                place = place[step]
            place[last] = msgspec.json.decode(value)
    return msgspec.json.encode(document)
