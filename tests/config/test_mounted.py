"""The configuration as a mounted Secret: one version at a time, whatever the kubelet does meanwhile."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.support.certificates import Authority
from tests.support.mounted import MountedSecret
from tests.support.relay import document, listener, route, to

from waystation_contract import codec
from waystation_contract.model import ListenerTLS
from waystation_relay.config import load as loading
from waystation_relay.config.load import ATTEMPTS, ConfigUnreadableError, load
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.config.watch import Watcher

DOCUMENT = "config.json"


def version(name: str, password: str) -> dict[str, bytes]:
    """A route and the login it uses, called alike."""
    made = document(2525, route(to(25, credential="up"), name=f"test/{name}"))
    return {
        DOCUMENT: msgspec.json.encode(made), "up.username": name.encode(), "up.password": password.encode()
    }  # fmt: skip


def names(snapshot: Snapshot) -> tuple[str, str]:
    return snapshot.document.routes[0].name, snapshot.credential("up").username


@pytest.fixture
def secret(tmp_path: Path) -> MountedSecret:
    mounted = MountedSecret(tmp_path / "config")
    mounted.put(version("one", "secret"))
    return mounted


def watched(secret: MountedSecret) -> Watcher:
    path = secret.folder / DOCUMENT
    return Watcher(path, load(path), changed=lambda _: None, refused=lambda _: None)


def test_a_new_version_is_seen(secret: MountedSecret) -> None:
    """All of it at once."""
    watcher = watched(secret)
    secret.put(version("two", "secret"))
    watcher.look()
    assert names(watcher.current) == ("test/two", "two")


def test_a_new_password_alone_has_a_new_hash(secret: MountedSecret) -> None:
    """The one that the operator computed from what it wrote."""
    watcher = watched(secret)
    before, files = watcher.current.hash, version("one", "rotated")
    secret.put(files)
    watcher.look()
    assert watcher.current.hash != before
    assert watcher.current.hash == codec.digest(watcher.current.document, files)


def test_what_is_read_is_of_one_version(secret: MountedSecret, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubelet swaps between two of our reads and takes the old files away: we begin anew."""
    read, reads = loading._read, []

    def meddled(path: Path, place: Path) -> bytes:
        reads.append(path.name)
        if len(reads) == 2:
            secret.put(version("two", "secret"))
        return read(path, place)

    monkeypatch.setattr(loading, "_read", meddled)
    assert names(load(secret.folder / DOCUMENT)) == ("test/two", "two")


def test_files_that_are_written_one_by_one_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain folder has no versions; what changed behind our back is noticed all the same."""
    for name, content in version("one", "old").items():
        (tmp_path / name).write_bytes(content)
    read, reads = loading._read, []

    def meddled(path: Path, place: Path) -> bytes:
        content = read(path, place)
        reads.append(path.name)
        if len(reads) == 3:
            (tmp_path / "up.password").write_bytes(b"new")
        return content

    monkeypatch.setattr(loading, "_read", meddled)
    snapshot = load(tmp_path / DOCUMENT)
    assert snapshot.credential("up").password == "new"
    assert snapshot.hash == codec.digest(snapshot.document, version("one", "new"))


def test_a_folder_that_never_rests_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again a second later; meanwhile the relay has other work."""
    read, reads = loading._read, []

    def meddled(path: Path, place: Path) -> bytes:
        reads.append(path.name)
        (tmp_path / "up.password").write_bytes(b"%d" % len(reads))
        return read(path, place)

    for name, content in version("one", "old").items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(loading, "_read", meddled)
    with pytest.raises(ConfigUnreadableError, match=r"config\.json: changes while it is read"):
        load(tmp_path / DOCUMENT)
    assert reads.count(DOCUMENT) == 2 * ATTEMPTS


def served(folder: Path, spoil: Callable[[dict[str, bytes]], None] = lambda _: None) -> dict[str, bytes]:
    """A listener with TLS, its certificate fresh from an authority."""
    made = document(
        2525, route(to(25)), listeners=(listener(2525, tls=ListenerTLS.REQUIRED, certificate="relay"),)
    )
    issued = Authority(folder).issue("relay.test")
    files = {
        DOCUMENT: msgspec.json.encode(made),
        "relay.crt": issued.chain.read_bytes(),
        "relay.key": issued.key.read_bytes(),
    }
    spoil(files)
    return files


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda files: files.update({"relay.key": b"nonsense"}), id="a key that is none"),
        pytest.param(lambda files: files.pop("relay.crt"), id="no certificate"),
    ],
)
def test_a_bad_certificate_leaves_the_old_one(
    tmp_path: Path, spoil: Callable[[dict[str, bytes]], None]
) -> None:
    """Told with the path that people know, not with the kubelet's folder of the day; mended, it is taken."""
    secret = MountedSecret(tmp_path / "config")
    secret.put(served(tmp_path))
    watcher = watched(secret)
    before = watcher.current
    secret.put(served(tmp_path, spoil))
    watcher.look()
    assert watcher.current is before
    assert watcher.last_error.startswith(f"{secret.folder}/relay.crt: ")
    assert "..2026" not in watcher.last_error
    secret.put(served(tmp_path))
    watcher.look()
    assert (watcher.last_error, watcher.current.hash != before.hash) == ("", True)
