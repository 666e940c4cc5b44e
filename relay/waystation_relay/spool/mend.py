"""What becomes of a message whose rows in the index do not check out.

It stays in the queue, held, for a person to decide. Recipients whose rows are
whole keep them; the others come back held with their progress forgotten. A
row that does not even say whose it is brings back every recipient without a
whole row, those delivered long ago included. An unreadable envelope is
written anew from what the columns still say: addresses in lower case, no ESMTP
parameters, and nothing of where it came from.

Pure; salvage uses it for a damaged index, ``damage`` for a damaged row.
"""

from collections.abc import Sequence

from waystation_relay.mail.envelope import Envelope, Origin, Recipient
from waystation_relay.mail.message import Status
from waystation_relay.spool import rows
from waystation_relay.spool.rows import Row, Unreadable

PROGRESS_LOST = "corrupt: progress lost"
ENVELOPE_LOST = "corrupt: envelope lost"
# A row of the table ``recipients``: message_id, number, status, due, address, domain, reason, hold, details.
NUMBER, STATUS, ADDRESS = 1, 2, 4
PROGRESS = (1, 2, 3, 6, 7, 8, 4)  # the columns of rows.PROGRESS_COLUMNS in it
MOST_RECIPIENTS = 1_000_000  # a number beyond is damage, and would be as many places


def mended(message_id: int, sender: object, sealed: object, found: Sequence[Row]) -> tuple[bytes, list[Row]]:
    """The envelope's blob and all recipient rows as they should be.

    Raises Unreadable when nothing is left to make an envelope of.
    """
    arrival = message_id / 1_000_000
    try:
        envelope = rows.unseal(message_id, sealed).envelope
    except Unreadable:
        envelope = _envelope(sender, found)
        numbers = {row[NUMBER] for row in found}
        anew = rows.recipient_rows(message_id, envelope, Status.HELD, arrival, ENVELOPE_LOST)
        return rows.seal(message_id, envelope, Origin()), [row for row in anew if row[NUMBER] in numbers]
    assert isinstance(sealed, bytes)
    everybody = range(len(envelope.recipients))
    whole: list[Row] = []
    lost: set[int] = set() if found else set(everybody)
    for row in found:
        try:
            rows.progress_of(message_id, [row[n] for n in PROGRESS], envelope)
        except Unreadable:
            number = row[NUMBER]
            if isinstance(number, int) and rows.is_recipient(envelope, number, row[ADDRESS]):
                lost.add(number)
            else:
                lost.update(everybody)
        else:
            whole.append(row)
    lost.difference_update([row[NUMBER] for row in whole])
    held = rows.recipient_rows(message_id, envelope, Status.HELD, arrival, PROGRESS_LOST)
    return sealed, [*whole, *(row for row in held if row[NUMBER] in lost)]


def _envelope(sender: object, found: Sequence[Row]) -> Envelope:
    addresses = {
        number: str(row[ADDRESS])
        for row in found
        if isinstance(number := row[NUMBER], int) and 0 <= number < MOST_RECIPIENTS
    }
    if not addresses or not isinstance(sender, str):
        raise Unreadable("nothing is left of the envelope")
    # Who is done leaves an empty place: the numbers of the others count on it.
    return Envelope(sender, tuple([Recipient(addresses.get(n, "")) for n in range(max(addresses) + 1)]))
