"""Options of the methods that are compared. Nothing here imports JAX."""

from __future__ import annotations

import dataclasses

from mm_jax.errors import UsageError
from mm_jax.options import Options, option

__all__ = ["METHODS", "BaselineOptions", "parse_methods"]

METHODS = (
    "random",
    "ganspace",
    "sefa",
    "lowrank",
    "styleclip",
    "interfacegan_clip",
    "interfacegan_clip_conditional",
    "interfacegan_probe",
    "interfacegan_probe_conditional",
    "clip_means",
    "clip_regression",
    "clip_gradient",
    "ours_compat",
    "ours_one_start",
    "ours_optimize",
    "ours_sample",
    "ours_gradient",
    "ours_refined",
    "ours_video",
    "ceiling_regression",
    "ceiling_jacobian",
)
"""Names of the methods, in the order of tables; `mm_jax.baselines.methods` says what they are."""


def parse_methods(text: str, *, flag: str) -> tuple[str, ...]:
    """Some of `METHODS`, in their order.

    Raises:
        UsageError: another name.
    """
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in METHODS:
            raise UsageError(f"{flag}={text!r}: {name!r} is none of {', '.join(METHODS)}")
    return tuple(name for name in METHODS if name in names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaselineOptions(Options):
    """How much each method looks at.

    Raises:
        UsageError: a number out of range.
    """

    samples: int = option(
        4096, "Faces that are sampled for labels, scores and principal components.", minimum=8
    )
    extremes: float = option(
        0.05, "Fraction of them at each end whose means are compared.", above=0, maximum=0.5
    )
    labelled: float = option(
        0.1, "Fraction of them at each end that InterFaceGAN learns from.", above=0, maximum=0.5
    )
    jacobian_faces: int = option(24, "Faces over which Jacobians are averaged.", minimum=1)
    gram_faces: int = option(4, "Faces of the image Jacobian of LowRankGAN.", minimum=1)
    components: int = option(
        40, "Components of GANSpace, SeFa and LowRankGAN among which the oracle picks.", minimum=1
    )
    sketch: int = option(
        32, "Random projections of CLIP's space by which lengths of changes are told.", minimum=1
    )
    relevance: float = option(
        0.15, "StyleCLIP's beta: channels of less relevance do not move.", minimum=0, maximum=1
    )
    starts: int = option(6, "Start faces of our optimised anchors.", minimum=1)
    optimize_steps: int = option(30, "Steps of our optimised anchors.", minimum=1)
    averaged: int = option(
        96, "Faces whose gradients our direction from gradients averages.", minimum=2
    )
    truncation_psi: float = option(0.7, "Truncation of sampled faces.", flag=False)
    batch: int = option(16, "Images per step.", minimum=1, flag=False)

    def count(self, fraction: float) -> int:
        """Faces that a fraction of the sampled ones is, at least two."""
        return max(2, round(fraction * self.samples))
