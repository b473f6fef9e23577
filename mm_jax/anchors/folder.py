"""Anchors and their subspace in a folder: read where it has them, else found and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mm_jax import zoo
from mm_jax.anchors.gradient import SampledFaces
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.prompts import degrees_in
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import (
    Anchors,
    Latents,
    Subspace,
    load_anchors,
    load_subspace,
    save_anchors,
    save_subspace,
)
from mm_jax.checks import check_latent_shape
from mm_jax.errors import DataError, UsageError
from mm_jax.faces.identity import FaceIdentity
from mm_jax.perceptual.arcface import ArcFace
from mm_jax.perceptual.clip import Clip
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.decompose import extract_subspace
from mm_jax.subspace.options import SubspaceOptions

__all__ = [
    "SUBSPACE",
    "anchor_file",
    "asked_of",
    "find_anchors",
    "find_subspace",
    "keep_anchors",
    "load_sets",
    "reading_clip",
    "subspace_of",
    "tables",
]

SUBSPACE = "subspace.npz"


def anchor_file(name: str) -> str:
    """Name of the file that holds the anchors of the start latent called `name`."""
    return f"anchors_{name}.npz"


def tables(names: Sequence[str], *, stored: bool = False) -> list[str]:
    """Names of the files of anchors (unless they are stored elsewhere) and of their subspace."""
    found = [] if stored else [anchor_file(name) for name in names]
    return [f for npz in (*found, SUBSPACE) for f in (npz, npz.replace(".npz", ".json"))]


def load_sets(paths: Sequence[str], gen: Generator) -> dict[str, Anchors]:
    """Stored anchors by the stems of their files.

    Raises:
        DataError: a bad file, or anchors of another generator's shape.
        UsageError: two files of the same stem.
    """
    sets = {}
    for path in paths:
        name = Path(path).stem.removeprefix("anchors_")
        if name in sets:
            raise UsageError(f"two files of anchors are called {name}")
        sets[name] = load_anchors(path)
        wanted = (gen.config.num_ws, gen.config.w_dim)
        check_latent_shape(path, sets[name].ws.shape[1:], wanted, gen.name)
    return sets


def find_anchors(
    gen: Generator,
    clip: Clip,
    template: str,
    starts: Latents,
    folder: Path,
    options: AnchorOptions,
    *,
    identity: ArcFace | FaceIdentity | None = None,
    sampled: Callable[[], SampledFaces] | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> list[Anchors]:
    """The anchors of every start latent, as `mm_jax.text_anchors` finds them.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        template: a prompt with one `{degree}`.
        starts: [N, L, D] latents with names; all that are missing are optimised together.
        folder: holds one `anchors_<name>.npz` for each.
        options: how they are found.
        identity: an `mm_jax.ArcFace` that holds the identity, or None.
        sampled: gives the faces that refine, if any anchors are missing.
        batch_size: latents in work at once.
        progress: called with the steps.
    """
    assert starts.names is not None
    files = [folder / anchor_file(name) for name in starts.names]
    missing = [i for i, file in enumerate(files) if not file.exists()]
    found: dict[int, Anchors] = {}
    if missing:
        anchors = text_anchors(
            gen, clip, template=template, start=np.asarray(starts.ws)[missing], options=options,
            identity=identity, sampled=None if sampled is None else sampled(),
            batch_size=batch_size, progress=progress,
        )  # fmt: skip
        assert isinstance(anchors, list)  # as `start` has a batch axis
        found = dict(zip(missing, anchors, strict=True))
        for i, own in found.items():
            save_anchors(files[i], own)
    return [found[i] if i in found else load_anchors(file) for i, file in enumerate(files)]


def keep_anchors(file: Path, find: Callable[[], Anchors]) -> Anchors:
    """Anchors of a file, or found and written there."""
    if file.exists():
        return load_anchors(file)
    anchors = find()
    save_anchors(file, anchors)
    return anchors


def asked_of(anchors: Sequence[Anchors]) -> tuple[str, tuple[str, ...]] | None:
    """The template and the degrees that all sets of anchors were found from, if they agree."""
    asked = {(one.meta.get("template"), degrees_in(one.meta)) for one in anchors}
    template, degrees = asked.pop() if len(asked) == 1 else (None, None)
    return None if template is None or degrees is None else (template, degrees)


def reading_clip(sets: Sequence[Anchors], name: str | None = None) -> tuple[Clip | None, str]:
    """The CLIP that reads back stored anchors, and why there is none; "" without a prompt to read.

    Args:
        sets: of anchors.
        name: a bundled name, a folder or a hub id; by default what the anchors were found with.
    """
    if asked_of(sets) is None:
        return None, ""
    try:
        return load_clip(name or str(sets[0].meta.get("clip", zoo.CLIP))), ""
    except (DataError, UsageError) as error:
        return None, str(error)


def subspace_of(anchors: Sequence[Anchors], options: SubspaceOptions) -> Subspace:
    """The subspace of what sets of anchors have in common.

    Args:
        anchors: one set or several; those in which CLIP's reading does not rise with the degree are
            left out, if there are others.
        options: how they are decomposed.
    """
    rising = [one for one in anchors if one.meta.get("rises", True)]
    return extract_subspace(rising or list(anchors), options=options)


def find_subspace(anchors: Sequence[Anchors], folder: Path, options: SubspaceOptions) -> Subspace:
    """The subspace of all anchors together: read from `folder`, else extracted and written.

    Args:
        anchors: one set or several.
        folder: of the file.
        options: how the anchors are decomposed.
    """
    file = folder / SUBSPACE
    if file.exists():
        return load_subspace(file)
    subspace = subspace_of(anchors, options)
    save_subspace(file, subspace)
    return subspace
