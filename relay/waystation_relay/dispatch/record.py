"""What an attempt leaves in the log and the metrics: a line and a count for each distinct outcome."""

from waystation_relay.dispatch.judge import Judgement
from waystation_relay.dispatch.ports import DispatchLog, DispatchMetrics
from waystation_relay.mail.message import Message
from waystation_relay.mail.outcome import Deferred, Delivered, Outcome

_EVENTS = {"Delivered": "message.delivered", "Deferred": "message.deferred", "Failed": "message.failed"}
RECIPIENTS_LOGGED = 20


def record(
    log: DispatchLog, metrics: DispatchMetrics, message: Message, judgement: Judgement, route: str, now: float
) -> None:
    recipients = message.envelope.recipients
    if len(judgement.final) == 1 and not judgement.updates:  # nearly all mail; grouping costs as much again
        ((number, outcome),) = judgement.final
        _tell(log, metrics, message, outcome, [recipients[number].address], route, now)
        return
    groups: dict[Outcome, list[str]] = {}
    for number, outcome in judgement.final:
        groups.setdefault(outcome, []).append(recipients[number].address)
    for update in judgement.updates:
        if update.last_reply is not None and update.last_reason is not None:
            outcome = Deferred(update.last_reply, update.last_reason, update.last_remote)
            groups.setdefault(outcome, []).append(recipients[update.number].address)
    for outcome, addresses in groups.items():
        _tell(log, metrics, message, outcome, addresses, route, now)


def _tell(
    log: DispatchLog,
    metrics: DispatchMetrics,
    message: Message,
    outcome: Outcome,
    addresses: list[str],
    route: str,
    now: float,
) -> None:
    reason = "" if isinstance(outcome, Delivered) else outcome.reason.value
    latency_s = max(0.0, now - message.arrival)
    kind = type(outcome).__name__
    metrics.delivery(route, kind.lower(), reason, latency_s, len(addresses), now)
    fields: dict[str, object] = {
        "queue_id": message.queue_id,
        "recipients": addresses[:RECIPIENTS_LOGGED],
        "count": len(addresses),
        "route": route,
        "reply": str(outcome.reply),
        "delay_s": round(latency_s, 3),
    }
    if reason:
        fields["reason"] = reason
    if outcome.remote is not None:
        fields["remote"] = f"{outcome.remote.host}[{outcome.remote.address}]:{outcome.remote.port}"
    log.emit(_EVENTS[kind], **fields)
