"""Where mail is delivered to, and how: the key under which connections are shared."""

import enum

import msgspec


class Protocol(enum.StrEnum):
    SMTP = "smtp"
    LMTP = "lmtp"


class Security(enum.StrEnum):
    """What is asked of TLS; the words of the configuration document."""

    NONE = "None"
    OPPORTUNISTIC = "Opportunistic"  # STARTTLS when offered, any certificate, plain when it fails
    REQUIRED = "Required"  # STARTTLS with a certificate valid for the host, or the mail waits
    IMPLICIT = "Implicit"  # TLS from the first byte (RFC 8314) with such a certificate


class Target(msgspec.Struct, frozen=True):
    """``host`` is a domain whose MX hosts are meant when ``mx``, else the host itself.

    ``credential`` names the user name and password to log in with.
    """

    protocol: Protocol
    host: str
    port: int
    security: Security = Security.OPPORTUNISTIC
    credential: str | None = None
    mx: bool = False

    def __str__(self) -> str:
        return f"{self.protocol.value}:{self.host}:{self.port}"
