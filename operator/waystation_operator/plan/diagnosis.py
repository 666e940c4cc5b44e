"""What a probe can find, why, and what to do about it: one row a case, the same in ``docs/probes.md``.

The one place where reasons, messages and remedies of probes are written.
Pure: the prober names a case and its particulars, :func:`finding` words it.
"""

import dataclasses
import enum
import re
from dataclasses import dataclass

from waystation_operator.plan.findings import Finding, Target

EXPIRES_SOON_DAYS = 21


class Case(enum.Enum):
    ANSWERS = enum.auto()
    LOGGED_IN = enum.auto()
    NOT_LOGGED_IN = enum.auto()
    HAS_MAIL_HOSTS = enum.auto()
    CERTIFICATE_SOON = enum.auto()
    NO_SUCH_HOST = enum.auto()
    NO_ADDRESS = enum.auto()
    DNS_TROUBLE = enum.auto()
    REFUSED = enum.auto()
    UNREACHABLE = enum.auto()
    TIMED_OUT = enum.auto()
    TIMED_OUT_25 = enum.auto()
    SILENT = enum.auto()
    NO_ANSWER = enum.auto()
    LOST = enum.auto()
    NOT_SMTP = enum.auto()
    NOT_LMTP = enum.auto()
    GREETING_REFUSED = enum.auto()
    HELLO_REFUSED = enum.auto()
    NO_STARTTLS = enum.auto()
    STARTTLS_REFUSED = enum.auto()
    TLS_FAILED = enum.auto()
    CERTIFICATE_EXPIRED = enum.auto()
    CERTIFICATE_FOR_OTHERS = enum.auto()
    CERTIFICATE_UNKNOWN_ISSUER = enum.auto()
    CERTIFICATE_BAD = enum.auto()
    NO_AUTH = enum.auto()
    AUTH_UNKNOWN = enum.auto()
    AUTH_NEEDS_TLS = enum.auto()
    AUTH_REFUSED = enum.auto()
    AUTH_LATER = enum.auto()
    NULL_MX = enum.auto()
    NO_SUCH_DOMAIN = enum.auto()
    NO_MX = enum.auto()
    MX_WITHOUT_ADDRESS = enum.auto()
    PORT_BLOCKED = enum.auto()


@dataclass(frozen=True, slots=True)
class Row:
    """``text`` and ``remedy`` may name ``{where}`` (host, address and port), ``{host}``, ``{port}``,
    ``{why}`` and ``{said}`` (the server's words)."""

    reason: str
    text: str
    remedy: str = ""
    ok: bool = False


_FIREWALL = "let connections from the cluster through in firewalls and network policies"
_CHECK = "check the backend's host and port"

TABLE: dict[Case, Row] = {
    Case.ANSWERS: Row("Reachable", "{where} answers", ok=True),
    Case.LOGGED_IN: Row("Reachable", "{where} answers and accepts the login", ok=True),
    Case.NOT_LOGGED_IN: Row("Reachable", "{where} answers; the login was not tried", ok=True),
    Case.HAS_MAIL_HOSTS: Row("Reachable", "mail for {host} goes to {why}", ok=True),
    Case.CERTIFICATE_SOON: Row(
        "CertificateExpiresSoon",
        "{where} works, but its certificate expires on {why}",
        "have the server's certificate renewed; mail waits once it has expired",
        ok=True,
    ),
    Case.NO_SUCH_HOST: Row(
        "HostNotFound",
        "{host} does not exist in DNS",
        "correct the backend's host, or create its DNS record",
    ),
    Case.NO_ADDRESS: Row(
        "HostNotFound",
        "{host} exists in DNS but has no address",
        "name a host with A or AAAA records; MX records play no part here",
    ),
    Case.DNS_TROUBLE: Row(
        "DnsFailed",
        "DNS look-up for {host} failed: {why}",
        "check the cluster's DNS (or the pool's delivery.dnsServers) and the name servers of the domain",
    ),
    Case.REFUSED: Row(
        "ConnectionRefused", "{where} refuses connections", f"{_CHECK}, and that the server runs"
    ),
    Case.UNREACHABLE: Row("HostUnreachable", "{where} cannot be reached: {why}", f"{_CHECK}; {_FIREWALL}"),
    Case.TIMED_OUT: Row(
        "ConnectionTimedOut", "{where} does not answer within {why}", f"{_CHECK}; {_FIREWALL}"
    ),
    Case.TIMED_OUT_25: Row(
        "ConnectionTimedOut",
        "{where} does not answer within {why}",
        "many clouds block port 25: have it opened, or use a smart host at port 587 or 465; "
        f"if it is open, {_FIREWALL}",
    ),
    Case.SILENT: Row(
        "NoGreeting",
        "{where} takes connections but says nothing within {why}",
        "set tls to Implicit if the port expects TLS from the first byte, as 465 does; else " + _CHECK,
    ),
    Case.NO_ANSWER: Row(
        "NoAnswer",
        "{where} does not answer {said} within {why}",
        "ask who runs the server; mail waits meanwhile",
    ),
    Case.LOST: Row(
        "ConnectionLost",
        "{where} closes the connection {said}",
        "ask who runs the server whether it turns away the cluster's addresses",
    ),
    Case.NOT_SMTP: Row("NotSmtp", "{where} answers with something that is not SMTP", _CHECK),
    Case.NOT_LMTP: Row(
        "NotLmtp",
        "{where} does not speak LMTP: {said}",
        "use its LMTP port (24 usually), or a smartHost backend if it is an SMTP server",
    ),
    Case.GREETING_REFUSED: Row(
        "GreetingRefused",
        "{where} turns us away: {said}",
        "ask who runs the server to admit the cluster's addresses; its words may say why it does not",
    ),
    Case.HELLO_REFUSED: Row(
        "HelloRefused",
        "{where} refuses to begin: {said}",
        "set the pool's hostname to a name that exists in DNS; use an lmtp backend if the server speaks LMTP",
    ),
    Case.NO_STARTTLS: Row(
        "TlsNotOffered",
        "{where} does not offer STARTTLS, which the route requires",
        "use the server's port for STARTTLS (587 usually), or tls Implicit at 465",
    ),
    Case.STARTTLS_REFUSED: Row(
        "TlsFailed",
        "{where} offers STARTTLS but refuses it: {said}",
        "ask who runs the server; mail waits meanwhile",
    ),
    Case.TLS_FAILED: Row(
        "TlsFailed",
        "no TLS with {where}: {why}",
        "use tls Implicit where TLS begins with the first byte (465), Required where STARTTLS begins it; "
        "TLS 1.2 is the least",
    ),
    Case.CERTIFICATE_EXPIRED: Row(
        "CertificateInvalid",
        "the certificate of {where} has expired",
        "have it renewed",
    ),
    Case.CERTIFICATE_FOR_OTHERS: Row(
        "CertificateInvalid",
        "the certificate of {where} is not for {host}: {why}",
        "use the name that is in the certificate as the backend's host",
    ),
    Case.CERTIFICATE_UNKNOWN_ISSUER: Row(
        "CertificateInvalid",
        "the certificate of {where} is from an authority that is not trusted: {why}",
        "have the server send its whole chain, from an authority that the relay's image trusts",
    ),
    Case.CERTIFICATE_BAD: Row(
        "CertificateInvalid",
        "the certificate of {where} is not valid: {why}",
        "have it replaced",
    ),
    Case.NO_AUTH: Row(
        "AuthNotOffered",
        "{where} offers no AUTH",
        "use its port for submission (587, or 465 with tls Implicit), or remove authSecretName",
    ),
    Case.AUTH_UNKNOWN: Row(
        "AuthNotOffered",
        "{where} offers AUTH only with {said}",
        "have PLAIN, LOGIN or CRAM-MD5 enabled at the server",
    ),
    Case.AUTH_NEEDS_TLS: Row(
        "AuthNotOffered",
        "the connection to {where} is not encrypted, so the password is not sent (AUTH offered: {said})",
        "set tls to Required or Implicit",
    ),
    Case.AUTH_REFUSED: Row(
        "AuthRefused",
        "{where} refuses the user name and password: {said}",
        "correct username and password in the Secret that authSecretName names",
    ),
    Case.AUTH_LATER: Row(
        "AuthTemporarilyRefused",
        "{where} does not accept a login at the moment: {said}",
        "it is tried again; if it lasts, ask who runs the server",
    ),
    Case.NULL_MX: Row(
        "NullMx",
        "{host} takes no mail (null MX)",
        "correct the domain in match.recipients, or send its mail to a smart host",
    ),
    Case.NO_SUCH_DOMAIN: Row(
        "MxNotFound", "the domain {host} does not exist", "correct the domain in match.recipients"
    ),
    Case.NO_MX: Row(
        "MxNotFound",
        "{host} has neither MX nor address records",
        "create its MX record, correct the domain in match.recipients, or send its mail to a smart host",
    ),
    Case.MX_WITHOUT_ADDRESS: Row(
        "MxUnresolvable",
        "no mail server of {host} has an address ({why})",
        "have the domain's MX records point to names with A or AAAA records",
    ),
    Case.PORT_BLOCKED: Row(
        "PortBlocked",
        "port 25 seems to be blocked: servers of {why} do not answer, and no mail arrived at an MX host",
        "many clouds block port 25: have it opened, or send through a smart host at port 587 or 465",
    ),
}

_ADDRESS = re.compile(r" \[[0-9a-f.:]+\]")

REASONS = tuple(dict.fromkeys(row.reason for row in TABLE.values()))
NEEDS_LOGIN_AGAIN = frozenset({"AuthRefused", "AuthTemporarilyRefused"})


def finding(
    case: Case, target: Target, at: float, *, where: str = "", why: str = "", said: str = ""
) -> Finding:
    """``where`` defaults to host and port, ``at`` is in Unix seconds."""
    row = TABLE[case]
    where = where or f"{target.host}:{target.port}"
    parts = [row.text, row.remedy] if row.remedy else [row.text]
    message = "; ".join(
        part.format(where=where, host=target.host, port=target.port, why=why, said=said) for part in parts
    )
    return Finding(target, row.ok, row.reason, message, at)


def settled(last: Finding | None, new: Finding) -> Finding:
    """``new``, in the words of ``last`` if they differ in the address alone.

    A name of many addresses gives another one each time, which is no news.
    """
    if last is None or (last.ok, last.reason) != (new.ok, new.reason):
        return new
    if _ADDRESS.sub("", last.message) != _ADDRESS.sub("", new.message):
        return new
    return dataclasses.replace(new, message=last.message)
