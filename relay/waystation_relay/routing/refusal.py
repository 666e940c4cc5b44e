"""What it means for mail when DNS leads nowhere: one row a case, the same in ``docs/routing.md``.

Permanent is only what the domain's own servers say about it, and what no later
look-up can change. Everything that may be our, the network's or their DNS's
trouble is temporary. The host of a smart-host or LMTP backend is this side's
configuration, so that it cannot be found is never held against the sender.
"""

import enum
from typing import NamedTuple

from waystation_relay.mail.outcome import Deferred, Failed, Reason
from waystation_relay.mail.reply import reply


class Case(enum.Enum):
    NOT_A_DOMAIN = enum.auto()
    NO_SUCH_DOMAIN = enum.auto()
    NULL_MX = enum.auto()
    NO_ADDRESS = enum.auto()
    NO_HOST = enum.auto()
    LOOP = enum.auto()
    DNS_TROUBLE = enum.auto()
    UNREACHABLE = enum.auto()
    BACKEND_UNKNOWN = enum.auto()
    BACKEND_TROUBLE = enum.auto()
    BACKEND_UNREACHABLE = enum.auto()


class Row(NamedTuple):
    code: int
    enhanced: str
    reason: Reason
    text: str  # {name} is the domain or host asked for, {why} the particulars


TABLE: dict[Case, Row] = {
    Case.NOT_A_DOMAIN: Row(553, "5.1.3", Reason.ADDRESS, "{name} is not a domain name"),
    Case.NO_SUCH_DOMAIN: Row(550, "5.1.2", Reason.ADDRESS, "the domain {name} does not exist"),
    Case.NULL_MX: Row(556, "5.1.10", Reason.ADDRESS, "the domain {name} takes no mail (null MX)"),
    Case.NO_ADDRESS: Row(
        550, "5.4.4", Reason.ADDRESS, "the domain {name} has neither MX nor address records"
    ),
    Case.NO_HOST: Row(550, "5.4.4", Reason.DNS, "no mail server of the domain {name} has an address ({why})"),
    Case.LOOP: Row(554, "5.4.6", Reason.LOOP, "mail for {name} loops back to this server"),
    Case.DNS_TROUBLE: Row(451, "4.4.3", Reason.DNS, "DNS look-up for {name} failed: {why}"),
    Case.UNREACHABLE: Row(451, "4.4.4", Reason.DNS, "no route from here to any address of {name} ({why})"),
    Case.BACKEND_UNKNOWN: Row(451, "4.4.4", Reason.DNS, "the route's host {name} does not exist in DNS"),
    Case.BACKEND_TROUBLE: Row(
        451, "4.4.3", Reason.DNS, "DNS look-up for the route's host {name} failed: {why}"
    ),
    Case.BACKEND_UNREACHABLE: Row(
        451, "4.4.4", Reason.DNS, "no route from here to any address of the route's host {name} ({why})"
    ),
}


def failed(case: Case, name: str, why: str = "") -> Failed:
    row = TABLE[case]
    assert row.code >= 500
    return Failed(reply(row.code, row.enhanced, row.text.format(name=name, why=why)), row.reason)


def deferred(case: Case, name: str, why: str = "") -> Deferred:
    row = TABLE[case]
    assert row.code < 500
    return Deferred(reply(row.code, row.enhanced, row.text.format(name=name, why=why)), row.reason)
