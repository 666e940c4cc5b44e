"""A provider's submission server as they are run: AUTH after STARTTLS only, passwords checked by Dovecot."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.certificates import Certificate
from tests.support.dovecot import Dovecot
from tests.support.postfix import Postfix


@contextlib.contextmanager
def submission(folder: Path, issued: Certificate) -> Iterator[Postfix]:
    with (
        Dovecot(folder) as dovecot,
        Postfix(
            folder,
            smtpd_sasl_auth_enable="yes",
            smtpd_sasl_type="dovecot",
            smtpd_sasl_path=f"inet:127.0.0.1:{dovecot.auth_port}",
            smtpd_tls_chain_files=f"{issued.key} {issued.chain}",
            smtpd_tls_security_level="may",
            smtpd_tls_auth_only="yes",
        ) as postfix,
    ):
        yield postfix
