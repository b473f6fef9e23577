"""Anchors from prompts: the latents of one identity as one word of a prompt grows.

Shapes: N starts, M degrees and prompts, L rows of W+, D latent width, E CLIP's width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mm_jax.anchors.gradient import SampledFaces, gradient_motion
from mm_jax.anchors.optimize import optimize_latents
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.prompts import degree_values, fill
from mm_jax.anchors.repair import repair
from mm_jax.anchors.sample import sample_matches
from mm_jax.artifacts import Anchors
from mm_jax.checks import as_latents, check_number, layer_mask
from mm_jax.errors import UsageError
from mm_jax.perceptual.clip import Clip, encode_text
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator

__all__ = ["text_anchors"]


def text_anchors(
    gen: Generator,
    clip: Clip,
    *,
    template: str,
    start: jax.Array | np.ndarray,
    options: AnchorOptions = AnchorOptions(),
    identity: Callable[[jax.Array], jax.Array] | None = None,
    key: jax.Array | None = None,
    sampled: SampledFaces | None = None,
    batch_size: int | None = None,
    progress: ProgressFn = silent,
    **changes: Any,
) -> Anchors | list[Anchors]:
    """Find the latents of one identity, or of several, along the motion that a prompt describes.

    Args:
        gen: the generator; its noise is the stored one ("const").
        clip: the network that compares images and prompts.
        template: a prompt that holds `{degree}` once, such as "a person with {degree} smile".
        start: [L, D] the identity's own latent, or [N, L, D] for several.
        options: how the anchors are found. The strategy "auto" is "gradient", unless an identity is
            given, or an option that another one alone uses.
        identity: images [B, H, H, 3] in [-1, 1] to unit vectors [B, E], such as an
            `mm_jax.ArcFace`, which hold the identity.
        key: randomness of `augment` and of the strategies that sample; from the seed in the options
            unless given.
        sampled: for `refine`, what `mm_jax.anchors.gradient.sampled_faces` gives for the same key
            and options: several motions can share it. By default the faces are looked at anew.
        batch_size: latents in work at once, by default as many as fit in about 2 GiB. The result
            does not depend on it.
        progress: called with a label, what is done and how much there is.
        **changes: options by name, such as `steps=100`, in place of those in `options`.

    Returns:
        Anchors with ws [M, L, D] for one start, a list of N of them for [N, L, D]. Their meta has
        the prompts, the models, the options, and for each degree how the search went. Of optimised
        anchors it also says which degrees were tried again ("retried"), which were left out since
        CLIP does not read them as what they should be ("dropped"), and whether what CLIP reads
        rises with the degree ("rises"); where it does not, all are kept.

    Raises:
        UsageError: an argument is out of range, unknown, or of another shape.
        DataError: the start latents are not finite, or the optimisation diverges.
    """
    given = [*changes, *(["identity"] if identity is not None else [])]
    options = options.replace(**changes).resolved(given)
    prompts = [fill(template, degree) for degree in options.degrees]
    shape = (gen.config.num_ws, gen.config.w_dim)
    starts = as_latents("start", start, shape)
    moving = layer_mask(options.layers, gen.config.num_ws)
    resolution = _check_resolution(options.resolution, gen.config)
    if batch_size is not None:
        check_number("batch_size", batch_size, minimum=1, whole=True)
    if identity is not None and not callable(identity):
        raise UsageError(f"identity must be a function, got {type(identity).__name__}")
    if identity is None and "identity_weight" in changes:
        raise UsageError("identity_weight needs an identity, such as an mm_jax.ArcFace")
    if sampled is not None and not (options.strategy == "gradient" and options.refine):
        raise UsageError("sampled needs strategy=gradient and refine")
    key = jax.random.key(options.seed) if key is None else key
    texts = encode_text(clip, prompts)
    used = {
        **dataclasses.asdict(options),
        "resolution": resolution,
        "layers": np.flatnonzero(moving).tolist(),
        "identity": _name_of(identity),
        "identity_weight": 0.0 if identity is None else options.identity_weight,
    }
    values = degree_values(options.degrees)
    metadata = {
        "source": "text",
        "strategy": options.strategy,
        "template": template,
        "clip": clip.name,
        "generator": gen.name,
        "generator_fingerprint": gen.fingerprint,
        "settings": used,
    }
    asked = _Asked(options, prompts, texts, values, moving, metadata)
    how: dict[str, Any] = {"key": key, "batch_size": batch_size, "progress": progress}
    if options.strategy == "optimize":
        anchors = _optimized(gen, clip, starts, asked, identity=identity, **how)
    else:
        anchors = _moved(gen, clip, starts, asked, sampled, **how)
    return anchors if np.ndim(start) == 3 else anchors[0]


class _Asked(NamedTuple):
    """What is asked for: M prompts, and what is known of them.

    Attributes:
        options: resolved, so that they name a strategy.
        prompts: [M].
        texts: [M, E] their unit vectors.
        degrees: [M] numbers.
        moving: [L] bool, the rows of W+ that may move.
        metadata: of all anchors alike.
    """

    options: AnchorOptions
    prompts: Sequence[str]
    texts: jax.Array
    degrees: np.ndarray
    moving: np.ndarray
    metadata: Mapping[str, Any]


def _optimized(
    gen: Generator,
    clip: Clip,
    starts: np.ndarray,
    asked: _Asked,
    *,
    identity: Callable[[jax.Array], jax.Array] | None,
    **how: Any,
) -> list[Anchors]:
    """N sets of anchors, each latent optimised by itself; failed ones begun again or left out."""
    options = asked.options
    how |= {"texts": asked.texts, "options": options, "identity": identity}
    optimized = optimize_latents(gen, clip, start=starts, **how)  # ws [N, M, L, D]
    retried = failed = np.zeros(optimized.losses.shape[:2], bool)  # [N, M]
    if options.repair:
        optimized, retried, failed = repair(
            gen, clip, optimized, start=starts, degrees=asked.degrees, **how
        )
    anchors = []
    for n, own in enumerate(starts):
        kept, outcome = _outcome(options.degrees, asked.degrees, retried[n], failed[n])  # [m]
        outcome |= {
            "labels": [options.degrees[m] for m in kept],
            "prompts": [asked.prompts[m] for m in kept],
            "losses": _rounded(optimized.losses[n, kept]),
            "similarities": _rounded(optimized.similarities[n, kept]),
        }
        metadata = {**asked.metadata, **outcome}
        anchors.append(Anchors(optimized.ws[n, kept], own, asked.degrees[kept], metadata))
    return anchors


def _moved(
    gen: Generator,
    clip: Clip,
    starts: np.ndarray,
    asked: _Asked,
    sampled: SampledFaces | None,
    **how: Any,
) -> list[Anchors]:
    """N sets of anchors along one motion, which is the same for every start."""
    options = asked.options
    how |= {"texts": asked.texts, "options": options}
    metadata = {
        **asked.metadata, "labels": list(options.degrees), "prompts": list(asked.prompts)
    }  # fmt: skip
    if options.strategy == "sample":
        matches = sample_matches(gen, clip, **how)
        offsets = matches.offsets  # [M, D]
        metadata["margins"] = _rounded(matches.margins)
    else:
        motion = gradient_motion(
            gen, clip, degrees=asked.degrees, moving=asked.moving, sampled=sampled, **how
        )
        offsets = motion.steps[:, None] * motion.direction[None, :]  # [M, D]
        metadata |= {
            "agreement": round(motion.agreement, 6),
            "faces": motion.faces,
            "positions": _rounded(motion.positions),
            "readings": _rounded(motion.readings),
        }
    # [1, M, 1, D] in the rows that may move [1, 1, L, 1]
    added = offsets[None, :, None, :] * asked.moving[None, None, :, None]
    ws = starts[:, None] + added.astype(np.float32)  # [N, M, L, D]
    return [
        Anchors(ws=latents, start=own, degrees=asked.degrees, meta=metadata)
        for latents, own in zip(ws, starts, strict=True)
    ]


def _outcome(
    labels: Sequence[str], values: np.ndarray, retried: np.ndarray, failed: np.ndarray
) -> tuple[np.ndarray, dict[str, Any]]:
    """Of the anchors of one start: which are kept, and what became of the others.

    Failed ones are left out unless they are more than half, or leave fewer than two.
    """
    rises = (~failed).sum() >= max(2, len(failed) / 2)
    kept = np.flatnonzero(~failed) if rises else np.arange(len(failed))
    dropped = [
        {
            "degree": labels[m],
            "value": float(values[m]),
            "reason": "CLIP does not read it as this degree",
        }
        for m in range(len(failed))
        if m not in kept
    ]
    again = [label for label, tried in zip(labels, retried, strict=True) if tried]
    return kept, {"retried": again, "dropped": dropped, "rises": bool(rises)}


def _name_of(identity: Callable[[jax.Array], jax.Array] | None) -> str | None:
    """What records call the function that compares identities."""
    if identity is None:
        return None
    return getattr(identity, "name", None) or getattr(identity, "__name__", type(identity).__name__)


def _rounded(values: np.ndarray) -> list[Any]:
    """Plain numbers of six digits, which is more than they mean."""
    return np.round(values.astype(np.float64), 6).tolist()


def _check_resolution(resolution: int | None, config: GeneratorConfig) -> int:
    if resolution is None:
        return config.resolution
    if resolution not in config.block_resolutions:
        raise UsageError(
            f"resolution must be one of {', '.join(map(str, config.block_resolutions))}, "
            f"got {resolution!r}"
        )
    return int(resolution)
