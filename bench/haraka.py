"""Haraka from npm, with its own disk queue: a plug-in lets mail in and names the sinks as MX."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from typing import Self

from bench.cache import Absent, folder
from bench.servers import CONNECTIONS, REAPER, Site
from tests.support.daemon import Daemon
from tests.support.ports import free_port

ROOT = folder() / "haraka"
SCRIPT = ROOT / "node_modules" / "Haraka" / "bin" / "haraka"
WORKERS = os.cpu_count() or 1
PLUGIN = """\
'use strict';
const ports = %s;
exports.hook_lookup_rdns = (next) => next(OK, 'source.test');
exports.hook_connect = (next, connection) => { connection.relaying = true; next(); };
exports.hook_rcpt = (next) => next(OK);
exports.hook_get_mx = (next, hmail, domain) =>
    next(OK, { priority: 0, exchange: '127.0.0.1', port: ports[domain] });
"""


class Haraka(Daemon):
    name = "haraka"
    settings = (
        f"{WORKERS} workers, log level warn, {CONNECTIONS} deliveries at once over all workers; "
        "each queue file synced, its directory not"
    )
    is_wrapped = True

    def __init__(self, site: Site) -> None:
        if not SCRIPT.exists() or shutil.which("node") is None:
            raise Absent("haraka is not there: make bench-peers")
        self.port = free_port()
        super().__init__(site.folder, str(self.port))
        config, plugins = self.folder / "config", self.folder / "plugins"
        for made in (config, plugins, self.folder / "queue"):
            made.mkdir()
        files = {
            "me": "mx.haraka.test\n",
            "plugins": "tls\nbench\n" if site.certificate else "bench\n",
            "smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes={WORKERS}\n",
            "outbound.ini": f"concurrency_max={CONNECTIONS // WORKERS}\nlocal_mx_ok=true\ninet_prefer=v4\n",
            "log.ini": "[main]\nlevel=warn\n",
            "tls.ini": "",
        }
        shutil.copyfile(SCRIPT.parents[1] / "config" / "connection.ini", config / "connection.ini")
        for name, text in files.items():
            (config / name).write_text(text, encoding="utf-8")
        if site.certificate is not None:
            (config / "tls_key.pem").write_bytes(site.certificate.key.read_bytes())
            (config / "tls_cert.pem").write_bytes(site.certificate.chain.read_bytes())
        (plugins / "bench.js").write_text(PLUGIN % json.dumps(dict(site.ports)), encoding="utf-8")

    @property
    def root(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def version(self) -> str:
        package = json.loads((SCRIPT.parents[1] / "package.json").read_text(encoding="utf-8"))
        node = subprocess.run(["node", "--version"], check=False, capture_output=True, text=True, timeout=20)
        return f"{package['version']} (Node {node.stdout.strip()})"

    def command(self) -> Sequence[str]:
        return [*REAPER, "node", str(SCRIPT), "-c", str(self.folder)]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                return client.recv(3) == b"220"
        except OSError:
            return False

    def queued(self) -> int:
        return sum(path.is_file() for path in (self.folder / "queue").iterdir())

    def __enter__(self) -> Self:
        super().__enter__()
        return self
