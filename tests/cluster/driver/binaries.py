"""Kubernetes' programs, Helm and CoreDNS, built from the modules in ``tests/cluster/go`` into a cache.

The cache is outside the checkout: ``~/.cache/waystation-cluster``, or what
``WAYSTATION_CLUSTER_CACHE`` names. Each module has a folder there, keyed by
its go.mod, go.sum and flags; a program that is in it is not built again.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.driver.failure import ClusterError

SOURCES = Path(__file__).parents[1] / "go"
_HEARTBEAT_S = 30.0


@dataclass(frozen=True, slots=True)
class Module:
    """``programs``: name → (package, seconds it takes alone on two cores with nothing compiled yet).
    ``version`` names the module whose version the programs are to tell, ``flags`` the variables for it."""

    folder: str
    programs: dict[str, tuple[str, int]]
    version: str = ""
    flags: str = "-s -w"

    def ldflags(self) -> str:
        text = (SOURCES / self.folder / "go.mod").read_text(encoding="utf-8")
        found = (
            re.search(rf"^\s*{re.escape(self.version)} (v\S+)", text, re.MULTILINE) if self.version else None
        )
        return self.flags.format(version=found[1] if found else "")

    def key(self) -> str:
        digest = hashlib.sha256(self.ldflags().encode())
        for file in sorted((SOURCES / self.folder).iterdir()):
            digest.update(file.read_bytes())
        return digest.hexdigest()[:12]


MODULES = (
    Module(
        "kubernetes",
        {
            name: (f"k8s.io/kubernetes/cmd/{name}", cold_s)
            for name, cold_s in {
                "kube-apiserver": 291,
                "kube-controller-manager": 86,
                "kube-scheduler": 28,
                "kubectl": 25,
                "kubelet": 28,
                "kube-proxy": 15,
            }.items()
        },
        version="k8s.io/kubernetes",
        flags="-s -w -X k8s.io/component-base/version.gitVersion={version} "
        "-X k8s.io/client-go/pkg/version.gitVersion={version}",
    ),
    Module("pause", {"pause": (".", 2)}),
    Module("coredns", {"coredns": ("github.com/coredns/coredns", 180)}),
    Module(
        "helm",
        {"helm": ("helm.sh/helm/v3/cmd/helm", 150)},
        version="helm.sh/helm/v3",
        # What it takes a cluster for when it has none to ask; without, 1.20.
        flags="-s -w -X helm.sh/helm/v3/internal/version.version={version} "
        "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 "
        "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37",
    ),
)
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
LANE = (*CONTROL_PLANE, "helm")
ALL = tuple(name for module in MODULES for name in module.programs)


def cache() -> Path:
    return Path(os.environ.get("WAYSTATION_CLUSTER_CACHE") or Path.home() / ".cache" / "waystation-cluster")


def where(name: str) -> Path:
    """Where the program is, or will be once it is built."""
    module = next(module for module in MODULES if name in module.programs)
    return cache() / "bin" / f"{module.folder}-{module.key()}" / name


def build(names: Iterable[str] = ALL) -> None:
    """Build what is missing of these, one after the other, telling how far it is."""
    names = tuple(names)
    if all(where(name).exists() for name in names):
        return
    with _alone():
        missing = [name for name in names if not where(name).exists()]
        if missing:
            _check_go()
            cold_s = sum(module.programs.get(name, ("", 0))[1] for module in MODULES for name in missing)
            print(
                f"==> building {len(missing)} of {len(names)} programs from source into {cache()}: "
                f"up to {cold_s / 60:.0f} minutes on two cores, once",
                flush=True,
            )
        began = time.monotonic()
        for n, name in enumerate(missing, start=1):
            _build(name, f"[{n}/{len(missing)}] {name}", began)


def _build(name: str, title: str, began: float) -> None:
    module = next(module for module in MODULES if name in module.programs)
    target = where(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    half_done = target.with_name(f".{name}.{os.getpid()}")
    package, cold_s = module.programs[name]
    print(f"    {title}: building, about {cold_s} s", flush=True)
    started = time.monotonic()
    argv = [
        "go",
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        module.ldflags(),
        "-o",
        half_done,
        package,
    ]
    environment = os.environ | {"CGO_ENABLED": "0"}
    process = subprocess.Popen(
        ["nice", "-n", "10", *argv],
        cwd=SOURCES / module.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = _outcome(process, title, started)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise ClusterError(f"go could not build {name}:\n{said[-4000:]}")
    half_done.rename(target)
    print(
        f"    {title}: built in {time.monotonic() - started:.0f} s ({time.monotonic() - began:.0f} s in all)",
        flush=True,
    )


def _outcome(process: subprocess.Popen[str], title: str, started: float) -> str:
    """What go said, once it has ended; a line now and then shows that it has not."""
    while True:
        try:
            return process.communicate(timeout=_HEARTBEAT_S)[0]
        except subprocess.TimeoutExpired:
            print(f"    {title}: {time.monotonic() - started:.0f} s", flush=True)


def _check_go() -> None:
    wanted = re.search(r"^go (\d+)\.(\d+)", (SOURCES / "kubernetes" / "go.mod").read_text(), re.MULTILINE)
    assert wanted
    least = f"{wanted[1]}.{wanted[2]}"
    remedy = f"install Go {least} or newer from https://go.dev/dl/ and put its bin folder into PATH"
    if shutil.which("go") is None:
        raise ClusterError(f"go is missing; {remedy}")
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"go(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < (int(wanted[1]), int(wanted[2])):
        raise ClusterError(f"{shutil.which('go')} is {version.strip()}; {remedy}")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two builds at once would do everything twice; the second waits, and finds it done."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("==> waiting for another build of the same programs", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
