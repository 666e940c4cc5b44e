"""``waystation check`` as people use it: good files, files it cannot read, files that say nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from waystation_operator.cli.check import command
from waystation_operator.local.load import MAX_BYTES

POOL = """
apiVersion: waystation.dev/v1alpha1
kind: RelayPool
metadata: {name: outbound, namespace: mail}
spec:
  hostname: relay.example.com
  listeners:
  - {name: smtp, port: 25, clients: {cidrs: [10.0.0.0/8, "fd00::/8"]}}
  - {name: apps, port: 2526, clients: {cidrs: [192.0.2.0/24]}}
"""
ROUTES = """
apiVersion: waystation.dev/v1alpha1
kind: MailRoute
metadata: {name: all, namespace: mail}
spec:
  parentRefs: [{name: outbound}]
  backends:
  - {mx: {}}
  - {smartHost: {host: smtp.example.net, port: 587}, priority: 10}
---
apiVersion: waystation.dev/v1alpha1
kind: MailRoute
metadata: {name: shop, namespace: mail}
spec:
  parentRefs: [{name: outbound, sectionName: apps}]
  match: {senders: ["*@shop.example"], recipients: [ceo@example.com, "*@example.com"]}
  backends: [{reject: {code: 450, enhanced: 4.7.1}}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pool.yaml").write_text(POOL)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return tmp_path


def test_shows_what_good_files_would_do(folder: Path) -> None:
    """Listeners with who may relay, then the routes, the one consulted first at the top."""
    run = CliRunner().invoke(command, ["pool.yaml", "routes.yaml"])
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "ok: RelayPool mail/outbound (relay.example.com): 2 listeners, 2 routes",
        "  listener smtp, port 25, no TLS; may relay: 10.0.0.0/8, fd00::/8",
        "  listener apps, port 2526, no TLS; may relay: 192.0.2.0/24",
        "  ceo@example.com from *@shop.example on apps -> reject 450 4.7.1  (MailRoute mail/shop)",
        "  *@example.com from *@shop.example on apps -> reject 450 4.7.1  (MailRoute mail/shop)",
        "  * from * -> MX of the recipient's domain, smart host smtp.example.net:587  (MailRoute mail/all)",
    ]
    assert run.exit_code == 0


def test_reads_standard_input(folder: Path) -> None:
    """`-` is standard input, so that `kubectl get -o yaml` can be piped in; it prints a List."""
    items = "".join(
        "\n".join(f"{'- ' if n == 0 else '  '}{line}" for n, line in enumerate(part.strip().splitlines()))
        + "\n"
        for part in (POOL, *ROUTES.split("---\n"))
    )
    run = CliRunner().invoke(command, ["-"], input=f"apiVersion: v1\nkind: List\nitems:\n{items}")
    assert run.stderr == ""
    assert run.stdout.startswith("ok: RelayPool mail/outbound")


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        pytest.param(POOL, "no MailRoute names it, so it will accept no mail", id="a pool without routes"),
        pytest.param(
            POOL.replace("[192.0.2.0/24]", "[]") + "---" + ROUTES,
            "listener apps: nobody may relay through it",
            id="a listener without clients",
        ),
        pytest.param(
            f"{POOL}---{ROUTES}---{ROUTES.split('---')[0].replace('name: all', 'name: zzz')}",
            "MailRoute mail/zzz: MailRoute mail/all matches the same mail and comes first",
            id="a route behind another",
        ),
        pytest.param(
            f"{POOL}---{ROUTES.replace('port: 587', 'port: 587, authSecretName: up')}---\n"
            "{apiVersion: v1, kind: Secret, metadata: {name: up, namespace: mail},"
            " stringData: {username: a, password: b}}",
            "is logged in to with tls Opportunistic, which does not prove who it is",
            id="a password without verified TLS",
        ),
    ],
)
def test_notices_what_may_not_be_meant(folder: Path, text: str, notice: str) -> None:
    """Nothing is wrong, but it is worth a line on standard error; the exit code stays 0."""
    (folder / "all.yaml").write_text(text)
    run = CliRunner().invoke(command, ["all.yaml"])
    assert run.exit_code == 0
    assert notice in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_byte_order_mark(folder: Path) -> None:
    """Some editors write one; it is not part of the text."""
    (folder / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + POOL.lstrip().encode())
    assert CliRunner().invoke(command, ["bom.yaml"]).exit_code == 0


def test_missing_file(folder: Path) -> None:
    """A file that is not there is the environment's fault: exit code 1; the others are judged too."""
    (folder / "bad.yaml").write_text(POOL.replace("port: 25,", "port: 0,"))
    run = CliRunner().invoke(command, ["nosuch.yaml", "bad.yaml"])
    assert run.exit_code == 1
    assert "error: nosuch.yaml: cannot be read: No such file or directory; name a YAML file" in run.stderr
    assert "bad.yaml:8: RelayPool mail/outbound: spec.listeners[0].port: 0:" in run.stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"a: \xff", "cannot be read: it is not UTF-8 text (byte 3); name", id="not UTF-8"),
        pytest.param(
            b" " * (MAX_BYTES + 1), "cannot be read: it is larger than 33554432 bytes", id="too large"
        ),
        pytest.param(None, "cannot be read: Is a directory", id="a folder"),
    ],
)
def test_unreadable_file(folder: Path, content: bytes | None, why: str) -> None:
    """What cannot be read is named with the reason; exit code 1."""
    if content is None:
        (folder / "odd.yaml").mkdir()
    else:
        (folder / "odd.yaml").write_bytes(content)
    run = CliRunner().invoke(command, ["odd.yaml"])
    assert run.exit_code == 1
    assert f"error: odd.yaml: {why}" in run.stderr


@pytest.mark.parametrize("text", ["", "---\n---\n", "{apiVersion: v1, kind: Namespace, metadata: {name: a}}"])
def test_files_without_a_pool(folder: Path, text: str) -> None:
    """Files that describe no pool are no success: exit code 2."""
    (folder / "empty.yaml").write_text(text)
    run = CliRunner().invoke(command, ["empty.yaml"])
    assert run.exit_code == 2
    assert run.stderr.startswith("error: empty.yaml: no RelayPool in it;")


def test_secrets_never_appear(folder: Path) -> None:
    """Whatever is wrong with a Secret, its values are not repeated."""
    (folder / "secret.yaml").write_text(
        "{apiVersion: v1, kind: Secret, metadata: {name: up, namespace: mail}, "
        "data: {password: hunter2!}, stringData: {username: 7777}}"
    )
    run = CliRunner().invoke(command, ["pool.yaml", "secret.yaml"])
    assert run.exit_code == 2
    assert "Secret mail/up" in run.stderr
    assert "hunter2" not in run.stderr
    assert "7777" not in run.stderr


def test_is_a_subcommand(folder: Path) -> None:
    """The command people type, in a process of its own: same answer, same exit code."""
    run = subprocess.run(
        [sys.executable, "-m", "waystation", "check", "pool.yaml"], capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("ok: RelayPool mail/outbound")
