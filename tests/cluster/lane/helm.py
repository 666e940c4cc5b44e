"""Real Helm, and the chart as it renders it.

``python -m tests.cluster.lane.helm`` writes the goldens anew.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from tests.cluster.client import Cluster
from tests.cluster.driver import binaries

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "waystation"
GOLDEN = Path(__file__).parent / "chart"
RELEASE, NAMESPACE = "waystation", "platform"
VERSION = "1.37.2"  # a Helm that was built without one would say 1.20

Body = dict[str, Any]
Values = Mapping[str, Any]

# What is compared to the letter: each with everything that the others leave out. No definitions in them,
# which are crds/ and change with it.
GOLDENS: dict[str, Values] = {
    "plain": {"crds": {"enabled": False}},
    "granted": {"crds": {"enabled": False}, "poolNamespaces": ["mail"]},
    "namespaced": {"crds": {"enabled": False}, "watchNamespaces": ["mail", "shop"]},
    "everything": {
        "crds": {"enabled": False},
        "imageRegistry": "registry.example.com/mail",
        "imagePullSecrets": [{"name": "registry"}],
        "commonLabels": {"example.com/team": "platform"},
        "poolNamespaces": ["mail"],
        "secretNamespaces": ["shop"],
        "relay": {"image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"}},
        "operator": {
            "replicas": 2,
            "image": {"tag": "1.2.3"},
            "logLevel": "debug",
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
            "serviceAccount": {"name": "mail-operator", "annotations": {"example.com/role": "mail"}},
            "podLabels": {"example.com/network": "api"},
            "podAnnotations": {"example.com/note": "true"},
            "annotations": {"example.com/owner": "platform"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "infra", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
            ],
            "priorityClassName": "system-cluster-critical",
            "terminationGracePeriodSeconds": 60,
            "networkPolicy": {"enabled": True, "from": [{"namespaceSelector": {"matchLabels": {"m": "y"}}}]},
        },
        "monitoring": {
            "service": {"enabled": True, "annotations": {"prometheus.io/scrape": "true"}},
            "podMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
            "prometheusRule": {
                "enabled": True,
                "labels": {"release": "prometheus"},
                "alertLabels": {"team": "mail"},
                "disabled": ["WaystationLogLinesDropped"],
            },
        },
        "test": {"pool": "outbound", "namespace": "mail", "port": 587, "timeoutSeconds": 60},
    },
}


class HelmError(AssertionError):
    """Helm ended with an error; ``said`` is what it wrote about it."""

    def __init__(self, argv: tuple[str, ...], said: str) -> None:
        super().__init__(f"helm {' '.join(argv)}: {said.strip()}")
        self.said = said


@dataclass(frozen=True, slots=True)
class Helm:
    """``environment`` tells it which cluster, and where to keep its own files."""

    path: str
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def __call__(self, *argv: str, values: Values | None = None, within_s: float = 60.0) -> str:
        """What it prints; ``HelmError`` when it fails."""
        given = ("--values=-",) if values is not None else ()
        done = subprocess.run(
            [self.path, *argv, *given],
            input=json.dumps(values) if values is not None else "",
            capture_output=True, text=True, timeout=within_s, env=self.environment,
        )  # fmt: skip
        if done.returncode:
            raise HelmError(argv, done.stderr + done.stdout)
        return done.stdout

    def render(self, values: Values, *, release: str = RELEASE, namespace: str = NAMESPACE) -> list[Body]:
        return documents(self.text(values, release=release, namespace=namespace))

    def text(self, values: Values, *, release: str = RELEASE, namespace: str = NAMESPACE) -> str:
        where = (f"--namespace={namespace}", f"--kube-version={VERSION}")
        return self("template", release, str(CHART), *where, values=values)


def for_cluster(cluster: Cluster, folder: Path) -> Helm:
    """Helm for this cluster, with its own files in ``folder``."""
    own = {f"HELM_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    return replace(found(), environment=cluster.environment() | own)


def documents(text: str) -> list[Body]:
    return [body for body in YAML(typ="safe", pure=True).load_all(text) if body]


def found() -> Helm:
    """Built if it has to be."""
    binaries.build(["helm"])
    return Helm(str(binaries.where("helm")))


def main() -> None:
    helm = found()
    GOLDEN.mkdir(exist_ok=True)
    for name, values in GOLDENS.items():
        (GOLDEN / f"{name}.yaml").write_text(helm.text(values), encoding="utf-8")


if __name__ == "__main__":
    main()
