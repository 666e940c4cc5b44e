"""What one server is asked for one transaction, or why it cannot be asked. Pure, but for ``reads_body``.

Downstream of this the client machine knows only commands and replies. Here
the message's needs meet the server's offers:

* larger than its SIZE, before or after a conversion: failed, unsent (RFC 1870 §6.1);
* 8-bit without 8BITMIME: converted to 7-bit where that is safe, else failed (RFC 6152 §3);
* SMTPUTF8 without SMTPUTF8: plain where nothing needs it, domains as A-labels, else failed (RFC 6531 §3.2);
* DSN parameters where DSN is offered, silently kept back where not (RFC 3461 §5.2);
* no more recipients than its RCPTMAX, of no more domains than its RCPTDOMAINMAX (RFC 9422).
"""

import dataclasses

from waystation_relay.delivery.downgrade import ConversionError, to_seven_bit
from waystation_relay.delivery.transaction import Body, Transaction
from waystation_relay.mail.address import domain_of, normal_domain, split
from waystation_relay.mail.envelope import BodyType, Recipient
from waystation_relay.mail.outcome import Failed, Reason
from waystation_relay.mail.reply import reply
from waystation_relay.wire import envelope_commands as commands
from waystation_relay.wire.capabilities import Capabilities
from waystation_relay.wire.stuffing import terminated

HEADER_BYTES = 256 * 1024  # of a body source, how much is searched for the end of the header


@dataclasses.dataclass(slots=True)
class Offer:
    """``places``: which of the transaction's recipients ``rcpts`` are. ``refused``: those who cannot be asked
    for. ``left``: those for whom the server's limits leave no room."""

    mail: bytes
    rcpts: list[bytes]
    places: list[int]
    body: Body
    size_bytes: int
    refused: dict[int, Failed]
    left: list[int]


def reads_body(transaction: Transaction, offered: Capabilities) -> bool:
    """Whether ``prepare`` reads a body source, which blocks."""
    return transaction.smtputf8 and not offered.smtputf8 and not isinstance(transaction.body, bytes)


def prepare(transaction: Transaction, offered: Capabilities) -> Offer | tuple[Failed, ...]:
    """The commands to send, or why not, for every recipient. Raises what the body source raises."""
    prepared = _prepare(transaction, offered)
    return (prepared,) * len(transaction.recipients) if isinstance(prepared, Failed) else prepared


def _prepare(transaction: Transaction, offered: Capabilities) -> Offer | Failed | tuple[Failed, ...]:
    body = terminated(transaction.body) if isinstance(transaction.body, bytes) else transaction.body
    size_bytes = len(body) if isinstance(body, bytes) else body.size_bytes
    if offered.size_bytes is not None and size_bytes > offered.size_bytes:
        return _too_large(size_bytes, offered)

    eight_bit = _is_eight_bit(transaction, body)
    if eight_bit and not offered.eight_bit_mime:
        if not isinstance(body, bytes):
            return _unconvertible(f"at {size_bytes} bytes it is too large to be converted", offered)
        try:
            body = to_seven_bit(body)
        except ConversionError as why:
            return _unconvertible(str(why), offered)
        eight_bit, size_bytes = False, len(body)
        if offered.size_bytes is not None and size_bytes > offered.size_bytes:
            return _too_large(size_bytes, offered)

    reverse_path, recipients = transaction.reverse_path, transaction.recipients
    smtputf8 = transaction.smtputf8
    refused: dict[int, Failed] = {}
    if smtputf8 and not offered.smtputf8:
        smtputf8 = False
        plain = _ascii_address(reverse_path)
        if plain is None:
            return _not_ascii("5.6.7", f"the sender's address <{reverse_path}> is internationalized", offered)
        if not _has_ascii_header(body):
            return _not_ascii("5.6.9", "the message header is internationalized", offered)
        reverse_path = plain
        recipients, refused = _ascii_recipients(recipients, offered)

    dsn = offered.dsn
    places = (
        [n for n in range(len(recipients)) if n not in refused] if refused else list(range(len(recipients)))
    )
    if not places:
        return tuple([refused[n] for n in range(len(recipients))])
    places, left = _within_limits(places, recipients, offered)
    return Offer(
        commands.mail(
            reverse_path,
            size_bytes=size_bytes if offered.size else None,
            eight_bit=eight_bit,
            smtputf8=smtputf8,
            ret=transaction.ret if dsn else None,
            envid=transaction.envid if dsn else None,
        ),
        [commands.rcpt(recipients[n], dsn=dsn) for n in places],
        places,
        body,
        size_bytes,
        refused,
        left,
    )


def _within_limits(
    places: list[int], recipients: tuple[Recipient, ...], offered: Capabilities
) -> tuple[list[int], list[int]]:
    """Those that one transaction may have, and those left for another."""
    room = offered.rcpt_max or len(places)
    if offered.rcpt_domain_max is None:
        return places[:room], places[room:]
    domains: set[str] = set()
    within: list[int] = []
    left: list[int] = []
    for place in places:
        domain = domain_of(recipients[place].address)
        if len(within) < room and (domain in domains or len(domains) < offered.rcpt_domain_max):
            domains.add(domain)
            within.append(place)
        else:
            left.append(place)
    return within, left


def _is_eight_bit(transaction: Transaction, body: Body) -> bool:
    if transaction.eight_bit is not None:
        return transaction.eight_bit
    if isinstance(body, bytes):
        return not body.isascii()
    return transaction.body_type is BodyType.EIGHT_BIT


def _ascii_address(address: str) -> str | None:
    """The address with its domain in A-labels; ``None`` when only SMTPUTF8 can carry it."""
    if address.isascii():
        return address
    local, domain = split(address)
    plain = f"{local}@{normal_domain(domain)}"
    return plain if plain.isascii() else None


def _ascii_recipients(
    recipients: tuple[Recipient, ...], offered: Capabilities
) -> tuple[tuple[Recipient, ...], dict[int, Failed]]:
    plain: list[Recipient] = []
    refused: dict[int, Failed] = {}
    for n, recipient in enumerate(recipients):
        address = _ascii_address(recipient.address)
        if address is None:
            refused[n] = _not_ascii(
                "5.6.7", f"the address <{recipient.address}> is internationalized", offered
            )
        orcpt = recipient.orcpt if recipient.orcpt is not None and recipient.orcpt.isascii() else None
        plain.append(Recipient(address or "", recipient.notify, orcpt))
    return tuple(plain), refused


def _has_ascii_header(body: Body) -> bool:
    start = body[:HEADER_BYTES] if isinstance(body, bytes) else body.read(0, HEADER_BYTES)
    header, end, _ = start.partition(b"\r\n\r\n")
    return header.isascii() and (bool(end) or len(start) < HEADER_BYTES)


def _too_large(size_bytes: int, offered: Capabilities) -> Failed:
    text = f"the message has {size_bytes} bytes and {_named(offered)} takes at most {offered.size_bytes}"
    return Failed(reply(552, "5.3.4", text), Reason.TOO_LARGE)


def _unconvertible(why: str, offered: Capabilities) -> Failed:
    text = f"the message holds 8-bit data, {_named(offered)} takes only 7-bit, and {why}"
    return Failed(reply(554, "5.6.3", text), Reason.CONTENT)


def _not_ascii(enhanced: str, what: str, offered: Capabilities) -> Failed:
    return Failed(reply(553, enhanced, f"{what} and {_named(offered)} lacks SMTPUTF8"), Reason.CONTENT)


def _named(offered: Capabilities) -> str:
    return offered.name or "the server"
