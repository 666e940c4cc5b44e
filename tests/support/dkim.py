"""OpenDKIM's own signer and verifier, in the mode in which it reads a message from a file.

    signer = OpenDKIM(tmp_path, "shop.test")
    signed = signer.sign(content)
    signer.verdict(signed)      # "succeeded", or what OpenDKIM says is wrong

The strictest canonicalization is used, ``simple/simple``: one byte changed in a
signed header field or in the body breaks the signature.
"""

import re
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support.programs import program

SELECTOR = "test"


class OpenDKIM:
    def __init__(self, folder: Path, domain: str) -> None:
        self._folder = folder
        key = rsa.generate_private_key(65537, 2048)
        private = folder / "dkim.key"
        private.touch(mode=0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        record = b"".join(public.splitlines()[1:-1]).decode()
        keys = folder / "dkim.public"
        keys.write_text(f"{SELECTOR}._domainkey.{domain} v=DKIM1; k=rsa; p={record}\n", encoding="ascii")
        self._signing = folder / "sign.conf"
        self._signing.write_text(
            f"Mode s\nSyslog no\nDomain {domain}\nSelector {SELECTOR}\nKeyFile {private}\n"
            "Canonicalization simple/simple\nRequireSafeKeys no\n",
            encoding="ascii",
        )
        self._verifying = folder / "verify.conf"
        self._verifying.write_text(f"Mode v\nSyslog no\nTestPublicKeys {keys}\n", encoding="ascii")

    def sign(self, content: bytes) -> bytes:
        """The message with a DKIM-Signature field in front."""
        said = self._run(self._signing, "-b", "s", content=content)
        field = re.search(r"hname='DKIM-Signature' hvalue='([^']*)'", said)
        assert field, said
        return b"DKIM-Signature: " + field.group(1).replace("\n", "\r\n").encode() + b"\r\n" + content

    def verdict(self, content: bytes) -> str:
        said = self._run(self._verifying, "-v", content=content)
        verdict = re.search(r"verification \(.*?\) (succeeded|failed: .*)|message (not signed)", said)
        assert verdict, said
        return verdict.group(1) or verdict.group(2)

    def _run(self, configuration: Path, *options: str, content: bytes) -> str:
        file = self._folder / "message"
        file.write_bytes(content)
        run = subprocess.run(
            [program("opendkim"), "-x", str(configuration), *options, "-vv", "-t", str(file)],
            capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return run.stdout + run.stderr
