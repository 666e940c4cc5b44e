"""The command line of every program of the cluster, and the order in which they start.

Pure: a :class:`Place` in, daemons out; their configuration files are
``configuration.py``'s.
"""

import sys
from pathlib import Path

from tests.cluster.driver import binaries
from tests.cluster.driver.daemon import Daemon
from tests.cluster.driver.place import NODE, NODE_IP, PODS, SERVICES, Place

_OURS = {"PYTHONPATH": str(Path(__file__).parents[3])}  # programs of this folder, wherever they are started


def control_plane(place: Place) -> tuple[Daemon, ...]:
    return (etcd(place), api_server(place), controllers(place), scheduler(place))


def everything(place: Place) -> tuple[Daemon, ...]:
    """In the order of starting."""
    return (
        etcd(place),
        api_server(place),
        gate(place),
        containerd(place),
        controllers(place),
        scheduler(place),
        kubelet(place),
        proxy(place),
        coredns(place),
        storage(place),
    )


def etcd(place: Place) -> Daemon:
    clients, peers = (f"http://127.0.0.1:{port}" for port in (place.ports.etcd, place.ports.etcd_peers))
    argv = (
        "etcd",
        f"--data-dir={place.root / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",  # kill -9 loses nothing by it, only a power cut would
        "--log-level=warn",
    )
    return Daemon("etcd", argv)


def api_server(place: Place) -> Daemon:
    pki = place.root / "pki"
    # Without a node there is no address that pods could be given for it.
    advertise = (
        (f"--advertise-address={NODE_IP}",)
        if place.netns
        else ("--bind-address=127.0.0.1", "--endpoint-reconciler-type=none")
    )
    argv = (
        str(binaries.where("kube-apiserver")),
        f"--etcd-servers=http://127.0.0.1:{place.ports.etcd}",
        f"--service-account-key-file={pki / 'service-accounts.key'}",
        f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'api.crt'}",
        f"--tls-private-key-file={pki / 'api.key'}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--secure-port={place.ports.api}",
        f"--kubelet-client-certificate={pki / 'admin.crt'}",
        f"--kubelet-client-key={pki / 'admin.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",  # logs and exec would look the node's name up
        "--allow-privileged=true",
        *advertise,
    )
    return Daemon("kube-apiserver", argv)


def controllers(place: Place) -> Daemon:
    pki = place.root / "pki"
    kubeconfig = pki / "controllers.kubeconfig"
    argv = (
        str(binaries.where("kube-controller-manager")),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={pki / 'service-accounts.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--use-service-account-credentials",
        "--allocate-node-cidrs",
        f"--cluster-cidr={PODS}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={place.ports.controllers}",
    )
    return Daemon("kube-controller-manager", argv)


def scheduler(place: Place) -> Daemon:
    kubeconfig = place.root / "pki" / "scheduler.kubeconfig"
    argv = (
        str(binaries.where("kube-scheduler")),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={place.ports.scheduler}",
    )
    return Daemon("kube-scheduler", argv)


def containerd(place: Place) -> Daemon:
    return Daemon("containerd", ("containerd", f"--config={place.root / 'containerd.toml'}"))


def kubelet(place: Place) -> Daemon:
    argv = (
        str(binaries.where("kubelet")),
        f"--config={place.root / 'kubelet.json'}",
        f"--kubeconfig={place.root / 'pki' / 'node.kubeconfig'}",
        f"--root-dir={place.root / 'kubelet'}",
        f"--cert-dir={place.root / 'pki' / 'kubelet'}",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_IP}",
        "--node-labels=topology.kubernetes.io/zone=zone-a",
        "--v=2",
    )
    return Daemon("kubelet", argv)


def proxy(place: Place) -> Daemon:
    argv = (
        str(binaries.where("kube-proxy")),
        f"--kubeconfig={place.root / 'pki' / 'proxy.kubeconfig'}",
        f"--hostname-override={NODE}",
        f"--cluster-cidr={PODS}",
        "--proxy-mode=nftables",
        "--conntrack-max-per-core=0",  # these are the machine's, not the namespace's
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    )
    return Daemon("kube-proxy", argv)


def coredns(place: Place) -> Daemon:
    return Daemon("coredns", (str(binaries.where("coredns")), "-conf", str(place.root / "Corefile")))


def storage(place: Place) -> Daemon:
    """The provisioner of the StorageClass ``standard``."""
    return Daemon(
        "storage",
        (sys.executable, "-m", "tests.cluster", "storage"),
        environment=_OURS,
    )


def gate(place: Place) -> Daemon:
    """The way in: it alone is outside, and passes connections to the API server on."""
    return Daemon("gate", (sys.executable, "-m", "tests.cluster", "gate"), inside=False, environment=_OURS)
