"""Whether a route's mail arrives, judged by what happened to it; and what probes say of its next hops.

Mail is the better witness: a probe speaks for ``Delivering`` only while there
has been no mail.
"""

from collections.abc import Iterable

from waystation_operator.api.mailroute import VERDICTS, MailRouteSpec
from waystation_operator.plan import deferrals, rounding
from waystation_operator.plan.conditions import Condition, judged
from waystation_operator.plan.findings import Finding
from waystation_operator.plan.report import Deferral, RouteReport

RECENT_S = 600.0  # a success this long ago outweighs failures since: destinations differ, a route has many


def together(reports: Iterable[RouteReport]) -> RouteReport | None:
    """What the pods of a pool say of one route, as one."""
    found = list(reports)
    if not found:
        return None
    deferral = [report.top_deferral for report in found if report.top_deferral is not None]
    return RouteReport(
        last_success=max((x.last_success for x in found if x.last_success is not None), default=None),
        last_failure=max((x.last_failure for x in found if x.last_failure is not None), default=None),
        waiting=sum(x.waiting for x in found),
        oldest_arrival=min((x.oldest_arrival for x in found if x.oldest_arrival is not None), default=None),
        top_deferral=max(deferral, key=lambda one: one.count, default=None),
    )


def delivering(
    spec: MailRouteSpec, report: RouteReport | None, findings: Iterable[Finding], *, asked: bool, now: float
) -> Condition:
    """``asked``: whether no ``report`` means that no pod has the route, rather than that none has told."""
    if any(kind in VERDICTS for backend in spec.backends for kind in backend.kinds):
        return judged("Delivering", "True", "Verdict")
    if report is None:
        return judged("Delivering", "Unknown", "NotProgrammed" if asked else "Unreported")
    success, failure = report.last_success, report.last_failure
    put_off = report.top_deferral if report.waiting else None
    if success is not None and (now - success <= RECENT_S or (failure or 0) <= success):
        text = f"the last mail arrived {rounding.within(now - success)}"
        if put_off is None:
            return judged("Delivering", "True", "Delivering", text)
        return judged("Delivering", "True", "PartlyDeferred", f"{text}; {_waiting(report, now)}")
    since = "" if success is None else f"the last mail arrived {rounding.within(now - success)}; "
    if put_off is not None:
        reason, _, remedy = deferrals.DEFERRALS.get(put_off.reason, deferrals.OTHER_DEFERRAL)
        return judged("Delivering", "False", reason, f"{since}{_waiting(report, now)}; {remedy}")
    if failure is not None:
        return judged("Delivering", "False", "Refused")
    failed = next((finding for finding in findings if not finding.ok), None)
    if failed is not None:
        return judged("Delivering", "False", "NextHopFailing", f"no mail yet; {failed.message}")
    return judged("Delivering", "Unknown", "NoMailYet")


def _waiting(report: RouteReport, now: float) -> str:
    """How many wait, for how long, and what most of them were told."""
    parts = [rounding.counted(report.waiting, "recipient", "wait")]
    if report.oldest_arrival is not None and (age_s := now - report.oldest_arrival) >= 60:
        parts.append(f"the oldest came {rounding.within(age_s)}")
    if report.top_deferral is not None:
        parts.append(_told(report.top_deferral))
    return ", ".join(parts)


def _told(deferral: Deferral) -> str:
    by = f" by {deferral.destination}" if deferral.destination else ""
    words = f": {deferral.text}" if deferral.text else ""
    return f"most were put off{by} for the reason `{deferral.reason}`{words}"


def reachable(findings: Iterable[Finding]) -> Condition | None:
    """None while nothing has been probed. One finding that failed speaks for all, then one that warns."""
    found = sorted(findings, key=lambda x: (x.ok, x.reason == "Reachable", x.target.host, x.target.port))
    if not found:
        return None
    first = found[0]
    if first.ok and first.reason == "Reachable":
        return judged("Reachable", "True", "Reachable", "; ".join(dict.fromkeys(x.message for x in found)))
    grave = [x for x in found if x.ok == first.ok and x.reason != "Reachable"]
    text = "; ".join(dict.fromkeys(x.message for x in grave))
    return judged("Reachable", "True" if first.ok else "False", first.reason, text)
