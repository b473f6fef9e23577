"""What an inversion works on: faces of images, and the networks that help; batches inverted.

Shapes: N images, R side of the generator's images, L rows of W+, D latent width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax.alignment.faces import Aligned, open_faces
from mm_jax.alignment.framing import framing_of
from mm_jax.alignment.options import AlignOptions
from mm_jax.artifacts import fitted_latents, load_latents
from mm_jax.checks import check_latent_shape
from mm_jax.encoders.encoder import Encoder, open_encoder
from mm_jax.errors import DataError
from mm_jax.faces.identity import FaceIdentity, open_identity
from mm_jax.inversion.invert import Inversion, invert
from mm_jax.inversion.options import InversionSources, InvertOptions
from mm_jax.media.image_files import names_of
from mm_jax.perceptual.arcface import ArcFace
from mm_jax.perceptual.lpips import Lpips, load_lpips
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once

__all__ = [
    "FaceImages",
    "InversionNetworks",
    "arrays_of",
    "batch_for",
    "invert_batch",
    "open_images",
    "open_networks",
]

_BATCH = 16


@dataclasses.dataclass(frozen=True)
class FaceImages:
    """Images to invert.

    Attributes:
        names: [N] distinct names of files.
        images: [N, R, R, 3] float32 in [-1, 1], of the generator's size.
        starts: [N, L, D] latents to begin with, or None.
        found: [N] where they were cropped from whole images.
    """

    names: tuple[str, ...]
    images: np.ndarray
    starts: np.ndarray | None = None
    found: Sequence[Aligned] = ()

    def only(self, places: Sequence[int]) -> FaceImages:
        """The images at some places, for inversion: without where they were cropped."""
        return FaceImages(
            names=tuple(self.names[i] for i in places),
            images=self.images[list(places)],
            starts=None if self.starts is None else self.starts[list(places)],
        )


@dataclasses.dataclass(frozen=True)
class InversionNetworks:
    """The networks that help: an encoder to begin with, and what compares images; or None."""

    encoder: Encoder | None = None
    lpips: Lpips | None = None
    identity: ArcFace | FaceIdentity | None = None


def open_networks(
    gen: Generator, generator_name: str, sources: InversionSources
) -> InversionNetworks:
    """The networks that the options name.

    Raises:
        UsageError: an unknown name. DataError: a damaged folder, or one that does not fit `gen`.
    """
    # The identity "auto" is opened when it is known that it is needed.
    return InversionNetworks(
        encoder=None if sources.start else open_encoder(sources.encoder, generator_name, gen),
        lpips=load_lpips(sources.lpips) if sources.lpips else None,
        identity=open_identity("none" if sources.identity == "auto" else sources.identity, gen),
    )


def open_images(
    gen: Generator, paths: Sequence[Path], align: AlignOptions, *, start: str = ""
) -> FaceImages:
    """The faces of image files, cropped as the generator's own images are.

    Args:
        gen: the generator.
        paths: of the images.
        align: how faces are found.
        start: file of latents to begin with, or "".

    Raises:
        UsageError, DataError: as `mm_jax.alignment.faces.open_faces`, or a bad file of latents.
    """
    found = open_faces(
        paths, names_of(paths), align, size=gen.config.resolution, framing=framing_of(gen)
    )
    return FaceImages(
        names=tuple(face.name for face in found),
        images=np.stack([face.image for face in found]),
        starts=_starts(start, gen, len(found)) if start else None,
        found=found,
    )


def _starts(path: str, gen: Generator, count: int) -> np.ndarray:
    """Start latents [N, L, D] from a file: one for all images, or one for each in their order."""
    wanted = (gen.config.num_ws, gen.config.w_dim)
    ws = np.asarray(fitted_latents(load_latents(path), wanted).ws)
    check_latent_shape(path, ws.shape[1:], wanted, gen.name)
    if len(ws) not in (1, count):
        raise DataError(f"{path} must hold one latent or {count}, got {len(ws)}")
    return np.broadcast_to(ws, (count, *wanted))


def batch_for(gen: Generator, given: int | None) -> int:
    """Images inverted at once: as given, or as many as fit in about 2 GiB and at most 16."""
    return given or min(images_at_once(gen.config, gradient=True), _BATCH)


def invert_batch(
    gen: Generator,
    images: np.ndarray,
    networks: InversionNetworks,
    options: InvertOptions,
    *,
    starts: np.ndarray | None = None,
    progress: ProgressFn = silent,
) -> Inversion:
    """`mm_jax.invert` of one batch of images, from `starts`, the encoder, or else the mean.

    Args:
        gen: the generator.
        images: [N, R, R, 3] float32 in [-1, 1].
        networks: that help; without an encoder the search begins at the mean.
        options: how it is done.
        starts: [N, L, D] latents to begin with instead.
        progress: called with the steps.

    Raises:
        DataError, UsageError: as `mm_jax.invert`.
    """
    start: Any = "mean" if networks.encoder is None else "encoder"
    return invert(
        gen,
        images,
        options=options,
        start=start if starts is None else starts,
        encoder=networks.encoder,
        lpips=networks.lpips,
        identity=networks.identity,
        progress=progress,
    )


def arrays_of(found: Inversion, place: int) -> dict[str, Any]:
    """The arrays that are stored of one image; `load_latents` opens their file."""
    return {
        "ws": found.ws[place : place + 1],
        "losses": found.losses[place],
        "psnr": found.psnr[place],
        **{f"style.{name}": style[place] for name, style in (found.styles or {}).items()},
    }
