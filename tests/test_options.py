"""Options: defaults, checks and flags from one declaration."""

import dataclasses

import pytest

from mm_jax.errors import UsageError
from mm_jax.options import Options, flag_specs, from_flags, group, option, seeds_option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner(Options):
    steps: int = option(40, "Steps.", minimum=1)
    rate: float = option(0.1, "Rate.", above=0, maximum=1, flag="inner_rate")
    mode: str = option("a", "Mode.", choices=("a", "b"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer(Options):
    seeds: tuple[int, ...] = seeds_option("0-2", "Seeds.")
    inner: Inner = group(Inner(steps=30), flags=("steps",))
    low: float = option(-1.0, "Lowest.")
    high: float = option(1.0, "Highest.")
    limit: int | None = option(None, "Limit.", kind=int, minimum=2)

    def check(self):
        if not self.low < self.high:
            raise UsageError(f"low must be below high, got {self.low} and {self.high}")


def read(kind, given=None, **flags):
    defaults = {name: spec.flag_default for name, spec in flag_specs(kind)}
    return from_flags(kind, {**defaults, **flags}.__getitem__, given or {})


def test_defaults_stand_in_one_place():
    assert read(Inner) == Inner()
    assert read(Outer) == Outer()
    assert Outer().seeds == (0, 1, 2)
    assert [name for name, _ in flag_specs(Inner)] == ["steps", "inner_rate", "mode"]


def test_a_group_has_defaults_and_flags_of_its_own():
    specs = dict(flag_specs(Outer))
    assert list(specs) == ["seeds", "steps", "low", "high", "limit"]
    assert specs["steps"].flag_default == 30
    assert read(Outer, steps=7).inner == Inner(steps=7)
    assert read(Outer, given={"inner": Inner(mode="b")}).inner == Inner(mode="b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
        ({"steps": True}, "steps must be a whole number, got True"),
        ({"rate": 0}, "rate must be above 0 and at most 1, got 0"),
        ({"rate": float("nan")}, "rate must be a finite number, got nan"),
        ({"rate": 2}, "rate must be above 0 and at most 1, got 2"),
        ({"mode": "c"}, "mode must be one of a, b, got 'c'"),
        ({"stpes": 1}, "unknown option 'stpes'; the options are steps, rate, mode"),
    ],
)
def test_bad_values(change, message):
    with pytest.raises(UsageError) as error:
        Inner().replace(**change)
    assert str(error.value) == message


def test_fields_are_checked_together():
    assert Outer(limit=2).limit == 2
    with pytest.raises(UsageError, match="limit must be at least 2, got 1"):
        Outer(limit=1)
    with pytest.raises(UsageError, match="low must be below high"):
        Outer(low=3)
    with pytest.raises(UsageError, match="unknown option"):
        read(Outer, given={"hihg": 1})
