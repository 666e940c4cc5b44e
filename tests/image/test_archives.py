"""Which built images are kept."""

import os
import time
from pathlib import Path

import pytest
from tests.cluster.images import place

NAME = "waystation-relay"
MINUTE = 60


def archive(key: str, age_s: float) -> Path:
    path = place.cache() / f"{NAME}-{key * 12}.tar"
    path.touch()
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_archives_in_use_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image just built stays, the one before it, and what another checkout used within the hour."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built, lately, other = archive("a", 0), archive("b", 10 * MINUTE), archive("c", 50 * MINUTE)
    gone = archive("d", 70 * MINUTE)
    assert place.retire(built, NAME) == {"a" * 12, "b" * 12, "c" * 12}
    assert [path.exists() for path in (built, lately, other, gone)] == [True, True, True, False]


def test_the_one_before_is_kept_however_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going back to the branch of last week builds nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built, before, gone = archive("a", 0), archive("b", 9000 * MINUTE), archive("c", 9001 * MINUTE)
    assert place.retire(built, NAME) == {"a" * 12, "b" * 12}
    assert [path.exists() for path in (built, before, gone)] == [True, True, False]
