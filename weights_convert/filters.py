"""The resampling filter that foreign generators store beside their weights."""

from __future__ import annotations

import numpy as np

_TAPS = np.array([1.0, 3.0, 3.0, 1.0])


def fir_kernel(*, total: float) -> np.ndarray:
    """The [4, 4] outer product of [1, 3, 3, 1], scaled to a sum of `total`."""
    kernel = np.outer(_TAPS, _TAPS)
    return kernel * (total / kernel.sum())
