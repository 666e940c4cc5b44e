"""The API server by plain HTTP, through `kubectl proxy`, so that it works with whatever login a context has.

What a test says of a thousand objects takes one connection here; kubectl
would be started a thousand times.
"""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.cluster.client import Cluster

Body = dict[str, Any]
GROUP = "/apis/waystation.dev/v1alpha1"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One complaint: the field, and what is wrong with it."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: Body
    warnings: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.code < 300

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        causes = (self.body.get("details") or {}).get("causes") or () if not self.accepted else ()
        return tuple(Refusal(cause.get("field", ""), cause["message"]) for cause in causes)

    def about(self, field: str) -> list[str]:
        """What is said of this very field."""
        return [refusal.message for refusal in self.refusals if refusal.field == field]


class Api:
    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def create(self, body: Body, namespace: str, *, keep: bool = False, validation: str = "Strict") -> Answer:
        """POST; without ``keep`` the server checks and completes the object, and forgets it."""
        query = f"?fieldValidation={validation}{'' if keep else '&dryRun=All'}"
        return self.ask("POST", path(body["kind"], namespace) + query, body)

    def get(self, kind: str, name: str, namespace: str, subresource: str = "") -> Body:
        return self.ask("GET", path(kind, namespace, name, subresource)).body

    def replace(self, body: Body, namespace: str, *, subresource: str = "") -> Answer:
        """PUT of an object, or of the part of it that the subresource is."""
        kind = "RelayPool" if subresource == "scale" else body["kind"]
        return self.ask("PUT", path(kind, namespace, body["metadata"]["name"], subresource), body)

    def merge(self, kind: str, name: str, namespace: str, patch: Body, *, subresource: str = "") -> Answer:
        media_type = "application/merge-patch+json"
        return self.ask("PATCH", path(kind, namespace, name, subresource), patch, media_type)

    def ask(
        self, method: str, where: str, body: Body | None = None, media_type: str = "application/json"
    ) -> Answer:
        text = json.dumps(body) if body is not None else None
        self._connection.request(
            method, where, text, {"Content-Type": media_type, "Accept": "application/json"}
        )
        response = self._connection.getresponse()
        warnings = tuple(
            found[1].replace('\\"', '"')
            for line in response.headers.get_all("Warning") or ()
            for found in re.finditer(r'299 - "((?:[^"\\]|\\.)*)"', line)
        )
        return Answer(response.status, json.loads(response.read()), warnings)


def path(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    parts = (GROUP, "namespaces", namespace, f"{kind.lower()}s", name, subresource)
    return "/".join(part for part in parts if part)


@contextmanager
def proxied(cluster: Cluster) -> Iterator[Api]:
    options = (f"--kubeconfig={cluster.kubeconfig}", f"--context={cluster.context}")
    argv = [cluster.kubectl_path, "proxy", *options, "--port=0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()  # "Starting to serve on 127.0.0.1:PORT", or nothing when it ends
            assert ":" in said, f"kubectl proxy did not start: {said!r}"
            yield Api(int(said.rpartition(":")[2]))
        finally:
            process.kill()
