"""``templates/rbac/_rules.tpl``: the operator's permissions, as the roles of the chart include them."""

from collections.abc import Iterator, Sequence

from waystation_operator.cluster import permissions
from waystation_operator.cluster.permissions import Rule

_HEADER = (
    "{{- /* Made from operator/waystation_operator/cluster/permissions.py by `python -m charts.generate`; "
    "edit that. */}}\n"
)

# What the chart calls them, where they hold, the rules.
BLOCKS: tuple[tuple[str, str, tuple[Rule, ...]], ...] = (
    ("rules", "In every namespace that is watched.", permissions.WATCHED),
    ("clusterRules", "With the whole cluster.", permissions.CLUSTER),
    (
        "namespaceRules",
        "In a watched namespace: a Role may allow its own namespace to be read.",
        permissions.NAMESPACED,
    ),
    ("poolSecretRules", "In a namespace of pools.", permissions.POOL_SECRETS),
    ("secretReaderRules", "In another namespace whose routes name Secrets.", permissions.SECRET_READER),
)


def text() -> str:
    return _HEADER + "".join(line + "\n" for block in BLOCKS for line in _block(*block))


def _block(name: str, where: str, rules: Sequence[Rule]) -> Iterator[str]:
    yield ""
    yield f"{{{{- /* {where} */}}}}"
    yield f'{{{{- define "waystation.{name}" -}}}}'
    for rule in rules:
        yield f"{{{{- /* {rule.why[0].upper()}{rule.why[1:]}. */}}}}"
        yield f'- apiGroups: ["{rule.group}"]'
        yield f"  resources: [{', '.join(rule.resources)}]"
        if rule.names:
            yield f"  resourceNames: [{', '.join(rule.names)}]"
        yield f"  verbs: [{', '.join(rule.verbs)}]"
    yield "{{- end -}}"
