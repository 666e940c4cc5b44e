"""Whether nothing gets out at port 25, judged by what a pool's relays met. Pure.

A relay tells of each route one destination that mail waits for, another one
as time goes by; so what they told is noted for an hour. That several domains'
servers do not answer at port 25 and no MX route delivers tells a firewall from
servers that are down.

Known limits
    Domains are told apart by their last two labels: of those below co.uk it takes three other ones.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from waystation_operator.api.objects import MailRoute, RelayPool
from waystation_operator.plan import diagnosis
from waystation_operator.plan.diagnosis import Case
from waystation_operator.plan.findings import Finding, Target
from waystation_operator.plan.report import RelayReport, RouteReport

LEAST_DOMAINS = 3
REMEMBERED_S = 3600.0
RECENT_S = 600.0  # mail that arrived this lately did so through an open port

Noted = Mapping[str, float]  # domain → when its silence was last told of, in Unix seconds

_NO_ANSWER = re.compile(r":25: (?:no answer within|Connection timed out)")


def noted(before: Noted, routes: Sequence[MailRoute], reports: Sequence[RelayReport], now: float) -> Noted:
    """``before`` with what is told now; nothing while mail to MX hosts arrives."""
    direct = {route.identity.key for route in routes if any(backend.mx for backend in route.spec.backends)}
    met = [report for relay in reports for key, report in relay.routes.items() if key in direct]
    kept = {domain: at for domain, at in before.items() if at > now - REMEMBERED_S}
    if any(report.last_success is not None and report.last_success > now - RECENT_S for report in met):
        return {}
    return {**kept, **dict.fromkeys(_silent(met), now)}


def verdict(pool: RelayPool, domains: Noted, now: float) -> Finding | None:
    if len(domains) < LEAST_DOMAINS:
        return None
    target = Target("mx", "*", 25, route=pool.identity.key)
    why = ", ".join(sorted(domains)[:LEAST_DOMAINS])
    return diagnosis.finding(Case.PORT_BLOCKED, target, now, why=why)


def _silent(met: Sequence[RouteReport]) -> Iterator[str]:
    for report in met:
        deferral = report.top_deferral
        if deferral is not None and _NO_ANSWER.search(deferral.text):
            host = deferral.destination.partition("[")[0]
            yield ".".join(host.rstrip(".").lower().rsplit(".", 2)[-2:])
