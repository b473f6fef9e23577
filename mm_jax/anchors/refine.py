"""A direction refined by what CLIP sees of many sampled faces.

The mean gradient of CLIP's reading (`mm_jax.anchors.gradient`) says what raises the reading at a
face. N sampled faces, with latents w_n and CLIP's vectors v_n, say two things more:

1. How much more like the last prompt than like the first a face is, s_n, also has a gradient: that
   of the plane through the s_n by least squares. Differentiation follows blind spots of CLIP that
   all faces share, and this does not; it is blind to what bends, such as a head that turns either
   way. So their directions, in the metric of W (`mm_jax.anchors.metric`), are added at equal
   length. (s_n is not the degree that CLIP reads, which says nothing of faces beyond both ends: of
   those that look to the left, not how far they are turned to the right.)
2. How vectors change with w, by least squares too: J. The prompts speak of some of that, of the
   changes in the span of their own vectors from degree to degree. With Q what projects the rest
   out, and z the coordinates of W in which its covariance is the identity, the refined direction is
   the one nearest to the sum z0 that changes less of which the prompts do not speak:

       z = argmin |z - z0|^2 + m |Q J z|^2,    1 / m = 2.5 |Q J|^2 / K,

   |Q J|^2 / K being the mean over the K coordinates, so that of a usual coordinate two sevenths are
   given up.

Shapes: N faces, K coordinates that W varies in, M prompts, D latent width, E CLIP's width.
"""

from __future__ import annotations

import numpy as np

from mm_jax.anchors.metric import direction_along, live_axes
from mm_jax.errors import DataError

__all__ = ["refined"]

# Principal components of the prompts' vectors that are what the prompts speak of: from none to
# all, how it bends on the way, and what each end has of its own.
_SPOKEN = 3
# 1 / m, in units of a coordinate's mean change of which the prompts do not speak.
_LENIENT = 2.5


def refined(
    gradient: np.ndarray,
    covariance: np.ndarray,
    *,
    w: np.ndarray,
    vectors: np.ndarray,
    texts: np.ndarray,
) -> np.ndarray:
    """The refined direction [D], of one standard deviation of W.

    Args:
        gradient: [D], the mean one of CLIP's reading; its length does not count.
        covariance: [D, D] of W.
        w: [N, D] latents of the sampled faces.
        vectors: [N, E] unit vectors that CLIP sees them as.
        texts: [M, E] unit vectors of the prompts, by growing degree.

    Raises:
        DataError: all faces are as much like the first prompt as like the last, or the gradient is
            zero within W.
    """
    axes = live_axes(covariance)
    inverse = axes / np.square(axes).sum(axis=0)  # [D, K], from W to coordinates
    z, seen = _centred(w @ inverse), _centred(vectors)
    slopes = np.linalg.lstsq(z, seen, rcond=None)[0]  # [K, E]
    plane = inverse @ (slopes @ (texts[-1] - texts[0]))  # [D]
    start = sum(_unit(direction_along(one, covariance) @ inverse) for one in (gradient, plane))
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
        raise DataError("CLIP sees no difference between the prompts in any sampled face")
    return vector / length
