"""docs/admin.md describes the admin port as it is."""

from tests.support.office import Office
from tests.support.tables import table

from waystation_relay.admin.filters import FILTERS
from waystation_relay.admin.health import Stage
from waystation_relay.admin.queue import ACTIONS, BOUNCE
from waystation_relay.cli.queue import CHANGES
from waystation_relay.cli.queue_options import FILTER_HELP
from waystation_relay.spool.values import RefusalKind


async def test_every_call_is_described_and_no_other(office: Office) -> None:
    """Paths and methods of the page are those of the server."""
    served = {
        f"{route.method} {route.resource.canonical}"
        for route in office.server.application.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert {row["call"] for row in table("admin.md", "call", "token", "what it does")} == served


async def test_the_page_says_truly_which_calls_need_the_token(office: Office) -> None:
    """Exactly those answer 401 without it."""
    for row in table("admin.md", "call", "token", "what it does"):
        method, _, path = row["call"].partition(" ")
        path = path.replace("{queue_id}", "x").replace("{action}", "hold")
        answer = await office.call(method, path, token=None)
        assert (answer.status == 401) == (row["token"] == "yes"), row


def test_every_filter_is_described() -> None:
    """The page, the relay and the command know the same filters."""
    page = [row["filter"] for row in table("admin.md", "filter", "chooses")]
    assert page == list(FILTERS)
    assert {"id", *FILTER_HELP} == set(FILTERS)


def test_every_action_is_described() -> None:
    """The page, the relay and the command know the same actions."""
    page = [row["action"] for row in table("admin.md", "action", "to whom", "what")]
    assert page == [*ACTIONS, BOUNCE] == list(CHANGES)


def test_every_reason_not_to_be_ready_is_described() -> None:
    """Who reads /readyz finds the word on the page."""
    page = {row["reason"] for row in table("admin.md", "reason", "what it means", "what ends it")}
    assert page == {*RefusalKind, *Stage, "draining"} - {Stage.RUNNING}
