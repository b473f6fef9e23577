"""What is worth telling about prompts, about anchors found from them, and their decomposition."""

from __future__ import annotations

from collections.abc import Sequence

from mm_jax.anchors.calibrate import WHY_NOT
from mm_jax.anchors.prompts import fill, words_without_number
from mm_jax.artifacts import Anchors, Subspace
from mm_jax.perceptual.clip import Clip
from mm_jax.perceptual.clip_words import wording_notes
from mm_jax.zoo import ASSETS

__all__ = ["anchor_notes", "prompt_notes"]

# Robust PCA that takes a larger fraction of the motion's energy for outliers has removed much.
_MAX_SPARSE = 0.5
_KNOWN_WORDS = f"the bundled one's words are listed in {ASSETS / 'MODEL_CARD.md'}"


def prompt_notes(clip: Clip, template: str, degrees: Sequence[str]) -> list[str]:
    """Lines on a prompt before the work: words that the CLIP does not know, degrees without number.

    Args:
        clip: the network that compares images and prompts.
        template: a prompt with one `{degree}`.
        degrees: what replaces it.
    """
    notes = wording_notes(clip, [fill(template, degree) for degree in degrees], known=_KNOWN_WORDS)
    if words := words_without_number(degrees):
        named = ", ".join(f"“{word}”" for word in words)
        notes.append(
            f"--degrees: no number in {named}: all degrees count by their order, evenly spaced"
        )
    return notes


def anchor_notes(names: Sequence[str], sets: Sequence[Anchors], subspace: Subspace) -> list[str]:
    """Lines on anchors that failed or were begun again, and on their motion.

    Of the motion they say what robust PCA left out, and why it was not calibrated.

    Args:
        names: N names of the sets.
        sets: N sets of anchors.
        subspace: their motion.
    """
    notes = []
    for name, anchors in zip(names, sets, strict=True):
        if not anchors.meta.get("rises", True):
            used = "left out" if any(s.meta.get("rises", True) for s in sets) else "used as it is"
            notes.append(f"{name}: what CLIP reads does not rise with the degree; {used}")
        if again := anchors.meta.get("retried"):
            notes.append(f"{name}: begun again from the nearest degree: {', '.join(again)}")
        left_out = [d["degree"] for d in anchors.meta.get("dropped", ()) if "degree" in d]
        if left_out:
            notes.append(f"{name}: left out, as CLIP reads another degree: {', '.join(left_out)}")
    fraction = subspace.meta.get("rpca", {}).get("sparse_energy", 0.0)
    if fraction > _MAX_SPARSE:
        notes.append(
            f"robust PCA took {fraction:.0%} of the anchors' motion for outliers, with few anchors "
            "more than is right; --method=svd takes all of it"
        )
    if why := subspace.meta.get(WHY_NOT):
        notes.append(f"strengths are not calibrated: {why}")
    return notes
