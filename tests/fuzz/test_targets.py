"""Every parser, fed its corpus and what can be made of it: the invariants hold.

A bounded look; ``make fuzz`` goes on from here for as long as it is told to.
"""

import re
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.target import CORPUS, LONGEST_BYTES, Target, load, names

EXAMPLES = 100
NAMES = names()


@cache
def target(name: str) -> Target:
    return load(name)


@st.composite
def inputs(draw: st.DrawFn, of: Target) -> bytes:
    """A seed with parts taken out and words and bytes put in, or words and bytes alone."""
    found = draw(st.sampled_from([b"", *of.corpus().values()]))
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, len(found)))
        end = min(len(found), start + draw(st.sampled_from([0, 0, 1, 5])))
        found = found[:start] + draw(st.sampled_from(of.tokens) | st.binary(max_size=6)) + found[end:]
    return found[:LONGEST_BYTES]


@pytest.mark.parametrize("name", NAMES)
def test_what_was_found_once(name: str) -> None:
    """Inputs that once found a fault, or lead where others do not, find none now."""
    for title, data in target(name).corpus().items():
        try:
            target(name).run(data)
        except Exception as error:
            error.add_note(f"corpus/{name}/{title}: {data!r}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_invariant_holds_for(name: str) -> None:
    """Inputs made of the corpus, of words of the grammar and of any bytes."""

    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(inputs(target(name)))
    def look(data: bytes) -> None:
        target(name).run(data)

    look()


@pytest.mark.parametrize("name", NAMES)
def test_target_says_what_it_tests(name: str) -> None:
    """Each target states its invariant, and has a corpus of inputs no longer than a fuzzer may make them."""
    assert re.search(r"^Invariant tested: ", target(name).claim, re.MULTILINE)
    corpus = target(name).corpus()
    assert corpus
    assert all(0 < len(data) <= LONGEST_BYTES for data in corpus.values())


def test_no_corpus_without_a_target() -> None:
    """A corpus that nothing reads is a test that is not run."""
    assert sorted(path.name for path in CORPUS.iterdir()) == NAMES
