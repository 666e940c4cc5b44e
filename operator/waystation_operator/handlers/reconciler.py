"""One pass over one pool: gather, plan, act."""

import enum
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from waystation_operator.api.problem import Identity
from waystation_operator.cluster.act import Actor, Outcome
from waystation_operator.cluster.client import NotLeading, Refused, Unreachable
from waystation_operator.cluster.gather import Gatherer
from waystation_operator.cluster.log import Log
from waystation_operator.cluster.routes import Routes
from waystation_operator.plan.observed import Meta
from waystation_operator.plan.reconcile import absent, reconcile

RESYNC_S = 60.0


class Result(enum.Enum):
    OK = "ok"
    AGAIN = "again"  # an object had changed meanwhile
    FAILED = "failed"
    GONE = "gone"  # there is no such pool, and no route speaks of it


@dataclass(frozen=True, slots=True)
class Verdict:
    result: Result
    again_after_s: float = RESYNC_S


class Reconciler:
    """``now`` is the wall clock."""

    def __init__(
        self,
        gatherer: Gatherer,
        actor: Actor,
        routes: Routes,
        now: Callable[[], float],
        log: Log,
    ) -> None:
        self._gatherer, self._actor, self._routes = gatherer, actor, routes
        self._now, self._log = now, log

    async def reconcile(self, pool: Identity) -> Verdict:
        """Never raises but ``NotLeading``: whatever is wrong with one pool stays with it."""
        try:
            return await self._pass(pool)
        except NotLeading:
            raise
        except Unreachable:
            return Verdict(Result.FAILED)  # the client has told once for all pools
        except (Refused, TimeoutError) as error:
            self._log.emit("pool.failed", pool=pool.key, error=str(error) or "it took too long")
        except Exception as error:  # noqa: BLE001 -- one pool's failure, even a mistake of ours, must not stop the others
            where = traceback.format_exception(error)[-3:]
            self._log.emit("pool.failed", pool=pool.key, error=repr(error), trace="".join(where))
        return Verdict(Result.FAILED)

    async def _pass(self, pool: Identity) -> Verdict:
        gathered = await self._gatherer.gather(pool.namespace, pool.name)
        if gathered is None:
            routes = self._routes.concerning(pool.key)
            if not routes:
                return Verdict(Result.GONE)
            desired = absent(pool, routes, self._now())
            outcome = await self._actor.act(
                pool.namespace, pool.name, desired, meta=Meta(), children={}, addresses={}, token=""
            )
        else:
            observed = gathered.observed
            desired = reconcile(observed)
            outcome = await self._actor.act(
                pool.namespace,
                pool.name,
                desired,
                meta=observed.pool.meta,
                children=observed.children,
                unreadable=gathered.unreadable,
                addresses=gathered.addresses,
                token=observed.admin_token,
            )
        return self._judge(pool, outcome, desired.requeue_after_s)

    def _judge(self, pool: Identity, outcome: Outcome, again_after_s: float) -> Verdict:
        if outcome.refusals:
            said = "; ".join(f"{kind} {name}: {text}" for (kind, name), text in outcome.refusals.items())
            self._log.emit("pool.failed", pool=pool.key, error=said)
            return Verdict(Result.FAILED)
        if outcome.again:
            self._log.emit("pool.again", pool=pool.key)
            return Verdict(Result.AGAIN, 0.0)
        self._log.emit("pool.reconciled", pool=pool.key)
        return Verdict(Result.OK, min(again_after_s, RESYNC_S))
