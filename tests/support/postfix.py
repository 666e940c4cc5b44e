"""A real Postfix on a loopback port: a next hop that keeps mail in mailboxes, or a sender that relays it.

    with Postfix(tmp_path) as postfix:                           # takes mail for USERS, refuses all other
        ... postfix.port, postfix.mailbox("ann@postfix.test")
    with Postfix(tmp_path, relay_to_port=relay.port) as postfix:  # passes on what is not for USERS

Keyword arguments are main.cf parameters and replace those below. Needs root, as Postfix itself does.
"""

import os
import pwd
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.ports import free_port
from tests.support.programs import program

DOMAIN = "postfix.test"
USERS = (f"ann@{DOMAIN}", f"bob@{DOMAIN}")

_MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
lmtp      unix  - - n - - lmtp
virtual   unix  - n n - - virtual
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""
# What `postfix start` makes, without its second of waiting: folder, owner, mode.
_QUEUE_FOLDERS: tuple[tuple[str, str, int], ...] = (
    *((name, "postfix", 0o700) for name in
      ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved",
       "trace")),
    ("maildrop", "postfix", 0o1730),
    ("public", "postfix", 0o2710),
    ("pid", "root", 0o755),
)  # fmt: skip
_MAIL_FOLDERS = ("maildrop", "incoming", "active", "deferred", "hold", "corrupt")


class Postfix(Daemon):
    name = "postfix"

    def __init__(self, folder: Path, relay_to_port: int | None = None, **options: str) -> None:
        self.port = free_port()
        super().__init__(folder, str(self.port))
        owner = pwd.getpwnam("postfix")
        self._queue, self._mail = self.folder / "queue", self.folder / "mail"
        for made, uid in (
            (self.folder / "etc", 0),
            (self._queue, 0),
            (self.folder / "data", owner.pw_uid),
            (self._mail, owner.pw_uid),
        ):
            made.mkdir()
            os.chown(made, uid, -1)
        for name, user, mode in _QUEUE_FOLDERS:
            (self._queue / name).mkdir()
            shutil.chown(self._queue / name, user, "postdrop" if mode > 0o777 else None)
            (self._queue / name).chmod(mode)
        main_cf = self.folder / "etc" / "main.cf"
        parameters = {**self._parameters(owner.pw_uid, relay_to_port), **options}
        main_cf.write_text("".join(f"{name} = {value}\n" for name, value in parameters.items()), "utf-8")
        os.utime(main_cf, (0, 0))  # of a file that may still be being written Postfix waits for the end: 2 s
        (self.folder / "etc" / "master.cf").write_text(_MASTER_CF.format(port=self.port), encoding="utf-8")

    def _parameters(self, uid: int, relay_to_port: int | None) -> dict[str, str]:
        users = ", ".join(f"{{{user}={user}/}}" for user in USERS)
        return {
            "compatibility_level": "3.6",
            "queue_directory": f"{self._queue}",
            "data_directory": f"{self.folder}/data",
            "command_directory": str(Path(program("postfix")).parent),
            "daemon_directory": "/usr/lib/postfix/sbin",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "maillog_file": f"{self.folder}/log",
            "maillog_file_prefixes": f"{self.folder}",
            "myhostname": f"mx.{DOMAIN}",
            "myorigin": DOMAIN,
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
            "biff": "no",
            "disable_dns_lookups": "yes",
            "smtp_dns_support_level": "disabled",
            "smtpd_peername_lookup": "no",
            "smtpd_client_connection_count_limit": "0",
            "in_flow_delay": "0",
            "virtual_mailbox_domains": DOMAIN,
            "virtual_mailbox_base": f"{self._mail}",
            "virtual_mailbox_maps": f"inline:{{{users}}}",
            "virtual_minimum_uid": "1",
            "virtual_uid_maps": f"static:{uid}",
            "virtual_gid_maps": f"static:{pwd.getpwuid(uid).pw_gid}",
            "relayhost": f"[127.0.0.1]:{relay_to_port}" if relay_to_port else "",
            "smtpd_relay_restrictions": "permit_mynetworks, reject"
            if relay_to_port
            else "permit_sasl_authenticated, reject_unauth_destination",
        }

    def command(self) -> Sequence[str]:
        return ["/usr/lib/postfix/sbin/master", "-c", str(self.folder / "etc"), "-d"]

    def start(self) -> None:
        program("postfix")  # so that its absence is told with the package's name
        super().start()

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                return client.recv(3) == b"220"
        except OSError:
            return False

    def queued(self) -> int:
        """Messages anywhere in its queue."""
        return sum(path.is_file() for name in _MAIL_FOLDERS for path in (self._queue / name).rglob("*"))

    def mailbox(self, user: str) -> list[bytes]:
        """The mails of one of ``USERS``, in the order of arrival, as stored: with LF line ends."""
        assert user in USERS
        return [path.read_bytes() for path in _by_time(self._mail / user / "new")]


def _by_time(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns) if folder.exists() else []
