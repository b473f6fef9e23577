"""A direction refined by what CLIP sees of many sampled faces.

The mean gradient of CLIP's reading (`mm_jax.anchors.gradient`) says what raises the reading at a
face. N sampled faces, with latents w_n and CLIP's vectors v_n, say two things more. In coordinates
z of W in which its covariance is the identity:

1. What goes along with the reading among them, b = mean_n z_n (r_n - r). Gradients follow blind
   spots of CLIP that are common to all faces; this covariance does not. It holds instead what goes
   along with the motion by chance, or in the world. So the two are added, at equal length:
   z0 = g / |g| + b / |b|.
2. How the vector changes with z: the slopes J of v on z, by least squares. The prompts speak of
   some of that: of the changes in the span of the prompts' own vectors, from degree to degree. With
   Q what projects the rest out, the refined direction is the one nearest to z0 that changes less
   of which the prompts do not speak:

       z = argmin |z - z0|^2 + m |Q J z|^2,    1 / m = 5 |Q J|^2 / K,

   |Q J|^2 / K being the mean over the K coordinates, so that no more than half of the usual
   coordinate is given up.

Shapes: N faces, K coordinates that W varies in, M prompts, D latent width, E CLIP's width.
"""

from __future__ import annotations

import numpy as np

from mm_jax.errors import DataError

__all__ = ["live_axes", "refined"]

# The part of W's variance that the coordinates hold.
_LIVE = 0.995
# Principal components of the prompts' vectors that are what the prompts speak of: from none to
# all, how it bends on the way, and what each end has of its own.
_SPOKEN = 3
# 1 / m, in units of a coordinate's mean change of which the prompts do not speak.
_LENIENT = 5.0


def live_axes(covariance: np.ndarray) -> np.ndarray:
    """Axes [D, K] of W, each one standard deviation long, that hold nearly all of its variance.

    Args:
        covariance: [D, D] of W.
    """
    values, axes = np.linalg.eigh(covariance)
    values, axes = values[::-1], axes[:, ::-1]
    count = 1 + int((np.cumsum(values) < _LIVE * values.sum()).sum())
    return axes[:, :count] * np.sqrt(values[:count])


def refined(
    direction: np.ndarray,
    covariance: np.ndarray,
    *,
    w: np.ndarray,
    readings: np.ndarray,
    vectors: np.ndarray,
    texts: np.ndarray,
) -> np.ndarray:
    """The refined direction [D], of one standard deviation of W.

    Args:
        direction: [D] along the mean gradient.
        covariance: [D, D] of W.
        w: [N, D] latents of the sampled faces.
        readings: [N] degrees that CLIP reads off them.
        vectors: [N, E] unit vectors that it sees them as.
        texts: [M, E] unit vectors of the prompts.

    Raises:
        DataError: CLIP reads the same of all faces, or the direction is zero within W.
    """
    axes = live_axes(covariance)
    inverse = axes / np.square(axes).sum(axis=0)  # [D, K], from W to coordinates
    z, read, seen = (_centred(x) for x in (w @ inverse, readings, vectors))
    start = _unit(direction @ inverse) + _unit(z.T @ read)  # [K]
    slopes = np.linalg.lstsq(z, seen, rcond=None)[0]  # [K, E]
    spoken = np.linalg.svd(_centred(texts), full_matrices=False)[2][:_SPOKEN]
    unspoken = slopes - (slopes @ spoken.T) @ spoken
    cost = unspoken @ unspoken.T  # [K, K]
    # Not of rounding alone, where the prompts speak of everything.
    usual = max(float(np.trace(cost)), 1e-9 * float(np.square(slopes).sum()), 1e-300) / len(cost)
    return axes @ _unit(np.linalg.solve(np.eye(len(cost)) + cost / (_LENIENT * usual), start))


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=0, dtype=np.float64, keepdims=True)


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    if not length > 0:
        raise DataError("CLIP reads the same of all sampled faces: the prompt says nothing to it")
    return vector / length
