"""Was the motion found that the prompts ask for? The asked degree, read back by CLIP.

Other faces are moved along the finished motion, and CLIP reads off their images which of the
prompts' degrees they have (`mm_jax.anchors.reading`). How far that reading rises is compared with
control prompts: the same degrees of things that no face has ("a 30% table"). A CLIP that does not
know what a prompt is about still tells "no" from "100%" in its own way, and an optimisation follows
that; but then the control prompts rise along the motion as much as the prompt itself. What the
prompt rises more than three of four of them is the *degree read back*, from about 0 where nothing
was found to nearly 1. A random direction of latents would be a weaker comparison: it changes the
image, but nothing has optimised it for CLIP.

The rise is taken from strength -1 to 1, or from 0 to 1 if that is more: of a head that turns to the
right, the least degree is the head of most faces, and below strength 0 it turns to the left.

Neither the length of the motion nor how straight the anchors lie (the PC1 ratio) says any of this.

Shapes: N faces, S strengths, M prompts, K control prompts, E CLIP's width.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mm_jax.anchors.prompts import asked, degree_values, fill
from mm_jax.anchors.reading import embed_latents, read_degrees, sampled_faces
from mm_jax.artifacts import Subspace
from mm_jax.checks import check_number
from mm_jax.edit_metrics import spearman
from mm_jax.editing.affine import apply_edit
from mm_jax.errors import DataError
from mm_jax.perceptual.clip import Clip, encode_text
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator

__all__ = ["CONTROLS", "MIN_DEGREE", "MIN_SPEARMAN", "ReadBack", "read_back"]

#: Prompts of things that have nothing to do with faces, in various grammar.
CONTROLS = (
    "{degree}",
    "a {degree} thing",
    "{degree} of it",
    "a photo of {degree}",
    "a {degree} table",
    "a {degree} house on a hill",
    "a car with {degree} wheels",
    "{degree} water in a glass",
    "a {degree} tree in a field",
    "a plate of {degree} food",
    "a boat with {degree} sails",
    "a {degree} letter on paper",
    "a clock that is {degree} round",
    "a shelf with {degree} books",
    "a dog with a {degree} tail",
    "a {degree} cup of coffee",
)
#: What a motion that was found has at least. With the bundled models the five motions of the paper
#: have 0.64 and more by gradients, with a Spearman of 0.77 (turning the head) or 1.00, and a smile
#: that was optimised 0.42; prompts that its CLIP does not understand have 0.28 or less.
MIN_DEGREE, MIN_SPEARMAN = 0.3, 0.6

STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0)
FACES = 24
# Of the control prompts' rises this quantile is subtracted.
QUANTILE = 0.75


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadBack:
    """What CLIP reads of other faces along a motion.

    Attributes:
        strengths: [S] at which they were read, growing evenly from -1 to 1.
        readings: [N, S] degrees read, 0 for the least of the prompts' degrees and 1 for the
            greatest.
        controls: [K, S] the same by each control prompt, mean over faces.
    """

    strengths: np.ndarray
    readings: np.ndarray
    controls: np.ndarray

    @property
    def begin(self) -> int:
        """Index of the strength from which the rise is taken: the lowest, or 0 if that is more."""
        return max((0, len(self.strengths) // 2), key=self._degree_from)

    def _degree_from(self, begin: int) -> float:
        # A fall of control prompts is no merit of the motion.
        return self._rise_from(begin) - max(0.0, self._others_from(begin))

    def _rise_from(self, begin: int) -> float:
        return float((self.readings[:, -1] - self.readings[:, begin]).mean())

    def _others_from(self, begin: int) -> float:
        return float(np.quantile(self.controls[:, -1] - self.controls[:, begin], QUANTILE))

    @property
    def rise(self) -> float:
        """How far the reading rises up to the highest strength, mean over faces."""
        return self._rise_from(self.begin)

    @property
    def others(self) -> float:
        """What three of four control prompts rise at most, over the same strengths."""
        return self._others_from(self.begin)

    @property
    def degree(self) -> float:
        """The degree read back: the rise, less that of control prompts if they rise at all."""
        return self._degree_from(self.begin)

    @property
    def spearman(self) -> float:
        """Rank correlation of reading and strength over the same strengths, mean over faces."""
        begin = self.begin
        return float(spearman(self.readings[:, begin:], self.strengths[begin:]).mean())

    @property
    def found(self) -> bool:
        """Whether the motion is what the prompts ask for."""
        return self.degree >= MIN_DEGREE and self.spearman >= MIN_SPEARMAN

    def reversed(self) -> ReadBack:
        """What would be read along the opposite motion."""
        return dataclasses.replace(
            self, readings=self.readings[:, ::-1], controls=self.controls[:, ::-1]
        )

    def describe(self) -> str:
        """The figures in a line."""
        degree, spearman, wanted = self.degree, self.spearman, ""
        if not self.found:  # rounded down, so that what is just too little does not look enough
            degree, spearman = (math.floor(100 * value) / 100 for value in (degree, spearman))
            wanted = f", wanted {MIN_DEGREE:g} and {MIN_SPEARMAN:g}"
        low, high = self.readings[:, self.begin].mean(), self.readings[:, -1].mean()
        return (
            f"degree read back {degree:.2f}, Spearman {spearman:.2f}{wanted} (from "
            f"strength {self.strengths[self.begin]:g} to 1 CLIP reads {low:.2f} to {high:.2f} off "
            f"{len(self.readings)} other faces; by prompts about other things it rises by "
            f"{self.others:.2f})"
        )

    def brief(self) -> dict[str, Any]:
        """What a subspace's metadata keeps of it, as plain json values."""
        whole = self.to_dict()
        return {key: whole[key] for key in ("degree_read_back", "spearman", "found")}

    def to_dict(self) -> dict[str, Any]:
        """As plain json values, the figures first."""
        return {
            "degree_read_back": round(self.degree, 4),
            "spearman": round(self.spearman, 4),
            "found": self.found,
            "wanted": {"degree_read_back": MIN_DEGREE, "spearman": MIN_SPEARMAN},
            "from_strength": float(self.strengths[self.begin]),
            "rise": round(self.rise, 4),
            "others": round(self.others, 4),
            "strengths": self.strengths.tolist(),
            "readings": np.round(self.readings.astype(np.float64), 4).tolist(),
            "controls": np.round(self.controls.astype(np.float64), 4).tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReadBack:
        """From what `to_dict` gave.

        Raises:
            DataError: it was something else.
        """
        try:
            found = cls(
                strengths=np.asarray(values["strengths"], np.float64),
                readings=np.asarray(values["readings"], np.float64),
                controls=np.asarray(values["controls"], np.float64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not what was read back of a motion: {error}") from error
        shapes = {part.shape[1:] for part in (found.readings, found.controls)}
        if shapes != {found.strengths.shape} or found.strengths.ndim != 1:
            raise DataError("not what was read back of a motion: the shapes do not agree")
        return found


def read_back(
    gen: Generator,
    clip: Clip,
    subspace: Subspace,
    *,
    template: str | None = None,
    degrees: Sequence[str] | None = None,
    faces: int = FACES,
    truncation_psi: float = 0.7,
    key: jax.Array | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
) -> ReadBack:
    """Read off other faces, by CLIP, the degree that the prompts ask for.

    Args:
        gen: the generator.
        clip: the network that compares images and prompts.
        subspace: its first direction is the motion.
        template: a prompt with one `{degree}`; by default the one that the subspace was found from.
        degrees: what replaces it, in growing order; likewise.
        faces: N, how many are sampled. Each is rendered at five strengths.
        truncation_psi: of the faces.
        key: which faces; a fixed one unless given, which no seed of `sample_latents` gives.
        batch_size: images in work at once.
        progress: called with a label, what is done and how much there is.

    Raises:
        UsageError: no template or degrees, in arguments and subspace, or bad ones.
        DataError: the readings are not finite.
    """
    template, degrees = asked("read_back", subspace.meta, template, degrees)
    check_number("faces", faces, minimum=2, whole=True)
    values = degree_values(degrees)
    prompts = [fill(one, degree) for one in (template, *CONTROLS) for degree in degrees]
    texts = np.asarray(encode_text(clip, prompts, cut=True))
    texts = texts.reshape(-1, len(degrees), texts.shape[-1])

    key = jax.random.fold_in(jax.random.key(0), 0xFACE) if key is None else key
    ws = sampled_faces(gen, key, faces, truncation_psi=truncation_psi)
    edited = apply_edit(ws, subspace, STRENGTHS)
    vectors = embed_latents(
        gen, clip, edited, batch_size=batch_size, progress=progress, label="reading back"
    )  # [N, S, E]
    cosines = np.einsum("nse,kme->knsm", vectors, texts)
    if not np.isfinite(cosines).all():
        raise DataError("the images of the motion cannot be compared: they hold NaN or infinity")
    scale = float(clip.logit_scale)
    typical = cosines.mean(axis=(1, 2), keepdims=True)
    readings = read_degrees(cosines, values, typical=typical, scale=scale)  # [1 + K, N, S]
    return ReadBack(
        strengths=np.asarray(STRENGTHS), readings=readings[0], controls=readings[1:].mean(axis=1)
    )
