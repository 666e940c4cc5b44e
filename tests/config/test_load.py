"""Reading the configuration: everything it names is there and usable, or the file that is not is named."""

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from tests.support.certificates import Authority
from tests.support.programs import program
from tests.support.relay import document, listener, route, to

from waystation_contract import codec
from waystation_contract.check import ConfigError
from waystation_contract.model import Document, ListenerTLS, Quarantine
from waystation_relay.config.load import ConfigUnreadableError, load


def write(folder: Path, made: Document) -> Path:
    path = folder / "relay.json"
    path.write_bytes(msgspec.json.encode(made))
    return path


@pytest.fixture
def secure(tmp_path: Path) -> Path:
    """A document whose listener has a certificate and whose route has a login, with all its files."""
    issued = Authority(tmp_path).issue("relay.test")
    shutil.copyfile(issued.chain, tmp_path / "relay-tls.crt")
    shutil.copyfile(issued.key, tmp_path / "relay-tls.key")
    (tmp_path / "upstream.username").write_bytes(b"app\n")
    (tmp_path / "upstream.password").write_bytes("pässword \r\n".encode())
    made = document(
        2525,
        route(to(25, credential="upstream")),
        listeners=(listener(2525, tls=ListenerTLS.REQUIRED, certificate="relay-tls"),),
    )
    return write(tmp_path, made)


def test_everything_named_is_read(secure: Path) -> None:
    """Logins without the line end that editors leave, certificates ready to use, nothing below TLS 1.2."""
    snapshot = load(secure)
    login = snapshot.credential("upstream")
    assert (login.username, login.password) == ("app", "pässword ")
    context = snapshot.certificate("relay-tls")
    assert context.minimum_version.name == "TLSv1_2"


def test_the_hash_is_the_one_that_the_operator_computes(secure: Path) -> None:
    """From the document and all files that it means to write, whatever else lies in the folder."""
    (secure.parent / "left-over.crt").write_bytes(b"x")
    files = {file.name: file.read_bytes() for file in secure.parent.iterdir()}
    snapshot = load(secure)
    assert snapshot.hash == codec.digest(snapshot.document, files)
    assert snapshot.hash != codec.digest(snapshot.document)


def test_a_password_is_never_shown(secure: Path) -> None:
    """Not in the repr of anything that might end up in a log."""
    assert "pässword" not in repr(load(secure))


def test_released_mail_has_a_table_without_quarantine(tmp_path: Path) -> None:
    """What a person let pass is not caught by the same net again."""
    made = document(
        2525,
        route(Quarantine(), recipients=["*@bank.test"], name="test/review"),
        route(to(25), name="test/all"),
    )
    snapshot = load(write(tmp_path, made))
    assert [
        getattr(table.match("smtp", "a@shop.test", "b@bank.test"), "name", None)
        for table in (snapshot.table, snapshot.released)
    ] == ["test/review", "test/all"]


@pytest.mark.parametrize(
    "name", ["relay.json", "relay-tls.crt", "relay-tls.key", "upstream.username", "upstream.password"]
)
def test_a_missing_file_is_named(secure: Path, name: str) -> None:
    """The path, the reason, and what to do."""
    missing = secure.parent / name
    missing.unlink()
    with pytest.raises(ConfigUnreadableError) as refused:
        load(secure)
    assert str(refused.value).startswith(f"{missing}: cannot be read: No such file")


def test_a_folder_in_place_of_a_file(secure: Path) -> None:
    """A mistake in a volume's mount path."""
    key = secure.parent / "relay-tls.key"
    key.unlink()
    key.mkdir()
    with pytest.raises(ConfigUnreadableError, match=r"relay-tls\.key: cannot be read: Is a directory"):
        load(secure)


def encrypted(key: Path) -> bytes:
    return subprocess.run(
        [program("openssl"), "pkcs8", "-topk8", "-in", str(key), "-passout", "pass:secret"],
        capture_output=True, check=True, timeout=20, stdin=subprocess.DEVNULL,
    ).stdout  # fmt: skip


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "relay-tls.crt").write_bytes(b"hello\n"), id="no certificate"),
        pytest.param(lambda folder: (folder / "relay-tls.key").write_bytes(b""), id="an empty key"),
        pytest.param(
            lambda folder: shutil.copyfile(
                Authority(folder).issue("other.test").key, folder / "relay-tls.key"
            ),
            id="the key of another",
        ),
        pytest.param(
            lambda folder: (folder / "relay-tls.key").write_bytes(encrypted(folder / "relay-tls.key")),
            id="a key with a password",
        ),
    ],
)
def test_a_certificate_that_is_no_use_is_named(secure: Path, spoil: object) -> None:
    """Found at the reload, not at the first handshake; and nobody is asked for a password."""
    spoil(secure.parent)  # type: ignore[operator] # one of the functions above
    with pytest.raises(ConfigUnreadableError, match=r"relay-tls\.crt: not a usable certificate") as refused:
        load(secure)
    assert "PEM" in str(refused.value)


def test_a_password_that_is_no_text(secure: Path) -> None:
    """Bytes that are not UTF-8 could not be sent as SASL wants them."""
    (secure.parent / "upstream.password").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigUnreadableError, match=r"upstream\.password: not UTF-8"):
        load(secure)


@pytest.mark.parametrize("name", ["upstream.username", "upstream.password"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\r\n", "is empty", id="a line end"),
        pytest.param(b"app\nsecret\n", "more than one line", id="two lines"),
        pytest.param(b"app\0admin", "more than one line", id="NUL"),
    ],
)
def test_a_login_that_no_server_could_be_told(secure: Path, name: str, content: bytes, problem: str) -> None:
    """A NUL or a line break would end a user name early and change who we are."""
    (secure.parent / name).write_bytes(content)
    with pytest.raises(ConfigUnreadableError) as refused:
        load(secure)
    assert problem in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_renewed_certificate_is_for_new_connections(secure: Path) -> None:
    """Whoever holds the old snapshot goes on with the old certificate; the new one has another hash."""
    before = load(secure)
    issued = Authority(secure.parent).issue("relay.test")
    shutil.copyfile(issued.chain, secure.parent / "relay-tls.crt")
    shutil.copyfile(issued.key, secure.parent / "relay-tls.key")
    after = load(secure)
    assert before.certificate("relay-tls") is not after.certificate("relay-tls")
    assert before.hash != after.hash


def test_a_document_with_mistakes(tmp_path: Path) -> None:
    """All of them, each with the field's path."""
    path = write(tmp_path, msgspec.structs.replace(document(2525, route(to(25))), hostname="", listeners=()))
    with pytest.raises(ConfigError) as refused:
        load(path)
    fields = {finding.field for finding in refused.value.findings}
    assert {"hostname", "listeners"} <= fields
