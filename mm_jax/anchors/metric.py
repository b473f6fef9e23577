"""The metric of W, in which a gradient becomes a direction.

With S the covariance of W,

    P = S (S + l I)^-1

is close to 1 along what W holds and to 0 along what it does not, in which an optimisation of
latents loses itself. l is a twentieth of S's typical eigenvalue, tr S^2 / tr S. The direction of a
gradient g is P g.

With S in place of P it would be the regression of sampled latents on what g is the mean gradient
of: if W is normal, S E[dr/dw] is the covariance of w and r (Stein 1981, "Estimation of the mean of
a multivariate normal distribution"). It would also hold what goes along with the motion among the
sampled faces, as those that smile are rarely angry. P leaves that out.

Shapes: K coordinates that W varies in, D latent width.
"""

from __future__ import annotations

import numpy as np

__all__ = ["direction_along", "live_axes", "metric_of_w"]

# What W holds less of than this fraction of a typical component is left out.
_RIDGE = 0.05
# The part of W's variance that its live axes hold.
_LIVE = 0.995


def metric_of_w(covariance: np.ndarray) -> np.ndarray:
    """The metric P [D, D] of W, of its covariance S [D, D]."""
    return covariance @ np.linalg.inv(_raised(covariance))


def direction_along(field: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The direction [D] of W along a mean gradient [D], of one standard deviation.

    Args:
        field: as `mean_field` gives it, summed over the rows.
        covariance: [D, D] of W.
    """
    pulled = np.linalg.solve(_raised(covariance), field)
    direction = covariance @ pulled
    # Its Mahalanobis length: direction' S^-1 direction.
    return direction / max(float(np.sqrt(max(pulled @ direction, 0.0))), 1e-30)


def _raised(covariance: np.ndarray) -> np.ndarray:
    """S + l I, with l a fraction of the eigenvalue that is typical of S."""
    typical = np.square(covariance).sum() / max(float(np.trace(covariance)), 1e-300)
    return covariance + _RIDGE * max(float(typical), 1e-300) * np.eye(len(covariance))


def live_axes(covariance: np.ndarray) -> np.ndarray:
    """Axes [D, K] of W, each one standard deviation long, that hold nearly all of its variance.

    Args:
        covariance: [D, D] of W.
    """
    values, axes = np.linalg.eigh(covariance)
    values, axes = values[::-1], axes[:, ::-1]
    count = 1 + int((np.cumsum(values) < _LIVE * values.sum()).sum())
    return axes[:, :count] * np.sqrt(values[:count])
