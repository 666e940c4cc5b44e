"""The mistakes of ``tests/bad_configs``, given to a real API server: which of them `kubectl create` refuses.

`waystation check` refuses all of them. What the API server lets pass is listed
in ``PASSES`` with the reason why it does; there the operator says it, in a
condition. Everything else is refused, and in words that name the field or the
remedy. A mistake that is new belongs to the second kind until somebody lists it.
"""

import re
from pathlib import Path

import pytest
from tests.cluster.client import Cluster

FOLDER = Path(__file__).parents[2] / "bad_configs"
MISTAKES = sorted(path.stem for path in FOLDER.glob("*.yaml"))

OTHER_OBJECT = "is about another object than the one that is written"
SECRET = "is about what a Secret holds"
SUM = "CEL has no way to add up what networks cover; /0 is refused"
RANGE = "the form is right, and only the form is checked"
NULL = "a field without value is one that is left out"
KUBECTL = "kubectl keeps the last of the two and sends one"
PASSES = {
    "clients-everybody-in-halves": SUM,
    "delivery-dns-port": RANGE,
    "no-pool": OTHER_OBJECT,
    "object-twice": OTHER_OBJECT,
    "parent-dangling": OTHER_OBJECT,
    "parent-does-not-allow": OTHER_OBJECT,
    "parent-in-other-namespace": OTHER_OBJECT,
    "parent-section": OTHER_OBJECT,
    "queue-size-huge": RANGE,
    "retry-duration-long": RANGE,
    "route-retry-against-the-pool": OTHER_OBJECT,
    "smart-host-secret-dangling": SECRET,
    "smart-host-secret-incomplete": SECRET,
    "smart-host-secret-two-lines": SECRET,
    "tls-secret-dangling": SECRET,
    "tls-secret-key-of-another": SECRET,
    "tls-secret-key-with-password": SECRET,
    "tls-secret-not-pem": SECRET,
    "value-missing": NULL,
    "yaml-key-twice": KUBECTL,
}
# Refused by kubectl or by what Kubernetes says of any object, in its own words.
OTHERWISE = {
    "api-version-unknown": 'no matches for kind "RelayPool" in version "waystation.dev/v1"',
    "backend-without-value": "must be of exactly one kind",
    "creation-time": 'parsing time "yesterday"',
    "kind-foreign": 'Deployment "relay" is invalid',
    "namespace-name": 'namespaces "mail.prod" not found',
    "secret-not-base64": "illegal base64 data",
    "tls-secret-incomplete": "data[tls.key]: Required value",
    "yaml-alias-of-itself": "contains itself",
    "yaml-bracket-open": "yaml: line",
    "yaml-indentation": "yaml: line",
    "yaml-no-mapping": "invalid object",
    "yaml-tab": "yaml: line 8",
}


def expected(mistake: str) -> str:
    return (FOLDER / f"{mistake}.expected").read_text(encoding="utf-8").strip()


@pytest.fixture(scope="module")
def namespaces(cluster: Cluster) -> None:
    """The namespaces that the files name exist, so that nothing is refused for want of one."""
    texts = [(FOLDER / f"{mistake}.yaml").read_text(encoding="utf-8") for mistake in MISTAKES]
    names = {name for text in texts for name in re.findall(r"\bnamespace: ([a-z]+)[,}\s]", text)}
    for name in sorted(names):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def create(cluster: Cluster, mistake: str) -> tuple[int, str]:
    done = cluster.run(
        "create", "--dry-run=server", "--validate=strict", f"--filename={FOLDER / mistake}.yaml"
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("mistake", [mistake for mistake in MISTAKES if mistake not in PASSES])
def test_mistake_is_refused_at_once(cluster: Cluster, namespaces: None, mistake: str) -> None:
    """kubectl says which field is wrong, or what to do about it, before anything is stored."""
    code, said = create(cluster, mistake)
    assert code == 1, f"was taken, though check says: {expected(mistake)}"
    if mistake in OTHERWISE:
        assert OTHERWISE[mistake] in said
    else:
        field = re.search(r": ((?:spec|metadata|kind|apiVersion)[^:]*): ", expected(mistake))
        remedy = expected(mistake).rpartition("; ")[2]
        assert remedy in said or (field and field[1] in said), f"{said}\ncheck says: {expected(mistake)}"


@pytest.mark.parametrize("mistake", PASSES)
def test_mistake_that_only_the_operator_can_see(cluster: Cluster, namespaces: None, mistake: str) -> None:
    """The API server takes these; a release of Kubernetes or of ours that refuses one is noticed here."""
    code, said = create(cluster, mistake)
    assert code == 0, said


def test_tables_name_mistakes_that_exist() -> None:
    """No entry outlives its file."""
    assert set(PASSES) | set(OTHERWISE) <= set(MISTAKES)
    assert len(MISTAKES) - len(PASSES) > 100
