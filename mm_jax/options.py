"""Options: frozen dataclasses whose fields carry their default, help and check, written once.

Each algorithm has one, beside it in a module that imports no JAX. Public functions take
`options=...` and `**changes`; the programs make their flags from the same fields (`mm_jax.cli`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from mm_jax import parsers
from mm_jax.checks import check_number, check_one_of
from mm_jax.errors import UsageError

__all__ = [
    "FlagSpec",
    "Options",
    "flag_names",
    "flag_specs",
    "from_flags",
    "group",
    "option",
    "seeds_option",
]

T = TypeVar("T", bound="Options")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlagSpec:
    """What a field says about itself.

    Attributes:
        name: of the flag; "" if the field is not a flag.
        default: of the field.
        help: one line.
        kind: the flag's type; list is a repeatable flag.
        choices: the only values of a text.
        text: the flag's default, where `parse` makes the field's value from text.
        parse: text to value; called as `parse(text, flag="--name")`.
        alias: a former name of the flag, which is still understood but not shown.
        minimum, above, maximum: bounds of a number, or None.
        convert: brings a value that Python code gave into the field's form, or refuses it.
        names: the bundled names that a value may be, for hints.
    """

    name: str
    default: Any
    help: str
    kind: type
    choices: tuple[str, ...] | None
    text: str
    parse: Callable[..., Any] | None
    alias: str
    minimum: float | None
    above: float | None
    maximum: float | None
    convert: Callable[[Any], Any] | None
    names: Callable[[], Sequence[str]] | None

    @property
    def flag_default(self) -> Any:
        """The default of the flag: text where the value is parsed from it."""
        return self.text if self.parse else self.default

    def check(self, name: str, value: Any) -> Any:
        """The value in the field's form.

        Raises:
            UsageError: it is out of range, or none of the choices.
        """
        if self.convert is not None:
            value = self.convert(value)
        if self.choices is not None and not (value is None and self.default is None):
            check_one_of(name, value, self.choices)
        if self.kind in (int, float) and not (value is None and self.default is None):
            check_number(
                name, value, minimum=self.minimum, above=self.above, maximum=self.maximum,
                whole=self.kind is int,
            )  # fmt: skip
        return value


def option(
    default: Any,
    help: str,
    *,
    kind: type | None = None,
    choices: Sequence[str] | None = None,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    parse: Callable[..., Any] | None = None,
    text: str | None = None,
    convert: Callable[[Any], Any] | None = None,
    flag: str | bool = True,
    alias: str = "",
    names: Callable[[], Sequence[str]] | None = None,
) -> Any:
    """A field of a dataclass of options.

    Args:
        default: the field's default.
        help: one line.
        kind: the type, where the default does not tell it; list is a repeatable flag.
        choices: the only values of a text.
        minimum: the least value.
        above: a bound that the value must be greater than.
        maximum: the largest value.
        parse: a flag's text to the value; called as `parse(text, flag="--name")`.
        text: the flag's default where `parse` is given; made from `default` unless given.
        convert: brings a value that Python code gave into the field's form, or refuses it.
        flag: False if the field is for Python code only; a text is another name for the flag.
        alias: a former name of the flag, which is still understood but not shown.
        names: the bundled names that a value may be beside files; for hints.
    """
    spec = FlagSpec(
        name=flag if isinstance(flag, str) else "field" if flag else "",
        default=default,
        help=help,
        kind=kind or (str if parse or default is None else type(default)),
        choices=None if choices is None else tuple(choices),
        text=_text_of(default) if text is None else text,
        parse=parse,
        alias=alias,
        minimum=minimum,
        above=above,
        maximum=maximum,
        convert=convert,
        names=names,
    )
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata={"spec": spec})
    return dataclasses.field(default=default, metadata={"spec": spec})


def seeds_option(default: str, help: str) -> Any:
    """An `option` of seeds; the default is given as its flag shows it: "0-3,12"."""
    seeds = parsers.parse_seeds(default) if default else ()
    return option(seeds, help, text=default, parse=parsers.parse_seeds)


def group(default: Options, flags: Sequence[str] = ()) -> Any:
    """A field that holds the options of another algorithm, some of whose fields are flags too.

    Args:
        default: the options, with the defaults of the flags.
        flags: names of the fields that are flags.
    """
    return dataclasses.field(default=default, metadata={"group": tuple(flags)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base of all options: each field is checked as it says, then all of them together."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            spec = field.metadata.get("spec")
            if spec is not None:
                value = spec.check(field.name, getattr(self, field.name))
                object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Refuse fields that contradict each other.

        Raises:
            UsageError: saying which.
        """

    def replace(self, **changes: Any) -> Self:
        """The options with other values for some fields.

        Raises:
            UsageError: a name that is no field, or a value out of range.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise UsageError(f"unknown option {name!r}; the options are {', '.join(known)}")
        return dataclasses.replace(self, **changes) if changes else self


def flag_specs(kind: type[Options]) -> list[tuple[str, FlagSpec]]:
    """(flag, what it says) for every flag that a class of options has, in order."""
    return [(flag, spec) for flag, spec, _ in _places(kind)]


def flag_names(kind: type[Options]) -> dict[str, str]:
    """The flag of each field that is one, fields of groups not among them."""
    return {field: flag for flag, _, (field, member) in _places(kind) if not member}


def from_flags(kind: type[T], values: Callable[[str], Any], given: dict[str, Any]) -> T:
    """Options from flags.

    Args:
        kind: the class.
        values: the value of a flag by its name.
        given: values of fields that are not taken from flags.

    Raises:
        UsageError: a value that cannot be parsed or is out of range, or an unknown name in `given`.
    """
    read: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for flag, spec, (field, member) in _places(kind):
        if field in given:
            continue
        value = values(flag)
        value = spec.parse(value, flag=f"--{flag}") if spec.parse else value
        # Checked by the name that the caller knows, and again by the field's when it is made.
        spec.check(f"--{flag}", value)
        if member:
            groups.setdefault(field, {})[member] = value
        else:
            read[field] = value
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(kind)}
    for name, members in groups.items():
        read[name] = defaults[name].replace(**members)
    known = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in known:
            raise UsageError(f"unknown option {name!r}; the options are {', '.join(known)}")
    return kind(**read, **given)


def _places(kind: type[Options]) -> list[tuple[str, FlagSpec, tuple[str, str]]]:
    """(flag, what it says, (field, field within it or "")) for every flag of a class."""
    found: list[tuple[str, FlagSpec, tuple[str, str]]] = []
    field: Any
    for field in dataclasses.fields(kind):
        if spec := field.metadata.get("spec"):
            if spec.name:
                found.append((_flag(spec, field.name), spec, (field.name, "")))
        elif members := field.metadata.get("group"):
            inner = {f.name: f.metadata["spec"] for f in dataclasses.fields(field.default)}
            for member in members:
                default = getattr(field.default, member)
                spec = dataclasses.replace(inner[member], default=default, text=_text_of(default))
                found.append((_flag(spec, member), spec, (field.name, member)))
    return found


def _flag(spec: FlagSpec, field: str) -> str:
    return field if spec.name == "field" else spec.name


def _text_of(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
