"""A relay as in a pod: process 1, no root, no account, no home, nothing to write to but its volume.

Takes root: the file systems are read-only in a mount namespace of the relay's
own, where ``/srv`` shows what a pod's volumes would, and the process gives up
every privilege before it becomes the relay. What it runs from may lie where
only root may look (``/root``): such folders are opened there, with nothing else in them.
"""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.relay import RelayProcess
from tests.support.waiting import until

import waystation

USER = 65532
HOME = Path("/srv")  # a folder that every system has and nobody needs
INSTALLED = (Path(sys.base_prefix), Path(sys.prefix), Path(waystation.__file__).parents[2])

_ROOM = """
mount --make-rprivate /
mount -t tmpfs none {home}
mkdir {home}/config {home}/admin {home}/data
mount --bind {config} {home}/config
mount --bind {admin} {home}/admin
mount --bind {data} {home}/data
{opened}
mount -o remount,ro {home}
for place in / /tmp /var/tmp /dev/shm; do
    if mountpoint -q $place; then mount -o remount,bind,ro $place; fi
done
cd /
exec setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs --inh-caps=-all \
    --bounding-set=-all {command}
"""


class PodProcess(RelayProcess):
    """``data`` is a volume, mounted already."""

    def command(self) -> list[str]:
        relay = [
            "env", "--ignore-environment", "PYTHONUNBUFFERED=1",
            sys.executable, "-m", "waystation", "relay",
            "--config", f"{HOME}/config/{self.config.name}", "--data", f"{HOME}/data",
            "--bind", "127.0.0.1", "--admin", f"127.0.0.1:{self.admin_port}",
            "--admin-token-file", f"{HOME}/admin/{self.token.name}", "--pod", self.pod, *self.arguments,
        ]  # fmt: skip
        room = _ROOM.format(
            home=HOME,
            config=shlex.quote(str(self.config.parent)),
            admin=shlex.quote(str(self.token.parent)),
            data=shlex.quote(str(self.data)),
            opened="\n".join(_opened()),
            user=USER,
            command=shlex.join(relay),
        )
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", room]

    @property
    def pid(self) -> int:
        """Of the relay, as seen from outside; ``process`` is who waits for it."""
        assert self.process is not None
        waiting = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(until(lambda: waiting.read_text().split(), "the pod's first process")[0])


def _opened() -> Iterator[str]:
    """Shell commands that let anybody come to what is installed."""
    for number, place in enumerate(INSTALLED):
        barred = [folder for folder in place.parents if not folder.stat().st_mode & 0o001]
        if barred:
            kept = f"{HOME}/installed-{number}"
            yield f"mkdir {kept}; mount --bind {shlex.quote(str(place))} {kept}"
            yield f"mount -t tmpfs -o mode=755 none {shlex.quote(str(barred[-1]))}"
            yield f"mkdir -p {shlex.quote(str(place))}; mount --bind {kept} {shlex.quote(str(place))}"
