"""When deferred mail is tried again and when it is given up: the pool's ``retry`` and a route's overrides."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from waystation_contract.model import Retry as Effective
from waystation_operator.api import units
from waystation_operator.api.group import Broken, Group, Rule
from waystation_operator.api.wire import Duration, Percent, Remedy

Factor = Annotated[float, Field(ge=1, le=100), Remedy("2 doubles the wait after each attempt")]

# A duration's seconds in CEL, whose own duration() knows no days.
_SECONDS = (
    "{0}.findAll('[0-9]+[dhms]').map(p, int(p.find('[0-9]+')) * (p.endsWith('d') ? 86400 : p.endsWith('h') "
    "? 3600 : p.endsWith('m') ? 60 : 1)).sum()"
)


def in_seconds(field: str) -> str:
    """The CEL expression for the seconds of a duration field."""
    return _SECONDS.format(field)


def _first_above_max(retry: Any) -> Broken:
    if retry.first_s is not None and retry.max_s is not None and retry.first_s > retry.max_s:
        yield "first", units.duration(retry.first_s)


def _warning_too_late(retry: Any) -> Broken:
    if (
        retry.warn_after_s is not None
        and retry.expire_after_s is not None
        and retry.warn_after_s >= retry.expire_after_s
    ):
        yield "warnAfter", units.duration(retry.warn_after_s)


def _zero(retry: Any) -> Broken:
    for field, value in (
        ("first", retry.first_s),
        ("max", retry.max_s),
        ("expireAfter", retry.expire_after_s),
    ):
        if value == 0:
            yield field, "0s"


def _rules(guard: str) -> tuple[Rule, ...]:
    """``guard`` is how the CEL rules say "both are given": overrides may leave any out."""
    both = guard
    return (
        Rule(
            subject="first",
            cel=f"{both.format('first', 'max')}{in_seconds('self.first')} <= {in_seconds('self.max')}",
            problem="is above max",
            remedy="lower first or raise max",
            broken=_first_above_max,
        ),
        Rule(
            subject="warnAfter",
            cel=f"{both.format('warnAfter', 'expireAfter')}"
            f"{in_seconds('self.warnAfter')} < {in_seconds('self.expireAfter')}",
            problem="is not before expireAfter",
            remedy="lower warnAfter, or write 0s for no warning",
            broken=_warning_too_late,
        ),
        Rule(
            subject="each duration",
            cel=" && ".join(
                f"{f'!has(self.{field}) || ' if guard else ''}{in_seconds(f'self.{field}')} > 0".join("()")
                for field in ("first", "max", "expireAfter")
            ),
            problem="must be longer than 0s",
            remedy="write a duration such as 1m",
            broken=_zero,
        ),
    )


_FIRST = "Wait after the first failed attempt."
_FACTOR = "By how much the wait grows after each further attempt."
_MAX = "Longest wait between attempts."
_JITTER = (
    "By how much each wait varies at random, so that what was deferred together does not return together."
)
_EXPIRE = "Age at which a message still not delivered is returned to its sender."
_WARN = "Age at which the sender is told of the delay, once; 0s for never."


class Retry(Group):
    first_s: Duration = Field(default=60.0, alias="first", description=_FIRST)
    factor: Factor = Field(default=2.0, description=_FACTOR)
    max_s: Duration = Field(default=3600.0, alias="max", description=_MAX)
    jitter_percent: Percent = Field(default=10, description=_JITTER)
    expire_after_s: Duration = Field(default=432_000.0, alias="expireAfter", description=_EXPIRE)
    warn_after_s: Duration = Field(default=14_400.0, alias="warnAfter", description=_WARN)

    RULES: ClassVar = _rules("")

    def effective(self) -> Effective:
        """As the relay's document has it."""
        return Effective(**self.model_dump())


class RetryOverrides(Group):
    first_s: Duration | None = Field(default=None, alias="first", description=_FIRST)
    factor: Factor | None = Field(default=None, description=_FACTOR)
    max_s: Duration | None = Field(default=None, alias="max", description=_MAX)
    jitter_percent: Percent | None = Field(default=None, description=_JITTER)
    expire_after_s: Duration | None = Field(default=None, alias="expireAfter", description=_EXPIRE)
    warn_after_s: Duration | None = Field(default=None, alias="warnAfter", description=_WARN)

    RULES: ClassVar = _rules("!has(self.{0}) || !has(self.{1}) || ")

    def merged(self, pool: Retry) -> Effective:
        """The pool's, with what is given here instead."""
        return Effective(**pool.model_dump() | self.model_dump(exclude_none=True))
