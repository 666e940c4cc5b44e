"""Exim, unpacked from its Debian package into the cache, run with a configuration and a spool of its own.

It is never installed: that would remove Postfix. Its compiled-in user does not
exist then, so the daemon gets a mount namespace in which ``/etc/passwd`` and
``/etc/group`` have it; nothing outside that namespace changes.
"""

import os
import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bench.cache import Absent, folder
from bench.servers import CONNECTIONS, REAPER, SESSIONS, Site
from tests.support.daemon import Daemon
from tests.support.ports import free_port

USER = "Debian-exim"
UID = 60_999
ROOT = folder() / "exim" / "root"
BINARY = ROOT / "usr" / "sbin" / "exim4"
# Exim's own ceilings lifted: 20 sessions, 10 mails delivered at once per connection, then queued only.
CONFIG = """\
exim_path = {binary}
keep_environment = LD_LIBRARY_PATH
primary_hostname = mx.exim.test
spool_directory = {folder}/spool
log_file_path = {folder}/logs/%slog
pid_file_path = {folder}/pid
exim_user = {user}
exim_group = {user}
never_users =
local_interfaces = <; 127.0.0.1
daemon_smtp_ports = {port}
split_spool_directory = yes
deliver_drop_privilege = yes
smtp_accept_max = {sessions}
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
smtp_accept_max_nonmail = 100
smtp_connect_backlog = 300
remote_max_parallel = {connections}
queue_run_max = 5
host_lookup =
rfc1413_hosts =
smtp_enforce_sync = no
helo_allow_chars = _
acl_smtp_rcpt = take
{tls}
begin acl
take:
  accept
begin routers
hops:
  driver = manualroute
  domains = *
  transport = smtp
  route_list = {routes}
  self = send
begin transports
smtp:
  driver = smtp
  connection_max_messages = 500
  tls_verify_hosts =
  tls_try_verify_hosts =
begin retry
* * F,1h,1m
"""


class Exim(Daemon):
    name = "exim"
    settings = (
        f"{SESSIONS} sessions, every mail delivered at once, split spool, started without its setuid bit; "
        "each spool file synced"
    )
    is_wrapped = True

    def __init__(self, site: Site) -> None:
        if not BINARY.exists():
            raise Absent("exim is not there: make bench-peers")
        self.port = free_port()
        super().__init__(site.folder, str(self.port))
        tls = "tls_advertise_hosts ="
        if site.certificate is not None:
            key = self.folder / "key.pem"
            key.write_bytes(site.certificate.key.read_bytes())
            key.chmod(0o600)
            os.chown(key, UID, UID)
            tls = (
                f"tls_advertise_hosts = *\ntls_certificate = {site.certificate.chain}\ntls_privatekey = {key}"
            )
        routes = " ; ".join(f"{domain} 127.0.0.1::{port}" for domain, port in site.ports.items())
        config = self.folder / "exim.conf"
        config.write_text(
            CONFIG.format(
                binary=BINARY, folder=self.folder, user=USER, port=self.port, sessions=SESSIONS,
                connections=CONNECTIONS, tls=tls, routes=routes,
            ),
            encoding="utf-8",
        )  # fmt: skip
        for made in ("spool", "logs"):
            (self.folder / made).mkdir()
            os.chown(self.folder / made, UID, UID)
        for name, entry in (
            ("passwd", f"{USER}:x:{UID}:{UID}::/:/usr/sbin/nologin\n"),
            ("group", f"{USER}:x:{UID}:\n"),
        ):
            text = Path("/etc", name).read_text(encoding="utf-8")
            (self.folder / name).write_text(text + entry, encoding="utf-8")

    @property
    def root(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def version(self) -> str:
        run = subprocess.run(
            self._inside("-bV"), check=False, capture_output=True, text=True, timeout=20, cwd=self.folder
        )
        found = re.search(r"Exim version (\S+)", run.stdout)
        return found.group(1) if found else "unknown"

    def command(self) -> Sequence[str]:
        return [*REAPER, *self._inside("-C", str(self.folder / "exim.conf"), "-bdf", "-q5m")]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                return client.recv(3) == b"220"
        except OSError:
            return False

    def queued(self) -> int:
        return sum(1 for _ in (self.folder / "spool" / "input").rglob("*-H"))

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def _inside(self, *arguments: str) -> list[str]:
        """Exim in its namespace."""
        script = (
            'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && shift && exec "$@"'
        )
        libraries = ":".join(str(path) for path in sorted((ROOT / "usr" / "lib").glob("*-linux-gnu")))
        return [
            "unshare", "--mount", "sh", "-c", script, "sh", str(self.folder),
            "env", f"LD_LIBRARY_PATH={libraries}", str(BINARY), *arguments,
        ]  # fmt: skip
