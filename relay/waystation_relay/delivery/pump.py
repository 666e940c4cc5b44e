"""Pours a large body into a transport: read in a worker thread, a block at a time, no faster than it drains.

Invariants
    At most one block is read ahead; nothing is read while the transport is full.
    Exactly one of ``sent`` and ``failed`` is called, unless stopped before.
"""

import asyncio
from collections.abc import Callable

from waystation_relay.delivery.transaction import BodySource
from waystation_relay.wire.stuffing import Stuffer

BLOCK_BYTES = 256 * 1024


class Pump:
    """``stuffer`` for DATA; ``None`` for BDAT, whose octets are counted instead."""

    def __init__(
        self,
        body: BodySource,
        transport: asyncio.WriteTransport,
        stuffer: Stuffer | None,
        *,
        progress: Callable[[], None],
        sent: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._body, self._transport, self._stuffer = body, transport, stuffer
        self._progress, self._sent, self._failed = progress, sent, failed
        self._offset = 0
        self._reading = False
        self._full = False
        self._stopped = False

    def start(self) -> None:
        self._advance()

    def pause(self) -> None:
        self._full = True

    def resume(self) -> None:
        self._full = False
        self._advance()

    def stop(self) -> None:
        self._stopped = True

    def _advance(self) -> None:
        if self._reading or self._full or self._stopped:
            return
        if self._offset >= self._body.size_bytes:
            self._stopped = True
            if self._stuffer is not None:
                self._transport.write(self._stuffer.finish())
            self._sent()
            return
        self._reading = True
        size = min(BLOCK_BYTES, self._body.size_bytes - self._offset)
        reading = asyncio.get_running_loop().run_in_executor(None, self._body.read, self._offset, size)
        reading.add_done_callback(self._read)

    def _read(self, reading: "asyncio.Future[bytes]") -> None:
        self._reading = False
        # Asked for even when it is of no interest any more: its file may have been closed under the reader.
        error = None if reading.cancelled() else reading.exception()
        if reading.cancelled() or self._stopped:
            return
        block = b"" if error is not None else reading.result()
        if not block:
            self._stopped = True
            self._failed(str(error) if error is not None else f"it ends at {self._offset} bytes")
            return
        self._offset += len(block)
        self._transport.write(block if self._stuffer is None else self._stuffer.stuff(block))
        self._progress()
        self._advance()
