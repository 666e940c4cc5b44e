"""One pass over a pool, and what becomes of it when something is wrong."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from waystation_operator.api.problem import Identity
from waystation_operator.cluster.act import Outcome
from waystation_operator.cluster.client import NotLeading, Refused, Unreachable
from waystation_operator.cluster.kinds import MAIL_ROUTE
from waystation_operator.cluster.log import Log
from waystation_operator.cluster.routes import Routes
from waystation_operator.cluster.store import Store
from waystation_operator.handlers.reconciler import Reconciler, Result

POOL = Identity("RelayPool", "mail", "out")


class Nothing:
    """A gatherer that finds no pool, or fails as it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def gather(self, namespace: str, name: str) -> None:
        if self.error is not None:
            raise self.error


class Actor:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    async def act(self, *_: Any, **__: Any) -> Outcome:
        return self.outcome


def reconciler(gatherer: Nothing, store: Store, outcome: Outcome) -> tuple[Reconciler, io.StringIO]:
    out = io.StringIO()
    log = Log("debug", out)
    return Reconciler(gatherer, Actor(outcome), Routes(store), lambda: 0.0, log), out  # type: ignore[arg-type]


def with_route() -> Store:
    store = Store()
    spec = {"parentRefs": [{"name": "out"}], "backends": [{"mx": {}}]}
    metadata = {"namespace": "mail", "name": "r", "uid": "u", "resourceVersion": "1"}
    body = {"apiVersion": "waystation.dev/v1alpha1", "kind": "MailRoute", "metadata": metadata, "spec": spec}
    store.put(MAIL_ROUTE, body)
    return store


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Refused(403, "Forbidden", "not yours"), "not yours"),
        (TimeoutError(), "it took too long"),
        (KeyError("metadata"), "KeyError('metadata')"),
        (Unreachable("no answer"), ""),
    ],
    ids=["refused", "slow", "mistake", "away"],
)
async def test_whatever_is_wrong_with_a_pool_stays_with_it(error: Exception, said: str) -> None:
    """A failed pass, be it by a mistake of ours, is logged and tried again; nothing else stops."""
    made, out = reconciler(Nothing(error), Store(), Outcome())
    verdict = await made.reconcile(POOL)
    assert verdict.result is Result.FAILED
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["error"] for line in lines] == ([said] if said else [])


async def test_who_may_no_longer_write_stops() -> None:
    """A lost lease is no failure of a pool."""
    made, _ = reconciler(Nothing(NotLeading("lost")), Store(), Outcome())
    with pytest.raises(NotLeading):
        await made.reconcile(POOL)


@pytest.mark.parametrize(
    ("store", "outcome", "result"),
    [
        (Store, Outcome(), Result.GONE),
        (with_route, Outcome(), Result.OK),
        (with_route, Outcome(again=True), Result.AGAIN),
        (with_route, Outcome(again=True, refusals={("MailRoute", "r"): "no"}), Result.FAILED),
    ],
    ids=["nothing-left", "route-without-pool", "changed-meanwhile", "refused"],
)
async def test_what_comes_of_a_pool_that_is_not_there(
    store: Callable[[], Store], outcome: Outcome, result: Result
) -> None:
    """Routes of a pool that does not exist are told so; with no route left there is nothing to do."""
    made, _ = reconciler(Nothing(), store(), outcome)
    assert (await made.reconcile(POOL)).result is result
