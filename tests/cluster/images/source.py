"""What an image is made from: the files, as bytes, and the one hash over them.

The files are read once, and built from a copy of what was read. So a file
that changes meanwhile is either in both or in neither, and owner, mode and
time in the checkout make no difference.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
KEY_LENGTH = 12
# The same as .containerignore lets through; tests/image compares the two.
PRODUCT = ("Containerfile", "LICENSE", "README.md", "images", "operator", "pyproject.toml", "relay")


@dataclass(frozen=True, slots=True)
class Source:
    files: dict[str, bytes]  # by path below the build's folder
    also: tuple[str, ...] = ()  # what else the result depends on: arguments, the base's key

    @property
    def key(self) -> str:
        total = hashlib.sha256()
        for part in self.also:
            total.update(b"%d:%s" % (len(part.encode()), part.encode()))
        for path, content in sorted(self.files.items()):
            total.update(b"%d:%s%d:%s" % (len(path), path.encode(), len(content), content))
        return total.hexdigest()[:KEY_LENGTH]

    def write(self, folder: Path) -> None:
        for path, content in self.files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            file.write_bytes(content)
            file.chmod(0o644)


def product() -> dict[str, bytes]:
    return read(ROOT, PRODUCT)


def read(root: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    found = {}
    for name in names:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts and ".egg-info" not in str(file):
                found[file.relative_to(root).as_posix()] = file.read_bytes()
    return found
