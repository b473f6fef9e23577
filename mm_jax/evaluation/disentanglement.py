"""Disentanglement, completeness and informativeness (DCI) of a space of latents.

Eastwood, Williams 2018, "A Framework for the Quantitative Evaluation of Disentangled
Representations" (ICLR): each factor is predicted from the latents' numbers by a sparse linear
regression (lasso), and how much the prediction of factor f relies on number i is R_if, the size of
its coefficient where latents and factors are of unit variance.

- Disentanglement: whether a number serves one factor. 1 less the entropy of R_i. over the factors,
  with their number as the base of the logarithm; mean over the numbers, by how much they serve.
- Completeness: whether a factor relies on one number. 1 less the entropy of R_.f over the numbers,
  likewise; mean over the factors.
- Informativeness: how well factors are predicted, here R2 of faces that were left out.

Wu, Lischinski, Shechtman 2021, "StyleSpace Analysis" (arXiv:2011.12799) compare Z, W and S by it.

Shapes: n faces, P numbers of a latent, F factors.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["completeness", "dci", "disentanglement", "lasso"]

# Fractions of the largest penalty at which any coefficient is not 0, from sparse to dense.
PENALTIES = (0.3, 0.1, 0.03, 0.01)
_STEPS = 200
# Faces that are left out, to choose the penalty of each factor and to measure on: of five.
_LEFT_OUT = 5


def disentanglement(importance: np.ndarray) -> float:
    """Of importances [P, F], none negative; 0 where nothing matters."""
    total = importance.sum()
    if not total > 0:
        return 0.0
    of_number = importance.sum(axis=1)
    return float((of_number / total * _sharpness(importance)).sum())


def completeness(importance: np.ndarray) -> float:
    """Of importances [P, F], none negative; factors that nothing predicts are left out."""
    present = importance.sum(axis=0) > 0
    return float(_sharpness(importance.T)[present].mean()) if present.any() else 0.0


def _sharpness(rows: np.ndarray) -> np.ndarray:
    """1 less the entropy of each row [R, C], in base C; 0 for a row of zeros."""
    if rows.shape[1] < 2:
        return np.ones(len(rows))
    sums = rows.sum(axis=1, keepdims=True)
    fractions = rows / np.where(sums > 0, sums, 1.0)
    entropy = -(fractions * np.log(np.where(fractions > 0, fractions, 1.0))).sum(axis=1)
    return np.where(sums[:, 0] > 0, 1 - entropy / np.log(rows.shape[1]), 0.0)


def lasso(x: np.ndarray, y: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Coefficients [K, P, F] of min |X B - Y|^2 / 2n + a |B|_1 for each penalty a, largest first.

    By accelerated proximal steps (Beck, Teboulle 2009, FISTA), each penalty from the one before.

    Args:
        x: [n, P], of zero mean.
        y: [n, F], of zero mean.
        penalties: [K, F].
    """
    xs, ys = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)
    # The largest eigenvalue of X'X / n bounds the curvature.
    rng = np.random.default_rng(0)
    v = rng.standard_normal(x.shape[1]).astype(np.float32)
    for _ in range(30):
        v = x.T @ (x @ v) / len(x)
        v /= max(float(np.linalg.norm(v)), 1e-30)
    step = 1.0 / max(1.05 * float(np.linalg.norm(x @ v) ** 2 / len(x)), 1e-12)
    start, found = jnp.zeros((x.shape[1], y.shape[1]), jnp.float32), []
    for row in penalties:
        start = _fista(xs, ys, start, jnp.asarray(row, jnp.float32), jnp.float32(step), _STEPS)
        found.append(np.asarray(start))
    return np.stack(found)


@functools.partial(jax.jit, static_argnames="steps")
def _fista(
    x: jax.Array, y: jax.Array, start: jax.Array, penalty: jax.Array, step: jax.Array, steps: int
) -> jax.Array:
    def one(_: Any, state: tuple[jax.Array, jax.Array, jax.Array]) -> Any:
        here, ahead, t = state
        gradient = x.T @ (x @ ahead - y) / len(x)
        moved = ahead - step * gradient
        bound = step * penalty[None, :]
        new = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - bound, 0.0)
        after = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        return new, new + (t - 1) / after * (new - here), after

    return jax.lax.fori_loop(0, steps, one, (start, start, jnp.float32(1.0)))[0]


def dci(latents: np.ndarray, factors: np.ndarray) -> dict[str, float]:
    """The three measures of latents [n, P] and what is read of their faces [n, F].

    The penalty of each factor is the one that predicts it best in faces that were left out, every
    fifth one; the R2 is of these, too.
    """
    out = np.arange(len(latents)) % _LEFT_OUT == 0
    x, y = _standard(latents, ~out), _standard(factors, ~out)
    inside, target = x[~out], y[~out]
    largest = np.abs(inside.T @ target).max(axis=0) / len(inside)  # [F]
    found = lasso(inside, target, np.array(PENALTIES)[:, None] * largest[None])
    rest = np.stack([((x[out] @ b - y[out]) ** 2).mean(axis=0) for b in found])  # [K, F]
    best = rest.argmin(axis=0)
    columns = np.arange(y.shape[1])
    importance = np.abs(found[best, :, columns].T)  # [P, F]
    spread = np.maximum(((y[out] - y[out].mean(axis=0)[None]) ** 2).mean(axis=0), 1e-12)
    return {
        "disentanglement": disentanglement(importance),
        "completeness": completeness(importance),
        "informativeness": float((1 - rest[best, columns] / spread).mean()),
        "numbers": int((importance.sum(axis=1) > 0).sum()),
    }


def _standard(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[n, C] with zero mean and unit variance over the known rows [n]; what is still stays 0."""
    values = values.astype(np.float64)
    values = values - values[known].mean(axis=0)[None]
    spread = values[known].std(axis=0)
    still = spread <= 1e-6 * max(float(spread.max()), 1e-30)
    return (values / np.where(still, np.inf, spread)[None]).astype(np.float32)
