"""Two relays of a pool, as real processes: one leaves, one stays, and nothing of theirs is deliverable."""

import json
import smtplib
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.relay import RelayProcess, route, to
from tests.support.waiting import until

from waystation_contract.model import Retry

LATER = Retry(first_s=3600, max_s=7200, jitter_percent=0)


def relay_in(folder: Path, name: str, **fields: Any) -> RelayProcess:
    """Its mail is put off for an hour at the first attempt."""
    relay = RelayProcess(folder / name, pod=name)
    relay.configure(route(to(free_port()), retry=LATER), **fields)
    return relay


def feed(relay: RelayProcess, count: int, *, content: str = "", first: int = 0, wait: bool = True) -> None:
    """Messages to ``n0@next.test`` and so on, each attempted once by the time this returns."""
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30) as client:
        client.ehlo("client.test")
        for n in range(first, first + count):
            client.mail("ann@shop.test", ["RET=HDRS", f"ENVID=id-{n}"])
            client.rcpt(f"n{n}@next.test", ["NOTIFY=FAILURE,DELAY", f"ORCPT=rfc822;o{n}@old.test"])
            client.rcpt(f"m{n}@other.test")
            code, text = client.data(f"Subject: number {n}\r\n\r\n{content}\r\n")
            assert code == 250, text
    if wait:
        until(lambda: all(attempted(m) for m in listed(relay)), "every message to be attempted", within_s=20)


def attempted(message: dict[str, Any]) -> bool:
    return not message["active"] and all(
        r["attempts"] or r["status"] == "held" for r in message["recipients"]
    )


def listed(relay: RelayProcess) -> list[dict[str, Any]]:
    """What waits, as ``GET /queue`` tells it; none while nobody answers."""
    found: list[dict[str, Any]] = []
    after = "0"
    while after is not None:
        status, body = relay.get(f"/queue?limit=1000&after={after}")
        assert status == 200, body
        page = json.loads(body)
        found += page["messages"]
        after = page["next"]
    return found


def ids(relay: RelayProcess) -> list[str]:
    return [message["queue_id"] for message in listed(relay)]


def known(relay: RelayProcess) -> dict[str, Any]:
    """Everything that each message's page says, by queue id."""
    return {queue_id: json.loads(relay.get(f"/queue/{queue_id}")[1]) for queue_id in ids(relay)}


def url(relay: RelayProcess) -> str:
    return f"http://127.0.0.1:{relay.admin_port}"


def drain(relay: RelayProcess, *peers: RelayProcess | str) -> dict[str, Any]:
    urls = [peer if isinstance(peer, str) else url(peer) for peer in peers]
    status, body = relay.request("POST", "/drain", {"peers": urls})
    assert status == 200, body
    return json.loads(body)


def progress(relay: RelayProcess) -> dict[str, Any]:
    return json.loads(relay.get("/drain")[1])


def wait_empty(relay: RelayProcess, within_s: float = 20.0) -> dict[str, Any]:
    def empty() -> dict[str, Any] | None:
        said = progress(relay)
        return said if said["state"] == "empty" else None

    return until(empty, "the relay to be empty", within_s=within_s)
