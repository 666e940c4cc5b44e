"""Files of YAML → the world they describe, with every problem of all of them located.

Problems are collected, never raised: what is wrong in one file does not hide
what is wrong in the next, and what a file lacks is reported beside it.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from waystation_operator.api.objects import Object
from waystation_operator.api.parse import parse
from waystation_operator.api.problem import Identity, Located, Problem
from waystation_operator.api.yamltext import Source, read
from waystation_operator.plan.world import World, gather

STDIN = "-"
MAX_BYTES = 32 * 2**20  # far above any configuration: a bound against a mistaken file name


@dataclass(slots=True)
class Loaded:
    """``unreadable`` are complaints of the environment, ``problems`` of what is written in the files."""

    world: World
    problems: list[Located]
    unreadable: list[str]
    sources: dict[Identity, Source] = field(repr=False)

    def locate(self, problems: Iterable[Problem]) -> list[Located]:
        """Problems of the plan, at the lines of the objects they are about."""
        return [
            self.sources[problem.resource].locate(problem)
            if problem.resource in self.sources
            else Located(STDIN, 1, problem)
            for problem in problems
        ]


def load(files: Sequence[str]) -> Loaded:
    """Reads and parses every file; ``-`` is standard input."""
    objects: list[Object] = []
    problems: list[Located] = []
    unreadable: list[str] = []
    sources: dict[Identity, Source] = {}
    for file in dict.fromkeys(files):
        try:
            text = _text(file)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            unreadable.append(f"{file}: cannot be read: {why}; name a YAML file that you may read")
            continue
        found, wrong = read(text, file)
        problems.extend(wrong)
        for source in found:
            parsed, errors = parse(source.body)
            problems.extend(map(source.locate, errors))
            if parsed is None:
                continue
            if (other := sources.get(parsed.identity)) is not None:
                twice = f"is defined already in {other.file}:{other.line(())}"
                again = Problem(
                    parsed.identity,
                    ("metadata", "name"),
                    parsed.identity.name,
                    twice,
                    "remove one of the two",
                )
                problems.append(source.locate(again))
                continue
            sources[parsed.identity] = source
            objects.append(parsed)
    return Loaded(gather(objects), problems, unreadable, sources)


def _text(file: str) -> str:
    if file == STDIN:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        with Path(file).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from None
