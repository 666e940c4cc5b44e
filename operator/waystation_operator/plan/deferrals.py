"""Why mail waits at a next hop, as a condition: the relay's word for it, our reason, what to do."""

from waystation_operator.plan.reasons import Row

# A word of docs/metrics.md for why mail was put off → the reason, what it means and what to do.
DEFERRALS: dict[str, tuple[str, str, str]] = {
    "connect": (
        "ConnectionFailed",
        "The next hop cannot be reached.",
        "check the backend's host and port, firewalls and network policies; many clouds block port 25",
    ),
    "dns": (
        "DnsFailed",
        "The next hop's name cannot be looked up.",
        "check the backend's host, the cluster's DNS and delivery.dnsServers",
    ),
    "tls": (
        "TlsFailed",
        "There is no TLS with the next hop as the route demands it.",
        "have its certificate repaired, or choose another tls mode",
    ),
    "auth": (
        "AuthRefused",
        "The next hop refuses the login.",
        "correct username and password in the Secret that authSecretName names",
    ),
    "greylisted": (
        "Greylisted",
        "The next hop asks for a second attempt.",
        "wait: it is made by itself",
    ),
    "throttled": (
        "Throttled",
        "The next hop takes mail more slowly than it comes.",
        "lower delivery.connectionsPerDestination, or ask the destination for a higher limit",
    ),
    "policy": (
        "RefusedByPolicy",
        "The next hop does not want this mail.",
        "read its words: reputation, SPF, DKIM or a block list are usual",
    ),
    "mailbox-full": ("MailboxFull", "A mailbox is full.", "its owner has to make room"),
    "storage": (
        "StorageFailing",
        "A pod's volume cannot be read or written.",
        "repair the volume; its mail is kept",
    ),
    "loop": ("MailLoop", "Mail comes back to where it was.", "see where the next hop sends it"),
    "no-route": ("NoRoute", "Mail is here for which there is no route any more.", "add one that matches it"),
    "unavailable": (
        "RouteNotReady",
        "The route, or its last backend, is not ready; its mail waits and goes nowhere else.",
        "see the route's ResolvedRefs and Accepted; once it is ready its mail goes at once",
    ),
}
OTHER_DEFERRAL = (
    "Deferred",
    "The next hop puts mail off for another reason.",
    "read its words in the message",
)


def rows() -> tuple[Row, ...]:
    found = (*DEFERRALS.values(), OTHER_DEFERRAL)
    return tuple(
        Row("Delivering", "False", reason, meaning, remedy, quiet=reason == "Greylisted")
        for reason, meaning, remedy in found
    )
