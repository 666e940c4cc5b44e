"""Every status and reason of our conditions, with what it means and what to do: data.

What probes find and why mail is put off have tables of their own
(``diagnosis``, ``deferrals``); ``conditions`` puts them together.
"""

from dataclasses import dataclass
from typing import Literal

from waystation_operator.plan.diagnosis import EXPIRES_SOON_DAYS

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Row:
    """``quiet``: it ends by itself or follows from another condition, so no Event tells of it."""

    type: str
    status: Status
    reason: str
    meaning: str
    remedy: str = ""
    quiet: bool = False


_KUBECTL = "see `kubectl describe pod`"

TABLE: tuple[Row, ...] = (
    Row("Accepted", "True", "Accepted", "It is valid; the message has what may not be meant."),
    Row(
        "Accepted",
        "False",
        "Invalid",
        "The operator refuses what the API server took, as when the definitions in the cluster are older.",
        "correct the field that the message names; apply the definitions of this version",
    ),
    Row(
        "Accepted",
        "False",
        "NameTaken",
        "An object that the pool needs exists already and belongs to somebody else.",
        "rename the pool, or delete the object that the message names",
    ),
    Row(
        "Accepted",
        "False",
        "NoMatchingParent",
        "There is no such RelayPool, or it has no such listener.",
        "correct parentRefs, or create the pool",
    ),
    Row(
        "Accepted",
        "False",
        "NotAllowedByListeners",
        "No listener lets routes of this namespace attach.",
        "set the listener's allowedRoutes.namespaces",
    ),
    Row(
        "Accepted",
        "False",
        "ParentInvalid",
        "The RelayPool itself is not accepted. Its relays keep the configuration that they have.",
        "see the pool's Accepted",
        quiet=True,
    ),
    Row(
        "Accepted",
        "False",
        "InvalidRetry",
        "The route's retry does not go with what it takes from the pool; its mail waits.",
        "correct the figures that the message names",
    ),
    Row(
        "Accepted",
        "False",
        "Conflicted",
        "Older routes match all the mail that this one matches, so it gets none.",
        "change its match, or delete one of them",
    ),
    Row("ResolvedRefs", "True", "ResolvedRefs", "All Secrets are there and usable, or none are named."),
    Row(
        "ResolvedRefs",
        "True",
        "CertificateExpiresSoon",
        f"The certificate expires within {EXPIRES_SOON_DAYS} days.",
        "renew it; relays take it up by themselves",
    ),
    Row(
        "ResolvedRefs",
        "False",
        "CertificateExpired",
        "The certificate has expired, so clients that check it refuse TLS.",
        "renew it; relays take it up by themselves",
    ),
    Row(
        "ResolvedRefs",
        "False",
        "CertificateNotYetValid",
        "The certificate's time has not begun, so clients that check it refuse TLS.",
        "check the issuer's clock, or wait",
    ),
    Row(
        "ResolvedRefs",
        "False",
        "SecretNotFound",
        "There is no such Secret. Relays go on with its last good version, if there was one.",
        "create it",
    ),
    Row(
        "ResolvedRefs",
        "False",
        "SecretForbidden",
        "The operator may not read the Secret. Relays go on with its last good version, if there was one.",
        "let it, by a RoleBinding in the Secret's namespace; see below",
    ),
    Row(
        "ResolvedRefs",
        "False",
        "InvalidCertificate",
        "The Secret has no usable certificate and key. Relays go on with its last good version.",
        "put the PEM chain into tls.crt and its key, without a password, into tls.key",
    ),
    Row(
        "ResolvedRefs",
        "False",
        "InvalidCredential",
        "The Secret has no usable user name and password. Relays go on with its last good version.",
        "put one line each into username and password",
    ),
    Row("Programmed", "True", "Programmed", "Every pod runs the configuration that is planned."),
    Row(
        "Programmed",
        "False",
        "Pending",
        "Pods have not taken it up yet. It takes seconds while they run.",
        "if it stays, see the pods that the message names",
        quiet=True,
    ),
    Row(
        "Programmed",
        "False",
        "Refused",
        "A relay refuses the configuration and goes on with its last good one.",
        "use a relay image of the operator's version",
    ),
    Row(
        "Programmed",
        "False",
        "Unreachable",
        "A pod does not tell the operator what it runs.",
        "let the operator reach port 8025 of the pods; see the pod's log",
    ),
    Row(
        "Programmed",
        "False",
        "TooLarge",
        "Routes and credentials together are larger than a Secret may be. Pods keep what they have.",
        "spread the routes over several pools",
    ),
    Row(
        "Programmed",
        "False",
        "NotResolved",
        "A Secret is lacking and there never was a good version of it; a route's mail waits.",
        "see ResolvedRefs",
        quiet=True,
    ),
    Row(
        "Programmed",
        "False",
        "SecretForbidden",
        "The operator may not read and write the pool's own Secrets, so its pods cannot be told anything.",
        "let it, by a RoleBinding in the pool's namespace; see below",
    ),
    Row(
        "Programmed",
        "False",
        "NotAccepted",
        "What is not accepted is not programmed. Pods keep what they have.",
        "see Accepted",
        quiet=True,
    ),
    Row(
        "Programmed",
        "False",
        "NoPods",
        "The pool has no pods.",
        "set spec.replicas of the pool",
        quiet=True,
    ),
    Row("Ready", "True", "Ready", "All pods take mail."),
    Row(
        "Ready",
        "True",
        "Degraded",
        "Some pods take mail, others do not.",
        "see the pods that the message names",
    ),
    Row("Ready", "False", "Starting", "Pods are starting.", "wait; " + _KUBECTL, quiet=True),
    Row(
        "Ready",
        "False",
        "NotProgrammed",
        "There is no configuration to start pods with.",
        "see Programmed",
        quiet=True,
    ),
    Row("Ready", "False", "NoPods", "spec.replicas is 0.", "set it"),
    Row("Ready", "False", "Deleting", "The pool is being deleted.", quiet=True),
    Row(
        "Ready",
        "False",
        "ImagePullFailed",
        "The relay's image cannot be pulled.",
        "correct template.image, or give template.imagePullSecrets",
    ),
    Row(
        "Ready",
        "False",
        "CrashLooping",
        "Relays end right after their start.",
        "see the message, and `kubectl logs --previous`",
    ),
    Row(
        "Ready",
        "False",
        "Unschedulable",
        "No node can take the pods.",
        "see the message: free or add nodes, lower template.resources, loosen nodeSelector or affinity",
    ),
    Row(
        "Ready",
        "False",
        "ClaimPending",
        "A claim has no volume.",
        "check queue.storageClassName and the storage class; see `kubectl describe pvc`",
    ),
    Row("Ready", "False", "PodFailing", "Pods do not run, for another reason.", _KUBECTL),
    Row(
        "Ready",
        "False",
        "QueueFull",
        "The queues have reached fullAtPercent; clients are asked to come again.",
        "see why mail does not leave; raise queue.size, or add replicas",
    ),
    Row(
        "Ready",
        "False",
        "StorageFailing",
        "Volumes cannot be written.",
        "repair the volume that the message names; its mail is kept",
    ),
    Row("Ready", "False", "NotReady", "Pods run but take no mail.", "see the pods that the message names"),
    Row("QueueHealthy", "True", "Healthy", "There is room, and due mail is tried in time."),
    Row(
        "QueueHealthy",
        "False",
        "Full",
        "A pod's queue has reached fullAtPercent and takes no mail.",
        "see why mail does not leave; raise queue.size, or add replicas",
    ),
    Row(
        "QueueHealthy",
        "False",
        "StorageFailing",
        "A pod's volume cannot be written.",
        "repair the volume that the message names; its mail is kept",
    ),
    Row(
        "QueueHealthy",
        "False",
        "ClaimNotGrown",
        "A claim cannot grow to queue.size, so its volume may be full before the relay turns mail away.",
        "let its storage class expand volumes (allowVolumeExpansion), or make a new pool of another class",
    ),
    Row(
        "QueueHealthy",
        "False",
        "Late",
        "Due mail waits for longer than autoscaling.targetLateness.",
        "add replicas, raise delivery.connectionsPerDestination, or see which destination is slow",
    ),
    Row(
        "QueueHealthy",
        "False",
        "Unrouted",
        "Mail is here that no route takes; it waits.",
        "add a MailRoute that matches it",
    ),
    Row("QueueHealthy", "Unknown", "Unreported", "No pod tells of its queue.", "see Ready", quiet=True),
    Row("ScalingDown", "False", "Settled", "There are as many pods as there should be, or fewer."),
    Row("ScalingDown", "True", "Draining", "Pods empty their queues before they are removed.", quiet=True),
    Row(
        "ScalingDown",
        "True",
        "Stalled",
        "A pod's queue is not empty after scaleDown.drainTimeout. It stays; no mail is dropped.",
        "see what waits with `waystation queue list`, and where it should go",
    ),
    Row(
        "ScalingDown",
        "True",
        "Unproven",
        "A pod to be removed does not say that its queue is empty. It stays.",
        "bring the pod back; its mail is on its claim",
    ),
    Row("Delivering", "True", "Delivering", "Mail goes out."),
    Row(
        "Delivering",
        "True",
        "PartlyDeferred",
        "Mail goes out, but some waits because it was put off.",
        "see the message",
        quiet=True,
    ),
    Row(
        "Delivering",
        "False",
        "Refused",
        "Mail was refused for good, none has been delivered since, and none waits.",
        "read the bounces, or the `message.failed` lines of the relays' logs",
    ),
    Row(
        "Delivering",
        "False",
        "NextHopFailing",
        "No mail has gone out yet, and the next hop does not answer as it should.",
        "see Reachable",
        quiet=True,
    ),
    Row("Delivering", "True", "Verdict", "The route rejects, discards or holds mail; nothing is sent."),
    Row(
        "Delivering",
        "Unknown",
        "NoMailYet",
        "The route has had no mail since its pods started.",
        quiet=True,
    ),
    Row("Delivering", "Unknown", "Unreported", "No pod tells of it.", "see the pool's Ready", quiet=True),
    Row("Delivering", "Unknown", "NotProgrammed", "No pod has the route yet.", "see Programmed", quiet=True),
)
