"""What is in the images, and what is not."""

import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.cluster.images import base, buildah
from tests.cluster.images.build import Archive
from tests.cluster.images.container import Containers, Rootfs, read_only
from tests.cluster.images.source import ROOT

HOME = "/opt/waystation"
PYTHON = f"{HOME}/bin/python"
BILL = "/usr/share/waystation/sbom.cdx.json"
LIMIT_MB = {"waystation-relay": 120, "waystation-operator": 160}
# Distributions that must not be in an image: another program's, or a tool for building.
ABSENT = {
    "waystation-relay": {"pip", "setuptools", "wheel", "hatchling", "kopf", "kubernetes", "pydantic"},
    "waystation-operator": {"pip", "setuptools", "wheel", "hatchling", "uvloop", "aiosmtpd"},
}
IMAGES = pytest.mark.parametrize("name", LIMIT_MB)


@pytest.fixture
def rootfs(name: str, request: pytest.FixtureRequest) -> Rootfs:
    found = request.getfixturevalue(f"{name.removeprefix('waystation-')}_rootfs")
    assert isinstance(found, Rootfs)
    return found


@pytest.fixture
def image(rootfs: Rootfs, tmp_path: Path) -> Containers:
    return Containers(rootfs, tmp_path)


def added_bytes(archive: Path) -> int:
    """The size of the files in the layers above the base, unpacked."""
    with tarfile.open(archive) as outer:

        def blob(digest: str) -> str:
            return f"blobs/{digest.replace(':', '/')}"

        def document(path: str) -> dict[str, list[dict[str, str]]]:
            file = outer.extractfile(path)
            assert file is not None
            return json.load(file)

        manifest = document(blob(document("index.json")["manifests"][0]["digest"]))
        assert len(manifest["layers"]) == 3, "the base, the libraries, Waystation"
        total = 0
        for layer in manifest["layers"][1:]:
            with tarfile.open(fileobj=outer.extractfile(blob(layer["digest"]))) as inner:
                total += sum(member.size for member in inner)
        return total


@IMAGES
def test_little_is_added_to_the_base(name: str, archives: dict[str, Archive]) -> None:
    """A node pulls less than 120 MB for a relay beyond the base it may have already."""
    size = added_bytes(archives[name].path)
    print(f"\n{name}: {size / 1e6:.1f} MB above the base")
    assert size < LIMIT_MB[name] * 1e6


@IMAGES
def test_only_what_the_program_needs_is_installed(name: str, rootfs: Rootfs) -> None:
    """No package installer and no other program's libraries: nothing to patch that nobody uses."""
    there = {one["name"] for one in json.loads(rootfs.file(BILL).read_text())["components"]}
    assert there & ABSENT[name] == set()
    for compiler in ("gcc", "cc", "g++", "make"):
        assert not list(rootfs.path.glob(f"usr/**/bin/{compiler}"))


@IMAGES
def test_bill_of_materials_is_true(name: str, image: Containers) -> None:
    """The bill in the image names each distribution that is there, and each file is as its package had it."""
    run = image.run(
        *("/images/sbom.py", "verify", BILL),
        entrypoint=[PYTHON],
        mounts=[read_only(ROOT / "images", "/images")],
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "all as the bill says" in run.stdout


@IMAGES
def test_nothing_is_compiled_at_start(name: str, rootfs: Rootfs, image: Containers) -> None:
    """With a read-only root each start would compile again; so all that a start loads is compiled already."""
    program = {
        "waystation-relay": "waystation_relay.cli.relay",
        "waystation-operator": "waystation_operator.cli.check",
    }
    code = (
        f"import sys, pathlib, {program[name]}\n"
        "for m in sorted(sys.modules.values(), key=str):\n"
        "    cached = getattr(m, '__cached__', None)\n"
        "    if cached and not pathlib.Path(cached).exists(): print(m.__name__)\n"
    )
    run = image.run("-c", code, entrypoint=[PYTHON])
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@IMAGES
def test_bytecode_does_not_depend_on_file_times(name: str, rootfs: Rootfs) -> None:
    """Whatever a registry makes of a file's time: bytecode is valid by declaration (PEP 552)."""
    compiled = list(rootfs.file(HOME).rglob("*.pyc"))
    assert len(compiled) > 100
    assert [path for path in compiled if path.read_bytes()[4:8] != b"\x01\x00\x00\x00"] == []


@IMAGES
def test_labels_and_defaults(name: str, archives: dict[str, Archive], rootfs: Rootfs) -> None:
    """Who looks at the image learns what it is; who runs it without a word does not run it as root."""
    config = rootfs.config
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["waystation"]
    assert (config["WorkingDir"], config["StopSignal"]) == ("/", "SIGTERM")
    labels = config["Labels"]
    assert labels["dev.waystation.sbom"] == BILL
    assert {key.rpartition(".")[2] for key in labels if key.startswith("org.opencontainers.image.")} == {
        "title", "description", "licenses", "version", "revision", "source", "name",
    }  # fmt: skip
    assert labels["org.opencontainers.image.title"] == name
    assert labels["org.opencontainers.image.base.name"] == base.TAG


@pytest.mark.parametrize(
    ("name", "arguments", "extra"),
    [
        ("waystation-relay", ("check", "pool.yaml"), "operator"),
        ("waystation-operator", ("relay", "--config", "relay.json"), "relay"),
    ],
    ids=["relay image, operator's command", "operator image, relay's command"],
)
def test_other_image_s_commands_say_so(
    name: str, arguments: tuple[str, ...], extra: str, image: Containers
) -> None:
    """A command in the wrong image ends with one sentence that names what is missing."""
    run = image.run(*arguments)
    assert run.returncode == 1
    assert f"waystation[{extra}]" in run.stderr
    assert "Traceback" not in run.stderr


def test_operator_image_reads_resources(operator_image: Containers, tmp_path: Path) -> None:
    """The operator's image validates RelayPools and MailRoutes without any of the relay's libraries."""
    run = operator_image.run(
        "check", "/examples/outbound.yaml", mounts=[read_only(ROOT / "docs/examples", "/examples")]
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_peers_have_their_programs(archives: dict[str, Archive], tmp_path: Path) -> None:
    """Pods of the end-to-end tests find swaks, Postfix, Dovecot and openssl."""
    tag = archives["waystation-peers"].stored
    container = buildah.run("from", "--pull-never", tag).strip()
    try:
        root = Path(buildah.run("mount", container).strip())
        for name in ("swaks", "postfix", "dovecot", "openssl", "python3"):
            path = f"PATH=/usr/sbin:/usr/bin command -v {name}"
            assert subprocess.run(["chroot", str(root), "/bin/sh", "-c", path]).returncode == 0, name
        assert (root / "usr/lib/dovecot/lmtp").exists()
    finally:
        buildah.run("rm", container)
