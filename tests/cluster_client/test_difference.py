"""Whether an object needs writing at all."""

import copy
from typing import Any

import pytest

from waystation_operator.cluster.difference import MANAGER, differences

Body = dict[str, Any]


def workload(**spec: Any) -> Body:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "a", "labels": {"x": "1"}},
        "spec": {
            "replicas": 2,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "relay",
                            "args": ["relay", "--data", "/d"],
                            "ports": [{"name": "admin", "containerPort": 8025}],
                            "resources": {"requests": {"cpu": "0.5", "memory": "1Gi"}},
                        }
                    ],
                    "affinity": {},
                }
            },
            **spec,
        },
    }


def as_found(wanted: Body) -> Body:
    """What an API server makes of it: defaults added, quantities in its own words, empty things left out."""
    found = copy.deepcopy(wanted)
    found["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    found["spec"]["podManagementPolicy"] = "Parallel"
    pod = found["spec"]["template"]["spec"]
    del pod["affinity"]
    container = pod["containers"][0]
    container["imagePullPolicy"] = "IfNotPresent"
    container["ports"][0]["protocol"] = "TCP"
    container["resources"]["requests"]["cpu"] = "500m"
    pod["containers"].insert(0, {"name": "injected"})
    found["status"] = {"replicas": 2}
    return found


def test_defaults_and_other_spellings_are_no_difference() -> None:
    """What the API server adds or writes in its own way is not written again, however often one looks."""
    assert differences(as_found(workload()), workload()) == []


CONTAINER = ("spec", "template", "spec", "containers", 1)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("spec", "replicas"), 5, "spec.replicas"),
        (("metadata", "labels"), {}, "metadata.labels.x"),
        ((*CONTAINER, "args"), ["relay"], "spec.template.spec.containers[0].args"),
        ((*CONTAINER, "args"), ["relay", "--data", "/d", "-v"], "spec.template.spec.containers[0].args"),
        ((*CONTAINER, "args", 2), "/e", "spec.template.spec.containers[0].args[2]"),
        (
            (*CONTAINER, "resources", "requests", "cpu"),
            "501m",
            "spec.template.spec.containers[0].resources.requests.cpu",
        ),
        ((*CONTAINER, "ports"), [], "spec.template.spec.containers[0].ports"),
        (("spec", "template"), None, "spec.template"),
    ],
    ids=["number", "label", "fewer", "more", "element", "quantity", "emptied", "absent"],
)
def test_what_somebody_changed_is_found(path: tuple[Any, ...], value: Any, where: str) -> None:
    """Drift is found wherever it is, and named for the log."""
    found = as_found(workload())
    at: Any = found
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert differences(found, workload()) == [where]


def owned(fields: Body, **found: Any) -> Body:
    entry = {"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}
    return {"metadata": {"name": "a", "managedFields": [{"manager": "other"}, entry]}, **found}


@pytest.mark.parametrize(
    ("fields", "found", "wanted", "paths"),
    [
        ({"f:spec": {"f:a": {}}}, {"a": 1}, {"a": 1}, []),
        ({"f:spec": {"f:a": {}, "f:b": {}}}, {"a": 1, "b": 2}, {"a": 1}, ["spec.b"]),
        (
            {"f:spec": {"f:env": {'k:{"name":"X"}': {".": {}, "f:name": {}, "f:value": {}}}}},
            {"env": [{"name": "X", "value": "1"}]},
            {"env": []},
            ['spec.env[{"name":"X"}]'],
        ),
        (
            {"f:spec": {"f:ports": {'k:{"port":25,"protocol":"TCP"}': {".": {}, "f:port": {}}}}},
            {"ports": [{"port": 25, "protocol": "TCP"}]},
            {"ports": [{"port": 25}]},
            [],
        ),
        (
            {"f:spec": {"f:finalizers": {'v:"x"': {}}}},
            {"finalizers": ["x", "y"]},
            {"finalizers": []},
            ['spec.finalizers[{"x"}]'.replace('{"x"}', '"x"')],
        ),
    ],
    ids=["wanted", "field", "element", "default-in-key", "set"],
)
def test_what_we_set_once_and_want_no_more_is_found(
    fields: Body, found: Body, wanted: Body, paths: list[str]
) -> None:
    """A field that a new version of the plan leaves out is removed; what others own is theirs."""
    assert differences(owned(fields, spec=found), {"spec": wanted}) == paths


@pytest.mark.parametrize(
    "empty", [None, "", 0, False, [], {}], ids=["null", "text", "zero", "false", "list", "object"]
)
def test_an_empty_value_is_as_good_as_an_absent_one(empty: Any) -> None:
    """The API server leaves empty values out; that is no reason to write."""
    assert differences({"spec": {}}, {"spec": {"a": empty}}) == []


def test_a_rule_more_in_a_network_policy_is_drift() -> None:
    """Lists that belong to us as a whole are compared as a whole: an added opening is closed again."""
    wanted = {"spec": {"ingress": [{"ports": [{"port": 25}]}]}}
    found = {"spec": {"ingress": [{"ports": [{"port": 25, "protocol": "TCP"}, {"port": 22}]}]}}
    assert differences(found, wanted) == ["spec.ingress[0].ports"]
    assert differences({"spec": {"ingress": [{}, *found["spec"]["ingress"]]}}, wanted) == ["spec.ingress"]
