"""The relay's image at work, confined as in a pod: mail in, mail out, nothing written but the volume."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.images.container import Containers, Rootfs, bundle, command, memory, read_only
from tests.support import clients
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, route, to
from tests.support.waiting import until

CONFIG, TOKEN, DATA = "/etc/waystation/config", "/etc/waystation/admin", "/var/lib/waystation"
SPILLS = f"""
import os
os.environ["SQLITE_TMPDIR"] = "{DATA}"  # as the relay does before SQLite is loaded
import sqlite3
db = sqlite3.connect("{DATA}/index")
db.execute("PRAGMA temp_store=FILE")
db.execute("PRAGMA temp.cache_size=10")
db.execute("CREATE TEMP TABLE found (text)")
db.executemany("INSERT INTO found VALUES (?)", [("x" * 2000,)] * 5000)
print(*db.execute("SELECT count(*) FROM found").fetchone())
"""


class ContainedRelay(RelayProcess):
    """The same as on the host, but what is started is a container of the image."""

    def __init__(self, folder: Path, rootfs: Rootfs) -> None:
        super().__init__(folder, pod="relay-0")
        self.rootfs = rootfs
        folder.chmod(0o755)

    def command(self) -> list[str]:
        arguments = [
            *self.rootfs.config["Entrypoint"], "relay",
            "--config", f"{CONFIG}/{self.config.name}", "--data", DATA, "--bind", "127.0.0.1",
            "--admin", f"127.0.0.1:{self.admin_port}", "--admin-token-file", f"{TOKEN}/token",
            "--pod", self.pod,
        ]  # fmt: skip
        admin = self.folder / "admin"
        admin.mkdir(exist_ok=True)
        (admin / "token").write_bytes(self.token.read_bytes())
        mounts = [read_only(self.config.parent, CONFIG), read_only(admin, TOKEN), memory(DATA)]
        bundle(self.folder, self.rootfs, arguments, mounts)
        return command(self.folder, self.folder.name)


@pytest.fixture
def relay(relay_rootfs: Rootfs, tmp_path: Path) -> Iterator[ContainedRelay]:
    relay = ContainedRelay(tmp_path / f"relay-{free_port()}", relay_rootfs)
    yield relay
    if relay.process is not None and relay.process.poll() is None:
        relay.stop(within_s=70)


def resident_mib(relay: RelayProcess) -> float:
    return relay.metric("process_resident_memory_bytes") / 2**20


def test_a_mail_passes_through_contained_relay_and_sink(
    relay: ContainedRelay, relay_image: Containers
) -> None:
    """swaks hands in, the relay delivers, the image's sink has it: no rights, read-only, one volume."""
    port = free_port()
    with relay_image.running("sink", "--port", str(port), "-o", "json") as (_, log):
        until(lambda: f"port {port}".encode() in log.read_bytes(), "the sink")
        relay.configure(route(to(port)))
        relay.start()
        run = clients.swaks(relay.port, "--from", "app@shop.test", "--to", "ann@corp.test")
        assert run.returncode == 0, run.stdout + run.stderr
        until(lambda: b"ann@corp.test" in log.read_bytes(), "the mail at the sink")
        handed = relay_image.run(
            *("send", "--server", f"127.0.0.1:{relay.port}"),
            "--from",
            "app@shop.test",
            "--to",
            "bob@corp.test",
        )
        assert handed.returncode == 0, handed.stderr
        assert re.search(r"\b250\b", handed.stdout)
        until(lambda: b"bob@corp.test" in log.read_bytes(), "the second mail at the sink")
        until(lambda: relay.queued() == 0, "the queue to be empty")
    print(f"\nresident after two mails: {resident_mib(relay):.0f} MiB")


def test_a_stop_is_clean(relay: ContainedRelay) -> None:
    """The kubelet's SIGTERM reaches the relay as process 1 and ends it with 0."""
    relay.configure(route(to(free_port())))
    relay.start()
    assert relay.stop(within_s=70) == 0


def test_a_large_temporary_table_goes_to_the_volume(relay_image: Containers) -> None:
    """Rebuilding a damaged index needs temporary files, and the volume is the only place there is."""
    run = relay_image.run("-c", SPILLS, entrypoint=["/opt/waystation/bin/python"], mounts=[memory(DATA)])
    assert (run.returncode, run.stdout.strip()) == (0, "5000"), run.stderr
