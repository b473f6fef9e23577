"""Manifests: what a run is to do, read once and never held in memory as a whole.

A manifest is a file of JSON objects, one a line (.jsonl), or a table with a header row (.csv). Each
entry names one source and what to do with it:

    seed | latent (a file of latents, with `index`) | image
    seeds "0-99" | latents (all rows of a file) | images (a pattern or folder): many items
    trunc, class               of a seed, instead of --trunc and --class
    subspace, strength         of an edit: a file or a list of files; a number, "LOW:HIGH", a list,
                               or one of these for each subspace. In tables, ";" separates the list
    motion | text, degrees     of an extraction, like the flags
    name                       anything; it is copied to the journal

An item's id is a hash of its task and of everything its entry says, including defaults. The id
decides the item's shard and names its files. Equal items are the same item.
"""

from __future__ import annotations

import csv
import dataclasses
import fnmatch
import functools
import glob
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mm_jax import io, parsers
from mm_jax.anchors.prompts import MOTIONS, check_degrees, fill
from mm_jax.batch.journal import Seen
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.media.image_files import IMAGE_SUFFIXES
from mm_jax.words import counted

__all__ = ["FIELDS", "TASKS", "Item", "ItemList", "item_of", "read_entries", "read_items"]

ID_DIGITS = 24
LATENTS = ("seed", "latent")
# The sources that each task accepts.
TASKS: Mapping[str, tuple[str, ...]] = {
    "sample": LATENTS,
    "invert": ("image",),
    "extract": LATENTS,
    "edit": (*LATENTS, "image"),
}
_SINGULAR = {"seeds": "seed", "latents": "latent", "images": "image"}
_OWN_FIELDS = {"extract": ("motion", "text", "degrees"), "edit": ("subspace", "strength")}
# Earlier names of fields. They are still accepted, and still hashed: ids name files and must not
# change between versions.
_EARLIER = {"picture": "image", "pictures": "images", "code": "index"}
_HASHED_AS = {new: old for old, new in _EARLIER.items()}
_EXAMPLES = {"subspace": "smile.npz", "strength": "-1,0,1"}
# Bytes of items held in memory before they go to a temporary file.
_IN_MEMORY = 1 << 24

Entry = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing to do.

    Attributes:
        id: 24 hexadecimal digits.
        entry: what the manifest says about it, including defaults, as plain JSON values.
    """

    id: str
    entry: Entry

    def file(self, suffix: str) -> str:
        """The name of one of its files. Folders of two digits keep listings short."""
        return f"{self.id[:2]}/{self.id}{suffix}"


class ItemList:
    """The distinct items of a run, read once and kept in a temporary file; any number can follow.

    Attributes:
        images: whether any item has an image as its source.

    Args:
        items: the items, of which later duplicates are dropped.

    Raises:
        DataError: the temporary file cannot be written, or as `read_items`.
    """

    def __init__(self, items: Iterable[Item]):
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115, see `__exit__`
        self._count = 0
        self.images: bool = False
        seen = Seen()
        try:
            for item in items:
                if seen.add(item.id):
                    self._file.write(json.dumps([item.id, item.entry]).encode() + b"\n")
                    self._count += 1
                    self.images = self.images or "image" in item.entry
        except OSError as error:
            self._file.close()
            raise DataError(f"cannot write a temporary file: {error.strerror}") from error
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in order; one iteration at a time."""
        self._file.seek(0)
        for line in self._file:
            yield Item(*json.loads(line))

    def __enter__(self) -> ItemList:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name} must be a text, got {value!r}")
    return value


def _whole(value: Any, name: str) -> int:
    number = int(value) if isinstance(value, str) and value.strip().isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**32:
        raise UsageError(f"{name} must be a whole number from 0 to {2**32 - 1}, got {value!r}")
    return number


def _number(value: Any, name: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{name} must be a number, got {value!r}")
    return number


def _trunc(value: Any, name: str) -> float:
    number = _number(value, name)
    if not -2 <= number <= 2:
        raise UsageError(f"{name} must be a number from -2 to 2, got {value!r}")
    return number


def _texts(value: Any, name: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UsageError(f"{name} must not be an empty list")
    return [_text(one, name) for one in values]


def _motion(value: Any, name: str) -> str:
    if value not in MOTIONS:
        raise UsageError(f"{name} must be one of {', '.join(MOTIONS)}, got {value!r}")
    return value


def _template(value: Any, name: str) -> str:
    fill(_text(value, name), "no")
    return value


def _degrees(value: Any, name: str) -> list[str]:
    if isinstance(value, str):
        return list(parsers.parse_degrees(value, flag=name))
    return list(check_degrees(_texts(value, name)))


def _as_given(value: Any, name: str) -> Any:
    del name
    return value  # checked in `_strengths`, which knows the number of subspaces


FIELDS: Mapping[str, Callable[[Any, str], Any]] = {
    "seed": _whole,
    "latent": _text,
    "image": _text,
    "seeds": _text,
    "latents": _text,
    "images": _text,
    "index": _whole,
    "trunc": _trunc,
    "class": _whole,
    "subspace": _texts,
    "strength": _as_given,
    "motion": _motion,
    "text": _template,
    "degrees": _degrees,
    "name": _text,
}


def read_entries(path: str) -> Iterator[tuple[str, Entry]]:
    """Yield (where, entry) for each entry of a manifest file; `where` is for error messages.

    Raises:
        DataError: the file or one of its lines cannot be read.
        UsageError: the file name ends in neither .jsonl nor .csv.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".jsonl", ".csv"):
        raise UsageError(f"{path}: a manifest must be a .jsonl or a .csv file")
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
            raise DataError(f"{where} is not JSON: {first_line(error)}") from error
        if not isinstance(entry, dict):
            raise DataError(f'{where} must be an object, such as {{"seed": 1}}')
        yield where, entry


def _rows(path: str, file: Iterable[str]) -> Iterator[tuple[str, Entry]]:
    rows = csv.DictReader(file)
    try:
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{where} must have as many cells as the header row")
            entry: dict[str, Any] = {key: cell for key, cell in row.items() if cell.strip()}
            for name in ("subspace", "strength"):
                if ";" in entry.get(name, ""):
                    entry[name] = [part.strip() for part in entry[name].split(";")]
            yield where, entry
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num} is not a CSV row: {error}") from error


def read_items(
    entries: Iterable[tuple[str, Entry]],
    task: str,
    defaults: Mapping[str, Any],
    *,
    frames: int = 7,
) -> Iterator[Item]:
    """Yield the items of entries in order.

    Args:
        entries: as from `read_entries`.
        task: one of `TASKS`.
        defaults: values for fields that an entry leaves out and that its task uses.
        frames: number of strengths that "LOW:HIGH" stands for.

    Raises:
        DataError: an entry is invalid; the message begins with its `where`.
    """
    for where, entry in entries:
        try:
            for one in _expanded(entry, task):
                yield item_of(task, one, defaults, frames=frames)
        except (UsageError, DataError) as error:
            raise DataError(f"{where}: {error}") from error


def _expanded(entry: Entry, task: str) -> Iterator[Entry]:
    """Yield the entry, or those with one source each that it stands for."""
    for earlier, name in _EARLIER.items():
        if earlier in entry:
            if name in entry:
                raise UsageError(f"{earlier} and {name} are the same field")
            entry = {_EARLIER.get(key, key): value for key, value in entry.items()}
    unknown = [name for name in entry if name not in FIELDS]
    if unknown:
        raise UsageError(f"unknown field {unknown[0]!r}; known fields are {', '.join(FIELDS)}")
    accepted = [*TASKS[task], *(many for many, one in _SINGULAR.items() if one in TASKS[task])]
    given = [name for name in (*_SINGULAR, *_SINGULAR.values()) if name in entry]
    if len(given) != 1 or given[0] not in accepted:
        got = " and ".join(given) or "none"
        raise UsageError(f"{task} needs exactly one of {', '.join(accepted)}, got {got}")
    source = given[0]
    if source not in _SINGULAR:
        yield entry
        return
    text = _text(entry[source], source)
    rest = {name: value for name, value in entry.items() if name != source}
    if source == "seeds":
        for some in parsers.seed_ranges(text, flag="seeds"):
            for seed in some:
                yield {**rest, "seed": seed}
    elif source == "latents":
        for index in range(_latent_count(text)):
            yield {**rest, "latent": text, "index": index}
    else:
        for path in _image_paths(text):
            yield {**rest, "image": path}


def _latent_count(path: str) -> int:
    held = io.load_npz(path, required={}, what="latents", called="latents.npz")
    ws = held.get("ws", held.get("w"))  # [N, L, D] or [L, D]
    if ws is None:
        raise io.lacking(path, "ws", held, "latents")
    return len(ws) if ws.ndim == 3 else 1


def _image_paths(text: str) -> Iterator[str]:
    """Paths of a folder's images, of the files that a pattern matches, or of one file.

    Paths are yielded as the file system lists them, neither sorted nor collected: there may be
    millions.
    """
    folder, pattern = os.path.split(text)
    if os.path.isdir(text):
        found = _listed(text, lambda name: name.lower().endswith(IMAGE_SUFFIXES))
    elif not glob.has_magic(text):
        found = iter([text])
    elif not glob.has_magic(folder) and "**" not in pattern:
        found = _listed(folder, functools.partial(fnmatch.fnmatchcase, pat=pattern))
    else:
        found = (path for path in glob.iglob(text, recursive=True) if os.path.isfile(path))
    first = next(found, None)
    if first is None:
        raise DataError(f"no image matches {text}")
    yield first
    yield from found


def _listed(folder: str, accept: Callable[[str], bool]) -> Iterator[str]:
    try:
        with os.scandir(folder or ".") as entries:
            for entry in entries:
                if not entry.name.startswith(".") and accept(entry.name) and entry.is_file():
                    yield os.path.join(folder, entry.name)
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error


def item_of(task: str, entry: Entry, defaults: Mapping[str, Any], *, frames: int = 7) -> Item:
    """The item of an entry with a single source.

    Args:
        task: one of `TASKS`.
        entry: its fields, by their present names.
        defaults: as for `read_items`.
        frames: as for `read_items`.

    Raises:
        UsageError: a field is missing, invalid or unused by this task.
    """
    source = next(name for name in TASKS[task] if name in entry)
    used = [source, *(["index"] if source == "latent" else []), *_OWN_FIELDS.get(task, ()), "name"]
    if source == "seed":
        used += ["trunc", "class"]
    for name in entry:
        if name not in used:
            raise UsageError(f"{task} of a {source} does not use {name!r}")
    filled = {name: defaults[name] for name in used if name in defaults}
    if "motion" in entry or "text" in entry:
        # An entry's own prompt replaces a default one, of whichever form.
        filled = {name: value for name, value in filled.items() if name not in ("motion", "text")}
    plain = {name: FIELDS[name](value, name) for name, value in {**filled, **entry}.items()}
    if task == "extract" and ("motion" in plain) == ("text" in plain):
        raise UsageError(
            "an extraction needs either a motion or a text: --motion=smile, --text=PROMPT, or one "
            "of these fields in each entry"
        )
    if task == "edit":
        for name in ("subspace", "strength"):
            if name not in plain:
                raise UsageError(
                    f"an edit needs a {name}: --{name}={_EXAMPLES[name]}, or the field {name} in "
                    "each entry"
                )
        plain["strength"] = _strengths(plain["strength"], len(plain["subspace"]), frames)
    hashed = {"kind": task, **{_HASHED_AS.get(name, name): plain[name] for name in plain}}
    canonical = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
    return Item(hashlib.sha256(canonical.encode()).hexdigest()[:ID_DIGITS], plain)


def _strengths(value: Any, count: int, frames: int) -> list[list[float]]:
    """[E, S]: for each of E = `count` subspaces, its S strengths."""
    nested = isinstance(value, list) and any(isinstance(one, list | str) for one in value)
    rows = [_strength_row(one, frames) for one in (value if nested else [value])]
    if len(rows) not in (1, count) or len({len(row) for row in rows}) != 1:
        raise UsageError(
            f"strength must be one for all, or one for each of {counted(count, 'subspace')} and of "
            f"the same length, got {value!r}"
        )
    return rows * (count // len(rows))


def _strength_row(value: Any, frames: int) -> list[float]:
    if isinstance(value, str):
        return list(parsers.parse_strengths(value, frames=frames, flag="strength"))
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= parsers.MAX_FRAMES:
        raise UsageError(f"strength must have 1 to {parsers.MAX_FRAMES} values, got {len(values)}")
    return [_number(one, "strength") for one in values]
