"""Manifests: what is to be done, read item by item, never as a whole.

A manifest is a file of json objects, one a line (.jsonl), or a table with a head line (.csv). An
entry names one source, and what is to be done with it:

    seed | latent (a file of codes, with `code` its number in it) | picture
    seeds "0-99" | latents (all codes of a file) | pictures (a pattern or folder): many items
    trunc                      of a seed, in place of --trunc
    subspace, strength         of an edit: a file or a list of them; a number, "LOW:HIGH", a list,
                               or one of these for each subspace. In tables, ";" parts a list
    motion | text, degrees     of an extraction, as the flags
    name                       anything; it is kept in the journal

Every item has an id, a hash of its kind and of everything that its entry says, after defaults; it
decides the shard and is the name of the item's files. Equal items are one.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mm_jax import parsers as flag_types
from mm_jax.anchors.prompts import MOTIONS, check_degrees, fill
from mm_jax.batch.sources import each_code, each_picture
from mm_jax.errors import DataError, UsageError, first_line

__all__ = ["FIELDS", "KINDS", "Item", "item_of", "read_entries", "read_items"]

ID_DIGITS = 24
CODES = ("seed", "latent")
# The sources that each kind takes.
KINDS: Mapping[str, tuple[str, ...]] = {
    "sample": CODES,
    "invert": ("picture",),
    "extract": CODES,
    "edit": (*CODES, "picture"),
}
_MANY = {"seeds": "seed", "latents": "latent", "pictures": "picture"}
_OWN = {"extract": ("motion", "text", "degrees"), "edit": ("subspace", "strength")}

Entry = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing to do.

    Attributes:
        id: 24 hexadecimal digits.
        entry: what the manifest says of it, with defaults, as plain json values.
    """

    id: str
    entry: Entry

    def file(self, suffix: str) -> str:
        """The name of one of its files; folders of two digits keep listings short."""
        return f"{self.id[:2]}/{self.id}{suffix}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{value!r}, want a text")
    return value


def _whole(value: Any) -> int:
    number = int(value) if isinstance(value, str) and value.strip().isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**32:
        raise UsageError(f"{value!r}, want a whole number from 0 to {2**32 - 1}")
    return number


def _number(value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{value!r}, want a number")
    return number


def _trunc(value: Any) -> float:
    number = _number(value)
    if not -2 <= number <= 2:
        raise UsageError(f"{value!r}, want a number from -2 to 2")
    return number


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UsageError("an empty list")
    return [_text(one) for one in values]


def _motion(value: Any) -> str:
    if value not in MOTIONS:
        raise UsageError(f"{value!r}, known are {', '.join(MOTIONS)}")
    return value


def _template(value: Any) -> str:
    fill(value, "no")
    return value


def _degrees(value: Any) -> list[str]:
    if isinstance(value, str):
        return list(flag_types.parse_degrees(value, flag="degrees"))
    return list(check_degrees(value))


def _as_given(value: Any) -> Any:
    return value  # read where the number of subspaces is known


FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "seed": _whole,
    "latent": _text,
    "picture": _text,
    "seeds": _text,
    "latents": _text,
    "pictures": _text,
    "code": _whole,
    "trunc": _trunc,
    "subspace": _texts,
    "strength": _as_given,
    "motion": _motion,
    "text": _template,
    "degrees": _degrees,
    "name": _text,
}


def read_entries(path: str) -> Iterator[tuple[str, Entry]]:
    """Yield (where, entry) of a manifest's file; `where` is for messages.

    Raises:
        DataError: the file cannot be read, or a line of it.
        UsageError: it is called neither .jsonl nor .csv.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".jsonl", ".csv"):
        raise UsageError(f"{path}: a manifest is a .jsonl or a .csv file")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from _lines(path, file) if suffix == ".jsonl" else _rows(path, file)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error.reason}") from error


def _lines(path: str, file: Iterable[str]) -> Iterator[tuple[str, Entry]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not json: {first_line(error)}") from error
        if not isinstance(entry, dict):
            raise DataError(f'{where}: want an object, such as {{"seed": 1}}')
        yield where, entry


def _rows(path: str, file: Iterable[str]) -> Iterator[tuple[str, Entry]]:
    rows = csv.DictReader(file)
    try:
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{where} has not as many cells as the head of the table")
            entry: dict[str, Any] = {key: cell for key, cell in row.items() if cell.strip()}
            for name in ("subspace", "strength"):
                if ";" in entry.get(name, ""):
                    entry[name] = [part.strip() for part in entry[name].split(";")]
            yield where, entry
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num} is no row of a table: {error}") from error


def read_items(
    entries: Iterable[tuple[str, Entry]],
    kind: str,
    defaults: Mapping[str, Any],
    *,
    frames: int = 7,
) -> Iterator[Item]:
    """The items of entries, in order.

    Args:
        entries: as of `read_entries`.
        kind: one of `KINDS`.
        defaults: fields of entries that do not have them, where they make sense.
        frames: of a strength "LOW:HIGH".

    Raises:
        DataError: an entry that does not make sense, with where it is.
    """
    for where, entry in entries:
        try:
            for one in _each(entry, kind):
                yield item_of(kind, one, defaults, frames=frames)
        except (UsageError, DataError) as error:
            raise DataError(f"{where}: {error}") from error


def _each(entry: Entry, kind: str) -> Iterator[Entry]:
    """An entry, or what one that names many sources stands for."""
    unknown = [name for name in entry if name not in FIELDS]
    if unknown:
        raise UsageError(f"unknown field {unknown[0]!r}, known are {', '.join(FIELDS)}")
    wanted = [*KINDS[kind], *(many for many, one in _MANY.items() if one in KINDS[kind])]
    given = [name for name in (*_MANY, *_MANY.values()) if name in entry]
    if len(given) != 1 or given[0] not in wanted:
        raise UsageError(f"{kind} wants one of {', '.join(wanted)}, got {' and '.join(given) or 0}")
    source = given[0]
    if source not in _MANY:
        yield entry
        return
    text = _text(entry[source])
    rest = {name: value for name, value in entry.items() if name != source}
    if source == "seeds":
        for some in flag_types.seed_ranges(text, flag="seeds"):
            for seed in some:
                yield {**rest, "seed": seed}
    elif source == "latents":
        for code in each_code(text):
            yield {**rest, "latent": text, "code": code}
    else:
        for path in each_picture(text):
            yield {**rest, "picture": path}


def item_of(kind: str, entry: Entry, defaults: Mapping[str, Any], *, frames: int = 7) -> Item:
    """The item of an entry with one source.

    Raises:
        UsageError: a field that is unknown to this kind, missing, or of another type.
    """
    source = next(name for name in KINDS[kind] if name in entry)
    fields = [source, *(["code"] if source == "latent" else []), *_OWN.get(kind, ()), "name"]
    if source == "seed":
        fields.append("trunc")
    for name in entry:
        if name not in fields:
            raise UsageError(f"{name!r} is of no use for {kind} of a {source}")
    filled = {name: defaults[name] for name in fields if name in defaults}
    if "motion" in entry or "text" in entry:
        filled = {name: value for name, value in filled.items() if name not in ("motion", "text")}
    plain: dict[str, Any] = {}
    for name, value in {**filled, **entry}.items():
        try:
            plain[name] = FIELDS[name](value)
        except (UsageError, DataError) as error:
            raise UsageError(f"{name} is {error}") from error
    if kind == "extract" and ("motion" in plain) == ("text" in plain):
        raise UsageError("an extraction wants a motion or a text, one of them")
    if kind == "edit":
        for name in ("subspace", "strength"):
            if name not in plain:
                raise UsageError(f"an edit wants a {name}")
        plain["strength"] = _strengths(plain["strength"], len(plain["subspace"]), frames)
    canonical = json.dumps({"kind": kind, **plain}, sort_keys=True, separators=(",", ":"))
    return Item(hashlib.sha256(canonical.encode()).hexdigest()[:ID_DIGITS], plain)


def _strengths(value: Any, count: int, frames: int) -> list[list[float]]:
    """[E][S]: of every subspace its strengths."""
    each = isinstance(value, list) and any(isinstance(one, list | str) for one in value)
    rows = [_row(one, frames) for one in (value if each else [value])]
    if len(rows) not in (1, count) or len({len(row) for row in rows}) != 1:
        raise UsageError(
            f"strength is {value!r}: want one for all, or one for each of {count} subspace(s), of "
            "the same length"
        )
    return rows * (count // len(rows))


def _row(value: Any, frames: int) -> list[float]:
    if isinstance(value, str):
        return list(flag_types.parse_strengths(value, frames=frames, flag="strength"))
    values = value if isinstance(value, list) else [value]
    if not values or len(values) > flag_types.MAX_FRAMES:
        raise UsageError(f"strength has {len(values)} values, want 1 to {flag_types.MAX_FRAMES}")
    try:
        return [_number(one) for one in values]
    except UsageError as error:
        raise UsageError(f"strength is {error}") from error
