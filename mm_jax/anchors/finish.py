"""A motion finished in a folder: decoupled, read back, turned the right way, calibrated, written.

Where the motion was found from makes no difference here: anchors of prompts or videos, stored
anchors, or a stored subspace. What the folder has is not done again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mm_jax import io
from mm_jax.anchors.calibrate import WHY_NOT, calibrate, calibrated, uncalibrated
from mm_jax.anchors.decouple import decouple
from mm_jax.anchors.folder import SUBSPACE
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.readback import ReadBack, read_back
from mm_jax.artifacts import Subspace, load_subspace, save_subspace
from mm_jax.errors import DataError, UsageError
from mm_jax.perceptual.clip import Clip
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator
from mm_jax.subspace.decompose import mirrored

__all__ = ["READ_BACK", "Finish", "FinishedMotion", "finish_motion"]

READ_BACK = "readback.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finish:
    """What is done to the subspace of a motion once it is found.

    Attributes:
        template: the prompt that it is read back by; "" for a motion that has none.
        without: prompts, or names of motions, that it is decoupled from.
        calibrate: the prompt by which its strengths are calibrated; "" for none.
        degrees: what replaces `{degree}` in these.
        keep: whether it is written also where the motion was not found.
        truncation_psi: of the faces that are sampled for it.
        batch_size: images in work at once.
    """

    template: str = ""
    without: tuple[str, ...] = ()
    calibrate: str = ""
    degrees: tuple[str, ...] = AnchorOptions.degrees
    keep: bool = False
    truncation_psi: float = 0.7
    batch_size: int | None = None

    @property
    def needs_clip(self) -> bool:
        """Whether any of it reads images by CLIP."""
        return bool(self.template or self.without or self.calibrate)

    def sampling(self, progress: ProgressFn) -> dict[str, Any]:
        """The arguments that `read_back`, `decouple` and `calibrate` have in common."""
        return {
            "degrees": self.degrees, "truncation_psi": self.truncation_psi,
            "batch_size": self.batch_size, "progress": progress,
        }  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedMotion:
    """A motion, and whether it is the one that was asked for.

    Attributes:
        subspace: of the motion.
        read_back: what CLIP reads along it, if a prompt asked for it.
        still: why the videos that it is from show no motion, or None.
    """

    subspace: Subspace
    read_back: ReadBack | None = None
    still: str | None = None

    @property
    def fault(self) -> str:
        """What is wrong with it; "" if it is what was asked for, as far as that is known."""
        if self.still:
            return "no motion was found"
        wrong = self.read_back is not None and not self.read_back.found
        return "nothing was found" if wrong else ""

    @property
    def uncalibrated(self) -> str:
        """Why it was not calibrated; "" if it was, or nobody tried."""
        return self.subspace.meta.get(WHY_NOT, "")

    @property
    def words(self) -> str:
        """By what this was judged, in a line."""
        if self.still:
            return self.still
        if self.read_back is None:
            return "not read back, as there is no prompt"
        return self.read_back.describe()


def finish_motion(
    gen: Generator,
    clip: Clip | None,
    find: Callable[[], Subspace],
    folder: Path,
    finish: Finish,
    *,
    still: str | None = None,
    progress: ProgressFn = silent,
) -> FinishedMotion:
    """Finish a motion, and write `subspace.npz` and, of a prompt, `readback.json`.

    What is read back is read of the decoupled motion; positive strength is made to raise what the
    prompt asks for. The subspace is calibrated if the motion was found, and written if it was found
    or is to be kept. A motion that cannot be calibrated is written without; why is in its metadata
    (`mm_jax.anchors.calibrate.uncalibrated`).

    Args:
        gen: the generator.
        clip: the network that compares images and prompts; None if nothing needs one.
        find: finds the subspace; called only if it is needed.
        folder: of the files; what is there is read.
        finish: what is done.
        still: why the videos that it is from show no motion, or None.
        progress: called with the steps.

    Raises:
        UsageError: a bad prompt, or no CLIP where one is needed.
        DataError: a damaged file, or hardly anything is left of the decoupled motion.
    """
    if clip is None and finish.needs_clip:
        raise UsageError("a motion is read back, decoupled and calibrated by a CLIP, got none")
    file, record = folder / SUBSPACE, folder / READ_BACK
    known = _load_read_back(record) if finish.template and record.exists() else None
    if file.exists() and (known is not None or not finish.template):
        return FinishedMotion(
            subspace=load_subspace(file), read_back=known[0] if known else None, still=still
        )
    subspace, found, how = find(), None, finish.sampling(progress)
    if clip is not None and finish.without:
        own = finish.template or finish.calibrate
        subspace = decouple(gen, clip, subspace, finish.without, own=own, **how)
    if clip is not None and finish.template:
        if known is None:
            known = _turned(read_back(gen, clip, subspace, template=finish.template, **how))
            io.write_json(record, {**known[0].to_dict(), "mirrored": known[1]})
        found, turned = known
        subspace = mirrored(subspace) if turned else subspace
        subspace = dataclasses.replace(subspace, meta={**subspace.meta, "read_back": found.brief()})
    motion = FinishedMotion(subspace=subspace, read_back=found, still=still)
    if clip is not None and finish.calibrate and not motion.fault:
        motion = dataclasses.replace(motion, subspace=_calibrated(gen, clip, subspace, finish, how))
    if finish.keep or not motion.fault:
        save_subspace(file, motion.subspace)
    return motion


def _calibrated(
    gen: Generator, clip: Clip, subspace: Subspace, finish: Finish, how: dict[str, Any]
) -> Subspace:
    """The subspace with its calibration, or with the reason why it has none."""
    try:
        curve = calibrate(gen, clip, subspace, template=finish.calibrate, **how)
        return calibrated(subspace, curve)
    except DataError as error:
        return uncalibrated(subspace, why=str(error))


def _turned(found: ReadBack) -> tuple[ReadBack, bool]:
    """What was read back in the direction in which it is found, and whether that is the other."""
    turned = not found.found and found.reversed().found
    return (found.reversed() if turned else found), turned


def _load_read_back(path: Path) -> tuple[ReadBack, bool]:
    values = io.read_json(path)
    if not isinstance(values, dict):
        raise DataError(f"{path} must hold a json object, got {type(values).__name__}")
    try:
        return ReadBack.from_dict(values), bool(values.get("mirrored"))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
