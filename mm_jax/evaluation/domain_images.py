"""Images of the other domain: latents moved in both generators, and inverted drawings moved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mm_jax import media, rendering
from mm_jax.artifacts import Subspace
from mm_jax.editing.affine import apply_edit
from mm_jax.evaluation.options import DomainEval
from mm_jax.stylegan2.generator import Generator

__all__ = ["draw_inverted", "draw_shared"]


def draw_shared(
    gens: Mapping[str, Generator],
    motions: Mapping[str, Subspace],
    latents: np.ndarray,
    options: DomainEval,
    file: Path,
) -> None:
    """Two rows for each motion: one latent as a face and as a drawing, by growing strength."""
    rows = []
    for i, subspace in enumerate(motions.values()):
        edited = apply_edit(latents[i % len(latents)][None], subspace, options.strengths)
        for gen in gens.values():
            rows.append(rendering.render_all(gen, np.asarray(edited), batch=options.batch)[0])
    media.save_png(file, media.strip(np.stack(rows), gap=2))


def draw_inverted(
    gens: Mapping[str, Generator],
    motions: Mapping[str, Subspace],
    inverted: Mapping[str, np.ndarray],
    drawings: np.ndarray,
    options: DomainEval,
    file: Path,
) -> None:
    """Two rows for each motion: a drawing, then its inversion into each generator, moved."""
    rows = []
    for i, subspace in enumerate(motions.values()):
        place = i % len(drawings)
        for name, gen in gens.items():
            latent = inverted[f"{name}_ws"][place][None]
            edited = np.asarray(apply_edit(latent, subspace, options.strengths))
            moved = rendering.render_all(gen, edited, batch=options.batch)[0]
            rows.append(np.concatenate([drawings[place][None], moved]))
    media.save_png(file, media.strip(np.stack(rows), gap=2))
