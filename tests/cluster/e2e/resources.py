"""Pools, routes and Secrets as tests write them: what is not given is what the tests have in common."""

from pathlib import Path
from typing import Any

from tests.cluster.client import Body

API = "waystation.dev/v1alpha1"
ANYBODY = ["198.18.0.0/15", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]  # where clusters have their pods
SMTP: Body = {"name": "smtp", "port": 25, "clients": {"cidrs": ANYBODY}}
SOON = {"first": "1s", "factor": 1.5, "max": "5s", "warnAfter": "0s", "expireAfter": "1d"}


def pool(name: str = "outbound", **spec: Any) -> Body:
    """A small RelayPool that takes mail from pods at port 25 and tries again soon."""
    return {
        "apiVersion": API,
        "kind": "RelayPool",
        "metadata": {"name": name},
        "spec": {
            "hostname": "relay.example.com",
            "listeners": [SMTP],
            "queue": {"size": "128Mi"},
            "retry": SOON,
            "template": {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
        }
        | spec,
    }


def route(name: str, *backends: Body, to: Body | str = "outbound", **spec: Any) -> Body:
    """A MailRoute of the pool ``to``, a name or a parentRef."""
    parent = {"name": to} if isinstance(to, str) else to
    return {
        "apiVersion": API,
        "kind": "MailRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [parent], "backends": list(backends)} | spec,
    }


def smarthost(host: str, port: int = 25, **more: Any) -> Body:
    return {"smartHost": {"host": host, "port": port} | more}


def lmtp(host: str) -> Body:
    return {"lmtp": {"host": host, "port": 24}}


def secret(name: str, **values: str) -> Body:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def tls_secret(name: str, chain: Path, key: Path) -> Body:
    files = {"tls.crt": chain.read_text("ascii"), "tls.key": key.read_text("ascii")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "kubernetes.io/tls",
        "stringData": files,
    }
