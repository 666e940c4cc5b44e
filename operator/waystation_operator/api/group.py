"""What every group of fields of a resource is: frozen, strict, camelCase on the wire, with its own rules.

A :class:`Rule` is said once and enforced twice: by the API server, from the
CEL expression in the CRD, and here, by ``broken``. A test feeds both the same
objects. ``broken`` runs once the group's own fields are right, so a group
with a misspelt field does not also report what follows from it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

Broken = Iterable[tuple[str, Any]]  # (field below the group, as written; its value)


@dataclass(frozen=True, slots=True)
class Rule:
    """``broken`` yields each place where the rule does not hold; nothing means it holds. ``subject`` is
    what the API server's message begins with, since it can only name the group."""

    subject: str
    cel: str
    problem: str
    remedy: str
    broken: Callable[[Any], Broken]

    @property
    def message(self) -> str:
        return f"{self.subject} {self.problem}; {self.remedy}"


class Group(BaseModel):
    """Fields are read by their wire names only; values are never coerced from another JSON type."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        broken = [
            {"field": field, "value": value, "problem": rule.problem, "remedy": rule.remedy}
            for rule in self.RULES
            for field, value in rule.broken(self)
        ]
        if broken:
            raise PydanticCustomError("rules", "{broken}", {"broken": broken})
        return self
