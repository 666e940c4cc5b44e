"""Brings the folder of a run to what is planned, and a running supervisor with it.

The caller holds the folder's lock. Configuration is written before processes
are asked for, so that none starts without it; relays that go on running take
theirs up by themselves.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence

from waystation_contract import codec
from waystation_operator.local import admin, ports
from waystation_operator.local import record as records
from waystation_operator.local.child import STOP_WITHIN_S
from waystation_operator.local.layout import Layout, write_pod
from waystation_operator.local.place import ADDRESS, Placement
from waystation_operator.local.record import Record, Running
from waystation_operator.local.stop import live
from waystation_operator.local.supervisor import LOOK_AGAIN, READY_WITHIN_S
from waystation_operator.local.topology import Desired, Process, document_of

TAKEN_UP_WITHIN_S = 10.0  # a relay looks at its configuration once a second
_POLL_S = 0.05


def taken_ports(desired: Desired, current: Record | None) -> Iterator[str]:
    """Complaints about ports that are wanted and not free; those this run has already are its own."""
    own = {x.port for running in current.processes for x in running.process.listening} if current else set()
    for process in desired.processes:
        for listening in process.listening:
            if listening.port not in own and (why := ports.refusal(listening.port)):
                yield (
                    f"{ADDRESS}:{listening.port} ({listening.what}, of {process.name}) {why}; "
                    "stop that, or choose other ports with --port-base"
                )


def write(layout: Layout, placement: Placement, desired: Desired) -> dict[str, str]:
    """Every pod's folder, and what ought to run; the digest of each pod's configuration, by pod."""
    digests: dict[str, str] = {}
    for pod in placement.pods:
        document, files = document_of(pod, placement, desired.settings.dns)
        write_pod(layout, pod.name, document, files)
        digests[pod.name] = codec.digest(document, files)
    records.write_desired(layout, desired)
    return digests


def ask(layout: Layout, current: Record) -> str:
    """Has the supervisor look at what ought to run, and waits until that runs; otherwise what is wrong."""
    records.send(current.supervisor, LOOK_AGAIN)
    deadline = time.monotonic() + STOP_WITHIN_S + READY_WITHIN_S
    while (record := live(layout)) is not None:
        if record.generation > current.generation:
            if record.settled:
                return ""
            for running in record.processes:
                if running.problem:
                    return f"{running.process.name} does not run: {running.problem}"
        if time.monotonic() > deadline:
            late = [x.process.name for x in record.processes if x.state is not records.State.READY]
            return f"still not ready: {', '.join(late)}; see their logs"
        time.sleep(_POLL_S)
    return "the supervisor has ended meanwhile; run `waystation local up` again"


def queued(processes: Sequence[Running]) -> dict[str, int]:
    """How many messages each of these relays has, by pod; those that do not say are left out."""

    async def all_of_them() -> dict[str, int]:
        relays = [running.process for running in processes if running.process.admin]
        counts = await asyncio.gather(*(admin.queued(relay.admin) for relay in relays))
        return {relay.name: count for relay, count in zip(relays, counts, strict=True) if count is not None}

    return asyncio.run(all_of_them())


def taken_up(desired: Desired, digests: dict[str, str]) -> list[str]:
    """Waits until each relay's configuration is the one written; complaints about those where it is not."""
    relays = [process for process in desired.processes if process.name in digests]

    async def all_of_them() -> list[str]:
        found = await asyncio.gather(*(_taken_up(relay, digests[relay.name]) for relay in relays))
        return [complaint for complaint in found if complaint]

    return asyncio.run(all_of_them())


async def _taken_up(relay: Process, digest: str) -> str:
    deadline = time.monotonic() + TAKEN_UP_WITHIN_S
    while True:
        seen = await admin.configuration(relay.admin)
        if seen is not None and seen.hash == digest and not seen.last_error:
            return ""
        if time.monotonic() > deadline:
            why = (seen and seen.last_error) or f"{relay.admin}/config does not show it"
            return f"{relay.name} goes on with its earlier configuration: {why}"
        await asyncio.sleep(_POLL_S)
