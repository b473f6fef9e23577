"""What the binaries' flags may say, as small parsers: seeds, layers, strengths, degrees, grids.

Each takes the text of a flag and returns plain Python values; anything else raises a `UsageError`
of one line that quotes the text and shows what is wanted. Nothing here imports JAX.
"""

from __future__ import annotations

import math
import re

from mm_jax.errors import UsageError

__all__ = [
    "parse_degrees",
    "parse_grid",
    "parse_layers",
    "parse_seeds",
    "parse_strengths",
    "seed_ranges",
]

MAX_SEED = 2**32 - 1
MAX_SEEDS = 1_000_000
MAX_FRAMES = 10_000

_RANGE = re.compile(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*")


def _ranges(flag: str, text: str, *, max_value: int) -> list[range]:
    """Ranges of whole numbers from `"0-7,12"`, in the order given."""
    found = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise UsageError(f"{flag} must be numbers and ranges, e.g. 0-7,12, got {part!r}")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise UsageError(f"{flag}={text!r}: the range {part.strip()} runs backwards")
        if last > max_value:
            raise UsageError(f"{flag} must be at most {max_value}, got {last} in {text!r}")
        found.append(range(first, last + 1))
    return found


def _parse_ranges(flag: str, text: str, *, max_value: int, max_count: int) -> tuple[int, ...]:
    """Whole numbers from `"0-7,12"`, in the order given."""
    found = _ranges(flag, text, max_value=max_value)
    if sum(map(len, found)) > max_count:
        raise UsageError(f"{flag} must be at most {max_count} values, got more in {text!r}")
    values = [value for some in found for value in some]
    if len(set(values)) != len(values):
        double = next(v for i, v in enumerate(values) if v in values[:i])
        raise UsageError(f"{flag}={text!r}: {double} is given twice")
    return tuple(values)


def parse_seeds(text: str, *, flag: str = "--seeds") -> tuple[int, ...]:
    """Seeds from a list of numbers and ranges: `"0-3,12"` is (0, 1, 2, 3, 12).

    Raises:
        UsageError: not such a list, a seed above 2**32 - 1, or one that is given twice.
    """
    return _parse_ranges(flag, text, max_value=MAX_SEED, max_count=MAX_SEEDS)


def seed_ranges(text: str, *, flag: str = "--seeds") -> list[range]:
    """As `parse_seeds`, for any number of seeds, as ranges; doubles are not looked for.

    Raises:
        UsageError: not such a list, or a seed above 2**32 - 1.
    """
    return _ranges(flag, text, max_value=MAX_SEED)


def parse_layers(text: str, *, flag: str = "--layers") -> tuple[int, ...] | None:
    """Rows of W+ from a list of numbers and ranges; `""` and `"all"` are None, that is, every row.

    Raises:
        UsageError: not such a list. Whether a generator has these rows is not known here.
    """
    if text.strip() in ("", "all"):
        return None
    return _parse_ranges(flag, text, max_value=63, max_count=64)


def _parse_float(flag: str, text: str, part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        raise UsageError(
            f"{flag} must be LOW:HIGH or a list of numbers, e.g. -1,0,1, got {text!r}"
        ) from None
    if not math.isfinite(value):
        raise UsageError(f"{flag}={text!r}: {part.strip()} is not finite")
    return value


def parse_strengths(text: str, *, frames: int, flag: str = "--strength") -> tuple[float, ...]:
    """Strengths of an edit: `"-1:1"` is `frames` even steps from -1 to 1, `"-1,0,2"` is itself.

    Raises:
        UsageError: not a range or list of finite numbers, or a range with fewer than two frames.
    """
    if ":" not in text:
        values = tuple(_parse_float(flag, text, part) for part in text.split(","))
        if len(values) > MAX_FRAMES:
            raise UsageError(f"{flag} must be at most {MAX_FRAMES} strengths, got {len(values)}")
        return values
    ends = text.split(":")
    if len(ends) != 2:
        raise UsageError(f"{flag} must be LOW:HIGH, got {text!r}")
    low, high = (_parse_float(flag, text, part) for part in ends)
    if not 2 <= frames <= MAX_FRAMES:
        raise UsageError(f"--frames must be from 2 to {MAX_FRAMES}, got {frames}")
    step = (high - low) / (frames - 1)
    return (*(low + step * i for i in range(frames - 1)), high)


def parse_degrees(text: str, *, flag: str = "--degrees") -> tuple[str, ...]:
    """Degrees of a prompt, in growing order, from a comma list: `"no,50%,100%"`.

    Raises:
        UsageError: fewer than two degrees, or an empty one.
    """
    degrees = tuple(part.strip() for part in text.split(","))
    if len(degrees) < 2 or not all(degrees):
        raise UsageError(f"{flag} must be at least two degrees, e.g. no,50%,100%, got {text!r}")
    return degrees


def parse_grid(text: str, *, count: int, flag: str = "--grid") -> tuple[int, int]:
    """Columns and rows of a sheet of images: `"4x2"`; `""` is a square for up to 64 of `count`.

    Raises:
        UsageError: not COLUMNSxROWS.
    """
    if not text.strip():
        shown = max(1, min(count, 64))
        columns = math.ceil(math.sqrt(shown))
        return columns, math.ceil(shown / columns)
    match = re.fullmatch(r"\s*([1-9]\d{0,3})x([1-9]\d{0,3})\s*", text)
    if match is None:
        raise UsageError(f"{flag} must be COLUMNSxROWS, e.g. 4x2, got {text!r}")
    return int(match[1]), int(match[2])
