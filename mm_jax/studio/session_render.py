"""A session's document rendered into a folder, as `mm_edit --session` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mm_jax import media
from mm_jax.artifacts import Latents
from mm_jax.editing import draw
from mm_jax.editing.options import EditOptions
from mm_jax.progress import ProgressFn, silent
from mm_jax.studio.document import Document
from mm_jax.studio.frames import pasted
from mm_jax.stylegan2.generator import Generator

__all__ = ["outputs", "photo_files", "render"]


def photo_files(document: Document) -> list[str]:
    """Names of the files of photos with the edited faces in them."""
    return [f"{face.name}_full.png" for face in document.faces if face.photo is not None]


def outputs(document: Document, options: EditOptions) -> list[str]:
    """Names of the files that `render` writes."""
    names = [face.name for face in document.faces]
    return [*draw.files_of(names, options), *photo_files(document)]


def render(
    gen: Generator,
    document: Document,
    folder: Path,
    options: EditOptions,
    *,
    feather: float = 0.3,
    progress: ProgressFn = silent,
) -> None:
    """Write those of `outputs` that `folder` lacks.

    Args:
        gen: the document's generator.
        document: with N faces and E motions.
        folder: where files go.
        options: what is rendered; its strengths [E][S] are those of the motions in every frame.
        feather: width of the soft edge of faces in photos.
        progress: called with the frames rendered.
    """
    latents = document.latents()  # [N, L, D]
    subspaces = [motion.masked() for motion in document.motions]
    # Faces that a copy of the generator was tuned to are rendered by that copy.
    for tuned in {id(face.generator): face.generator for face in document.faces}.values():
        some = [i for i, face in enumerate(document.faces) if face.generator is tuned]
        few = Latents(np.asarray(latents.ws)[some], tuple(document.faces[i].name for i in some))
        draw.draw(tuned or gen, few, subspaces, folder, options, progress=progress)
    for face in document.faces:
        file = folder / f"{face.name}_full.png"
        if face.photo is not None and not file.exists():
            media.save_png(file, pasted(gen, document, face.name, feather=feather))
