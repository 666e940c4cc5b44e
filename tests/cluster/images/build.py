"""The images the tests run, as OCI archives: ``build()`` makes those that are missing or have changed.

An image's tag is the hash of everything it was made from, so an unchanged
tree is answered from the cache within a second, and a changed one gets pods
that refer to it restarted.
"""

import os
import tempfile
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.images import base, buildah, place, source
from tests.cluster.images.source import Source

REPOSITORY = "docker.io/library"  # what Kubernetes makes of a name without one
EPOCH = 1580601600  # 2020-02-02, what hatchling takes as well: zip files know no time before 1980
# Image → the Containerfile's target; "" builds the last.
TARGETS = {"waystation-relay": "relay", "waystation-operator": "operator", "waystation-peers": ""}
TAKES = {
    "waystation-relay": "half a minute",
    "waystation-operator": "half a minute",
    "waystation-peers": "a minute",
}


@dataclass(frozen=True, slots=True)
class Archive:
    """An image in a file, and the reference that a pod names it by once it was loaded."""

    name: str
    source: Source
    path: Path

    @property
    def tag(self) -> str:
        return self.source.key

    @property
    def reference(self) -> str:
        return f"{REPOSITORY}/{self.name}:{self.tag}"

    @property
    def stored(self) -> str:
        """What buildah's store calls it."""
        return f"localhost/{self.name}:{self.tag}"


def epoch() -> int:
    return int(os.environ.get("SOURCE_DATE_EPOCH") or EPOCH)


def version() -> str:
    project = tomllib.loads((source.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def sources() -> dict[str, Source]:
    """By image. The peers contain nothing of the checkout but their own Containerfile."""
    common = (base.SOURCE.key, str(epoch()))
    peers = {"Containerfile": (source.HERE / "peers.Containerfile").read_bytes()}
    product = source.product()
    return {name: Source(product if target else peers, (*common, name)) for name, target in TARGETS.items()}


def build(names: Collection[str] = TARGETS, *, renew: bool = False) -> list[Archive]:
    """Archives of the named images. ``renew`` makes the base and all of them again, from scratch."""
    made = []
    for name, of in sources().items():
        if name not in names:
            continue
        archive = Archive(name, of, place.cache() / f"{name}-{of.key}.tar")
        if renew or not archive.path.exists():
            with place.locked():
                if renew or not archive.path.exists():  # somebody else may have made it meanwhile
                    _make(archive, renew=renew and not made)
        archive.path.touch()
        made.append(archive)
    return made


def _make(archive: Archive, *, renew: bool) -> None:
    buildah.bound()
    parent = base.ensure(epoch=epoch(), renew=renew)
    print(f"==> image {archive.name} (about {TAKES[archive.name]})", flush=True)
    assemble(archive, archive.stored, parent, fresh=renew)
    buildah.write(archive.stored, archive.path, archive.tag)
    buildah.forget(archive.name, place.retire(archive.path, archive.name))
    print(f"    {archive.reference}, {archive.path.stat().st_size >> 20} MiB", flush=True)


def assemble(archive: Archive, tag: str, parent: str, *, fresh: bool) -> None:
    """Builds what the archive is made from into buildah's store, under this tag."""
    target = TARGETS[archive.name]
    arguments = {"BASE": parent}
    if target:
        arguments |= {"SOURCE_DATE_EPOCH": str(epoch()), "VERSION": version()}
    with tempfile.TemporaryDirectory() as folder:
        archive.source.write(Path(folder))
        buildah.bud(Path(folder), tag, epoch=epoch(), arguments=arguments, fresh=fresh, target=target)
