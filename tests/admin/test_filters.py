"""Which messages a call means: what may be written, what it becomes, and what is refused."""

import pytest

from waystation_relay.admin.filters import MOST_IDS, query_of
from waystation_relay.admin.problem import Problem
from waystation_relay.mail.message import Status
from waystation_relay.spool.values import Query


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        pytest.param({}, Query(), id="none"),
        pytest.param({"domain": "corp.test"}, Query(domain="corp.test"), id="domain"),
        pytest.param({"recipient": "ann@corp.test"}, Query(recipient="ann@corp.test"), id="recipient"),
        pytest.param({"sender": "app@shop.test"}, Query(sender="app@shop.test"), id="sender"),
        pytest.param({"sender": "<>"}, Query(sender=""), id="null sender"),
        pytest.param({"sender": ""}, Query(sender=""), id="null sender, written as it is"),
        pytest.param({"sender-domain": "shop.test"}, Query(sender_domain="shop.test"), id="sender's domain"),
        pytest.param({"older-than": "90"}, Query(older_than_s=90), id="seconds"),
        pytest.param({"older-than": 90.5}, Query(older_than_s=90.5), id="seconds as a number"),
        pytest.param({"older-than": "90s"}, Query(older_than_s=90), id="seconds, said so"),
        pytest.param({"older-than": "15m"}, Query(older_than_s=900), id="minutes"),
        pytest.param({"younger-than": "1.5h"}, Query(younger_than_s=5400), id="hours"),
        pytest.param({"younger-than": "2 d"}, Query(younger_than_s=172_800), id="days"),
        pytest.param({"reason": "dns"}, Query(reason="dns"), id="reason"),
        pytest.param({"status": "held"}, Query(status=Status.HELD), id="held"),
        pytest.param({"status": "waiting"}, Query(status=Status.WAITING), id="waiting"),
        pytest.param({"id": "Q1"}, Query(queue_ids=("Q1",)), id="one id"),
        pytest.param({"id": ["Q1", "Q2"]}, Query(queue_ids=("Q1", "Q2")), id="ids"),
        pytest.param(
            {"domain": "corp.test", "older-than": "1h"},
            Query(domain="corp.test", older_than_s=3600),
            id="several",
        ),
    ],
)
def test_a_filter_becomes_a_query(filters: dict[str, object], query: Query) -> None:
    """Each filter by its name, as `waystation queue` has it as an option."""
    assert query_of(filters) == query


@pytest.mark.parametrize(
    ("filters", "word"),
    [
        pytest.param({"domian": "corp.test"}, "domian", id="no such filter"),
        pytest.param({"domain": ""}, "domain", id="empty text"),
        pytest.param({"domain": None}, "domain", id="null"),
        pytest.param({"domain": ["corp.test"]}, "domain", id="a list"),
        pytest.param({"domain": "x" * 1001}, "domain", id="too long"),
        pytest.param({"older-than": "soon"}, "duration", id="no duration"),
        pytest.param({"older-than": "-5m"}, "duration", id="negative"),
        pytest.param({"older-than": "5y"}, "duration", id="no such unit"),
        pytest.param({"older-than": "1e400"}, "duration", id="infinite"),
        pytest.param({"older-than": True}, "duration", id="a truth value"),
        pytest.param({"status": "deferred"}, "status", id="no such status"),
        pytest.param({"status": 1}, "status", id="status as a number"),
        pytest.param({"id": ["Q"] * (MOST_IDS + 1)}, "queue ids", id="too many ids"),
        pytest.param({"id": [1]}, "id", id="an id that is no text"),
        pytest.param({"id": []}, "id", id="no id at all"),
    ],
)
def test_what_makes_no_sense_is_refused(filters: dict[str, object], word: str) -> None:
    """A typing error never widens what a change means: it is refused, with a remedy."""
    with pytest.raises(Problem) as refused:
        query_of(filters)
    assert refused.value.status == 400
    assert word in refused.value.error
    assert refused.value.remedy
