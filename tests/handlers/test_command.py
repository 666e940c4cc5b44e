"""`waystation operator run` where it cannot begin."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("kubeconfig", "said"),
    [("/nonexistent/config", "which is no file"), ("", "there is no")],
    ids=["no-such-file", "none"],
)
def test_no_way_to_a_cluster_is_said_with_its_remedy(tmp_path: Path, kubeconfig: str, said: str) -> None:
    """Outside of a cluster and without a kubeconfig the command ends at once and says what to set."""
    environment = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")}
    environment |= {"HOME": str(tmp_path)} | ({"KUBECONFIG": kubeconfig} if kubeconfig else {})
    argv = [sys.executable, "-m", "waystation", "operator", "run", "--relay-image=x"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert said in done.stderr
    assert "set KUBECONFIG" in done.stderr


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
        argv = [sys.executable, "-m", "waystation", "operator", "run", "--relay-image=x"]
        argv.append(f"--http=127.0.0.1:{taken.getsockname()[1]}")
        environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "choose another address with --http" in done.stderr
