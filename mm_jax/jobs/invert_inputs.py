"""What the flags of mm_invert name, opened and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mm_jax import cli
from mm_jax.alignment import framing_of
from mm_jax.artifacts import load_latents
from mm_jax.errors import DataError, UsageError
from mm_jax.jobs.align_settings import AlignSettings
from mm_jax.jobs.encoders import open_encoder
from mm_jax.jobs.faces import open_faces
from mm_jax.jobs.invert import Faces, Looks
from mm_jax.jobs.picture_files import expand, names_of
from mm_jax.perceptual.arcface import load_arcface
from mm_jax.perceptual.lpips import load_lpips
from mm_jax.zoo import load_generator

if TYPE_CHECKING:
    from mm_jax.stylegan2.generator import Generator

__all__ = ["load"]


def load(values: cli.Flags) -> tuple[Generator, Faces, Looks, dict[str, Any]]:
    """The generator, the faces, the networks that help, and what results depend on.

    Raises:
        UsageError: bad flags. DataError: a bad file, or networks that do not fit each other.
    """
    align = cli.read_settings(values, AlignSettings)
    paths = expand(values.image)
    gen = load_generator(values.generator)
    if values.start and values.encoder not in ("auto", "none"):
        raise UsageError("give --start or --encoder, not both")
    looks = Looks(
        encoder=None if values.start else open_encoder(values.encoder, values.generator, gen),
        lpips=load_lpips(values.lpips) if values.lpips else None,
        arcface=load_arcface(values.arcface) if values.arcface else None,
    )
    found = open_faces(
        paths, names_of(paths), align, size=gen.config.resolution, framing=framing_of(gen)
    )
    faces = Faces(
        names=tuple(face.name for face in found),
        images=np.stack([face.image for face in found]),
        starts=_starts(values.start, gen, len(found)) if values.start else None,
        found=found,
    )
    networks = {"encoder": looks.encoder, "lpips": looks.lpips, "arcface": looks.arcface}
    facts = cli.inputs(gen, *map(str, paths), values.start, align.landmarks, **networks)
    return gen, faces, looks, facts


def _starts(path: str, gen: Generator, count: int) -> np.ndarray:
    """Start codes [N, L, D] from a file: one for all pictures, or one for each in their order."""
    ws = np.asarray(load_latents(path).ws)
    want = (gen.config.num_ws, gen.config.w_dim)
    if len(ws) not in (1, count) or ws.shape[1:] != want:
        raise DataError(
            f"{path} holds codes {list(ws.shape)}, want one or {count}, of {list(want)} each"
        )
    return np.broadcast_to(ws, (count, *want))
