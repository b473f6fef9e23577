"""The five micromotions for a topic: of an mm_demo run, or found anew as mm_demo finds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mm_jax import zoo
from mm_jax.anchors import folder as anchors_folder
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.artifacts import Latents, Subspace, load_subspace
from mm_jax.demo.options import DemoOptions
from mm_jax.editing.affine import apply_edit
from mm_jax.errors import DataError, UsageError
from mm_jax.evaluation.reading import read_latents
from mm_jax.latents import sample_latents
from mm_jax.perceptual.clip import Clip
from mm_jax.perceptual.probe import Probe
from mm_jax.progress import ProgressFn, prefixed, silent
from mm_jax.stylegan2.generator import Generator

__all__ = ["effects", "find_motions", "identity_factors", "load_motions", "target_of"]

# For each motion the factors that it may be about, as the bundled worlds call them, and whether
# they grow or fall with its degree.
_TARGETS = {
    "smile": {"smile": 1},
    "anger": {"anger": 1, "brow_angle": 1},
    "aging": {"age": 1},
    "closing_eyes": {"eye_close": 1, "eye_open": -1},
    "head_turn": {"yaw": 1},
}


def target_of(motion: str, factors: Sequence[str]) -> tuple[int, int]:
    """The factor that a motion is about: its position, and 1 where it grows with the motion or -1.

    Args:
        motion: one of the five motions of the paper.
        factors: names of the factors that a probe reads, in order.

    Raises:
        UsageError: the probe reads no factor that the motion is about.
    """
    for name, sign in _TARGETS.get(motion, {}).items():
        if name in factors:
            return factors.index(name), sign
    raise UsageError(
        f"the judge reads no factor that {motion} is about; it reads {', '.join(factors)}"
    )


# What says who somebody is, as the bundled world calls it; neither expression, age, light nor
# clothes do.
_IDENTITY = frozenset(
    [
        "gender",
        "african",
        "asian",
        "weight",
        "face_width",
        "face_length",
        "jaw",
        "chin",
        "cheeks",
        "cheekbones",
        "forehead",
        "nose_width",
        "nose_length",
        "nose_bridge",
        "nose_tip",
        "eye_size",
        "eye_slant",
        "eye_spacing",
        "mouth_width",
        "lip_fullness",
        "ears",
        "skin_tone",
        "freckles",
        "eye_colour",
        "brow_height",
        "brow_thickness",
    ]
)


def identity_factors(factors: Sequence[str]) -> list[int]:
    """Positions of the factors that say who somebody is, of those that a probe reads."""
    return [place for place, name in enumerate(factors) if name in _IDENTITY]


def load_motions(folder: str, gen: Generator, motions: Sequence[str]) -> dict[str, Subspace]:
    """The subspaces of motions: an mm_demo run's, or the bundled ones where no folder is given.

    Raises:
        UsageError: no folder, and a motion that is not bundled. DataError: a missing or damaged
            file, or one of another generator.
    """
    bundled = {} if folder else zoo.bundled_motions(gen)
    missing = [motion for motion in motions if not folder and motion not in bundled]
    if missing:
        raise UsageError(
            f"subspaces is missing: no {', '.join(missing)} of {gen.name} is bundled; it must be "
            "the folder of an mm_demo run"
        )
    found = {}
    for motion in motions:
        path = Path(folder, motion, anchors_folder.SUBSPACE) if folder else bundled[motion]
        found[motion] = load_subspace(path)
        home = found[motion].meta.get("generator_fingerprint")
        if home not in (None, gen.fingerprint):
            raise DataError(f"{path} was found in another generator than {gen.name}")
    return found


def find_motions(
    gen: Generator,
    clip: Clip,
    folder: Path,
    *,
    batch: int,
    motions: Sequence[str] | None = None,
    starts: Sequence[int] | None = None,
    progress: ProgressFn = silent,
) -> dict[str, Subspace]:
    """The subspaces that mm_demo finds from prompts; those in `folder` are reused.

    Args:
        gen: the generator.
        clip: the network that compares its images with prompts.
        folder: where they are kept.
        batch: images per step.
        motions: which, all by default.
        starts: seeds of the start faces, mm_demo's by default.
        progress: called with the steps.
    """
    options = DemoOptions(batch=batch)
    if starts is not None:
        options = options.replace(starts=tuple(starts))
    names = tuple(f"seed{seed:04d}" for seed in options.starts)
    ws = sample_latents(gen, seeds=options.starts, truncation_psi=options.trunc)
    faces = Latents(ws, names, options.starts)
    found = {}
    for motion in motions or options.motions:
        own, preset = folder / motion, MOTIONS[motion]
        how = options.anchors.replace(layers=preset.layers)
        sets = anchors_folder.find_anchors(
            gen, clip, preset.template, faces, own, how, progress=prefixed(progress, motion)
        )
        how = options.subspace.replace(layers=preset.layers)
        found[motion] = anchors_folder.find_subspace(sets, own, how)
    return found


def effects(
    gen: Generator,
    probe: Probe,
    ws: np.ndarray,
    motions: dict[str, Subspace],
    *,
    batch: int = 16,
    progress: ProgressFn = silent,
    label: str = "editing",
) -> dict[str, np.ndarray]:
    """How far each motion moves its own factor, from strength -1 to 1, in each latent.

    Args:
        gen: the generator.
        probe: what reads its images.
        ws: [N, L, D] latents.
        motions: subspaces by name.
        batch: images per step.
        progress: called with the steps.
        label: what progress calls the work.

    Returns:
        [N] by motion, in the units of factors, positive where the motion goes its own way.
    """
    found = {}
    for motion, subspace in motions.items():
        edited = np.asarray(apply_edit(ws, subspace, [-1.0, 1.0]))
        read = read_latents(
            gen, probe, edited, batch=batch, progress=progress, label=f"{label}: {motion}"
        )
        target, sign = target_of(motion, probe.factors)
        found[motion] = sign * (read[:, 1, target] - read[:, 0, target])
    return found
