"""What a MailRoute's status says, waited for."""

import time

from tests.cluster.client import Body, Cluster


def condition(cluster: Cluster, namespace: str, route: str, kind: str) -> Body:
    """The condition of the route's first parent, if it is about the route as it is now; else empty."""
    body = cluster.get("mailroute", route, namespace) or {}
    for parent in body.get("status", {}).get("parents", ())[:1]:
        for found in parent["conditions"]:
            if found["type"] == kind and found["observedGeneration"] == body["metadata"]["generation"]:
                return dict(found)
    return {}


def wait_for_route(
    cluster: Cluster,
    namespace: str,
    route: str,
    kind: str,
    status: str = "True",
    *,
    reason: str = "",
    within_s: float = 60.0,
) -> Body:
    """The condition, once it has this status, and this reason if one is given."""

    def look() -> Body | None:
        found = condition(cluster, namespace, route, kind)
        fits = found.get("status") == status and reason in ("", found.get("reason"))
        return found if fits else None

    what = f"{kind}={status} {reason} of mailroute {namespace}/{route}"
    return cluster.wait_for(look, what, within_s=within_s, namespace=namespace, every_s=0.1) or {}


def look_again(cluster: Cluster, namespace: str, what: str = "relaypool/outbound") -> None:
    """Has the operator look at a pool or route, and Secrets beside it, now and not within a minute."""
    mark = f"example.com/looked-at={time.time_ns()}"
    cluster.kubectl("annotate", what, mark, f"--namespace={namespace}", "--overwrite")
