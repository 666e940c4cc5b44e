"""One thing wrong with the resources somebody wrote, said so that they can put it right."""

from dataclasses import dataclass

Path = tuple[str | int, ...]


def dotted(path: Path) -> str:
    """``("spec", "listeners", 0, "port")`` → ``spec.listeners[0].port``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def steps(field: str) -> Path:
    """The inverse of :func:`dotted`, for names without dots and brackets."""
    parts = field.replace("]", "").replace("[", ".").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which object: as people name it."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Problem:
    """``resource`` and ``path`` say where, ``problem`` what, ``remedy`` what to do.

    ``value`` is never a secret. ``reason`` is the word of the condition that it leads to in a cluster.
    """

    resource: Identity | None
    path: Path
    value: str
    problem: str
    remedy: str
    reason: str = "Invalid"

    def __str__(self) -> str:
        return ": ".join(filter(None, [str(self.resource) if self.resource else "", self.below]))

    @property
    def below(self) -> str:
        """For whoever knows which resource it is."""
        where = [dotted(self.path), self.value]
        text = ": ".join([*filter(None, where), f"{self.problem}; {self.remedy}"])
        return text if text.isprintable() else "".join(map(_printable, text))


@dataclass(frozen=True, slots=True)
class Located:
    """A problem with the place in the file that it comes from."""

    file: str
    line: int
    problem: Problem

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.problem}"


def _printable(character: str) -> str:
    """A character from a file that a terminal would obey is written as its escape."""
    return character if character.isprintable() else character.encode("unicode_escape").decode()
