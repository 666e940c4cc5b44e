"""The bill of materials: what it says of what is installed, and that it notices when that changes."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "images" / "sbom.py"
METADATA = """Metadata-Version: 2.4
Name: {name}
Version: {version}
License-Expression: Apache-2.0
{more}
"""


def install(site: Path, name: str, version: str = "1.0", more: str = "") -> None:
    """A distribution of one module, with metadata and RECORD as an installer leaves them."""
    module = name.lower().replace("-", "_")
    content = f"'''{name} {version}'''\n".encode()
    (site / f"{module}.py").write_bytes(content)
    about = site / f"{module}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA.format(name=name, version=version, more=more), encoding="utf-8")
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    record = f"{module}.py,sha256={digest},{len(content)}\n{about.name}/METADATA,,\n{about.name}/RECORD,,\n"
    (about / "RECORD").write_text(record, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site-packages"
    site.mkdir()
    install(site, "waystation", "0.1.0", "Requires-Dist: Some-Library>=1")
    install(site, "Some-Library", "2.5")
    return site


def sbom(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with nothing installed but what is in ``site``."""
    return subprocess.run(
        [sys.executable, "-S", str(SCRIPT), *arguments], capture_output=True, text=True, timeout=30,
        env={**os.environ, "PYTHONPATH": str(site), "SOURCE_DATE_EPOCH": "1580601600"},
    )  # fmt: skip


@pytest.fixture
def bill(site: Path, tmp_path: Path) -> Path:
    bill = tmp_path / "share" / "sbom.cdx.json"
    run = sbom(site, "write", str(bill), "waystation-relay")
    assert run.returncode == 0, run.stderr
    return bill


def test_bill_names_each_distribution(bill: Path) -> None:
    """Scanners find name, version, package URL and licence of each library, and who needs it."""
    said = json.loads(bill.read_text(encoding="utf-8"))
    assert (said["bomFormat"], said["specVersion"]) == ("CycloneDX", "1.6")
    assert [(one["purl"], one["licenses"]) for one in said["components"]] == [
        ("pkg:pypi/some-library@2.5", [{"expression": "Apache-2.0"}]),
        ("pkg:pypi/waystation@0.1.0", [{"expression": "Apache-2.0"}]),
    ]
    assert said["metadata"]["component"] == {
        "type": "container", "bom-ref": "waystation-relay", "name": "waystation-relay", "version": "0.1.0",
    }  # fmt: skip
    assert said["metadata"]["timestamp"] == "2020-02-02T00:00:00+00:00"
    edges = {one["ref"]: one["dependsOn"] for one in said["dependencies"]}
    assert edges["waystation-relay"] == ["pkg:pypi/waystation@0.1.0"]
    assert edges["pkg:pypi/waystation@0.1.0"] == ["pkg:pypi/some-library@2.5"]


def test_true_bill_is_confirmed(site: Path, bill: Path) -> None:
    """Right after it was written, all is as it says."""
    run = sbom(site, "verify", str(bill))
    assert (run.returncode, run.stdout) == (0, "2 distributions, all as the bill says\n")


def change_file(site: Path) -> None:
    (site / "some_library.py").write_text("import evil\n", encoding="utf-8")


def remove_file(site: Path) -> None:
    (site / "some_library.py").unlink()


def change_record(site: Path) -> None:
    with (site / "some_library-2.5.dist-info" / "RECORD").open("a", encoding="utf-8") as record:
        record.write("another.py,,\n")


def remove_distribution(site: Path) -> None:
    (site / "some_library-2.5.dist-info").rename(site.parent / "gone")


def add_distribution(site: Path) -> None:
    install(site, "unheard-of")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (change_file, "some_library.py is not what was installed"),
        (remove_file, "some_library.py: No such file"),
        (change_record, "its RECORD is not the one in the bill"),
        (remove_distribution, "pkg:pypi/some-library@2.5 is in the bill, not in the image"),
        (add_distribution, "pkg:pypi/unheard-of@1.0 is in the image, not in the bill"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_changed_image_is_noticed(change: Callable[[Path], None], says: str, site: Path, bill: Path) -> None:
    """Whatever was changed, taken out or put in after the build is named."""
    change(site)
    run = sbom(site, "verify", str(bill))
    assert run.returncode == 1
    assert says in run.stdout


def test_same_content_gives_the_same_bill(site: Path, bill: Path, tmp_path: Path) -> None:
    """Two builds write the same bytes: no random serial number, no clock."""
    sbom(site, "write", str(tmp_path / "again.json"), "waystation-relay")
    assert (tmp_path / "again.json").read_bytes() == bill.read_bytes()
