"""Programs of the cluster that Debian has, checked all at once."""

import os
import shutil
from pathlib import Path

from tests.cluster.driver.failure import ClusterError

CONTROL_PLANE = {"etcd": "etcd-server"}
NODE = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "/bin/busybox": "busybox-static",
}
IMAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}


def require(*tables: dict[str, str]) -> None:
    """ClusterError naming everything that is missing, and the one line that installs it."""
    absent = {name: package for table in tables for name, package in table.items() if not _there(name)}
    if absent:
        packages = " ".join(sorted(set(absent.values())))
        raise ClusterError(
            f"missing {', '.join(absent)}; on Debian or Ubuntu: "
            f"apt-get install --no-install-recommends {packages}"
        )


def _there(name: str) -> bool:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
    return Path(name).exists() if name.startswith("/") else shutil.which(name, path=path) is not None
