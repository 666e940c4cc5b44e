"""The lock files: every Python distribution in the images, with its version and the hashes of its files.

``make image-lock`` writes them anew with the newest versions that
pyproject.toml allows; tests/image checks that they still satisfy it. The
files hold for every Python that Waystation supports and every platform, so
another base image needs no other lock file.
"""

import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What a target of the Containerfile contains, as extras of the distribution. The relay's image answers
# `waystation sink` as well: a test of an installation then needs this one image at both ends.
EXTRAS = {"relay": ("relay", "sink"), "operator": ("operator",)}
BUILD = "build"  # what turns the source into a wheel; in no image


def file_of(name: str) -> Path:
    return ROOT / "images" / f"{name}.txt"


def project() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        subprocess.run(
            [python, "-m", "pip", "install", "--disable-pip-version-check", "-q", "uv"], check=True
        )
        resolve = [
            *(Path(folder, "bin", "uv"), "pip", "compile", "--quiet", "--no-config", "--universal"),
            *("--python-version", "3.11", "--generate-hashes", "--upgrade"),
            *("--custom-compile-command", "make image-lock"),
        ]
        for name, extras in EXTRAS.items():
            chosen = [option for extra in extras for option in ("--extra", extra)]
            print(f"    images/{name}.txt", flush=True)
            subprocess.run([*resolve, *chosen, "-o", file_of(name), "pyproject.toml"], cwd=ROOT, check=True)
        print(f"    images/{BUILD}.txt", flush=True)
        requires = project()["build-system"]["requires"]
        assert isinstance(requires, list)
        text = "\n".join(requires)
        subprocess.run([*resolve, "-o", file_of(BUILD), "-"], cwd=ROOT, input=text, text=True, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
