"""SeFa: eigenvectors of the affine maps from W to styles.

Shen, Zhou 2021, "Closed-Form Factorization of Latent Semantics in GANs" (arXiv:2007.06600). With A
the affine maps of a range of convolutions, stacked, each output's weights of unit length as in the
authors' code, the directions are the eigenvectors of A'A, applied to that range. The authors let a
person choose range and eigenvector; here `mm_jax.baselines.oracle` picks among all ranges.
"""

from __future__ import annotations

import numpy as np

from mm_jax.anchors.prompts import Motion
from mm_jax.baselines.oracle import picked
from mm_jax.baselines.world import Direction, World
from mm_jax.latents import to_stylespace
from mm_jax.stylegan2.generator import Generator

__all__ = ["affine_maps", "eigenvectors", "find"]


def affine_maps(gen: Generator) -> dict[str, np.ndarray]:
    """The matrices [C, D] from W to the styles of each layer; their biases are left out."""
    rows, width = gen.config.num_ws, gen.config.w_dim
    units = np.concatenate([np.zeros((1, width)), np.eye(width)]).astype(np.float32)
    styles = to_stylespace(gen, np.repeat(units[:, None], rows, axis=1))
    return {
        name: (np.asarray(style)[1:] - np.asarray(style)[:1]).T for name, style in styles.items()
    }


def eigenvectors(matrices: list[np.ndarray], count: int) -> np.ndarray:
    """Eigenvectors [K, D] of A'A of stacked matrices [C, D], the largest eigenvalue first."""
    if not matrices:
        return np.zeros((0, 0))
    stacked = np.concatenate(matrices).astype(np.float64)
    lengths = np.linalg.norm(stacked, axis=1, keepdims=True)
    stacked = stacked / np.where(lengths > 0, lengths, 1.0)
    return np.linalg.eigh(stacked.T @ stacked)[1].T[::-1][:count]


def find(world: World, motion: Motion) -> Direction:
    """The oracle's pick among the eigenvectors of all ranges of layers."""
    config = world.gen.config
    maps = [
        (config.row_of(name), matrix)
        for name, matrix in affine_maps(world.gen).items()
        if not name.endswith("torgb")
    ]

    def of_rows(first: int, last: int) -> np.ndarray:
        matrices = [matrix for row, matrix in maps if first <= row <= last]
        return eigenvectors(matrices, world.options.components)

    return picked(
        world,
        motion,
        lambda first, last: world.once(f"SeFa {first} {last}", lambda: of_rows(first, last)),
    )
