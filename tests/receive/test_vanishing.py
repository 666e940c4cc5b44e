"""A client is gone, at any moment: nothing of it stays."""

from collections.abc import Callable

import pytest
from tests.receive.reception import Client, Reception, eventually

from waystation_relay.spool.values import Tuning

OPENING = b"MAIL FROM:<a@shop.test>\r\nRCPT TO:<b@next.test>\r\n"
LARGE = (b"x" * 98 + b"\r\n") * 1000
MOMENTS = {
    "after EHLO": b"",
    "in a command": b"MAIL FR",
    "in a line that is too long": b"x" * 5000,
    "after MAIL": b"MAIL FROM:<a@shop.test>\r\n",
    "after RCPT": OPENING,
    "after the 354": OPENING + b"DATA\r\n",
    "in its data": OPENING + b"DATA\r\nhalf a line",
    "in its data, streamed": OPENING + b"DATA\r\n" + LARGE,
    "in the end of its data": OPENING + b"DATA\r\nx\r\n.\r",
    "in a chunk": OPENING + b"BDAT 100\r\nx",
    "in a chunk, streamed": OPENING + b"BDAT 1000000\r\n" + LARGE,
    "between chunks": OPENING + b"BDAT 1\r\nx",
    "in a chunk nobody asked for": b"BDAT 1000\r\nx",
    "after RSET, streamed": OPENING + b"BDAT 100000\r\n" + LARGE + b"RSET\r\n",
    "after EHLO in the middle, streamed": OPENING + b"BDAT 100000\r\n" + LARGE + b"EHLO client.test\r\n",
}


@pytest.mark.parametrize("leave", [Client.close, Client.reset], ids=["closes", "resets"])
@pytest.mark.parametrize("sent", MOMENTS.values(), ids=MOMENTS)
async def test_a_client_that_vanishes_leaves_nothing(
    new_reception: Callable[..., Reception], sent: bytes, leave: Callable[[Client], None]
) -> None:
    """No session, no file, no message; and the next client is served."""
    reception = await new_reception(tuning=Tuning(memory_bytes=10_000, stream_chunk_bytes=1000)).start()
    client = await reception.greeted()
    client.write(sent)
    await client.flush()
    if LARGE in sent:
        await eventually(lambda: reception.files() or b"RSET" in sent or sent.endswith(b"test\r\n"), "a file")
    leave(client)
    await reception.empty()
    await eventually(lambda: not reception.files(), "its file to go")
    assert reception.accepted == []
    assert (await (await reception.greeted()).send()).startswith("250")


@pytest.mark.parametrize("leave", [Client.close, Client.reset], ids=["closes", "resets"])
@pytest.mark.parametrize("size", [1, 1000], ids=["small", "streamed"])
async def test_a_message_that_is_complete_is_kept(
    new_reception: Callable[..., Reception],
    monkeypatch: pytest.MonkeyPatch,
    leave: Callable[[Client], None],
    size: int,
) -> None:
    """A client that is gone before its 250 may send it again; what it sent is delivered all the same."""
    reception = await new_reception(tuning=Tuning(memory_bytes=10_000, stream_chunk_bytes=1000)).start()
    held: list[tuple[object, ...]] = []
    accept = reception.spool.accept
    monkeypatch.setattr(reception.spool, "accept", lambda *call: held.append(call))
    client = await reception.greeted()
    await client.begin()
    client.write((b"x" * 98 + b"\r\n") * size + b".\r\n")
    await eventually(lambda: held, "the message to reach the spool")
    leave(client)
    if leave is Client.reset:
        await reception.empty()
    accept(*held[0])  # type: ignore[arg-type] # what it was called with
    await eventually(lambda: reception.accepted, "the commit")
    await reception.empty()
    assert len(reception.log.of("message.accepted")) == 1
