"""Tables put together layer by layer, with the shapes of what they become."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from weights_convert.table import Arrangement, Row, check_foreign, from_foreign

__all__ = ["TableBuilder"]

_NORM = {"weight": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


@dataclasses.dataclass
class TableBuilder:
    """A table in the making: rows, the shapes of what they become, and keys that do not matter."""

    rows: list[Row] = dataclasses.field(default_factory=list)
    shapes: dict[str, Any] = dataclasses.field(default_factory=dict)
    ignored: list[str] = dataclasses.field(default_factory=list)

    def add(
        self,
        path: str,
        key: str,
        shape: tuple[int, ...],
        arrangement: Arrangement = "same",
        *,
        leading: int = 0,
        trailing: int = 0,
    ) -> None:
        """One parameter of shape `shape` here; the rest is as in `Row`."""
        self.rows.append(Row(path, key, arrangement, leading=leading, trailing=trailing))
        self.shapes[path] = jax.ShapeDtypeStruct(shape, np.float32)

    def add_conv(
        self, path: str, key: str, taps: int, channels: tuple[int, int], *, bias: bool = False
    ) -> None:
        """A convolution, with or without bias."""
        self.add(f"{path}/kernel", f"{key}.weight", (taps, taps, *channels), "conv")
        if bias:
            self.add(f"{path}/bias", f"{key}.bias", channels[1:])

    def add_dense(self, path: str, key: str, widths: tuple[int, int]) -> None:
        """A dense layer."""
        self.add(f"{path}/kernel", f"{key}.weight", widths, "dense")
        self.add(f"{path}/bias", f"{key}.bias", widths[1:])

    def add_norm(self, path: str, key: str, channels: int) -> None:
        """A batch normalisation; how many batches it has seen does not matter."""
        for ours, theirs in _NORM.items():
            self.add(f"{path}/{ours}", f"{key}.{theirs}", (channels,))
        self.ignored.append(f"{key}.num_batches_tracked")

    def check(self, state: Mapping[str, np.ndarray], *, what: str) -> None:
        """Accounts for every key and shape; errors as in `table.check_foreign`."""
        check_foreign(state, self.rows, [], self.shapes, what=what, ignored=self.ignored)

    @property
    def parameters(self) -> int:
        """How many numbers the table's parameters hold."""
        return sum(shape.size for shape in self.shapes.values())

    def read(self, state: Mapping[str, np.ndarray], *, what: str) -> dict[str, Any]:
        """The state's values by our paths; errors as in `table.from_foreign`."""
        return from_foreign(state, self.rows, [], self.shapes, what=what, ignored=self.ignored)
