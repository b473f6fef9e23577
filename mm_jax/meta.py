"""Metadata that travels with an array: read-only, json-like, hashable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mm_jax.errors import DataError

__all__ = ["Meta"]


class Meta(Mapping[str, Any]):
    """Read-only json-like metadata about an artifact.

    Hashable by content, so that an artifact that carries it can enter `jax.jit`, where it is
    static: a jitted function is traced anew for other metadata.

    Raises:
        DataError: the metadata is not a mapping from text to json values.
    """

    __slots__ = ("_text", "_values")

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        values = {} if values is None else values
        if not isinstance(values, Mapping):
            raise DataError(f"meta must be a mapping, got {type(values).__name__}")
        try:
            self._text = json.dumps(
                dict(values), sort_keys=True, allow_nan=False, default=_plain_value
            )
        except (TypeError, ValueError) as error:
            raise DataError(f"meta must hold plain json values: {error}") from error
        self._values = json.loads(self._text)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Meta):
            return self._text == other._text
        return self._values == other

    def __repr__(self) -> str:
        return f"Meta({self._values!r})"


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a json value")
