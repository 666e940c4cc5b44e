"""YAML text → JSON-like bodies that remember on which line everything stands.

Reads YAML 1.2 (``on`` and ``no`` are text), several documents in a text,
anchors and merge keys. A key that stands twice in one mapping is an error
here, since one of the two values would be lost without a word.

Known limits
    After a syntax error the rest of that text is not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from waystation_operator.api.problem import Located, Path, Problem

_MAX_NODES = 200_000  # what aliases may expand to: a bound against a text that multiplies itself
_NUMBERS = (
    "tag:yaml.org,2002:int",
    "tag:yaml.org,2002:float",
    "tag:yaml.org,2002:bool",
    "tag:yaml.org,2002:null",
)


@dataclass(frozen=True, slots=True)
class Source:
    """One object of a file. ``lines`` has the 1-based line of every path in ``body``."""

    file: str
    body: Any
    lines: dict[Path, int] = field(repr=False)

    def line(self, path: Path) -> int:
        """The line of ``path``, or of the nearest thing above it that exists."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def locate(self, problem: Problem) -> Located:
        return Located(self.file, self.line(problem.path), problem)


def read(text: str, file: str) -> tuple[list[Source], list[Located]]:
    """The objects in ``text``, those of a ``List`` one by one, and what could not be read."""
    yaml = YAML(typ="safe", pure=True)
    sources: list[Source] = []
    problems: list[Located] = []
    try:
        for node in yaml.compose_all(text):
            builder = _Builder(file, yaml.constructor)
            body = builder.build(node, ())
            problems.extend(builder.problems)
            sources.extend(_objects(Source(file, body, builder.lines)))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(filter(None, (error.context, error.problem)))
        problems.append(_unreadable(file, mark.line + 1 if mark else 1, what))
    except YAMLError as error:
        problems.append(_unreadable(file, 1, str(error).splitlines()[0]))
    except _EndlessError as error:
        problem = Problem(
            None, (), "", "has aliases that expand without end", "write out what they stand for"
        )
        problems.append(Located(file, error.line, problem))
    except (RecursionError, ValueError) as error:
        problems.append(_unreadable(file, 1, str(error) or "nested too deeply"))
    return sources, problems


def _unreadable(file: str, line: int, what: str) -> Located:
    remedy = "check the indentation, quotes and brackets around this line"
    return Located(file, line, Problem(None, (), "", f"is not YAML: {what}", remedy))


def _objects(source: Source) -> Iterator[Source]:
    body = source.body
    if body is None:
        return  # an empty document, such as after a trailing ---
    if isinstance(body, dict) and body.get("kind") == "List" and isinstance(body.get("items"), list):
        for n, item in enumerate(body["items"]):
            under = ("items", n)
            lines = {path[2:]: line for path, line in source.lines.items() if path[:2] == under}
            yield Source(source.file, item, lines)
    else:
        yield source


class _EndlessError(Exception):
    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


class _Builder:
    """Turns one document's nodes into values; aliases are followed, but not into themselves."""

    def __init__(self, file: str, scalars: SafeConstructor) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Located] = []
        self._file = file
        self._open: set[int] = set()
        self._nodes = 0
        self._scalars = scalars

    def build(self, node: Node, path: Path) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or id(node) in self._open:
            raise _EndlessError(node.start_mark.line + 1)
        self.lines[path] = node.start_mark.line + 1
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self.build(item, (*path, n)) for n, item in enumerate(node.value)]
            assert isinstance(node, ScalarNode)
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: ScalarNode) -> Any:
        """Numbers, booleans and null by their YAML type; all else (dates too) is text, as in JSON."""
        if node.tag not in _NUMBERS:
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (ValueError, LookupError) as error:  # a tag may claim what the text is not: ``!!int x``
            kind = node.tag.rpartition(":")[2]
            what = f"{node.value!r:.60} is no {kind}"
            raise MarkedYAMLError(problem=what, problem_mark=node.start_mark) from error

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        body: dict[str, Any] = {}
        own: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = value_node.value if isinstance(value_node, SequenceNode) else [value_node]
                for part in merged:
                    built = self.build(part, path)
                    body = {**(built if isinstance(built, dict) else {}), **body}
                continue
            if key in own:
                problem = Problem(
                    None, (*path, key), "", f"is written twice, first on line {own[key]}", "remove one"
                )
                self.problems.append(Located(self._file, line, problem))
            own[key] = line
            body[key] = self.build(value_node, (*path, key))
            self.lines[(*path, key)] = line
        return body
