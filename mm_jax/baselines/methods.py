"""The methods that are compared, by name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

from mm_jax.anchors.prompts import Motion
from mm_jax.baselines import (
    ceilings,
    clip_scores,
    ganspace,
    interfacegan,
    lowrank,
    ours,
    random_direction,
    sefa,
    styleclip,
)
from mm_jax.baselines.options import METHODS
from mm_jax.baselines.world import FIELDS, JACOBIAN, SAMPLED, Direction, World

__all__ = ["TABLE", "Find", "Method"]

Find = Callable[[World, Motion], Direction]


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to a direction.

    Attributes:
        title: in tables.
        find: the function.
        sees: what it is given beside generator and prompts: "nothing", "CLIP", "video", "probe"
            (known factors as labels) or "oracle" (known factors choose among its answers).
        ours: whether it is this project's.
        ceiling: whether it is no method but a bound.
        once: whether it finds the same whatever the key.
        files: what it keeps in the world's folder, or shares with others.
    """

    title: str
    find: Find
    sees: str
    ours: bool = False
    ceiling: bool = False
    once: bool = False
    files: tuple[str, ...] = ()


def _interfacegan(labels: str, condition: bool) -> Find:
    return functools.partial(interfacegan.find, labels=labels, condition=condition)


_ALL = {
    "random": Method("random direction", random_direction.find, "nothing"),
    "ganspace": Method("GANSpace", ganspace.find, "oracle", files=(SAMPLED, JACOBIAN)),
    "sefa": Method("SeFa", sefa.find, "oracle", files=(SAMPLED, JACOBIAN)),
    "lowrank": Method(
        "LowRankGAN", lowrank.find, "oracle", files=(SAMPLED, JACOBIAN, lowrank.GRAM)
    ),
    "styleclip": Method(
        "StyleCLIP, global directions", styleclip.find, "CLIP", files=(styleclip.CHANGES,)
    ),
    "interfacegan_clip": Method(
        "InterFaceGAN", _interfacegan("clip", False), "CLIP", files=(SAMPLED,)
    ),
    "interfacegan_clip_conditional": Method(
        "InterFaceGAN, conditional", _interfacegan("clip", True), "CLIP", files=(SAMPLED,)
    ),
    "interfacegan_probe": Method(
        "InterFaceGAN", _interfacegan("probe", False), "probe", files=(SAMPLED,)
    ),
    "interfacegan_probe_conditional": Method(
        "InterFaceGAN, conditional", _interfacegan("probe", True), "probe", files=(SAMPLED,)
    ),
    "clip_means": Method(
        "means of CLIP's extremes", clip_scores.find_means, "CLIP", files=(SAMPLED,)
    ),
    "clip_regression": Method(
        "regression of W on CLIP", clip_scores.find_regression, "CLIP", files=(SAMPLED,)
    ),
    "clip_gradient": Method(
        "covariance of W, CLIP's gradient", clip_scores.find_gradient, "CLIP", files=(FIELDS,)
    ),
    "ours_compat": Method("official recipe, one face", ours.compat, "CLIP", ours=True),
    "ours_one_start": Method("ours, optimised, one face", ours.one_start, "CLIP", ours=True),
    "ours_optimize": Method("ours, optimised", ours.optimize, "CLIP", ours=True),
    "ours_sample": Method("ours, sampled", ours.sample, "CLIP", ours=True, files=(SAMPLED,)),
    "ours_gradient": Method("ours, gradients", ours.gradient, "CLIP", ours=True, files=(FIELDS,)),
    "ours_refined": Method(
        "ours, gradients refined", ours.refine, "CLIP", ours=True, files=(FIELDS, SAMPLED)
    ),
    "ours_video": Method("ours, one video", ours.video, "video", ours=True, once=True),
    "ceiling_regression": Method(
        "W regressed on the factors", ceilings.find_regression, "probe", ceiling=True,
        files=(SAMPLED,),
    ),
    "ceiling_jacobian": Method(
        "averaged Jacobian", ceilings.find_jacobian, "probe",
        ceiling=True, files=(SAMPLED, JACOBIAN),
    ),
}  # fmt: skip

TABLE: Mapping[str, Method] = MappingProxyType({name: _ALL[name] for name in METHODS})
"""The methods in the order of `mm_jax.baselines.options.METHODS`."""
