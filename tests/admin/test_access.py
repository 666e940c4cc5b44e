"""Who may look into the queue and change it: whoever names the token, and nobody else."""

import pytest
from tests.support.office import TOKEN, Office

from waystation_relay.admin.access import Access

OPEN = ("/metrics", "/livez", "/readyz", "/config", "/drain")
GUARDED = (
    ("GET", "/queue"),
    ("GET", "/queue/1KA3ZQ9W0TH-7F2QX"),
    ("POST", "/queue/hold"),
    ("POST", "/queue/release"),
    ("POST", "/queue/retry"),
    ("POST", "/queue/delete"),
    ("POST", "/queue/bounce"),
    ("GET", "/status"),
    ("POST", "/config/reload"),
    ("POST", "/drain"),
    ("DELETE", "/drain"),
)


@pytest.mark.parametrize("path", OPEN)
async def test_health_and_figures_need_no_token(office: Office, path: str) -> None:
    """Probes and Prometheus come without a secret; what they see names no message."""
    assert (await office.call("GET", path, token=None)).status == 200


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=lambda value: value)
@pytest.mark.parametrize(
    "token",
    [
        pytest.param(None, id="none"),
        pytest.param("wrong", id="wrong"),
        pytest.param("", id="empty"),
        pytest.param(TOKEN + "x", id="longer"),
        pytest.param(TOKEN[:-1], id="shorter"),
        pytest.param("tökén", id="not ASCII"),
    ],
)
async def test_without_the_token_nothing_is_shown_or_changed(
    office: Office, method: str, path: str, token: str | None
) -> None:
    """401 with what to do, and the queue is as it was."""
    await office.put("ann@corp.test")
    answer = await office.call(method, path, {"all": True}, token=token)
    assert answer.status == 401
    assert "token" in answer.body["error"]
    assert answer.body["remedy"]
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert await office.queued("?status=waiting") == ["ann@corp.test"]
    assert not office.gate.cordoned


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_written_as_one_likes(office: Office, scheme: str) -> None:
    """RFC 7235: the scheme's name is case-insensitive."""
    headers = {"Authorization": f"{scheme} {TOKEN}"}
    async with office.session.get("/queue", headers=headers) as answer:
        assert answer.status == 200


async def test_another_scheme_is_not_the_token(office: Office) -> None:
    """The token as a Basic password is no token."""
    async with office.session.get("/queue", headers={"Authorization": f"Basic {TOKEN}"}) as answer:
        assert answer.status == 401


async def test_a_new_token_counts_at_once(office: Office) -> None:
    """A rotated Secret: the next call needs the new token, and the old one is worth nothing."""
    office.token_file.write_text("another", encoding="utf-8")
    assert (await office.call("GET", "/queue", token=TOKEN)).status == 401
    assert (await office.call("GET", "/queue", token="another")).status == 200


@pytest.mark.parametrize(
    ("content", "words"),
    [pytest.param(None, "cannot be read", id="gone"), pytest.param("\n", "is empty", id="empty")],
)
async def test_a_token_file_that_is_no_use_lets_nobody_in(
    office: Office, content: str | None, words: str
) -> None:
    """An empty or missing file is trouble of ours (503), and never matches an empty token."""
    if content is None:
        office.token_file.unlink()
    else:
        office.token_file.write_text(content, encoding="utf-8")
    answer = await office.call("GET", "/queue", token="")
    assert answer.status == 503
    assert words in answer.body["error"]
    assert str(office.token_file) in answer.body["error"]


async def test_a_relay_without_a_token_file_refuses_and_says_how(office: Office) -> None:
    """403 names the option that is missing."""
    await office.server.stop()
    office.server = office.serve(Access(None))
    await office.server.start("127.0.0.1", office.port)
    answer = await office.call("POST", "/drain", token=TOKEN)
    assert answer.status == 403
    assert "--admin-token-file" in answer.body["remedy"]
    assert (await office.call("GET", "/readyz", token=None)).status == 200
