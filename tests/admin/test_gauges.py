"""Gauges tell what is true at the scrape."""

from prometheus_client.parser import text_string_to_metric_families
from tests.support.office import Office

from waystation_relay.observe.catalogue import CATALOGUE, PREFIX, Kind


async def scrape(office: Office) -> dict[str, dict[tuple[str, ...], float]]:
    """name without prefix → label values → value."""
    text = (await office.call("GET", "/metrics", token=None)).body
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            found.setdefault(name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_every_gauge_has_somebody_who_knows_it(office: Office) -> None:
    """No gauge of the documentation is missing from a scrape."""
    seen = await scrape(office)
    assert {m.name for m in CATALOGUE if m.kind is Kind.GAUGE} - set(seen) == set()


async def test_the_queue_is_counted_by_state(office: Office) -> None:
    """What is being delivered is active, the rest is stored; together they are the queue."""
    await office.put("a@corp.test", "b@corp.test", deliver=True)
    await office.put("c@corp.test")
    await office.put("d@corp.test", hold="by hand")
    seen = await scrape(office)
    assert seen["queue_messages"] == {("active",): 1, ("stored",): 2}
    assert seen["queue_recipients"] == {("waiting",): 3, ("held",): 1}
    assert seen["queue_bytes"][()] > 0
    assert seen["queue_limit_bytes"] == {(): 2**30 * 99 // 100}


async def test_lateness_is_that_of_what_is_due(office: Office) -> None:
    """Held mail is not late, however old; what is due is, from the moment on at which it was due."""
    await office.put("held@corp.test", hold="by hand")
    office.clock.advance(100)
    seen = await scrape(office)
    assert (seen["queue_oldest_seconds"][()], seen["queue_oldest_due_seconds"][()]) == (100, 0)
    await office.put("due@corp.test")
    office.clock.advance(30)
    seen = await scrape(office)
    assert (seen["queue_oldest_seconds"][()], seen["queue_oldest_due_seconds"][()]) == (130, 30)


async def test_readiness_and_draining_are_figures_too(office: Office) -> None:
    """Alerts can be written about what /readyz and /drain say."""
    await office.put("a@corp.test")
    seen = await scrape(office)
    assert (seen["ready"][()], seen["drain_remaining"][()], seen["spool_accepting"][()]) == (1, 0, 1)
    await office.call("POST", "/drain")
    seen = await scrape(office)
    assert (seen["ready"][()], seen["drain_remaining"][()], seen["spool_accepting"][()]) == (0, 1, 1)


async def test_the_configuration_in_force_is_a_label(office: Office) -> None:
    """Which pods run which document, and whether a newer one was refused."""
    seen = await scrape(office)
    assert seen["config_info"] == {(office.watcher.current.hash,): 1}
    assert seen["config_last_load_success"] == {(): 1}
    assert seen["config_last_load_timestamp_seconds"] == {(): office.clock.now()}
    office.config.write_bytes(b"{broken")
    office.watcher.look()
    assert (await scrape(office))["config_last_load_success"] == {(): 0}


async def test_what_others_count_is_passed_on(office: Office) -> None:
    """DNS questions by result, lines the log lost, sessions by listener."""
    office.dns.misses, office.dns.failures = 5, 2
    office.gate.sessions = {("smtp",): 3.0, ("submission",): 1.0}
    seen = await scrape(office)
    assert seen["dns_queries_total"] == {("answered",): 3, ("failed",): 2}
    assert seen["log_dropped_total"] == {(): 7}
    assert seen["sessions_active"] == {("smtp",): 3, ("submission",): 1}


async def test_a_spool_that_does_not_answer_does_not_block_the_scrape(office: Office) -> None:
    """Metrics are wanted most when the disk hangs: the last value stands in."""
    await office.put("due@corp.test")
    office.clock.advance(30)
    await scrape(office)
    office.spool.next_due = lambda _after, _done: None  # type: ignore[method-assign] # a reader that hangs
    seen = await scrape(office)
    assert seen["queue_oldest_due_seconds"][()] == 30
