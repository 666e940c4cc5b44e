"""A Postfix of the benchmark's own: in a temporary folder, on a loopback port, relaying to a sink.

Tuned as somebody who wants throughput would: enough processes, no DNS, no
throttling of a fast client, connection cache on demand (the default). What
makes mail safe stays as Postfix has it: every message is synced before its
250.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{sink}
alias_maps =
alias_database =
local_recipient_maps =
biff = no
disable_dns_lookups = yes
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
default_process_limit = 200
initial_destination_concurrency = 20
default_destination_concurrency_limit = 50
smtpd_client_connection_count_limit = 0
in_flow_delay = 0
"""
MASTER_CF = """\
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
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""
MAIL_FOLDERS = ("maildrop", "incoming", "active", "deferred", "hold", "corrupt")


class Postfix:
    """Started by ``start``, ended by ``stop``; needs root, as Postfix itself does."""

    def __init__(self, folder: Path, port: int, sink: int) -> None:
        self.folder, self.port, self.sink = folder, port, sink
        self.etc = folder / "etc"

    def start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for made in (self.etc, self.folder / "queue", self.folder / "data"):
            made.mkdir(parents=True)
        self.folder.chmod(0o755)
        owner = pwd.getpwnam("postfix").pw_uid
        os.chown(self.folder / "data", owner, -1)
        values = {"folder": self.folder, "port": self.port, "sink": self.sink}
        (self.etc / "main.cf").write_text(MAIN_CF.format(**values), encoding="utf-8")
        (self.etc / "master.cf").write_text(MASTER_CF.format(**values), encoding="utf-8")
        self._postfix("start")

    def stop(self) -> None:
        self._postfix("stop")

    def queued(self) -> int:
        """Messages anywhere in its queue: files below the folders that hold mail."""
        return sum(
            1 for name in MAIL_FOLDERS for path in (self.folder / "queue" / name).rglob("*") if path.is_file()
        )

    def _postfix(self, command: str) -> None:
        run = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.etc), command], capture_output=True, text=True, timeout=30
        )
        if run.returncode and command == "start":
            raise RuntimeError(f"postfix {command}: {run.stdout}{run.stderr}")
