"""The bill of materials of an image: which Python distributions it contains, and whether that is so.

    python sbom.py write FILE NAME    CycloneDX 1.6, from the distributions this Python finds
    python sbom.py verify FILE        compares FILE with them, and every installed file with its recorded hash

Runs inside an image or a stage of its build, with the standard library
alone. It covers what Waystation adds to its base image; the base has its own
bill. Compiled bytecode is in no RECORD and therefore not compared.
"""

import base64
import hashlib
import json
import os
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

RECORD_HASH = "waystation:record:sha256"  # of the distribution's own list of files and hashes
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def normal(name: str) -> str:
    """A distribution's name as package indexes write it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def reference(distribution: Distribution) -> str:
    return f"pkg:pypi/{normal(distribution.name)}@{distribution.version}"


def installed() -> dict[str, Distribution]:
    """By normal name; the first on the path is the one that is imported."""
    found: dict[str, Distribution] = {}
    for distribution in distributions():
        found.setdefault(normal(distribution.name), distribution)
    return dict(sorted(found.items()))


def component(distribution: Distribution) -> dict[str, Any]:
    about = distribution.metadata
    licence = about.get("License-Expression")
    trove = [line for line in about.get_all("Classifier", []) if line.startswith("License :: OSI")]
    named = trove[0].rpartition(" :: ")[2] if trove else (about.get("License") or "unknown").strip()
    record = distribution.read_text("RECORD") or ""
    return {
        "type": "library",
        "bom-ref": reference(distribution),
        "name": normal(distribution.name),
        "version": distribution.version,
        "purl": reference(distribution),
        "licenses": [{"expression": licence}] if licence else [{"license": {"name": named.splitlines()[0]}}],
        "properties": [{"name": RECORD_HASH, "value": hashlib.sha256(record.encode()).hexdigest()}],
    }


def needs(distribution: Distribution, among: dict[str, Distribution]) -> list[str]:
    """What of the image it names as a requirement; extras and markers are not evaluated."""
    names = {normal(match[0]) for line in distribution.requires or [] if (match := _REQUIREMENT.match(line))}
    return [reference(among[name]) for name in sorted(names & among.keys())]


def document(image: str) -> dict[str, Any]:
    found = installed()
    metadata: dict[str, Any] = {"component": {"type": "container", "bom-ref": image, "name": image}}
    if "waystation" in found:
        metadata["component"]["version"] = found["waystation"].version
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        metadata["timestamp"] = datetime.fromtimestamp(int(epoch), UTC).isoformat()
    edges = [{"ref": image, "dependsOn": [reference(found["waystation"])]}] if "waystation" in found else []
    edges += [{"ref": reference(one), "dependsOn": needs(one, found)} for one in found.values()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": metadata,
        "components": [component(one) for one in found.values()],
        "dependencies": edges,
    }


def differences(bill: dict[str, Any]) -> list[str]:
    """What the image contains otherwise than the bill says, in words."""
    said = {one["purl"]: one for one in bill["components"]}
    is_there = {reference(one): one for one in installed().values()}
    problems = [f"{ref} is in the bill, not in the image" for ref in said.keys() - is_there.keys()]
    problems += [f"{ref} is in the image, not in the bill" for ref in is_there.keys() - said.keys()]
    for ref in sorted(said.keys() & is_there.keys()):
        if component(is_there[ref])["properties"] != said[ref]["properties"]:
            problems.append(f"{ref}: its RECORD is not the one in the bill")
        problems += [f"{ref}: {problem}" for problem in altered(is_there[ref])]
    return problems


def altered(distribution: Distribution) -> list[str]:
    problems = []
    for file in distribution.files or []:
        if file.hash is None:
            continue
        try:
            content = Path(str(file.locate())).read_bytes()
        except OSError as error:
            problems.append(f"{file}: {error.strerror}")
            continue
        digest = hashlib.new(file.hash.mode, content).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            problems.append(f"{file} is not what was installed")
    return problems


def main(arguments: list[str]) -> int:
    match arguments:
        case ["write", file, image]:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(json.dumps(document(image), indent=1) + "\n", encoding="utf-8")
            return 0
        case ["verify", file]:
            bill = json.loads(Path(file).read_text(encoding="utf-8"))
            problems = differences(bill)
            print("\n".join(problems) or f"{len(bill['components'])} distributions, all as the bill says")
            return 1 if problems else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
