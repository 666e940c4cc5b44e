"""Which routes attach to which listeners of a pool.

A route attaches where one of its ``parentRefs`` names the pool (and the
listener, if it names one) and the listener's ``allowedRoutes`` lets in routes
of its namespace. Pure: namespaces come with their labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from waystation_operator.api.listener import Listener, NamespacesFrom, Requirement, Selector
from waystation_operator.api.mailroute import ParentRef
from waystation_operator.api.objects import MailRoute, RelayPool
from waystation_operator.api.problem import Path, Problem

NAME_LABEL = "kubernetes.io/metadata.name"  # which the API server puts on every namespace

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Attachment:
    """One route with the listeners it takes mail from (in the pool's order), or why it takes none."""

    route: MailRoute
    listeners: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


def attach(
    pool: RelayPool, routes: Sequence[MailRoute], namespaces: Mapping[str, Labels]
) -> list[Attachment]:
    """The routes that name ``pool``, oldest first and then by name: the order in which ties are broken."""
    ordered = sorted(routes, key=lambda route: (route.created, route.identity.key))
    return [found for route in ordered if (found := _attachment(pool, route, namespaces))]


def parent_key(ref: ParentRef, route: MailRoute) -> str:
    """``namespace/name`` of the pool that a reference means."""
    return f"{ref.namespace or route.identity.namespace}/{ref.name}"


def selects(selector: Selector, labels: Labels) -> bool:
    """Whether the selector chooses a namespace with these labels, as Kubernetes does."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(requirement, labels) for requirement in selector.match_expressions
    )


def _holds(requirement: Requirement, labels: Labels) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


def _attachment(pool: RelayPool, route: MailRoute, namespaces: Mapping[str, Labels]) -> Attachment | None:
    refs = [
        (("spec", "parentRefs", n), ref)
        for n, ref in enumerate(route.spec.parent_refs)
        if parent_key(ref, route) == pool.identity.key
    ]
    if not refs:
        return None
    names: set[str] = set()
    problems: list[Problem] = []
    for path, ref in refs:
        named = [x for x in pool.spec.listeners if ref.section_name in ("", x.name)]
        admitted = [x for x in named if _admits(x, pool, route, namespaces)]
        names.update(x.name for x in admitted)
        if not admitted:
            problems.append(_refusal(path, ref, pool, route, named))
    return Attachment(route, tuple(x.name for x in pool.spec.listeners if x.name in names), tuple(problems))


def _admits(listener: Listener, pool: RelayPool, route: MailRoute, namespaces: Mapping[str, Labels]) -> bool:
    rule, namespace = listener.allowed_routes.namespaces, route.identity.namespace
    match rule.from_:
        case NamespacesFrom.ALL:
            return True
        case NamespacesFrom.SAME:
            return namespace == pool.identity.namespace
        case NamespacesFrom.SELECTOR:
            assert rule.selector is not None  # a rule of RouteNamespaces
            return selects(rule.selector, {NAME_LABEL: namespace, **namespaces.get(namespace, {})})


def _refusal(
    path: Path, ref: ParentRef, pool: RelayPool, route: MailRoute, named: Sequence[Listener]
) -> Problem:
    if not named:
        listeners = ", ".join(x.name for x in pool.spec.listeners)
        problem = f"is no listener of {pool.identity}"
        path = (*path, "sectionName")
        remedy = f"use one of: {listeners}"
        return Problem(route.identity, path, ref.section_name, problem, remedy, "NoMatchingParent")
    which = f"listener {ref.section_name}" if ref.section_name else "any listener"
    problem = f"{pool.identity} lets no route of namespace {route.identity.namespace} attach to {which}"
    remedy = "set the listener's allowedRoutes.namespaces.from to All, or to Selector with its labels"
    return Problem(route.identity, path, ref.name, problem, remedy, "NotAllowedByListeners")


def dangling(routes: Sequence[MailRoute], pools: Sequence[RelayPool]) -> Iterator[Problem]:
    """References to pools that do not exist."""
    known = {pool.identity.key for pool in pools}
    for route in routes:
        for n, ref in enumerate(route.spec.parent_refs):
            key = parent_key(ref, route)
            if key not in known:
                remedy = f"use one of: {', '.join(sorted(known))}" if known else "create a RelayPool"
                path = ("spec", "parentRefs", n, "name")
                problem = f"names RelayPool {key}, which does not exist"
                yield Problem(route.identity, path, ref.name, problem, remedy, "NoMatchingParent")
