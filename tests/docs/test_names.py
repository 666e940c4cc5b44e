"""Names of ours on the pages exist: metrics, log events, conditions with their reasons, fields."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from charts.alerts import alerts
from tests.docs.test_documents import PAGES, ROOT, relative

from waystation_operator.api import shape as shapes
from waystation_operator.api.group import Group
from waystation_operator.api.mailroute import MailRouteSpec
from waystation_operator.api.relaypool import RelayPoolSpec
from waystation_operator.api.shape import Kind
from waystation_operator.api.status import MailRouteStatus, RelayPoolStatus
from waystation_operator.cluster.act import REFUSED
from waystation_operator.cluster.log import LINES
from waystation_operator.cluster.metrics import CATALOGUE as OF_OPERATOR
from waystation_operator.cluster.metrics import PREFIX as OPERATOR_PREFIX
from waystation_operator.plan.conditions import REASONS, TYPES
from waystation_relay.observe.catalogue import CATALOGUE as OF_RELAY
from waystation_relay.observe.catalogue import PREFIX
from waystation_relay.observe.events import EVENTS

# Of Kubernetes, of mail, and of the chart: what looks like a name of ours and is not one.
FOREIGN = frozenset(
    {"IfNotPresent", "LoadBalancer", "NetworkPolicy", "ClusterIP", "NodePort", "VolumeSnapshot"}
)


# The chart's values, and the fields of GET /status: their tables have tests of their own.
DEFINING = {"install.md", "admin.md"}
CODE = r"`([^`\n]+)`"


def names(page: Path) -> Iterator[str]:
    """What stands between code marks in running text and tables, but for what the page itself defines."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    first_cells = "".join(re.findall(r"^\|[^|\n]*\|", text, re.MULTILINE))
    defined = set(re.findall(CODE, first_cells)) if page.name in DEFINING else set()
    yield from (name for name in re.findall(CODE, text) if name not in defined)


def fields(group: type[Group], prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every field with its path, without brackets, and the choices it has."""
    for name, _, shape in shapes.fields(group):
        path = f"{prefix}{name}"
        inner = shape.item if shape.kind is Kind.LIST and shape.item is not None else shape
        yield path, inner.choices
        if inner.group is not None:
            yield from fields(inner.group, f"{path}.")


def ends(path: str) -> Iterator[str]:
    parts = path.split(".")
    yield from (".".join(parts[n:]) for n in range(len(parts)))


SPECS = [found for spec in (RelayPoolSpec, MailRouteSpec) for found in fields(spec, "spec.")]
STATUSES = [found for status in (RelayPoolStatus, MailRouteStatus) for found in fields(status, "status.")]
PATHS = {path for path, _ in (*SPECS, *STATUSES)}
CHOICES = {choice for _, choices in SPECS for choice in choices}
METRICS = {PREFIX + x.name for x in OF_RELAY} | {OPERATOR_PREFIX + x.name for x in OF_OPERATOR}
LOGGED = {x.name for x in EVENTS} | {x.event for x in LINES}
STEPS = {
    step
    for module in (ROOT / "relay" / "waystation_relay").rglob("*.py")
    for step in re.findall(r'reach\("([a-z_.]+)"', module.read_text(encoding="utf-8"))
}
# A field is also known by the end of its path: `queue.size` is `spec.queue.size`.
KNOWN = LOGGED | STEPS | {end for path in PATHS for end in ends(path)}
WORDS = {*REASONS, *(x.name for x in TYPES), *(x.name for x in alerts()), REFUSED, *CHOICES, *FOREIGN}
IDS = [pytest.param(page, id=relative(page)) for page in PAGES if page.is_relative_to(ROOT / "docs")]


@pytest.mark.parametrize("page", IDS)
def test_metrics_exist(page: Path) -> None:
    """A metric that a page names is one of the relay's or of the operator's."""
    named = {x for name in names(page) for x in re.findall(r"\bwaystation_[a-z_]+", name)}
    modules = {"waystation_relay", "waystation_operator", "waystation_contract"}
    endings = ("_bucket", "_sum", "_count")
    unknown = {x for x in named - METRICS - modules if not any(x.removesuffix(e) in METRICS for e in endings)}
    assert unknown - {"waystation_"} == set()


@pytest.mark.parametrize("page", IDS)
def test_log_events_and_fields_exist(page: Path) -> None:
    """`message.held` is an event of a log, `queue.size` a field: the families of both are known."""
    families = "|".join(sorted({name.partition(".")[0] for name in LOGGED | PATHS}))
    named = {x for x in names(page) if re.fullmatch(rf"(?:{families})(?:\.[A-Za-z_]+|\[\])+", x)}
    named = {x for x in named if not x.endswith((".json", ".jsonl", ".log"))}
    assert {x for x in named if x.replace("[]", "") not in KNOWN} == set()


@pytest.mark.parametrize("page", IDS)
def test_reasons_and_conditions_exist(page: Path) -> None:
    """A word in CamelCase is a reason, a condition, an alert, or a value that a field may have."""
    named = {x for x in names(page) if re.fullmatch(r"(?:[A-Z][a-z]+){2,}", x)}
    assert named - WORDS == set()
