"""What one version of the configuration means, ready to use.

A ``Snapshot`` is immutable and complete: the document, the route table
compiled from it, and the Secrets and TLS contexts it names, already read and
proven usable. A session or an attempt holds on to the snapshot it began with;
a swap therefore never changes a conversation half-way.
"""

import dataclasses
import ssl

from waystation_contract.model import Document
from waystation_relay.routing.table import Table


@dataclasses.dataclass(frozen=True, slots=True)
class Credential:
    """A user name and password for an upstream; the password stays out of every repr."""

    username: str
    password: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """``hash`` is the document's content hash, which the operator waits for. ``released``: the route table
    for recipients that a person let out of quarantine, without the quarantine routes."""

    document: Document
    hash: str
    table: Table
    credentials: dict[str, Credential]
    certificates: dict[str, ssl.SSLContext]
    released: Table

    def credential(self, name: str) -> Credential:
        return self.credentials[name]

    def certificate(self, name: str) -> ssl.SSLContext:
        return self.certificates[name]
