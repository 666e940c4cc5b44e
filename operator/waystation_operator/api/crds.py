"""The CustomResourceDefinitions, made from the models: what ``crds/*.yaml`` must say, to the byte."""

import io
from typing import Any

from ruamel.yaml import YAML

from waystation_operator.api.group import Group
from waystation_operator.api.mailroute import MailRouteSpec
from waystation_operator.api.objects import GROUP, VERSION
from waystation_operator.api.relaypool import RelayPoolSpec
from waystation_operator.api.schema import object_schema
from waystation_operator.api.status import MailRouteStatus, RelayPoolStatus
from waystation_operator.api.wire import POOL_NAME, POOL_NAME_REMEDY

_HEADER = "# Made from the models by `python -m waystation_operator.cli.generate`; edit those.\n"


def crds() -> dict[str, str]:
    """File name → its whole text."""
    return {f"{body['spec']['names']['plural']}.yaml": _text(body) for body in (relay_pool(), mail_route())}


def relay_pool() -> dict[str, Any]:
    return _definition(
        kind="RelayPool",
        short="rp",
        about="Where mail comes in and waits: a number of relays with a queue each, behind one Service.",
        rules=((f"self.metadata.name.matches('^{POOL_NAME}$')", f"metadata.name: {POOL_NAME_REMEDY}"),),
        spec=RelayPoolSpec,
        status=RelayPoolStatus,
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        columns=[
            _column("Desired", "integer", ".spec.replicas"),
            _column("Ready", "integer", ".status.readyReplicas"),
            _column("Queued", "integer", ".status.queue.messages"),
            _column("Oldest", "date", ".status.queue.oldestArrivalTime"),
            _column("Programmed", "string", '.status.conditions[?(@.type=="Programmed")].status'),
            _column("Age", "date", ".metadata.creationTimestamp"),
            _column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', wide=True),
        ],
    )


def mail_route() -> dict[str, Any]:
    def condition(kind: str, field: str) -> str:
        return f'.status.parents[0].conditions[?(@.type=="{kind}")].{field}'

    return _definition(
        kind="MailRoute",
        short="mr",
        about="Where mail goes: attaches to listeners of RelayPools and takes the mail that matches.",
        spec=MailRouteSpec,
        status=MailRouteStatus,
        subresources={"status": {}},
        columns=[
            _column("Pool", "string", ".spec.parentRefs[0].name"),
            _column("Accepted", "string", condition("Accepted", "status")),
            _column("Programmed", "string", condition("Programmed", "status")),
            _column("Delivering", "string", condition("Delivering", "status")),
            _column("Age", "date", ".metadata.creationTimestamp"),
            _column("Reachable", "string", condition("Reachable", "status"), wide=True),
            _column("Message", "string", condition("Delivering", "message"), wide=True),
        ],
    )


def _definition(
    *,
    kind: str,
    short: str,
    about: str,
    spec: type[Group],
    status: type[Group],
    subresources: dict[str, Any],
    columns: list[dict[str, Any]],
    rules: tuple[tuple[str, str], ...] = (),
) -> dict[str, Any]:
    """``rules`` are about the object as a whole, which is to say its name: (CEL, message)."""
    plural = f"{kind.lower()}s"
    schema: dict[str, Any] = {
        "description": about,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": {"description": "What is wanted."} | object_schema(spec),
            "status": {"description": "What there is. The operator writes it."} | object_schema(status),
        },
    }
    if rules:
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": message} for rule, message in rules]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["mail"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": subresources,
                    "additionalPrinterColumns": columns,
                }
            ],
        },
    }


def _column(name: str, kind: str, path: str, *, wide: bool = False) -> dict[str, Any]:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if wide else {})


def _text(body: dict[str, Any]) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment] # annotated as None alone
    yaml.width = 110
    out = io.StringIO()
    yaml.dump(body, out)
    return _HEADER + out.getvalue()
