"""Faces of images edited into a folder: inverted, moved along subspaces, put back, judged.

What the folder has is not done again; its subfolder `inversion` is that of a run of mm_invert.
"""

from __future__ import annotations

from collections.abc import Sequence

from mm_jax.artifacts import Subspace
from mm_jax.editing.draw import draw, files_of
from mm_jax.editing.options import EditOptions
from mm_jax.editing.paste_back import FullImages
from mm_jax.editing.verdict import VERDICT, EditVerdict, judge_into
from mm_jax.errors import UsageError
from mm_jax.inversion import folder
from mm_jax.inversion.inputs import FaceImages, InversionNetworks
from mm_jax.inversion.options import InversionPlan
from mm_jax.progress import ProgressFn, silent
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.generator import Generator

__all__ = ["edit_images", "outputs", "perhaps"]

INVERSION = "inversion"


def outputs(
    names: Sequence[str], full: FullImages, options: EditOptions, *, tune: bool | None
) -> list[str]:
    """Names of the files that `edit_images` writes; `perhaps` names further ones.

    Args:
        names: of the faces.
        full: the images that they are put back into.
        options: of the edit.
        tune: whether a copy of the generator is tuned: always, never, or None for where it helps.

    Raises:
        UsageError: images such as me.jpg and me_full.jpg, whose files would be one.
    """
    files = [f"{INVERSION}/{file}" for file in folder.outputs(names, tune=tune)]
    files += files_of(names, options)
    files += [file for image in full.names for file in full.files(image)]
    seen: set[str] = set()
    twice = next((file for file in files if file in seen or seen.add(file)), None)
    if twice is not None:
        raise UsageError(f"two of the images would both be written to {twice}: rename one")
    return [*files, VERDICT]


def perhaps(names: Sequence[str], *, tune: bool | None) -> list[str]:
    """Names of the files that are written where the generator does not know images."""
    return [f"{INVERSION}/{file}" for file in folder.perhaps(names, tune=tune)]


def edit_images(
    run: RunFolder,
    gen: Generator,
    faces: FaceImages,
    networks: InversionNetworks,
    subspaces: Sequence[Subspace],
    options: EditOptions,
    *,
    full: FullImages,
    plan: InversionPlan,
    generator_name: str,
    progress: ProgressFn = silent,
) -> tuple[folder.Inverted, EditVerdict]:
    """Write those of `outputs` and `perhaps` that the folder lacks.

    Args:
        run: the open folder.
        gen: the generator.
        faces: N faces of images.
        networks: that help with their inversion.
        subspaces: E of them; their edits add up.
        options: of the edit.
        full: the images that the faces are put back into, in the same folder.
        plan: how faces are inverted, whether and how the generator is tuned to them.
        generator_name: the bundled name or folder of `gen`.
        progress: called with each step.

    Returns:
        What the inversion found, and the verdict on the edits.

    Raises:
        DataError: a stored file is damaged, or the optimisation diverges.
        UsageError: options that do not fit the models.
    """
    inner = RunFolder(
        run.file(INVERSION), run.command, run.settings,
        folder.outputs(faces.names, tune=plan.sources.tune),
    )  # fmt: skip
    found = folder.invert_into(
        inner, gen, faces, networks, plan, generator_name=generator_name, batch=options.batch,
        progress=progress,
    )  # fmt: skip
    moved = (found.generator, found.latents, subspaces)
    draw(*moved, run.path, options, full=full, progress=progress)
    verdict = judge_into(
        run.path, *moved, options, images=faces.images, paste=full.paste, progress=progress
    )
    return found, verdict
