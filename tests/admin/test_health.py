"""What probes are told: restart only what a restart mends, send mail only where it is taken."""

import asyncio

import pytest
from tests.support.office import Office

from waystation_relay.admin.health import Stage
from waystation_relay.spool.values import SpoolLimits


async def ready(office: Office) -> tuple[int, list[str]]:
    answer = await office.call("GET", "/readyz", token=None)
    assert answer.body["ready"] == (answer.status == 200)
    return answer.status, [reason["reason"] for reason in answer.body["reasons"]]


async def test_a_running_relay_is_ready(office: Office) -> None:
    """200, and no reason against it."""
    assert await ready(office) == (200, [])


@pytest.mark.parametrize("stage", [Stage.STARTING, Stage.STOPPING])
async def test_not_ready_while_starting_or_stopping(office: Office, stage: Stage) -> None:
    """The Service sends no mail to a pod that is not there yet, or not for long any more."""
    office.health.stage = stage
    assert await ready(office) == (503, [stage.value])


async def test_a_full_queue_takes_the_pod_out_of_the_service(office: Office) -> None:
    """Another pod may have room; when there is room here again, mail comes here again."""
    await office.put("ann@corp.test")
    office.spool.set_limits(SpoolLimits(max_bytes=1, full_at_percent=50))
    assert await ready(office) == (503, ["full"])
    assert (await office.call("GET", "/livez")).status == 200
    office.spool.set_limits(SpoolLimits(max_bytes=2**30, full_at_percent=99))
    assert await ready(office) == (200, [])


async def test_a_draining_relay_is_not_ready(office: Office) -> None:
    """Draining takes the pod out of the Service, cancelling brings it back."""
    await office.call("POST", "/drain")
    assert await ready(office) == (503, ["draining"])
    await office.call("DELETE", "/drain")
    assert await ready(office) == (200, [])


async def test_every_reason_is_told(office: Office) -> None:
    """Who looks for the cause sees all of them at once."""
    office.health.stage = Stage.STOPPING
    await office.call("POST", "/drain")
    assert await ready(office) == (503, ["stopping", "draining"])


async def test_alive_until_the_spool_breaks(office: Office) -> None:
    """Only what a restart mends makes the kubelet restart the pod."""
    office.health.stage = Stage.STARTING
    assert (await office.call("GET", "/livez", token=None)).body == {"alive": True, "why": ""}
    office.broken = "cannot sync the index"
    answer = await office.call("GET", "/livez", token=None)
    assert answer.status == 503
    assert answer.body == {"alive": False, "why": "cannot sync the index"}


async def test_config_tells_what_is_in_force(office: Office) -> None:
    """The hash the operator waits for, and what is wrong with a newer document."""
    before = await office.get("/config")
    assert before["hash"] == office.watcher.current.hash
    assert before["pool"] == "test/relay"
    assert before["last_error"] == ""
    assert before["loaded_at"] == "2027-01-15T08:00:00Z"
    assert before["routes"] == ["test/route"]
    office.config.write_bytes(b"{broken")
    office.watcher.look()
    after = await office.get("/config")
    assert "JSON" in after["last_error"]
    assert after["hash"] == before["hash"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/nothing", 404, id="no such path"),
        pytest.param("PUT", "/drain", 405, id="no such method"),
        pytest.param("POST", "/queue/explode", 404, id="no such action"),
    ],
)
async def test_every_refusal_says_what_to_do(office: Office, method: str, path: str, status: int) -> None:
    """Errors are JSON with a remedy, those of the HTTP library too."""
    answer = await office.call(method, path)
    assert answer.status == status
    assert set(answer.body) == {"error", "remedy"}
    assert answer.body["remedy"]


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", id="TLS"),
        pytest.param(b"EHLO client.test\r\n\r\n", id="SMTP"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="a later HTTP"),
        pytest.param(b"GET /livez HTTP/1.1\r\nA: " + b"x" * 100_000 + b"\r\n\r\n", id="an endless header"),
    ],
)
async def test_noise_at_the_port_is_shrugged_off(
    office: Office, noise: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not HTTP gets 400, no traceback in the log, and does not disturb the others."""
    reader, writer = await asyncio.open_connection("127.0.0.1", office.port)
    writer.write(noise)
    assert b" 400 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert caplog.records == []
    assert await ready(office) == (200, [])


async def test_a_mistake_of_ours_is_logged_and_harms_nobody(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 for the caller, a line in the log, and the next call is answered."""
    monkeypatch.setattr(office.drain, "describe", lambda: 1 / 0)
    answer = await office.call("GET", "/drain")
    assert answer.status == 500
    assert "ZeroDivisionError" in str(office.log.of("internal.error"))
    assert (await office.call("GET", "/livez")).status == 200
