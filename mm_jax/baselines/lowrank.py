"""LowRankGAN: principal directions of the image's Jacobian, cleaned by robust PCA.

Zhu, Feng, Shen, Zhao, Zha, Zhou, Chen 2021, "Low-Rank Subspaces in GANs" (arXiv:2106.04488): with J
the derivative of an image with respect to w, M = J'J is split into a low-rank and a sparse part,
and the eigenvectors of the low-rank part are the directions. The authors take one image and, for
local edits, a region that a person draws. Here M is the mean over some faces, of the whole image,
and `mm_jax.baselines.oracle` picks direction and layers. J is taken by central differences, since
the generator's convolutions have no forward derivative, along what W holds: no face differs along
the rest. Images are reduced to at most 128 pixels.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from mm_jax import rendering
from mm_jax.anchors.prompts import Motion
from mm_jax.baselines.oracle import picked
from mm_jax.baselines.world import Direction, World
from mm_jax.nn.resize import area_resize
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.robust_pca import robust_pca

__all__ = ["GRAM", "find", "image_gram", "principal_directions"]

GRAM = "image_gram.npz"
_SIDE = 128
# Of W's largest variance: directions of less are no part of it.
_HELD = 1e-6


def image_gram(
    gen: Generator, w: np.ndarray, step: float, *, basis: np.ndarray | None = None, batch: int = 16
) -> np.ndarray:
    """J'J [D, D] float64 of the image of one latent w [D] of W, by differences of +-`step`.

    Args:
        gen: the generator.
        w: [D].
        step: the length of the moves.
        basis: [K, D] orthonormal vectors, outside of which J is taken as 0; all of W by default.
        batch: images per step.
    """
    basis = np.eye(gen.config.w_dim) if basis is None else basis
    moves = step * np.concatenate([basis, -basis])
    ws = np.repeat((w[None] + moves)[:, None], gen.config.num_ws, axis=1).astype(np.float32)
    images = []
    for _, some in rendering.render_batches(gen, ws, batch=batch):
        side = some.shape[1]
        small = area_resize(jnp.asarray(some), _SIDE) if side > _SIDE else some
        images.append(np.asarray(small).reshape(len(some), -1))
    flat, count = np.concatenate(images), len(basis)
    columns = (flat[:count] - flat[count:]).astype(np.float64) / (2 * step)  # [K, pixels]
    return basis.T @ (columns @ columns.T) @ basis


def principal_directions(gram: np.ndarray, count: int) -> np.ndarray:
    """Eigenvectors [K, D] of the low-rank part of a symmetric matrix, the largest first."""
    # Close enough for directions; each step takes all singular vectors of a [D, D] matrix.
    split = robust_pca(
        (gram / np.trace(gram)).astype(np.float32), tolerance=1e-4, max_iterations=200
    )
    low_rank = np.asarray(split.low_rank)
    values, vectors = np.linalg.eigh((low_rank + low_rank.T).astype(np.float64) / 2)
    order = np.argsort(-values)
    present = values[order] > 1e-6 * values[order[0]]
    return vectors.T[order][present][:count]


def find(world: World, motion: Motion) -> Direction:
    """The oracle's pick among the principal directions and all ranges of layers."""
    directions = world.once("directions of LowRankGAN", lambda: _directions(world))
    return picked(
        world,
        motion,
        lambda first, last: directions,
    )


def _directions(world: World) -> np.ndarray:
    def make() -> dict[str, np.ndarray]:
        # A hundredth of W's own standard deviation: small, and far above float32's rounding.
        step = 0.01 * float(np.sqrt(np.trace(world.covariance)))
        total = np.zeros(world.covariance.shape)
        faces = world.draw("image Jacobian", world.options.gram_faces)[:, 0]
        values, vectors = np.linalg.eigh(world.covariance)
        basis = vectors.T[values > _HELD * values[-1]]
        for i, w in enumerate(faces):
            total += image_gram(world.gen, w, step, basis=basis, batch=world.options.batch)
            world.progress("Jacobian of images", i + 1, len(faces))
        return {"gram": total}

    return principal_directions(
        world.kept(GRAM, {"gram": 2}, make)["gram"], world.options.components
    )
