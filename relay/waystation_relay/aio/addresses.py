"""Which addresses to listen on.

``::`` means every address of this machine, of both families, as people expect
of a dual-stack socket. It is a socket for each family, so that an IPv4 client
is one to whoever looks at its address; where the kernel has no IPv6, IPv4 is
what there is.
"""

import socket

EVERY_V4 = "0.0.0.0"  # noqa: S104 -- what the word means
EVERY = "::"


def listened_on(bind: str) -> tuple[str, ...]:
    """The addresses to open a socket for."""
    if bind != EVERY:
        return (bind,)
    return (EVERY_V4, EVERY) if _has_v6() else (EVERY_V4,)


def _has_v6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True
