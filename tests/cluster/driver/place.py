"""Where a test cluster lives: its folder, its network namespace, its addresses.

Two exist. The whole cluster is one for the machine, at a fixed place, so that
every command finds it again. A control plane alone is a test session's own:
a temporary folder and free ports on loopback, no namespace, no root.
"""

import os
from dataclasses import dataclass
from pathlib import Path

NODE = "node0"
NODE_IP = "198.18.255.1"
PODS = "198.18.0.0/17"
SERVICES = "198.19.0.0/24"
API_SERVICE_IP = "198.19.0.1"
DNS_SERVICE_IP = "198.19.0.10"
CONTEXT = "waystation-test"
MARK = ".waystation-test-cluster"  # a folder without this file is never deleted


@dataclass(frozen=True, slots=True)
class Ports:
    """``api`` is where the API server listens, ``gate`` where its clients find it on 127.0.0.1."""

    etcd: int
    etcd_peers: int
    api: int
    gate: int
    controllers: int
    scheduler: int


@dataclass(frozen=True, slots=True)
class Place:
    root: Path
    ports: Ports
    netns: str = ""  # empty: this process's own; it names the cluster's cgroup, too
    dies_with_parent: bool = False

    def enter(self, *argv: str) -> tuple[str, ...]:
        """The command as it is run in the cluster's network. `ip netns exec` would hide /sys/fs/cgroup."""
        return ("nsenter", f"--net=/run/netns/{self.netns}", *argv) if self.netns else argv

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        return self.root / "containerd.sock"

    @property
    def zones(self) -> Path:
        return self.root / "zones"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"


def whole() -> Place:
    """The machine's test cluster. Its ports are free for certain: the namespace is its own. Another folder
    and another gate make a second one."""
    root = Path(os.environ.get("WAYSTATION_CLUSTER_DIR", "/var/tmp/waystation-cluster"))
    gate = int(os.environ.get("WAYSTATION_CLUSTER_PORT", "16443"))
    ports = Ports(etcd=2379, etcd_peers=2380, api=6443, gate=gate, controllers=10257, scheduler=10259)
    return Place(root, ports, netns=root.name)
