"""What strangers say of edits of faces: is each still the same person, and did it move as asked?

A few frames of each face are rendered once more and read. Of a face of an image, it is the face as
it stands in the image that is read: with what the edit changes put on it, or replaced. Readings are
believed of photographs; what a generator draws need not look like one, so there a reading that does
not move is told and nothing more.

Shapes: N faces, E subspaces, S frames that are read, L rows of W+, D latent width, R side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax import io, rendering
from mm_jax.alignment.options import PasteOptions
from mm_jax.artifacts import Latents, Subspace
from mm_jax.buckets import bucket
from mm_jax.editing.affine import apply_edit
from mm_jax.editing.options import EditOptions
from mm_jax.editing.paste_back import put_back
from mm_jax.faces.detail import LEAST_DETAIL, detail_kept
from mm_jax.faces.judge import TARGETS, FaceEdit, Target, judge_face, target_of
from mm_jax.faces.readings import OTHER_PERSON, Readings
from mm_jax.inversion.inputs import batch_for
from mm_jax.inversion.judge import reader_for
from mm_jax.progress import ProgressFn, silent
from mm_jax.report import Table
from mm_jax.stylegan2.generator import Generator

__all__ = ["VERDICT", "EditVerdict", "in_image", "judge_edit", "judge_into", "targets_of"]

VERDICT = "verdict.json"

# Frames of a face that are read, evenly from the first to the last.
_READ = 3


@dataclasses.dataclass(frozen=True)
class EditVerdict:
    """The verdict on a run's edits.

    Attributes:
        faces: by name, what was seen; None where no face was found before the edit.
        targets: E readings that the subspaces are about, or None.
        images: whether they are faces of images, or a generator's own.
    """

    faces: Mapping[str, FaceEdit | None]
    targets: Sequence[Target | None]
    images: bool = False

    @property
    def usable(self) -> int:
        """Faces that are as was asked for; those that could not be read among them."""
        return sum(not self._faults(face) for face in self.faces.values())

    def _faults(self, face: FaceEdit | None) -> tuple[str, ...]:
        if face is None:
            return ()
        return face.faults + (face.still if self.images else ())

    def line(self) -> str:
        """One line: how much of the person is kept, what moved, and what is wrong."""
        read = [face for face in self.faces.values() if face is not None]
        if not read:
            return "no face is found in them, so that the edit is not judged"
        words = []
        apart = [face.identity for face in read if face.identity is not None]
        if apart:
            words.append(f"identity changes by {np.mean(apart):.2f} (another person from "
                         f"{OTHER_PERSON:g})")  # fmt: skip
        names = dict.fromkeys(name for face in read for name in face.moved)
        for name in names:
            moved = np.mean([face.moved[name] for face in read if name in face.moved])
            words.append(f"{name} moves by {moved:+.1f} sd")
        full = dict.fromkeys(name for face in read for name in face.full)
        words += [f"{name} can't be read any higher than it is at every strength" for name in full]
        if all(target is None for target in self.targets):
            words.append("no reading is known for this motion")
        elif not names and not full:
            words.append("how far it moves can't be read")
        elif not self.images and any(face.still for face in read):
            words.append("which is not seen of every face, and need not be of drawn ones")
        unread = [name for name, face in self.faces.items() if face is None]
        if unread:
            words.append(f"not judged, as no face is found by those who judge: {', '.join(unread)}")
        faults = [
            f"{name}: {', '.join(self._faults(face))}"
            for name, face in self.faces.items()
            if self._faults(face)
        ]
        if faults:
            words.append(f"NOT AS ASKED: {'; '.join(faults)}")
        return ", ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Plain json values."""
        return {
            "line": self.line(),
            "usable": self.usable,
            "images": self.images,
            "targets": [None if target is None else list(target) for target in self.targets],
            "faces": {
                name: None if face is None else face.to_dict() for name, face in self.faces.items()
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EditVerdict:
        """Inverse of `to_dict`."""
        return cls(
            {
                name: None if face is None else FaceEdit.from_dict(face)
                for name, face in values["faces"].items()
            },
            [None if target is None else (target[0], target[1]) for target in values["targets"]],
            values["images"],
        )

    def table(self) -> Table:
        """A row for each face."""
        moved = list(dict.fromkeys(n for face in self.faces.values() if face for n in face.moved))
        detail = ["detail"] if self.images else []
        least = f"Detail: share of the photo's; below {LEAST_DETAIL:g} it is blurred. "
        rows = [
            [
                name,
                None if face is None else face.found,
                None if face is None else face.identity,
                *(None if face is None else face.detail for _ in detail),
                *(None if face is None else face.moved.get(reading) for reading in moved),
                "not read" if face is None else ", ".join(face.faults + face.still) or "as asked",
            ]
            for name, face in self.faces.items()
        ]
        return Table(
            ["face", "found", "identity", *detail, *moved, "verdict"],
            rows,
            units=["", "", "", *[""] * len(detail), *["sd"] * len(moved), ""],
            digits=2,
            limits={"identity": (None, OTHER_PERSON), "detail": (LEAST_DETAIL, None)},
            title="Verdict",
            caption="By networks that were trained on photographs, at the lowest, a middle and the "
            "highest strength. Found: a face at each of them. Identity: largest distance of its "
            f"descriptor to the unedited face's; {OTHER_PERSON:g} and more is another person. "
            f"{least if detail else ''}Then how far each reading that was asked for moves, in "
            "standard deviations over people.",
        )


def judge_into(
    folder: Path,
    gen: Generator,
    latents: Latents,
    subspaces: Sequence[Subspace],
    options: EditOptions,
    *,
    images: np.ndarray | None = None,
    paste: PasteOptions = PasteOptions(),
    progress: ProgressFn = silent,
) -> EditVerdict:
    """The verdict on edits: read from the `verdict.json` of `folder`, or else found and written.

    The arguments are those of `judge_edit`, whose reader is the generator's own.
    """
    file = folder / VERDICT
    if file.exists():
        return EditVerdict.from_dict(io.read_json(file))
    verdict = judge_edit(
        gen, latents, subspaces, options, reader_for(gen), images=images, paste=paste,
        progress=progress,
    )  # fmt: skip
    io.write_json(file, verdict.to_dict())
    return verdict


def judge_edit(
    gen: Generator,
    latents: Latents,
    subspaces: Sequence[Subspace],
    options: EditOptions,
    reader: Callable[[Any], Readings] | None,
    *,
    images: np.ndarray | None = None,
    paste: PasteOptions = PasteOptions(),
    progress: ProgressFn = silent,
) -> EditVerdict:
    """Judge what `mm_jax.editing.draw.draw` renders with the same arguments.

    Args:
        gen: the generator.
        latents: [N, L, D] with names.
        subspaces: E of them.
        options: of the edit.
        reader: a `FaceReader` for the generator's framing; None if its images can not be read.
        images: [N, R, R, 3] the faces of images that the edited ones are put back into.
        paste: how they are put back.
        progress: called with the faces that were read.
    """
    assert latents.names is not None
    strengths = np.asarray(options.strengths)  # [E, frames]
    chosen = np.unique(np.rint(np.linspace(0, options.frames - 1, _READ)).astype(int))
    strengths = strengths[:, chosen]
    targets = targets_of(subspaces)
    if reader is None:
        return EditVerdict(dict.fromkeys(latents.names), targets, images is not None)
    ws = np.asarray(latents.ws)
    edited = np.asarray(apply_edit(ws, subspaces, strengths, layers=options.layers))
    # The face without an edit comes first: [N, 1 + S, L, D].
    every = np.concatenate([ws[:, None], edited], axis=1)
    # Faces of images were inverted, and drawn, by programs for their number: so are these.
    batch = options.batch
    if images is not None:
        batch = min(batch_for(gen, batch), bucket(len(ws)))
    groups = rendering.render_groups(gen, list(every), batch=batch)
    faces: dict[str, FaceEdit | None] = {}
    for i, (name, drawn) in enumerate(zip(latents.names, groups, strict=True)):
        progress("reading faces", i, len(ws))
        drawn = np.clip(drawn, -1, 1)
        if images is not None:
            drawn = np.stack(
                [images[i], *(in_image(images[i], e, drawn[0], paste) for e in drawn[1:])]
            )
        before = reader(drawn[:1])
        faces[name] = None
        if before.found[0]:
            after = reader(drawn[1:])
            faces[name] = judge_face(
                after, strengths, targets, before.descriptors[0],
                detail=None if images is None else detail_kept(drawn[0], drawn[1:]),
            )  # fmt: skip
    progress("reading faces", len(ws), len(ws))
    return EditVerdict(faces, targets, images is not None)


def targets_of(subspaces: Sequence[Subspace]) -> list[Target | None]:
    """E readings that subspaces are about; None where no reading is known.

    A motion from prompts is about what they say, one from a video about what the bundled video of
    the same name shows.
    """

    def target(meta: Mapping[str, Any]) -> Target | None:
        if meta.get("source") == "video":
            return TARGETS.get(Path(str(meta.get("clip", ""))).stem)
        return target_of(str(meta.get("template", "")))

    return [target(subspace.meta) for subspace in subspaces]


def in_image(
    image: np.ndarray, edited: np.ndarray, rebuilt: np.ndarray, paste: PasteOptions
) -> np.ndarray:
    """A face [R, R, 3] as it stands in its image, whose crop [R, R, 3] `image` is."""
    side = len(image)
    quad = np.array([[0, 0], [0, side], [side, side], [side, 0]]) - 0.5
    return put_back(image, edited, rebuilt, quad, paste)
