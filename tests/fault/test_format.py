"""The spool's format on disk: what an earlier version wrote is read, and no format changes unnoticed."""

import contextlib
import importlib.util
import json
import shutil
import sqlite3
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.spools import SpoolUser
from tests.support.waiting import until

from waystation_relay.mail.message import Status
from waystation_relay.spool import header
from waystation_relay.spool.layout import FORMAT
from waystation_relay.spool.values import Query, ReadFailure

FIXTURES = Path(__file__).parents[1] / "fixtures"
FORMATS = sorted(FIXTURES.glob("spool-v*"))
TABLES = ("messages", "recipients", "bodies", "counters")


def maker(fixture: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{fixture.name}.make", fixture / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expected_of(fixture: Path) -> dict[str, Any]:
    raw = (fixture / "expected.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, maker(fixture).Expected])


@pytest.fixture(params=FORMATS, ids=lambda fixture: fixture.name)
def fixture(request: pytest.FixtureRequest) -> Path:
    return request.param


async def test_an_earlier_version_s_spool_opens_with_everything_in_it(fixture: Path, tmp_path: Path) -> None:
    """Every message, its envelope, progress and body, as the version that wrote it knew them."""
    shutil.copytree(fixture / "spool", tmp_path / "spool")
    expected = expected_of(fixture)
    user = SpoolUser(tmp_path / "spool")
    try:
        found = {message.queue_id: message for message in await user.spool.find(Query(), 100)}
        assert found == {one.message.queue_id: one.message for one in expected.values()}
        assert user.events == []
        for name, one in expected.items():
            body = await user.read(one.message)
            content = None if isinstance(body, ReadFailure) else await user.content(one.message)
            assert content == one.content, name
    finally:
        await user.close()


def test_an_earlier_version_s_mail_is_delivered(fixture: Path, tmp_path: Path) -> None:
    """What waits goes out at once, what is held when it is released; a damaged body is reported as failed."""
    relay = RelayProcess(tmp_path)
    shutil.copytree(fixture / "spool", relay.data, dirs_exist_ok=True)
    whole, damaged = (
        {
            one.message.envelope.recipients[progress.number].address
            for one in expected_of(fixture).values()
            if (one.content is None) is is_damaged
            for progress in one.message.pending
        }
        for is_damaged in (False, True)
    )
    with Sink() as sink, relay:
        relay.configure(route(to(sink.port)))
        relay.start()
        relay.queue("release", "--all")
        until(lambda: relay.queued() == 0, "an empty queue")
        arrived = {address for received in sink.received for address in received.recipients}
    assert arrived == whole | {"a@shop.test"}, "and the report of success that somebody has asked for"
    assert damaged
    assert any(b"554 5.4.7" in received.content for received in sink.to("ann@shop.test"))


def test_the_fixture_has_every_state(fixture: Path) -> None:
    """Bodies in each place, recipients in each state, envelopes with each parameter."""
    expected = expected_of(fixture)
    places = {one.message.place.segment for one in expected.values()}
    assert {0, -1} < places
    assert {p.status for one in expected.values() for p in one.message.pending} == set(Status)
    assert any(len(one.message.pending) < len(one.message.envelope.recipients) for one in expected.values())
    assert len(expected) > 12
    assert (fixture / "spool" / "index-wal").stat().st_size > 0


def test_the_newest_format_has_a_fixture() -> None:
    """Who raises the format's number keeps a spool of it for those who come later."""
    assert [fixture.name for fixture in FORMATS] == [f"spool-v{number}" for number in range(1, FORMAT + 1)]


async def test_no_format_changes_unnoticed(tmp_path: Path) -> None:
    """The same messages are written down as they were when this format's fixture was made."""
    fixture = FIXTURES / f"spool-v{FORMAT}"
    await maker(fixture).make(tmp_path / "now")
    shutil.copytree(fixture / "spool", tmp_path / "then")
    now, then = written(tmp_path / "now"), written(tmp_path / "then")
    assert now == then, (
        "the format on disk has changed: raise FORMAT in spool/layout.py, see that the old one is read "
        f"or upgraded, and make a fixture of the new one from {fixture.name}/make.py"
    )


def written(spool: Path) -> dict[str, Any]:
    """What is on disk, without what SQLite chooses for itself."""
    with contextlib.closing(sqlite3.connect(spool / "index")) as db:
        tables = {
            table: [
                [one.hex() if isinstance(one, bytes) else one for one in row]
                for row in db.execute(f"SELECT * FROM {table}")
            ]
            for table in TABLES
        }
        catalogue = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY rootpage").fetchall()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    fields = header.read((spool / "index").read_bytes())
    return {
        "format": json.loads((spool / "format").read_bytes()),
        "header": [fields.page_bytes, fields.application_id, fields.user_version, fields.write_version],
        "catalogue": catalogue,
        "tables": tables,
        "segments": {path.name: path.read_bytes() for path in sorted((spool / "segments").iterdir())},
        "corrupt": {path.name: path.read_bytes() for path in sorted((spool / "corrupt").iterdir())},
    }
