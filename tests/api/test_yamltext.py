"""YAML text with the line of everything in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_operator.api.problem import Path
from waystation_operator.api.yamltext import Source, read

TEXT = """\
# a comment
kind: Pool
spec:
  listeners:
  - name: smtp
    port: 25   # a comment
  - {name: other,
     port: 26}
  hostname: >-
    relay.example.com
"""


def one(text: str) -> Source:
    (source,), problems = read(text, "a.yaml")
    assert problems == []
    return source


@pytest.mark.parametrize(
    ("path", "line"),
    [
        pytest.param((), 2, id="the object"),
        pytest.param(("kind",), 2, id="a field"),
        pytest.param(("spec",), 3, id="a group, at its key"),
        pytest.param(("spec", "listeners", 0), 5, id="an entry of a list"),
        pytest.param(("spec", "listeners", 0, "port"), 6, id="a field of an entry"),
        pytest.param(("spec", "listeners", 1), 7, id="an entry in braces"),
        pytest.param(("spec", "listeners", 1, "port"), 8, id="a field on the second line of braces"),
        pytest.param(("spec", "hostname"), 9, id="a folded text, at its key"),
        pytest.param(
            ("spec", "listeners", 0, "tls", "mode"), 5, id="what is missing, at what it is missing in"
        ),
        pytest.param(("nothing", "like", "it"), 2, id="nothing of it there"),
    ],
)
def test_lines(path: Path, line: int) -> None:
    """A problem is shown at the line of the field, or of the nearest thing around it."""
    assert one(TEXT).line(path) == line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("on", "on", id="on is text"),
        pytest.param("no", "no", id="no is text"),
        pytest.param("true", True, id="true"),
        pytest.param("25", 25, id="integer"),
        pytest.param("1.5", 1.5, id="fraction"),
        pytest.param("'25'", "25", id="quoted"),
        pytest.param("null", None, id="null"),
        pytest.param("~", None, id="tilde"),
        pytest.param("", None, id="nothing"),
        pytest.param("2030-01-31", "2030-01-31", id="a date is text"),
        pytest.param("10:30", "10:30", id="no sexagesimal numbers"),
        pytest.param("5.7.1", "5.7.1", id="enhanced code"),
        pytest.param("None", "None", id="our None"),
        pytest.param("::/0", "::/0", id="a network"),
        pytest.param("0x10", 16, id="hexadecimal"),
        pytest.param("[]", [], id="empty list"),
        pytest.param("{}", {}, id="empty mapping"),
        pytest.param("!!python/object:os.system x", "x", id="a tag runs nothing"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    """Values are those of YAML 1.2, as JSON would have them."""
    assert one(f"a: {text}").body == {"a": value}


def test_several_documents() -> None:
    """Each document of a file is an object; empty ones are none; lines count from the file's start."""
    sources, problems = read("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n---\n", "a.yaml")
    assert problems == []
    assert [(source.body, source.line(("b",))) for source in sources] == [({"a": 1}, 2), ({"b": 2}, 7)]


def test_list_is_taken_apart() -> None:
    """A List, as kubectl prints it, is its items, with their lines."""
    sources, problems = read("kind: List\nitems:\n- a: 1\n- b: 2\n", "a.yaml")
    assert problems == []
    assert [source.body for source in sources] == [{"a": 1}, {"b": 2}]
    assert sources[1].line(("b",)) == 4


def test_anchors_and_merge_keys() -> None:
    """What is anchored once may be used again; keys written out win over merged ones."""
    body = one("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: [*x, *x]\nw: {b: 4, <<: [*x, {c: 5}]}").body
    assert body["y"] == {"a": 1, "b": 3}
    assert body["z"] == [{"a": 1, "b": 2}] * 2
    assert body["w"] == {"a": 1, "b": 4, "c": 5}


def test_key_written_twice_keeps_both_lines() -> None:
    """One of the two values would be lost without a word, so it is an error."""
    _, (problem,) = read("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "a.yaml")
    assert str(problem) == "a.yaml:5: b.c: is written twice, first on line 3; remove one"


def test_a_text_that_multiplies_itself_is_given_up() -> None:
    """Aliases within aliases ("a billion laughs") end at a bound, quickly."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    _, (problem,) = read("\n".join(lines), "a.yaml")
    assert "has aliases that expand without end; write out what they stand for" in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: [1", id="open bracket"),
        pytest.param("a: 'x", id="open quote"),
        pytest.param("a: *nowhere", id="unknown alias"),
        pytest.param("a: b: c", id="two colons"),
        pytest.param("\ta: 1", id="tab"),
        pytest.param("a: \x00", id="NUL"),
        pytest.param("%YAML 9.9\n---\na: 1", id="later YAML"),
        pytest.param("[" * 700, id="nested deeply"),
        pytest.param("? [a]\n: b\n? {c: d}\n: e", id="keys that are no text"),
    ],
)
def test_broken_text_is_a_problem_with_a_line(text: str) -> None:
    """What is not YAML, or not JSON-like, gives a problem at a line of the text, never an exception."""
    _, problems = read(text, "a.yaml")
    assert len(problems) >= 1 or "?" in text
    for problem in problems:
        assert 1 <= problem.line <= len(text.splitlines())
        assert problem.problem.remedy


def test_what_stands_before_the_mistake_is_read() -> None:
    """The documents in front of a syntax error are judged too."""
    sources, problems = read("a: 1\n---\nb: [\n", "a.yaml")
    assert [source.body for source in sources] == [{"a": 1}]
    assert len(problems) == 1


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises anything."""
    sources, problems = read(text, "a.yaml")
    assert all(source.file == "a.yaml" for source in sources)
    assert all(problem.line >= 1 for problem in problems)
