"""Runs buildah with a store of its own, so that no other image on this machine is touched.

Works as root in a container too: no user namespace, no cgroup, no daemon;
each RUN is a chroot in the network of the host.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster.images.place import cache

CERTIFICATES = Path("/etc/ssl/certs")
STORE_LIMIT_MIB = 12_000  # of intermediate layers; past that the store is begun anew
SHOWN = 40  # lines of a build that failed
# How this machine reaches packages, if it says so: a mirror, and whom to trust.
_REACH = ("PIP_INDEX_URL", "PIP_CERT")


def command(*arguments: str) -> list[str]:
    store = cache() / "storage"
    return [
        "buildah", "--root", str(store / "root"), "--runroot", str(store / "run"),
        "--storage-driver", _driver(store), *arguments,
    ]  # fmt: skip


def _driver(store: Path) -> str:
    """overlay where the kernel mounts one here, else vfs, which copies each layer whole."""
    for known in ("overlay", "vfs"):
        if (store / "root" / known).exists():
            return known
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        for name in ("lower", "upper", "work", "merged"):
            Path(folder, name).mkdir()
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, f"{folder}/merged"]
        if subprocess.run(mount, capture_output=True).returncode:
            return "vfs"
        subprocess.run(["umount", f"{folder}/merged"], check=True)
        return "overlay"


def run(*arguments: str) -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"buildah {arguments[0]} failed:\n{done.stderr}")
    return done.stdout


def bud(
    folder: Path, tag: str, *, epoch: int, arguments: dict[str, str], fresh: bool, target: str = ""
) -> None:
    """Builds one target of the folder's Containerfile, showing its steps; if it fails, all that was said."""
    options = [
        *("--isolation", "chroot", "--network", "host", "--layers", "--force-rm", "--identity-label=false"),
        *("--timestamp", str(epoch), "--tag", tag),
    ]
    if target and CERTIFICATES.is_dir():  # not where packages are configured: they write there
        options += ["--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"]
    if target:
        options += ["--target", target]
    if fresh:
        options.append("--no-cache")
    reach = {name: os.environ[name] for name in _REACH if os.environ.get(name)}
    for name, value in {**reach, **arguments}.items():
        options += ["--build-arg", f"{name}={value}"]
    said = []
    with subprocess.Popen(
        command("bud", *options, str(folder)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as building:
        assert building.stdout is not None
        for line in building.stdout:
            said.append(line)
            if "STEP" in line and any(word in line for word in ("FROM", "RUN", "COPY")):
                print(f"      {line.strip()[:110]}", flush=True)
    if building.returncode:
        raise SystemExit(f"the image {tag} could not be built:\n{''.join(said[-SHOWN:])}")


def has(tag: str) -> bool:
    return subprocess.run(command("inspect", "--type", "image", tag), capture_output=True).returncode == 0


def write(tag: str, archive: Path, name: str) -> None:
    """An OCI archive, uncompressed: it goes from this disk to this disk. Whole or not at all."""
    unfinished = archive.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    run("push", "--quiet", "--disable-compression", tag, f"oci-archive:{unfinished}:{name}")
    unfinished.rename(archive)


def forget(name: str, kept: set[str]) -> None:
    """Removes this image's other tags; one that a container still uses stays until the next time."""
    tags = run("images", "--format", "{{.Tag}}", "--filter", f"reference=localhost/{name}").split()
    for tag in tags:
        if tag not in kept:
            subprocess.run(command("rmi", f"localhost/{name}:{tag}"), capture_output=True)


def bound() -> None:
    store = cache() / "storage"
    used = subprocess.run(["du", "-sm", store], capture_output=True, text=True).stdout.split()
    if used and int(used[0]) > STORE_LIMIT_MIB:
        print(f"    {store} holds {used[0]} MiB of layers; beginning anew", file=sys.stderr)
        run("rm", "--all")  # what a test that was killed left mounted
        subprocess.run(["umount", str(store / "root" / "overlay")], capture_output=True)  # buildah's own
        shutil.rmtree(store)
