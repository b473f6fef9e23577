"""Anchors and their subspace in a folder: read where it has them, else found and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax import io, zoo
from mm_jax.anchors.calibrate import calibrate, calibrated
from mm_jax.anchors.decouple import decouple
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.readback import ReadBack, read_back
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
from mm_jax.subspace.decompose import extract_subspace, mirrored
from mm_jax.subspace.options import SubspaceOptions

__all__ = [
    "READ_BACK",
    "SUBSPACE",
    "Finish",
    "anchor_file",
    "asked_of",
    "check_stored",
    "find_anchors",
    "find_checked",
    "find_subspace",
    "keep_anchors",
    "load_sets",
    "reading_clip",
    "tables",
]

SUBSPACE, READ_BACK = "subspace.npz", "readback.json"


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
            identity=identity, batch_size=batch_size, progress=progress,
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
    asked = {
        (one.meta.get("template"), tuple(one.meta.get("settings", {}).get("degrees", ())))
        for one in anchors
    }
    template, degrees = asked.pop() if len(asked) == 1 else (None, ())
    return None if template is None or not degrees else (template, degrees)


def reading_clip(stored: Mapping[str, Anchors], name: str | None = None) -> tuple[Clip | None, str]:
    """The CLIP that reads back stored anchors, and why there is none; "" without a prompt to read.

    Args:
        stored: sets of anchors by name.
        name: a bundled name, a folder or a hub id; by default what the anchors were found with.
    """
    sets = list(stored.values())
    if asked_of(sets) is None:
        return None, ""
    try:
        return load_clip(name or str(sets[0].meta.get("clip", zoo.CLIP))), ""
    except (DataError, UsageError) as error:
        return None, str(error)


def find_subspace(
    anchors: Sequence[Anchors],
    folder: Path,
    options: SubspaceOptions,
    *,
    write: bool = True,
    finish: Callable[[Subspace], Subspace] = lambda subspace: subspace,
) -> Subspace:
    """The subspace of all anchors together: read from `folder`, else extracted and written.

    Args:
        anchors: one set or several.
        folder: of the file.
        options: how the anchors are decomposed.
        write: whether it is written.
        finish: what is done to a subspace that is written.
    """
    file = folder / SUBSPACE
    if file.exists():
        return load_subspace(file)
    subspace = extract_subspace(_rising(anchors), options=options)
    if write:
        subspace = finish(subspace)
        save_subspace(file, subspace)
    return subspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finish:
    """What is done to the subspace of a motion once it is found.

    Attributes:
        without: prompts, or names of motions, that it is decoupled from.
        calibrate: the prompt by which its strengths are calibrated; "" for none.
        degrees: what replaces `{degree}` in these.
        truncation_psi: of the faces that are sampled for it.
        batch_size: images in work at once.
    """

    without: tuple[str, ...] = ()
    calibrate: str = ""
    degrees: tuple[str, ...] = AnchorOptions.degrees
    truncation_psi: float = 0.7
    batch_size: int | None = None

    @property
    def needs_clip(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.without or self.calibrate)

    def _how(self, progress: ProgressFn) -> dict[str, Any]:
        return {
            "degrees": self.degrees, "truncation_psi": self.truncation_psi,
            "batch_size": self.batch_size, "progress": progress,
        }  # fmt: skip

    def whole(
        self, gen: Generator, clip: Clip | None, subspace: Subspace, progress: ProgressFn = silent
    ) -> Subspace:
        """The subspace decoupled and calibrated; without a CLIP as it is."""
        if clip is None:
            return subspace
        return self.calibrated(gen, clip, self.decoupled(gen, clip, subspace, progress), progress)

    def decoupled(
        self, gen: Generator, clip: Clip, subspace: Subspace, progress: ProgressFn = silent
    ) -> Subspace:
        """The subspace apart from what is to stay.

        Raises:
            DataError: hardly anything is left of it.
        """
        if not self.without:
            return subspace
        return decouple(gen, clip, subspace, self.without, **self._how(progress))

    def calibrated(
        self, gen: Generator, clip: Clip, subspace: Subspace, progress: ProgressFn = silent
    ) -> Subspace:
        """The subspace with its calibration.

        Raises:
            DataError: what CLIP reads hardly rises along it.
        """
        if not self.calibrate:
            return subspace
        how = self._how(progress)
        found = calibrate(gen, clip, subspace, template=self.calibrate, **how)
        return calibrated(subspace, found)


def find_checked(
    gen: Generator,
    clip: Clip,
    anchors: Sequence[Anchors],
    folder: Path,
    options: SubspaceOptions,
    *,
    keep: bool = False,
    finish: Finish = Finish(),
    progress: ProgressFn = silent,
) -> tuple[Subspace, ReadBack]:
    """The subspace of anchors from prompts, with the sign that CLIP tells, and what it reads back.

    What is read back is written to `readback.json`. The subspace is written if the motion was
    found, or on request.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        anchors: one set or several, of one prompt (`asked_of`).
        folder: of the files; what is there is read.
        options: how the anchors are decomposed.
        keep: whether the subspace is also written where nothing was found.
        finish: what else is done to it; what is read back is read of the decoupled motion, and
            only a motion that was found is calibrated.
        progress: called with the steps.

    Raises:
        DataError: a damaged file, or anchors that have no motion in common.
    """

    def find() -> Subspace:
        return extract_subspace(_rising(anchors), options=options)

    asked = asked_of(anchors)
    return _check(gen, clip, find, folder, asked, keep=keep, finish=finish, progress=progress)


def check_stored(
    gen: Generator,
    clip: Clip,
    subspace: Subspace,
    folder: Path,
    template: str,
    *,
    keep: bool = False,
    finish: Finish = Finish(),
    progress: ProgressFn = silent,
) -> tuple[Subspace, ReadBack]:
    """A stored subspace by a prompt that says what it is, read back as by `find_checked`.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        subspace: of any origin.
        folder: of the files; what is there is read.
        template: the prompt.
        keep: whether the subspace is also written where nothing was found.
        finish: what else is done to it.
        progress: called with the steps.

    Raises:
        DataError: a damaged file, or the prompt has nothing to do with the motion.
    """
    return _check(
        gen, clip, lambda: subspace, folder, (template, finish.degrees),
        keep=keep, finish=finish, progress=progress,
    )  # fmt: skip


def _check(
    gen: Generator,
    clip: Clip,
    find: Callable[[], Subspace],
    folder: Path,
    asked: tuple[str, Sequence[str]] | None,
    *,
    keep: bool,
    finish: Finish,
    progress: ProgressFn,
) -> tuple[Subspace, ReadBack]:
    file, record = folder / SUBSPACE, folder / READ_BACK
    known = _load_read_back(record) if record.exists() else None
    if known is not None and file.exists():
        return load_subspace(file), known[0]
    subspace = finish.decoupled(gen, clip, find(), progress)
    if known is not None:
        found, turned = known
    else:
        template, degrees = asked or (None, None)
        found = read_back(
            gen, clip, subspace, template=template, degrees=degrees,
            truncation_psi=finish.truncation_psi, batch_size=finish.batch_size, progress=progress,
        )  # fmt: skip
        # Positive strength is to raise what the prompts ask for, whatever the anchors' order says.
        turned = not found.found and found.reversed().found
        found = found.reversed() if turned else found
        io.write_json(record, {**found.to_dict(), "mirrored": turned})
    figures = {name: found.to_dict()[name] for name in ("degree_read_back", "spearman", "found")}
    meta = {**subspace.meta, "read_back": figures}
    subspace = dataclasses.replace(mirrored(subspace) if turned else subspace, meta=meta)
    if found.found:
        subspace = finish.calibrated(gen, clip, subspace, progress)
    if found.found or keep:
        save_subspace(file, subspace)
    return subspace, found


def _rising(anchors: Sequence[Anchors]) -> list[Anchors]:
    """The sets in which CLIP's reading rises with the degree; all, if it does in none."""
    return [one for one in anchors if one.meta.get("rises", True)] or list(anchors)


def _load_read_back(path: Path) -> tuple[ReadBack, bool]:
    values = io.read_json(path)
    if not isinstance(values, dict):
        raise DataError(f"{path} must hold a json object, got {type(values).__name__}")
    try:
        return ReadBack.from_dict(values), bool(values.get("mirrored"))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
