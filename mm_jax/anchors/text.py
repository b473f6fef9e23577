"""Anchors from prompts: the codes of one identity as one word of a prompt grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax.anchors.optimize import OBJECTIVES, Objective, optimize_codes
from mm_jax.anchors.prompts import DEFAULT_DEGREES, check_degrees, degree_values, fill
from mm_jax.anchors.sample import sample_matches
from mm_jax.artifacts import Anchors
from mm_jax.checks import check_count, check_number, check_one_of
from mm_jax.errors import DataError, UsageError
from mm_jax.perceptual.clip import Clip, check_preprocess, encode_text
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator

__all__ = ["STRATEGIES", "text_anchors"]

STRATEGIES = ("optimize", "sample")


def text_anchors(
    gen: Generator,
    clip: Clip,
    *,
    template: str,
    start: jax.Array | np.ndarray,
    degrees: Sequence[str] = DEFAULT_DEGREES,
    strategy: str = "optimize",
    layers: Sequence[int] | None = None,
    resolution: int | None = None,
    preprocess: str = "clip",
    steps: int = 40,
    learning_rate: float = 0.1,
    l2_weight: float = 0.008,
    identity_weight: float = 0.0,
    identity: Callable[[jax.Array], jax.Array] | None = None,
    objective: str = "cosine",
    augment: int = 0,
    samples: int = 1024,
    keep: int = 32,
    truncation_psi: float = 0.7,
    batch_size: int | None = None,
    key: jax.Array | None = None,
    progress: ProgressFn = silent,
) -> Anchors | list[Anchors]:
    """Find the codes of one identity, or of several, along the motion that a prompt describes.

    Args:
        gen: the generator; its noise is the stored one ("const").
        clip: the network that compares pictures and prompts.
        template: a prompt that holds `{degree}` once, such as "a person with {degree} smile".
        start: [L, D] the identity's own code, or [N, L, D] for several.
        degrees: what is put in the place of `{degree}`, in growing order; at least two.
        strategy: "optimize", the paper's (see `mm_jax.anchors.optimize`), or "sample" (see
            `mm_jax.anchors.sample`).
        layers: the rows of W+ that may move, all unless given.
        resolution: judge the running picture of this side, without the layers above it.
        preprocess: how pictures are shown to CLIP: "clip", or "styleclip" as in the paper.
        steps, learning_rate: of Adam, in "optimize".
        l2_weight: what a squared unit of distance from the start costs.
        identity_weight: what a change of identity costs; the paper has 0.005 with ArcFace.
        identity: pictures [B, H, H, 3] in [-1, 1] to unit vectors [B, *], such as an
            `mm_jax.ArcFace`; needed for the former.
        objective: "cosine", the paper's, or "contrast"; see `mm_jax.anchors.optimize.OBJECTIVES`.
        augment: judge this many random crops of each picture beside the picture itself, against the
            blind spots of a small CLIP; needs `key`.
        samples, keep, truncation_psi: latents sampled, latents averaged for each degree, and
            their truncation, in "sample".
        batch_size: codes in work at once, by default as many as fit in about 2 GiB. The result does
            not depend on it.
        key: randomness of `augment` and of "sample".
        progress: called with a label, what is done and how much there is.

    Returns:
        Anchors with ws [M, L, D] for one start, a list of N of them for [N, L, D]. Their meta has
        the prompts, the models, the settings, and by degree how the search went.

    Raises:
        UsageError: an argument is out of range, or of another shape.
        DataError: the start codes are not finite, or the optimisation diverges.
    """
    degrees = check_degrees(degrees)
    prompts = [fill(template, degree) for degree in degrees]
    starts = _check_start(start, gen.config)
    moving = _check_layers(layers, gen.config.num_ws)
    check_one_of("strategy", strategy, STRATEGIES)
    check_one_of("objective", objective, OBJECTIVES)
    check_preprocess(preprocess)
    resolution = _check_resolution(resolution, gen.config)
    check_count("batch_size", batch_size)
    texts = encode_text(clip, prompts)
    settings: dict[str, Any] = {
        "resolution": resolution,
        "preprocess": preprocess,
        "layers": np.flatnonzero(moving).tolist(),
    }
    if strategy == "optimize":
        _check_optimize(steps, learning_rate, l2_weight, identity_weight, identity, augment, key)
        optimized = optimize_codes(
            gen,
            clip,
            start=jnp.asarray(starts),
            texts=texts,
            objective=Objective(
                kind=objective, preprocess=preprocess, resolution=resolution, augment=augment
            ),
            moving=moving,
            steps=steps,
            learning_rate=learning_rate,
            l2_weight=l2_weight,
            identity_weight=identity_weight,
            identity=identity,
            key=key,
            batch_size=batch_size,
            progress=progress,
        )
        ws = optimized.ws
        settings |= {
            "steps": steps,
            "learning_rate": learning_rate,
            "l2_weight": l2_weight,
            "identity_weight": identity_weight,
            "identity": _name_of(identity),
            "objective": objective,
            "augment": augment,
        }
        found = [
            {"losses": _rounded(loss), "similarities": _rounded(similarity)}
            for loss, similarity in zip(optimized.losses, optimized.similarities, strict=True)
        ]
    else:
        _check_sample(samples, keep, truncation_psi, key)
        assert key is not None  # checked
        matches = sample_matches(
            gen,
            clip,
            texts=texts,
            key=key,
            samples=samples,
            keep=keep,
            truncation_psi=truncation_psi,
            preprocess=preprocess,
            resolution=resolution,
            batch_size=batch_size,
            progress=progress,
        )
        rows = matches.offsets[None, :, None, :] * moving[None, None, :, None]
        ws = starts[:, None] + rows.astype(np.float32)
        settings |= {"samples": samples, "keep": keep, "truncation_psi": truncation_psi}
        found = [{"margins": _rounded(matches.margins)}] * len(starts)
    facts = {
        "source": "text",
        "strategy": strategy,
        "template": template,
        "labels": list(degrees),
        "prompts": prompts,
        "clip": clip.name,
        "generator": gen.name,
        "generator_fingerprint": gen.fingerprint,
        "settings": settings,
    }
    values = degree_values(degrees)
    anchors = [
        Anchors(ws=codes, start=code, degrees=values, meta={**facts, **extra})
        for codes, code, extra in zip(ws, starts, found, strict=True)
    ]
    return anchors if np.ndim(start) == 3 else anchors[0]


def _name_of(identity: Callable[[jax.Array], jax.Array] | None) -> str | None:
    """What records call the function that compares identities."""
    if identity is None:
        return None
    return getattr(identity, "name", None) or getattr(identity, "__name__", type(identity).__name__)


def _rounded(values: np.ndarray) -> list[Any]:
    """Plain numbers of six digits, which is more than they mean."""
    return np.round(values.astype(np.float64), 6).tolist()


def _check_start(start: jax.Array | np.ndarray, config: GeneratorConfig) -> np.ndarray:
    """Start codes as [N, L, D]."""
    starts = np.asarray(start)
    want = f"[{config.num_ws}, {config.w_dim}] or [N, {config.num_ws}, {config.w_dim}]"
    if starts.dtype.kind not in "fiu":
        raise UsageError(f"start must be numbers, got {starts.dtype}")
    if starts.shape == (1, config.w_dim) or starts.shape == (config.w_dim,):
        raise UsageError(
            f"start must be {want}, got one w of shape {list(starts.shape)}: repeat it over rows"
        )
    if starts.ndim not in (2, 3) or starts.shape[-2:] != (config.num_ws, config.w_dim):
        raise UsageError(f"start must be {want}, got shape {list(starts.shape)}")
    if starts.shape[0] == 0:
        raise UsageError("start holds no code")
    if not np.isfinite(starts).all():
        raise DataError("start holds NaN or infinity")
    return starts.astype(np.float32).reshape(-1, config.num_ws, config.w_dim)


def _check_layers(layers: Sequence[int] | None, rows: int) -> np.ndarray:
    """The rows that may move, as a mask [L]."""
    mask = np.zeros(rows, np.bool_)
    chosen = range(rows) if layers is None else list(layers)
    for row in chosen:
        if isinstance(row, bool | np.bool_) or not isinstance(row, int | np.integer):
            raise UsageError(f"layers must be row numbers, got {row!r}")
        if not 0 <= row < rows:
            raise UsageError(f"layers must be rows 0 to {rows - 1} of W+, got {row}")
        mask[row] = True
    if not mask.any():
        raise UsageError(f"layers must name at least one of the rows 0 to {rows - 1}, got none")
    return mask


def _check_resolution(resolution: int | None, config: GeneratorConfig) -> int:
    if resolution is None:
        return config.resolution
    if resolution not in config.block_resolutions:
        raise UsageError(
            f"resolution must be one of {', '.join(map(str, config.block_resolutions))}, "
            f"got {resolution!r}"
        )
    return int(resolution)


def _check_optimize(
    steps: int,
    learning_rate: float,
    l2_weight: float,
    identity_weight: float,
    identity: Callable[[jax.Array], jax.Array] | None,
    augment: int,
    key: jax.Array | None,
) -> None:
    check_count("steps", steps)
    check_number("learning_rate", learning_rate, above=0.0)
    check_number("l2_weight", l2_weight)
    check_number("identity_weight", identity_weight)
    check_count("augment", augment, least=0)
    if (identity is None) != (identity_weight == 0):
        raise UsageError(
            "identity_weight and identity go together: "
            f"got weight {identity_weight} {'without' if identity is None else 'with'} identity"
        )
    if identity is not None and not callable(identity):
        raise UsageError(f"identity must be a function, got {type(identity).__name__}")
    if augment and key is None:
        raise UsageError("augment needs a key, such as jax.random.key(0)")


def _check_sample(samples: int, keep: int, truncation_psi: float, key: jax.Array | None) -> None:
    check_count("samples", samples, least=2)
    check_count("keep", keep)
    if keep > samples:
        raise UsageError(f"keep must be at most the {samples} samples, got {keep}")
    if not isinstance(truncation_psi, int | float) or not math.isfinite(truncation_psi):
        raise UsageError(f"truncation_psi must be a finite number, got {truncation_psi!r}")
    if key is None:
        raise UsageError('the strategy "sample" needs a key, such as jax.random.key(0)')
