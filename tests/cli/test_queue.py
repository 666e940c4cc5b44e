"""`waystation queue` as people type it: whom it asks, what it prints, how it ends."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.office import TOKEN, Office
from tests.support.ports import free_port

from waystation.__main__ import main

Run = Callable[..., Awaitable[Result]]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["queue", *arguments], catch_exceptions=False, prog_name="waystation")


@pytest.fixture
def run(office: Office) -> Run:
    """The command against the office, off the loop that serves it."""

    async def command(*arguments: str, output: str = "json") -> Result:
        where = ("--admin", f"http://127.0.0.1:{office.port}", "--token-file", str(office.token_file))
        return await asyncio.to_thread(invoke, *arguments, *where, "-o", output)

    return command


# Looking


async def test_list_prints_json_for_programs(office: Office, run: Run) -> None:
    """An array of messages, each with its id and recipients."""
    queue_id = await office.put("ann@corp.test")
    (message,) = json.loads((await run("list")).stdout)
    assert message["queue_id"] == queue_id
    assert message["recipients"][0]["address"] == "ann@corp.test"


async def test_an_empty_queue_is_an_empty_array(office: Office, run: Run) -> None:
    """Programs get what they can read, and exit code 0."""
    result = await run("list")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


async def test_list_prints_a_table_for_people(office: Office, run: Run) -> None:
    """One line a recipient, never cut off in a pipe, without colours."""
    sender = f"{'long' * 30}@shop.test"
    queue_id = await office.put("ann@corp.test", "bob@corp.test", sender=sender)
    await office.put(*(f"r{n}@corp.test" for n in range(5)), hold="quarantined by route mail/review")
    lines = (await run("list", output="table")).stdout.splitlines()
    assert lines[0].split() == [
        "QUEUE", "ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATUS", "TRIED", "NEXT", "WHY",
    ]  # fmt: skip
    assert lines[1].startswith(queue_id)
    assert sender in lines[1]
    assert "ann@corp.test" in lines[1]
    assert "bob@corp.test" in lines[2]
    assert "held" in lines[3]
    assert "quarantined by route mail/review" in lines[3]
    assert lines[6].split() == ["and", "2", "more"]
    assert "\x1b" not in "".join(lines)


async def test_list_takes_filters_and_ids(office: Office, run: Run) -> None:
    """What is typed reaches the relay."""
    ids = [await office.put(f"r{n}@corp.test") for n in range(3)]
    held = await office.put("held@else.test", hold="by hand")
    for arguments, expected in (
        (["--domain", "else.test"], [held]),
        (["--status", "held", "--reason", "by hand"], [held]),
        (["--domain", "corp.test", "--status", "held"], []),
        ([ids[2], ids[0]], [ids[0], ids[2]]),
        (["--older-than", "1h"], []),
    ):
        found = json.loads((await run("list", *arguments)).stdout)
        assert [message["queue_id"] for message in found] == expected, arguments


@pytest.mark.parametrize(
    ("limit", "shown", "more"), [(2, 2, True), (5, 5, False), (9, 5, False), (0, 5, False)]
)
async def test_list_says_when_there_is_more(
    office: Office, run: Run, monkeypatch: pytest.MonkeyPatch, limit: int, shown: int, more: bool
) -> None:
    """A list that was cut says so where it does not get in the way; 0 shows everything, page by page."""
    monkeypatch.setattr("waystation_relay.cli.queue.PAGE", 2)
    for n in range(5):
        await office.put(f"r{n}@corp.test")
    result = await run("list", "--limit", str(limit))
    assert len(json.loads(result.stdout)) == shown
    assert ("--limit 0" in result.stderr) == more


async def test_show_tells_the_whole_story(office: Office, run: Run) -> None:
    """Where it came from, what was asked for, and each recipient's state."""
    queue_id = await office.put("ann@corp.test", sender="", hold="by hand")
    text = (await run("show", queue_id, output="table")).stdout
    for words in (queue_id, "<> (the null sender)", "192.0.2.7 (app.shop.test), ESMTP at listener smtp",
                  "body=7BIT", "ann@corp.test", "held: by hand", "0 times, last never"):  # fmt: skip
        assert words in text
    (message,) = json.loads((await run("show", queue_id)).stdout)
    assert message["origin"]["client"] == "192.0.2.7"


async def test_show_of_an_unknown_id_fails_and_shows_the_others(office: Office, run: Run) -> None:
    """A typing error in one of two ids: the other is shown, the exit code is 1, the id is named."""
    queue_id = await office.put("ann@corp.test")
    result = await run("show", "nonesuch", queue_id)
    assert result.exit_code == 1
    assert "nonesuch" in result.stderr
    assert [message["queue_id"] for message in json.loads(result.stdout)] == [queue_id]


async def test_what_strangers_wrote_cannot_steer_the_terminal(office: Office, run: Run) -> None:
    """Escape sequences and markup in an address come out as harmless characters."""
    await office.put('"\x1b[31m[bold]"@corp.test')
    for text in ((await run("list", output="table")).stdout,):
        assert "\x1b" not in text
        assert "[31m[bold]" in text


# Changing


async def test_a_change_says_how_many(office: Office, run: Run) -> None:
    """For people in a sentence, for programs in JSON."""
    for n in range(2):
        await office.put(f"r{n}@corp.test")
    assert (await run("hold", "--domain", "corp.test", output="table")).stdout == "2 messages held\n"
    assert json.loads((await run("release", "--status", "held")).stdout) == {"changed": 2, "unknown": []}
    assert (
        await run("delete", "--recipient", "r0@corp.test", output="table")
    ).stdout == "1 message deleted\n"


async def test_the_reason_is_kept_with_what_is_held(office: Office, run: Run) -> None:
    """Who looks later sees why."""
    await office.put("ann@corp.test")
    await run("hold", "--all", "--reason", "asked by legal")
    (message,) = json.loads((await run("list")).stdout)
    assert message["recipients"][0]["hold_reason"] == "asked by legal"


async def test_the_text_of_a_bounce_reaches_the_sender(office: Office, run: Run) -> None:
    """The report quotes the postmaster."""
    queue_id = await office.put("ann@corp.test")
    assert (await run("bounce", queue_id, "--text", "left the company")).exit_code == 0
    assert "left the company" in str(office.log.of("message.failed"))


@pytest.mark.parametrize("action", ["hold", "release", "retry", "delete", "bounce"])
async def test_a_change_of_nothing_in_particular_is_refused(office: Office, run: Run, action: str) -> None:
    """Exit code 2, and nothing changed: neither everything nor nothing was meant."""
    await office.put("ann@corp.test")
    result = await run(action)
    assert result.exit_code == 2
    assert "--all" in result.stderr
    both = await run(action, "--all", "--domain", "corp.test")
    assert both.exit_code == 2
    assert await office.queued("?status=waiting") == ["ann@corp.test"]


async def test_unknown_ids_of_a_change_are_an_error(office: Office, run: Run) -> None:
    """What is there is changed, what is not is named, and the exit code is 1."""
    queue_id = await office.put("ann@corp.test")
    result = await run("hold", queue_id, "nonesuch")
    assert result.exit_code == 1
    assert "nonesuch" in result.stderr
    assert queue_id not in result.stderr
    assert json.loads(result.stdout)["changed"] == 1


async def test_a_filter_the_relay_does_not_understand_is_a_mistake(office: Office, run: Run) -> None:
    """Exit code 2 with the relay's words: how a duration is written."""
    result = await run("list", "--older-than", "yesterday")
    assert result.exit_code == 2
    assert "15m" in result.stderr


# Whom it asks


def test_nobody_there_is_said_plainly() -> None:
    """Exit code 1, the address that was tried, and the option to name another."""
    url = f"http://127.0.0.1:{free_port()}"
    result = invoke("list", "--admin", url)
    assert result.exit_code == 1
    assert url in result.stderr
    assert "--admin" in result.stderr
    assert result.stdout in ("", "[]\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [pytest.param(None, "cannot be read", id="missing"), pytest.param("wrong", "admin token", id="wrong")],
)
async def test_a_token_that_is_no_use(
    office: Office, tmp_path: Path, content: str | None, words: str
) -> None:
    """Exit code 1; the file or the remedy is named."""
    other = tmp_path / "other"
    if content is not None:
        other.write_text(content, encoding="utf-8")
    url = f"http://127.0.0.1:{office.port}"
    result = await asyncio.to_thread(invoke, "list", "--admin", url, "--token-file", str(other))
    assert result.exit_code == 1
    assert words in result.stderr


async def test_the_environment_names_the_relay(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two variables, and nothing need be typed."""
    monkeypatch.setenv("WAYSTATION_ADMIN", f"http://127.0.0.1:{office.port}/")
    monkeypatch.setenv("WAYSTATION_TOKEN_FILE", str(office.token_file))
    await office.put("ann@corp.test")
    assert "ann@corp.test" in (await asyncio.to_thread(invoke, "list")).stdout


async def test_no_proxy_comes_between(office: Office, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy for the web has nothing to do with the admin port, and must not see the token."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert (await run("list")).exit_code == 0


def record(folder: Path, *pods: tuple[str, int, Path]) -> Path:
    """What `waystation local up` leaves for others to find its pods by."""
    sink = {"process": {"name": "sink", "argv": [], "log": "", "admin": "", "token_file": ""}}
    relays = [
        {"process": {"name": name, "admin": f"http://127.0.0.1:{port}", "token_file": str(token)}}
        for name, port, token in pods
    ]
    folder.mkdir(exist_ok=True)
    (folder / "local.json").write_text(json.dumps({"processes": [sink, *relays]}), encoding="utf-8")
    return folder


async def test_all_pods_of_a_local_run_are_asked(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder of a local run nothing need be named; each message says which pod has it."""
    second = Office(tmp_path / "second")
    second.folder.mkdir()
    await second.open()
    try:
        await office.put("ann@corp.test")
        there = await second.put("bob@corp.test")
        record(
            tmp_path / ".waystation",
            ("out-0", office.port, office.token_file),
            ("out-1", second.port, second.token_file),
        )
        monkeypatch.chdir(tmp_path)
        found = json.loads((await asyncio.to_thread(invoke, "list", "-o", "json")).stdout)
        assert [(m["pod"], m["recipients"][0]["address"]) for m in found] == [
            ("out-0", "ann@corp.test"),
            ("out-1", "bob@corp.test"),
        ]
        one = json.loads((await asyncio.to_thread(invoke, "list", "--pod", "out-1", "-o", "json")).stdout)
        assert [m["pod"] for m in one] == ["out-1"]
        shown = await asyncio.to_thread(invoke, "show", there, "-o", "json")
        assert (shown.exit_code, json.loads(shown.stdout)[0]["pod"]) == (0, "out-1")
        held = await asyncio.to_thread(invoke, "hold", there)
        assert (held.exit_code, held.stdout) == (0, "1 message held\n")
        assert "POD" in (await asyncio.to_thread(invoke, "list")).stdout
    finally:
        await second.close()


async def test_a_pod_that_is_down_does_not_hide_the_others(office: Office, tmp_path: Path) -> None:
    """The rest is shown, the one is named, the exit code is 1."""
    await office.put("ann@corp.test")
    folder = record(
        tmp_path / "run",
        ("out-0", free_port(), office.token_file),
        ("out-1", office.port, office.token_file),
    )
    result = await asyncio.to_thread(invoke, "list", "--data", str(folder), "-o", "json")
    assert result.exit_code == 1
    assert "out-0" in result.stderr
    assert len(json.loads(result.stdout)) == 1


@pytest.mark.parametrize(
    ("content", "arguments", "code", "words"),
    [
        pytest.param(None, ["--data", "{}"], 1, "waystation local up", id="nothing runs there"),
        pytest.param("{", ["--data", "{}"], 1, "not the record", id="no JSON"),
        pytest.param("[]", ["--data", "{}"], 1, "not the record", id="something else"),
        pytest.param('{"processes": []}', ["--data", "{}"], 1, "no relay runs", id="only a sink"),
        pytest.param('{"processes": []}', ["--data", "{}", "--pod", "x"], 2, "no such pod", id="no such pod"),
        pytest.param(None, ["--admin", "http://x", "--pod", "x"], 2, "--pod", id="a URL and a pod"),
        pytest.param(None, ["--admin", "localhost:1"], 2, "URL", id="no URL"),
    ],
)
def test_whom_to_ask_must_be_clear(
    tmp_path: Path, content: str | None, arguments: list[str], code: int, words: str
) -> None:
    """Each way not to know whom to ask has its own sentence."""
    if content is not None:
        (tmp_path / "local.json").write_text(content, encoding="utf-8")
    result = invoke("list", *(argument.format(tmp_path) for argument in arguments))
    assert result.exit_code == code
    assert words in result.stderr


async def test_a_token_never_appears(office: Office, run: Run) -> None:
    """Not in what is printed, whatever is printed."""
    await office.put("ann@corp.test")
    for arguments in (["list"], ["show", "nonesuch"], ["hold", "--all"], ["list", "--older-than", "x"]):
        result = await run(*arguments)
        assert TOKEN not in result.stdout + result.stderr
