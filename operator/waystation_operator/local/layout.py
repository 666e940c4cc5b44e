"""The folder of a local run, and the only code that writes to it.

    DIR/local.json             what runs: processes with PID and start time
    DIR/desired.json           what ought to run, for the supervisor to read
    DIR/lock                   held by the command that changes the folder
    DIR/local.log              what the supervisor says when it is detached
    DIR/pods/POD/config/       relay.json, and credential and certificate files, as a pod's mounted Secret
    DIR/pods/POD/spool/        the queue; it outlives the run
    DIR/pods/POD/admin-token   the token of state-changing admin calls
    DIR/pods/POD/log.jsonl     the relay's log
    DIR/sink/                  the sink's mailboxes

Files are written beside their place and renamed, so that a reader sees the
old or the new one; they and the folders are for the owner alone.
"""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from waystation_contract import codec
from waystation_contract.model import Document

DOCUMENT = "relay.json"
_TEMPORARY = ".new"


@dataclass(frozen=True, slots=True)
class Layout:
    root: Path

    @property
    def record(self) -> Path:
        return self.root / "local.json"

    @property
    def desired(self) -> Path:
        return self.root / "desired.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def supervisor_log(self) -> Path:
        return self.root / "local.log"

    @property
    def sink(self) -> Path:
        return self.root / "sink"

    @property
    def sink_log(self) -> Path:
        return self.root / "sink.jsonl"

    def pod(self, name: str) -> Path:
        return self.root / "pods" / name

    def document(self, pod: str) -> Path:
        return self.pod(pod) / "config" / DOCUMENT

    def spool(self, pod: str) -> Path:
        return self.pod(pod) / "spool"

    def token(self, pod: str) -> Path:
        return self.pod(pod) / "admin-token"

    def log(self, pod: str) -> Path:
        return self.pod(pod) / "log.jsonl"


def write_pod(layout: Layout, pod: str, document: Document, files: Mapping[str, bytes]) -> bool:
    """Brings a pod's folder up to date; whether its configuration changed.

    Credentials and certificates first, the document that names them last;
    what it no longer names is removed after it.
    """
    config = layout.document(pod).parent
    for folder in (config, layout.spool(pod)):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not layout.token(pod).exists():
        write(layout.token(pod), secrets.token_urlsafe(32).encode() + b"\n")
    changed = [write(config / name, data) for name, data in sorted(files.items())]
    changed.append(write(config / DOCUMENT, codec.encode(document)))
    stale = [path for path in config.iterdir() if path.name not in {*files, DOCUMENT}]
    for path in stale:
        path.unlink()
    return any(changed) or bool(stale)


def write(path: Path, data: bytes) -> bool:
    """Replaces the file by rename, readable by its owner alone; whether it was different."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    temporary = path.with_name(path.name + _TEMPORARY)
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    temporary.replace(path)
    return True
