"""The configuration files of the node's programs and of CoreDNS, and the objects every cluster here has."""

import json
from typing import Any

from tests.cluster.driver.place import DNS_SERVICE_IP, NODE_IP, Place

PAUSE_IMAGE = "localhost/pause:1"
PROVISIONER = "waystation.dev/test-storage"


def write(place: Place) -> None:
    for folder in ("cni", "cni-state", "kubelet", "volumes", "zones", "logs"):
        (place.root / folder).mkdir(parents=True, exist_ok=True)
    files = {
        "containerd.toml": containerd(place),
        "cni/10-pods.conflist": json.dumps(network(place), indent=1),
        "kubelet.json": json.dumps(kubelet(place), indent=1),
        "resolv.conf": f"nameserver {DNS_SERVICE_IP}\n",
        "Corefile": corefile(place),
        "zones/db..": ROOT_ZONE,
    }
    for name, text in files.items():
        (place.root / name).write_text(text, encoding="utf-8")


def containerd(place: Place) -> str:
    # restrict_oom_score_adj: a negative score needs CAP_SYS_RESOURCE, and runc dies without saying so.
    return f"""version = 2
root = "{place.root}/containerd/root"
state = "{place.root}/containerd/state"
[grpc]
  address = "{place.containerd_socket}"
[ttrpc]
  address = "{place.containerd_socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{place.root}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "{PAUSE_IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{place.root}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{place.root}/runc"
"""


def network(place: Place) -> dict[str, Any]:
    """A cable from the node to each pod. On a bridge, a pod's answer to a neighbour that called it through
    a Service would take the direct way and keep its own address."""
    addresses = {
        "type": "host-local",
        "dataDir": str(place.root / "cni-state"),
        "ranges": [[{"subnet": "198.18.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    cable = {"type": "ptp", "ipMasq": False, "ipam": addresses}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": place.netns, "plugins": [cable, ports]}


def kubelet(place: Place) -> dict[str, Any]:
    pki = place.root / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / "node.crt"),
        "tlsPrivateKeyFile": str(pki / "node.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.netns}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{place.containerd_socket}",
        "clusterDNS": [DNS_SERVICE_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": str(place.root / "resolv.conf"),
        "podLogsDir": str(place.root / "pod-logs"),
        "volumePluginDir": str(place.root / "kubelet" / "volume-plugins"),
        # There is nowhere to pull an image from a second time.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi"},
    }


# What no other zone answers does not exist, and that is said at once.
ROOT_ZONE = """$TTL 1
@ IN SOA ns. nobody. 1 60 60 60 1
@ IN NS ns.
ns. IN A 198.18.255.1
"""


def corefile(place: Place) -> str:
    """The cluster's names, and zones of the tests' own: a file ``zones/db.NAME`` is served a second later."""
    return f"""cluster.local in-addr.arpa ip6.arpa {{
    bind {NODE_IP}
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {place.root}/pki/admin.kubeconfig
        ttl 1
    }}
}}
. {{
    bind {NODE_IP}
    errors
    auto . {{
        directory {place.zones} db\\.(.*) {{1}}
        reload 1s
    }}
}}
"""


def objects() -> list[dict[str, Any]]:
    """The Service of the cluster's DNS, whose server is a process of the node, and the StorageClass."""
    port = [{"name": name, "port": 53, "protocol": name.upper()} for name in ("udp", "tcp")]
    dns = {"name": "kube-dns", "namespace": "kube-system"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": dns,
            "spec": {"clusterIP": DNS_SERVICE_IP, "ports": port},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": dns | {"labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": True}}],
            "ports": port,
        },
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": "standard",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
            "allowVolumeExpansion": True,
        },
    ]
