"""What calls to ``/queue`` mean: a JSON body or a URL's parameters into a query, a query into SQL.

Invariant tested: a body is an order for some messages or is refused with a
``Problem`` and its remedy; every query runs against the index's tables, for
every action; and a filter that is there is in the query.
"""

import sqlite3
from contextlib import closing
from urllib.parse import parse_qsl

from tests.fuzz.target import explained

from waystation_relay.admin.filters import FILTERS, query_of
from waystation_relay.admin.problem import Problem
from waystation_relay.admin.queue import _order
from waystation_relay.spool.query import conditions, matching_ids, statements
from waystation_relay.spool.schema import TABLES
from waystation_relay.spool.values import Delete, Hold, Query, Release, RetryNow

TOKENS = (
    *[b"&%s=" % name.encode() for name in FILTERS], b"%C3%BC", b"%00", b"2h", b"held",
    b'{"filter":{', b"}}", b"}", b'"all":true', b'"reason":"x"', b",",
    *[b'"%s":' % name.encode() for name in FILTERS], b'"corp.test"', b'"<>"', b'""', b'"90s"', b'"2h"',
    b'"999999999999w"', b"1e308", b"-1", b"90", b'"held"', b"null", b"true", b'["00000000001-AAAAA"]',
    b'["0"]', b'"\\ud800"', b'"\\u0000"', b'"b\xc3\xbccher.test"', b"[]", b"{}", b'"\'; --"',
    b'{"filter":{"domain":"corp.test","older-than":"1h"},"all":false,"reason":"spam"}',
)  # fmt: skip
ACTIONS = (Hold("x"), Release(), RetryNow(), Delete("x"))
DB = sqlite3.connect(":memory:")
for table in TABLES:
    DB.execute(table)


def run(data: bytes) -> None:
    try:
        filters = _order(data).filter if data.startswith(b"{") else parameters(data)
        query = query_of(filters)
    except Problem as refused:
        explained(refused.error, refused.remedy)
        return
    assert (query == Query()) is (not filters), "a filter is overlooked"
    wanted = conditions(query, 1.8e9, "AAAAA")
    with closing(
        DB.execute(matching_ids(wanted), (0, 2**63 - 1, *wanted.message_values, *wanted.recipient_values, 10))
    ):
        pass
    for action in ACTIONS:
        for statement in statements(action, 1.8e9):
            DB.execute(
                f"{statement.sql} AND r.message_id = ? AND {wanted.recipient}",
                (*statement.values, 1, *wanted.recipient_values),
            )


def parameters(data: bytes) -> dict[str, object]:
    """As aiohttp would give those of a URL."""
    return dict(parse_qsl(data.decode("ascii", "replace"), keep_blank_values=True))
