"""InterFaceGAN: the normal of a linear classifier's boundary in W.

Shen, Gu, Tang, Zhou 2020, "Interpreting the Latent Space of GANs for Semantic Face Editing"
(arXiv:1907.10786): faces are scored by a network, those at both ends are labelled, and a linear
support vector machine separates their latents. The conditional direction has the normals of the
other attributes projected out. Scores are CLIP's, which needs no labels, or the probe's, which
stands for the attribute classifiers of the authors.

Needs scikit-learn, the extra `compare`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from mm_jax.anchors.prompts import MOTIONS, Motion
from mm_jax.baselines.world import Direction, World
from mm_jax.errors import DataError, UsageError
from mm_jax.words import how_to_install

__all__ = ["boundary_normal", "check_installed", "conditional", "find"]


def check_installed() -> None:
    """Raises UsageError if scikit-learn is not installed."""
    try:
        import sklearn.svm  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UsageError(
            f"InterFaceGAN needs scikit-learn: {how_to_install('mm-jax[compare]')}"
        ) from error


def boundary_normal(w: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """Unit normal [D] of the boundary between the latents of the highest and the lowest scores.

    Args:
        w: [n, D] latents.
        scores: [n].
        count: latents at each end; at most half of them.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    check_installed()
    from sklearn.svm import SVC  # pyright: ignore[reportMissingImports]

    order = np.argsort(scores, kind="stable")
    count = min(count, len(order) // 2)
    chosen = np.concatenate([order[:count], order[-count:]])
    labels = np.repeat([0, 1], count)
    normal = SVC(kernel="linear").fit(w[chosen].astype(np.float64), labels).coef_[0]
    return normal / np.linalg.norm(normal)


def conditional(primal: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """A normal [D] less its projection onto the span of others, of unit length.

    Raises:
        DataError: nothing is left of it.
    """
    if not len(others):
        return primal
    basis = np.linalg.qr(np.stack(others, axis=1))[0]  # [D, K]
    rest = primal - basis @ (basis.T @ primal)
    length = np.linalg.norm(rest)
    if not length > 1e-6:
        raise DataError("the conditions leave nothing of the direction")
    return rest / length


def find(world: World, motion: Motion, *, labels: str, condition: bool) -> Direction:
    """The boundary's normal.

    Args:
        world: its faces are labelled.
        motion: what is searched for.
        labels: "clip" or "probe".
        condition: project out the boundaries of the other motions (labels by CLIP), or of all
            other factors (labels by the probe).
    """
    if labels == "clip":
        scores = {name: functools.partial(world.score, other) for name, other in MOTIONS.items()}
        own, sign = motion.name, 1
        scores[own] = functools.partial(world.score, motion)
    else:
        target, sign = world.target(motion)
        names = world.factor_names
        scores = {
            name: functools.partial(world.faces.factors.__getitem__, (slice(None), i))
            for i, name in enumerate(names)
        }
        own = names[target]
    count = world.options.count(world.options.labelled)

    def normal_of(name: str) -> np.ndarray:
        def make() -> np.ndarray:
            return boundary_normal(world.faces.w, scores[name](), count)

        return world.once(f"boundary of {name} by {labels}", make)

    normal = sign * normal_of(own)
    facts = {"labelled": 2 * min(count, len(world.faces.w) // 2)}
    if condition:
        others = [normal_of(name) for name in scores if name != own]
        normal = conditional(normal, others)
        facts["conditions"] = len(others)
    rows = world.gen.config.num_ws
    return Direction(np.repeat(normal[None], rows, axis=0).astype(np.float32), facts)
