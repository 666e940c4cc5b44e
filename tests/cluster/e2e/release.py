"""The product as a release of its chart: installed, upgraded and uninstalled by Helm.

The definitions are the cluster's, so there is one release at a time. The
operator reads no Secrets until ``grant`` lets it into a namespace.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.client import Body, Cluster
from tests.cluster.lane.helm import CHART, Helm

NAMESPACE = "waystation"
NAME = "waystation"
DEPLOYMENT = "deployment/waystation-operator"
CRDS = ("relaypools.waystation.dev", "mailroutes.waystation.dev")


@dataclass(frozen=True, slots=True)
class Release:
    helm: Helm = field(repr=False)
    cluster: Cluster = field(repr=False)
    images: Mapping[str, str] = field(repr=False)
    namespace: str = NAMESPACE

    def values(self, **more: Any) -> dict[str, Any]:
        """The images the node has, over what the chart says; ``more`` over both."""
        operator = more.pop("operator", {})
        return {
            "relay": {"image": _image(self.images["waystation-relay"])},
            "operator": {"image": _image(self.images["waystation-operator"])} | operator,
        } | more

    def install(self, **more: Any) -> str:
        """Installed or upgraded; returns when the operator's Deployment is rolled out."""
        self.cluster.apply(_restricted(self.namespace))
        said = self.helm(
            "upgrade", "--install", NAME, str(CHART), f"--namespace={self.namespace}",
            "--take-ownership", values=self.values(**more),
        )  # fmt: skip
        self.cluster.wait_for_rollout(DEPLOYMENT, self.namespace)
        return said

    def uninstall(self) -> str:
        return self.helm("uninstall", NAME, f"--namespace={self.namespace}", "--ignore-not-found", "--wait")

    def remove(self) -> None:
        """The release, and what it leaves on purpose: definitions, pools and routes; and its namespace."""
        for namespace in {pool["metadata"]["namespace"] for pool in self.cluster.items("relaypools")}:
            self.clear(namespace)
        self.uninstall()
        self.cluster.kubectl("delete", "crd", *CRDS, "--ignore-not-found", "--timeout=60s", within_s=90)
        self.cluster.delete("namespace", self.namespace, wait=False)

    def test(self, within_s: float = 300.0) -> str:
        """What ``helm test`` prints; it fails as the test does."""
        where = (f"--namespace={self.namespace}", f"--timeout={within_s:.0f}s", "--logs")
        return self.helm("test", NAME, *where, within_s=within_s + 30)

    def grant(self, namespace: str, role: str = "pool-secrets") -> None:
        """Bind one of the chart's roles for Secrets in a namespace, as the namespace's owner may; it is in
        force afterwards."""
        self.cluster.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"waystation-{role}"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": f"waystation-{role}",
                },
                "subjects": [
                    {
                        "kind": "ServiceAccount",
                        "name": "waystation-operator",
                        "namespace": self.namespace,
                    }
                ],
            },
            namespace,
        )
        account = f"system:serviceaccount:{self.namespace}:waystation-operator"
        ask = ("auth", "can-i", "get", "secrets/any", f"--as={account}", f"--namespace={namespace}")
        self.cluster.wait_for(lambda: not self.cluster.run(*ask).returncode, "the permission", within_s=15)

    def log(self) -> str:
        return self.cluster.logs(DEPLOYMENT, self.namespace, "--tail=200")

    @contextlib.contextmanager
    def granted(self, namespace: str) -> Iterator[str]:
        """A namespace the operator may work in; its pools are gone before it is, so that nothing has to
        wait for their finalizer afterwards."""
        self.grant(namespace)
        try:
            yield namespace
        finally:
            self.clear(namespace)

    def clear(self, namespace: str) -> None:
        """Delete all pools and routes of a namespace, with whatever mail they have."""
        for pool in self.cluster.items("relaypools", namespace):
            name = pool["metadata"]["name"]
            self.cluster.kubectl(
                "annotate", "relaypool", name, f"--namespace={namespace}", "--overwrite",
                "waystation.dev/force-delete=true",
            )  # fmt: skip
        self.cluster.run(
            "delete", "relaypools,mailroutes", "--all", f"--namespace={namespace}", "--timeout=60s",
            within_s=90,
        )  # fmt: skip


def _image(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def _restricted(name: str) -> Body:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
