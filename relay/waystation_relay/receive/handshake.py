"""TLS from the first byte (RFC 8314): a connection has its place before the handshake, which may fail.

The plain transport that the listening socket makes is given up at once, its
socket is handed to a new one: the certificate is the one in force now, and the
session begins when the handshake is over.
"""

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from waystation_relay.receive.session import Session
from waystation_relay.receive.terms import client_address

if TYPE_CHECKING:
    from waystation_relay.receive.door import Door  # the door makes these; they only know it by name


class Knock(asyncio.Protocol):
    """Who is turned away hears nothing: there is no TLS yet to say it in."""

    __slots__ = ("_door",)

    def __init__(self, door: "Door") -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        door = self._door
        peer = transport.get_extra_info("peername")
        client = str(client_address(peer[0])) if peer else ""
        if door.enter(client) is not None:
            door.left(client)
        else:
            try:
                connection = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
            except OSError as error:  # no file descriptor left
                door.failed(client, error)
                door.left(client)
            else:
                connection.setblocking(False)
                door.tasks.start(_shake_hands(door, connection, client), "tls handshake")
        transport.abort()  # type: ignore[attr-defined] # uvloop's is no subclass of asyncio's


async def _shake_hands(door: "Door", connection: socket.socket, client: str) -> None:
    session = Session(door, client)
    assert door.terms.certificate is not None, "the configuration was checked"
    try:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: session,
            connection,
            ssl=door.terms.certificate,
            ssl_handshake_timeout=door.deadlines.handshake_s,
        )
    except OSError as error:  # ssl.SSLError and lost connections are OSErrors
        door.failed(client, error)
    finally:
        if not session.has_begun:
            door.left(client)
