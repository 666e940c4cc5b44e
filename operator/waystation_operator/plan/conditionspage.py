"""The tables of ``docs/conditions.md``, made from the table of conditions.

``<!-- types of conditions -->`` is the place of the types,
``<!-- reasons of Accepted -->`` that of the reasons of one type. ``fill``
writes each into its place and leaves the rest alone.
"""

import re

from waystation_operator.plan.conditions import BY_NAME, ROWS, TYPES

_TYPES = re.compile(r"(<!-- types of conditions -->\n).*?(<!-- end -->)", re.DOTALL)
_REASONS = re.compile(r"(<!-- reasons of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def places() -> list[str]:
    """The types that a complete page has a place for, in order."""
    return [type_.name for type_ in TYPES]


def fill(page: str) -> str:
    """The page with every marked place up to date. ``KeyError`` for a type that does not exist."""
    page = _TYPES.sub(lambda place: place[1] + _types() + place[2], page)
    return _REASONS.sub(lambda place: place[1] + _reasons(BY_NAME[place[2]].name) + place[3], page)


def _types() -> str:
    lines = ["", "| type | on | asks | good |", "|---|---|---|---|"]
    lines += [
        f"| [{x.name}](#{x.name.lower()}) | {', '.join(x.subjects)} | {x.asks} | {x.good} |" for x in TYPES
    ]
    return "\n".join([*lines, "", ""])


def _reasons(type_: str) -> str:
    lines = ["", "| status | reason | meaning | what to do |", "|---|---|---|---|"]
    lines += [
        f"| {row.status} | `{row.reason}` | {row.meaning} | {row.remedy[:1].upper() + row.remedy[1:]} |"
        for row in ROWS.values()
        if row.type == type_
    ]
    return "\n".join([*lines, "", ""])
