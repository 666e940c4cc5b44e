"""`waystation operator run` where it cannot begin."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from waystation_operator.cli.operator import command


@pytest.fixture(autouse=True)
def logging_stays() -> Iterator[None]:
    """The command takes over Python's logging; tests after it want it back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize(
    ("kubeconfig", "said"),
    [("/nonexistent/config", "which is no file"), (None, "there is no ~/.kube/config")],
    ids=["no-such-file", "none"],
)
def test_no_way_to_a_cluster_is_said_with_its_remedy(
    tmp_path: Path, kubeconfig: str | None, said: str
) -> None:
    """Outside of a cluster and without a kubeconfig the command ends at once and says what to set."""
    environment = {"HOME": str(tmp_path), "KUBECONFIG": kubeconfig, "KUBERNETES_SERVICE_HOST": None}
    done = CliRunner(env=environment).invoke(command, ["run", "--relay-image=x"])
    assert done.exit_code == 1
    assert said in done.output
    assert "set KUBECONFIG" in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "kubectl get --raw /version"),
        ("apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: []\n", "contexts"),
    ],
    ids=["no-yaml", "no-context"],
)
def test_a_broken_kubeconfig_is_named(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong with the file is said with the file's name."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(text)
    done = CliRunner(env={"KUBECONFIG": str(kubeconfig)}).invoke(command, ["run", "--relay-image=x"])
    assert done.exit_code == 1
    assert str(kubeconfig) in done.output
    assert said in done.output


def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    """Probes need their port: when it is taken, the command says so instead of running unobserved."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {token: t}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"--http=127.0.0.1:{taken.getsockname()[1]}"
        runner = CliRunner(env={"KUBECONFIG": str(kubeconfig)})
        done = runner.invoke(command, ["run", "--relay-image=x", address])
    assert done.exit_code == 1
    assert "choose another address with --http" in done.output


@pytest.mark.parametrize("address", ["8080", "host:", "host:port", "host:70000"])
def test_an_address_without_sense_is_refused(address: str) -> None:
    """Before anything is done."""
    done = CliRunner().invoke(command, ["run", "--relay-image=x", f"--http={address}"])
    assert done.exit_code == 2
    assert "write one such as 0.0.0.0:8080" in done.output
