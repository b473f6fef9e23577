"""Which frames of a video are sound: blur, and values that stand out.

Shapes: T frames, H W size.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.errors import UsageError

__all__ = ["blurred", "grey", "sharpness", "stands_out"]

# Shares of red, green and blue in brightness (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def grey(frames: Any) -> jax.Array:
    """Brightness [T, H, W] in [0, 1] of frames [T, H, W, 3], uint8 or float in [-1, 1].

    Raises:
        UsageError: frames of another shape.
    """
    if jnp.ndim(frames) != 4 or jnp.shape(frames)[-1] != 3:
        raise UsageError(f"frames must be [T, H, W, 3], got {list(jnp.shape(frames))}")
    colours = jnp.asarray(frames)
    whole = colours.dtype == jnp.uint8
    colours = colours.astype(jnp.float32)
    colours = colours / 255.0 if whole else 0.5 * (colours + 1.0)
    return sum(weight * colours[..., i] for i, weight in enumerate(_LUMA))  # type: ignore[return-value]


@jax.jit
def sharpness(frames: Any) -> jax.Array:
    """How much fine detail each frame has: the variance of its Laplacian, [T] float32.

    The measure of Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (ICPR 2000).
    It says something only beside that of other frames of the same scene.

    Args:
        frames: [T, H, W, 3], uint8 or float in [-1, 1], at least 3 pixels a side.

    Raises:
        UsageError: frames of another shape.
    """
    light = grey(frames)
    if min(light.shape[1:]) < 3:
        raise UsageError(f"frames must be at least 3 pixels a side, got {list(light.shape[1:])}")
    middle = light[:, 1:-1, 1:-1]
    around = light[:, :-2, 1:-1] + light[:, 2:, 1:-1] + light[:, 1:-1, :-2] + light[:, 1:-1, 2:]
    return (around - 4.0 * middle).var(axis=(1, 2))


def blurred(values: Any, *, min_ratio: float = 0.25) -> np.ndarray:
    """[T] bool: frames whose sharpness [T] is below `min_ratio` times the video's median."""
    values = np.asarray(values, np.float64)
    return values < min_ratio * np.median(values)


def stands_out(values: Any, *, threshold: float = 3.5, min_ratio: float = 1.5) -> np.ndarray:
    """[T] bool: positive values that are far above the others, such as losses of bad frames.

    By the modified z score of the logarithms, (x - median) / (1.4826 * median absolute deviation),
    after Iglewicz and Hoaglin, "How to detect and handle outliers" (1993), who take 3.5. Up to half
    of the values may be bad. Values that agree closely would make a small difference stand out, so
    a value must be above `min_ratio` times the median, too.
    """
    logs = np.log(np.maximum(np.asarray(values, np.float64), 1e-12))
    above = logs - np.median(logs)
    spread = 1.4826 * np.median(np.abs(above))
    return above > max(threshold * spread, np.log(min_ratio))
