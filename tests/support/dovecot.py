"""A real Dovecot on loopback ports: LMTP into mailboxes, and a SASL service for a Postfix to check passwords.

    with Dovecot(tmp_path) as dovecot:
        ... dovecot.lmtp_port, dovecot.mails("ann@dovecot.test")

``USERS`` exist, the mailbox of ``FULL`` is over quota, anybody else is unknown. Needs root, as Dovecot does.
"""

import os
import pwd
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.ports import free_port
from tests.support.programs import program

DOMAIN = "dovecot.test"
PASSWORD = "correct horse"
USERS = (f"ann@{DOMAIN}", f"bob@{DOMAIN}")
FULL = f"full@{DOMAIN}"

_CONF = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp
listen = 127.0.0.1
ssl = no
hostname = mx.{domain}
postmaster_address = postmaster@{domain}
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
auth_mechanisms = plain login cram-md5
auth_failure_delay = 0
mail_location = maildir:{folder}/mail/%u
mail_plugins = quota
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=1G
}}
lmtp_rcpt_check_quota = no
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp_port}
  }}
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {auth_port}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""


class Dovecot(Daemon):
    name = "dovecot"

    def __init__(self, folder: Path) -> None:
        self.lmtp_port, self.auth_port = free_port(), free_port()
        super().__init__(folder, str(self.lmtp_port))
        owner = pwd.getpwnam("mail")
        self._mail = self.folder / "mail"
        self._mail.mkdir()
        os.chown(self._mail, owner.pw_uid, owner.pw_gid)
        lines = [
            f"{user}:{PASSWORD}:{owner.pw_uid}:{owner.pw_gid}::{self.folder}::{extra}"
            for user, extra in (*((user, "") for user in USERS), (FULL, "userdb_quota_rule=*:bytes=10"))
        ]
        (self.folder / "users").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.folder / "users").chmod(0o644)
        (self.folder / "dovecot.conf").write_text(
            _CONF.format(
                folder=self.folder, domain=DOMAIN, lmtp_port=self.lmtp_port, auth_port=self.auth_port
            ),
            encoding="utf-8",
        )

    def command(self) -> Sequence[str]:
        program("/usr/lib/dovecot/lmtp")
        return [program("dovecot"), "-F", "-c", str(self.folder / "dovecot.conf")]

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.lmtp_port), timeout=5) as client:
                return client.recv(3) == b"220"
        except OSError:
            return False

    def mails(self, user: str) -> list[bytes]:
        """The user's mails in the order of arrival, as stored: with LF line ends."""
        folder = self._mail / user / "new"
        files = sorted(folder.iterdir(), key=lambda p: p.stat().st_mtime_ns) if folder.exists() else []
        return [path.read_bytes() for path in files]
