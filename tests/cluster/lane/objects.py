"""Whole objects around the specs of ``tests/api``."""

import itertools
from typing import Any

from tests.api.specs import spec

Body = dict[str, Any]
_numbers = itertools.count(1)


def resource(kind: str, changes: dict[str, Any] | None = None, name: str = "") -> Body:
    """The smallest valid object of the kind, a little different; its name is new unless one is given."""
    return {
        "apiVersion": "waystation.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name or f"{kind.lower()}-{next(_numbers)}"},
        "spec": spec(kind, changes or {}),
    }
