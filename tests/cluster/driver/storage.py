"""The provisioner behind the StorageClass ``standard``: a folder of the node for each claim.

Volumes are of type ``local``, since the kubelet gives those to the pod's
fsGroup as it does with a real disk's. A claim that grows is granted at once;
a released volume is deleted with its folder. Nothing limits how much is
written to one.

``decide`` is pure; ``serve`` looks at all claims and volumes after every change
of one, and every few seconds, until the process ends. While the API server is
away it asks again each second.
"""

import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch
from tests.cluster.driver.configuration import PROVISIONER
from tests.cluster.driver.place import NODE, Place

Body = dict[str, Any]
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_WANTED_FROM = "volume.kubernetes.io/storage-provisioner"


@dataclass(frozen=True, slots=True)
class Create:
    claim: Body


@dataclass(frozen=True, slots=True)
class Grow:
    claim: Body
    size: str


@dataclass(frozen=True, slots=True)
class Delete:
    volume: Body


Step = Create | Grow | Delete


def decide(claims: list[Body], volumes: list[Body]) -> list[Step]:
    """What is to be done, given everything there is."""
    ours = {v["metadata"]["name"]: v for v in volumes if _annotation(v, _PROVISIONED_BY) == PROVISIONER}
    steps: list[Step] = []
    for claim in claims:
        if _annotation(claim, _WANTED_FROM) != PROVISIONER or "deletionTimestamp" in claim["metadata"]:
            continue
        volume, asked = ours.get(volume_name(claim)), claim["spec"]["resources"]["requests"]["storage"]
        if volume is None and not claim["spec"].get("volumeName"):
            steps.append(Create(claim))
        elif volume and claim["status"].get("capacity", {}).get("storage") not in (None, asked):
            steps.append(Grow(claim, asked))
    steps += [
        Delete(volume)
        for volume in ours.values()
        if volume["status"].get("phase") == "Released"
        and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    ]
    return steps


def volume_name(claim: Body) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def volume(claim: Body, folder: Path) -> Body:
    """The volume for a claim."""
    metadata, asked = claim["metadata"], claim["spec"]
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume_name(claim), "annotations": {_PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "accessModes": asked["accessModes"],
            "capacity": {"storage": asked["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": asked.get("storageClassName", ""),
            "volumeMode": asked.get("volumeMode", "Filesystem"),
        },
    }


def _annotation(body: Body, name: str) -> str | None:
    found: str | None = (body["metadata"].get("annotations") or {}).get(name)
    return found


def serve(place: Place) -> None:
    config.load_kube_config(str(place.root / "pki" / "admin.kubeconfig"))
    core = client.CoreV1Api()
    while True:
        try:
            _wait_for_change(core, _pass(core, place))
        except Exception as error:  # noqa: BLE001 # the API server goes away in tests, in every possible way
            print(f"storage: {type(error).__name__}: {error}"[:500], file=sys.stderr, flush=True)
            time.sleep(1)


def _pass(core: client.CoreV1Api, place: Place) -> str:
    """Do what there is to do; the version of the claims that were looked at."""
    raw = {"_preload_content": False, "_request_timeout": 10}
    claims = json.loads(core.list_persistent_volume_claim_for_all_namespaces(**raw).data)
    volumes = json.loads(core.list_persistent_volume(**raw).data)
    for step in decide(claims["items"], volumes["items"]):
        print(f"storage: {_act(core, place, step)}", flush=True)
    version: str = claims["metadata"]["resourceVersion"]
    return version


def _act(core: client.CoreV1Api, place: Place, step: Step) -> str:
    match step:
        case Create(claim):
            folder = place.volumes / volume_name(claim)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            core.create_persistent_volume(volume(claim, folder))
            return f"made {folder} for {_named(claim)}"
        case Grow(claim, size):
            core.patch_persistent_volume(volume_name(claim), {"spec": {"capacity": {"storage": size}}})
            metadata = claim["metadata"]
            status = {
                "status": {"capacity": {"storage": size}, "conditions": None, "allocatedResources": None}
            }
            core.patch_namespaced_persistent_volume_claim_status(
                metadata["name"], metadata["namespace"], status
            )
            return f"{_named(claim)} has {size} now"
        case Delete(released):
            name = released["metadata"]["name"]
            shutil.rmtree(place.volumes / name, ignore_errors=True)
            core.delete_persistent_volume(name)
            return f"deleted {name}"


def _named(claim: Body) -> str:
    return f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"


def _wait_for_change(core: client.CoreV1Api, version: str) -> None:
    """Until a claim has changed since, or for five seconds: a volume changes after its claim, unwatched."""
    stream = watch.Watch().stream(
        core.list_persistent_volume_claim_for_all_namespaces,
        resource_version=version,
        timeout_seconds=5,
        _request_timeout=10,
    )
    for _ in stream:
        return
