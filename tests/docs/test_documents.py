"""The documents agree with the repository: links lead somewhere, commands exist, no page is orphaned."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.support.programs import PACKAGES

from waystation.__main__ import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/**/*.md")])
TEXT_ENDINGS = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".cfg", ".txt", ".sh", ""}
UNOWNED = {".git", ".venv", "__pycache__", "results", "build", "dist", ".waystation"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def own_files() -> Iterator[Path]:
    for top in sorted(ROOT.iterdir()):
        if top.name in UNOWNED or top.name.endswith("_cache") or top.name in (".hypothesis", ".coverage"):
            continue
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.suffix in TEXT_ENDINGS and not UNOWNED & set(path.parts):
                yield path


def anchors(page: Path) -> set[str]:
    """The fragment identifiers of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def code(page: Path) -> Iterator[str]:
    """The lines of a page's fenced blocks and its inline code, continued lines joined."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that exists and, with a fragment, a heading in it."""
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (fragment and fragment not in anchors(file)):
            dead.append(target)
    assert dead == []


def test_every_page_is_in_the_index() -> None:
    """docs/README.md names every page below docs/."""
    index = ROOT / "docs" / "README.md"
    linked = re.findall(r"\]\(([^)#\s]+)", index.read_text(encoding="utf-8"))
    found = {(index.parent / name).resolve() for name in linked}
    pages = {p for p in PAGES if p.is_relative_to(ROOT / "docs") and p != index}
    assert {relative(p) for p in pages - found} == set()


def test_make_targets_exist() -> None:
    """Every `make …` a page or script names is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    named = {
        (relative(page), target)
        for page in PAGES
        for line in code(page)
        for target in re.findall(r"\bmake ([a-z][a-z-]*)", line)
    }
    assert {target for _, target in named} >= {"demo", "test"}
    assert {(page, target) for page, target in named if target not in targets} == set()


def commands_named() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in code(page):
            if line.lstrip().startswith(("helm ", "kubectl ")):  # a release or a namespace of this name
                continue
            for call in re.findall(r"(?:^|[\s/])waystation ((?:[a-z]+)\b[^|;&)`]*)", line.split("#")[0]):
                yield relative(page), call.strip()


@pytest.mark.parametrize(("page", "call"), sorted(set(commands_named())))
def test_commands_exist(page: str, call: str) -> None:
    """Every `waystation …` a page names is a command, with the options it is given there."""
    command: click.Command = main
    context = click.Context(main)
    words = call.split()
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        choices = [command.get_command(context, name) for name in words[0].split("|")]
        assert all(choices), f"{page}: waystation {call}: no command {words[0]}"
        command = choices[0] or command
        words.pop(0)
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    known |= {"-h", "--help", "--version", "-"}  # a lone hyphen is standard input
    options = {re.split(r"[=\]]", word.lstrip("["))[0] for word in words if word.lstrip("[").startswith("-")}
    assert options <= known, f"{page}: waystation {call}"


def test_no_path_of_a_machine_appears() -> None:
    """Nothing in the repository names a folder that only one machine has."""
    pattern = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users)/")
    texts = {path: path.read_text(encoding="utf-8", errors="replace") for path in own_files()}
    assert [relative(path) for path, text in texts.items() if pattern.search(text)] == []


def test_feature_table_says_done_or_planned() -> None:
    """Each row of the README's feature table has one of two states, and both occur."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Features\n(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = [line for line in section.group(1).splitlines() if line.startswith("|")]
    states = [row.rsplit("|", 2)[1].strip() for row in rows[2:]]
    assert set(states) == {"done", "planned"}


def test_debian_packages_are_named_where_they_are_needed() -> None:
    """The README's apt-get line and .ci/run install every program that the tests start."""
    readme = "\n".join(line for line in code(ROOT / "README.md") if "apt-get install" in line)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    wanted = set(PACKAGES.values())
    assert wanted - set(readme.split()) == set()
    assert wanted - set(re.findall(r"[\w-]+", ci)) == set()
