"""Fuzz targets: how they are found, what each brings along, and the pieces an input comes in.

A target is a module of ``tests.fuzz.targets``. Its docstring opens with what
it feeds and states the invariant tested; ``run`` takes any bytes and raises
when the invariant does not hold; ``TOKENS`` are words worth combining. Its
corpus is the folder ``corpus/<name>``: seeds written by hand, inputs that
reach code others do not, and every input that once found a fault.
"""

import dataclasses
import importlib
import pkgutil
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fuzz import targets

CORPUS = Path(__file__).with_name("corpus")
LONGEST_BYTES = 4096  # of an input; bounds that lie beyond have tests of their own


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    name: str
    run: Callable[[bytes], None]
    tokens: tuple[bytes, ...]
    claim: str  # the docstring

    @property
    def folder(self) -> Path:
        return CORPUS / self.name

    def corpus(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def load(name: str) -> Target:
    module = importlib.import_module(f"{targets.__name__}.{name}")
    return Target(name, module.run, module.TOKENS, module.__doc__ or "")


def explained(*texts: str) -> None:
    """What is refused is refused in words."""
    assert all(texts), texts


def pieces(data: bytes, longest: int = 40) -> Iterator[bytes]:
    """The data cut at places that look random and depend on nothing but the data."""
    dice = random.Random(zlib.crc32(data))
    start = 0
    while start < len(data):
        end = start + dice.randint(1, longest)
        yield data[start:end]
        start = end


class Feed:
    """Reads an input as a sequence of small choices, and what is left as a stream. Empty, it gives zeros."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def below(self, limit: int) -> int:
        """A number from 0 up to ``limit`` - 1; ``limit`` is 256 at most."""
        byte = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return byte % limit

    def flag(self) -> bool:
        return bool(self.below(2))

    def rest(self) -> bytes:
        return self._data[self._at :]
