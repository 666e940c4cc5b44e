"""Power cuts at every moment of a spool's life: what was promised is there, what was not is whole or absent.

Recorded runs are cut at each named step of docs/spool-states.md and at any
call between, and everything not synced is lost, kept, torn or mixed up
(``disk.py``). A disk that only pretends to sync must be found out by the same tests.
"""

import pytest
from tests.fault.lab import Laboratory
from tests.fault.mishaps import MISHAPS
from tests.fault.powercut import SYNCED


def test_nothing_promised_is_lost(laboratory: Laboratory, seed: int) -> None:
    """Hundreds of disks after a power cut, recovery cut as well: every 250 kept to the byte, none damaged."""
    said = laboratory.experiment(
        "tests.fault.powercut:explore", seed=seed, steps=100, states=130, again=0.05, killed=5
    )
    print(f"seed {seed}: {said['states']} disks, {said['promises']} promises, {said['killed']} killed")
    assert said["wrong"] == []
    assert said["states"] >= 130
    assert said["promises"] > 1000
    assert said["killed"] > 3
    assert set(said["moments"]) >= {
        "create.format", "recovery.swept", "names.synced", "index.committed", "report.sending",
        "checkpoint.done", "stream.headed", "segment.unlinked",
    }  # fmt: skip


def test_a_disk_that_pretends_to_sync_is_found_out(laboratory: Laboratory, seed: int) -> None:
    """Syncs of one file or folder do nothing: that costs promised mail, and these tests notice."""
    found = laboratory.experiment("tests.fault.powercut:lied_to", seed=seed, names=SYNCED, tries=5)
    assert [name for name in SYNCED if not found[name]] == []


@pytest.mark.parametrize("mishap", MISHAPS)
def test_repair_survives_kills_and_power_cuts(laboratory: Laboratory, seed: int, mishap: str) -> None:
    """Damage, and a power cut in the midst of dealing with it: the same comes of it as of a quiet repair."""
    said = laboratory.experiment("tests.fault.mishaps:disturb", seed=seed, mishap=mishap, states=20)
    assert said["wrong"] == []
    assert said["messages"] or said["kept"]


def test_files_go_only_when_the_commit_that_let_go_of_them_is_durable(laboratory: Laboratory) -> None:
    """Killed between writing a commit and syncing it: the next start believes it, so it must be made durable
    before files are removed, or a power cut brings back an index that refers to them."""
    assert laboratory.experiment("tests.fault.stories:commit_not_synced") == []


def test_the_log_has_a_durable_name_before_anything_is_promised(laboratory: Laboratory) -> None:
    """SQLite ignores that it cannot sync the name of its log; all would go with the power."""
    said = laboratory.experiment("tests.fault.stories:log_not_named")
    assert said["wrong"] == []
    assert said["syncs"] > 3


def test_a_folder_made_by_a_killed_process_keeps_its_name(laboratory: Laboratory) -> None:
    """Killed between making the spool's folder and syncing its name: the next start syncs it, lest all go."""
    assert laboratory.experiment("tests.fault.stories:folder_not_synced") == []
