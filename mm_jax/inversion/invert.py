"""Images to latents, by optimisation from a start: the checked way in."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from mm_jax import parallel
from mm_jax.checks import as_latents, check_number
from mm_jax.descent import (
    State,
    adam_chunk,
    as_argument,
    descend,
    full_batches,
    learning_rates,
)
from mm_jax.encoders.encoder import Encoder, encode
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion import optimize, spaces
from mm_jax.inversion.options import InvertOptions
from mm_jax.latents import mean_latent
from mm_jax.nn.resize import area_resize
from mm_jax.perceptual.lpips import Lpips
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator

__all__ = ["Inversion", "check_images", "invert"]

Array = jax.Array | np.ndarray

# Images are in [-1, 1], a generator's own a little beyond; bytes as floats are far beyond.
_LARGEST = 16.0


@dataclasses.dataclass(frozen=True, eq=False)
class Inversion:
    """Latents of images, a pytree.

    Attributes:
        ws: [N, L, D] float32, the best latents; of an inversion into S, the latents of W+ whose
            styles are nearest to `styles`.
        images: [N, R, R, C] float32, their images; of an inversion into S those of the styles.
        losses: [N, steps + 1] float32, the whole loss at the start and after each step. Where an
            image was left early, its last value is repeated.
        psnr: [N] float32, dB between `images` and what was asked for, at the generator's size.
        styles: {layer: [N, C]} float32 of an inversion into S, else None.
        noise: {layer: [N, r, r]} float32 where noise was optimised, else None; see
            `mm_jax.inversion.spaces.with_noise`.
    """

    ws: Array
    images: Array
    losses: Array
    psnr: Array
    styles: dict[str, Array] | None = None
    noise: dict[str, Array] | None = None


jax.tree_util.register_dataclass(
    Inversion,
    data_fields=["ws", "images", "losses", "psnr", "styles", "noise"],
    meta_fields=[],
)


def invert(
    gen: Generator,
    images: Array,
    *,
    options: InvertOptions = InvertOptions(),
    start: str | Array = "mean",
    encoder: Encoder | None = None,
    lpips: Lpips | None = None,
    identity: Callable[[jax.Array], jax.Array] | None = None,
    batch_size: int | None = None,
    key: jax.Array | None = None,
    progress: ProgressFn = silent,
    **changes: Any,
) -> Inversion:
    """Find the latents whose images are `images`; the loss is in `mm_jax.inversion.optimize`.

    Images do not interact, whatever `batch_size`: unless `temporal_weight` is given, each gets the
    latent that it would get alone. Distances of latents are squared, averaged over rows, and in
    units of their mean between the mean latent and a sampled one (`mm_jax.inversion.spaces`).

    Args:
        gen: the generator.
        images: [N, H, H, C] float in [-1, 1], aligned like the generator's training images; other
            sizes than the generator's are resized by area.
        options: how the latents are found; `InvertOptions` explains each.
        start: "mean", "encoder", or latents [N, L, D], or [L, D] for all images.
        encoder: for the start "encoder": of any kind, as `mm_jax.load_encoder` opens it.
        lpips: a perceptual distance to add.
        identity: images [B, R, R, C] in [-1, 1] to unit vectors [B, E], such as an
            `mm_jax.ArcFace`; a change of identity then costs.
        batch_size: images in work at once, all unless given; it bounds memory.
        key: of the first noise maps, for `noise="optimize"`.
        progress: called as ("inversion", steps done, steps in all).
        **changes: options by name, such as `steps=100`, in place of those in `options`.

    Raises:
        UsageError: an argument is out of range, unknown, of another shape, or contradicts another.
        DataError: the images or start latents are not finite, or the optimisation diverges.
    """
    options = options.replace(**changes)
    images = check_images(gen, images)
    if batch_size is not None:
        check_number("batch_size", batch_size, minimum=1, whole=True)
    if options.noise == "optimize" and key is None:
        raise UsageError("optimised noise needs a key, such as jax.random.key(0)")
    starts = _check_start(gen, start, encoder, len(images))
    if options.w_weight:
        return _near_w(
            gen, images, options, start, progress, encoder=encoder, lpips=lpips,
            identity=identity, batch_size=batch_size, key=key,
        )  # fmt: skip

    steps, patience = options.steps, options.patience
    # W's population is that of W+.
    population = spaces.measure_population(gen, "s" if options.space == "s" else "w+")
    identity = as_argument(identity)
    names = optimize.Weights._fields
    terms = optimize.Terms(
        weights=optimize.Weights(
            *(jnp.asarray(getattr(options, f"{name}_weight"), jnp.float32) for name in names)
        ),
        population=population,
        lpips=lpips,
        identity=identity,
        before=population.mean,
        patience=jnp.asarray(np.iinfo(np.int32).max if patience is None else patience, jnp.int32),
        tied=jnp.asarray(options.space == "w"),
    )
    rates = learning_rates(steps, options.learning_rate)
    # The searches along lines of L-BFGS, loops within loops, come out wrong when they are split.
    adam = options.optimizer == "adam"
    place = parallel.split if adam else parallel.whole
    devices = parallel.width(gen) if adam else 1
    batches = list(full_batches(len(images), batch_size, devices=devices))

    def report(i: int, done: int) -> None:
        progress("inversion", i * steps + done, len(batches) * steps)

    parts: list[tuple[optimize.Found, np.ndarray]] = []
    for i, (indices, count) in enumerate(batches):
        # Targets at the generator's size [B, R, R, C], and latents to begin with [B, L, D].
        own = place(jnp.asarray(images[indices], jnp.float32), gen)
        wanted = area_resize(own, gen.config.resolution)
        if isinstance(starts, str):
            assert encoder is not None  # checked
            ws = encode(encoder, wanted, gen=gen, steps=options.encoder_steps)
        else:
            ws = place(jnp.asarray(starts[indices]), gen)
        # The first frame of a video, and the padding of the last batch, have no previous frame.
        valid = np.arange(len(indices)) < count
        targets = optimize.Targets(
            images=wanted,
            start=spaces.code_of(gen, ws, options.space),
            identity=None if identity is None else identity(wanted),
            has_previous_mask=jnp.asarray(valid & (indices > 0), jnp.float32),
            valid_mask=jnp.asarray(valid, jnp.float32),
        )
        targets = place(targets, gen)
        maps = None
        if options.noise == "optimize":
            assert key is not None  # checked
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(indices))
            maps = place(spaces.fresh_noise(gen, keys), gen)
        state = optimize.begin(gen, terms, targets, maps, optimizer=options.optimizer)

        def arrived(state: State, count: int = count) -> bool:
            return patience is not None and bool(
                (np.asarray(state.memory.idle)[:count] >= patience).all()
            )

        state, curves = descend(
            Partial(optimize.total_loss, gen, terms, targets),
            place(state, gen),
            rates,
            adam=optimize.ADAM,
            accept=Partial(optimize.accept, terms, targets),
            program=adam_chunk if adam else optimize.lbfgs_chunk,
            report=functools.partial(report, i),
            stop=arrived,
        )
        curves, done = curves.reshape(-1, len(indices)), len(curves)
        if done < steps:
            report(i, steps)
        # The best latents; curves [steps + 1, B], where images were left the last value repeats.
        found = optimize.finish(gen, terms, targets, state)
        last = np.repeat(np.asarray(found.loss)[None], steps + 1 - done, axis=0)
        parts.append((_first(found, count), np.concatenate([curves, last]).T[:count]))
        if options.temporal_weight:
            # The next batch continues from this one's last frame.
            ending = jax.tree.map(lambda leaf, n=count: leaf[n - 1 : n], found.code)
            terms = terms._replace(before=ending)
    return _collect(gen, parts, options.space)


def _near_w(
    gen: Generator,
    images: np.ndarray,
    options: InvertOptions,
    start: str | Array,
    progress: ProgressFn,
    **common: Any,
) -> Inversion:
    """`invert` where `w_weight` is given."""
    weight, options = options.w_weight, options.replace(w_weight=0.0)
    if options.space != "w+":
        held = options.replace(mean_weight=max(options.mean_weight, weight))
        return invert(gen, images, options=held, start=start, progress=progress, **common)
    halves = options.steps - options.steps // 2, options.steps // 2

    def told(before: int, own: int) -> ProgressFn:
        """Progress of a half of so many own steps, after so many before."""

        def report(label: str, done: int, total: int, /) -> None:
            batches = total // max(own, 1)
            progress(label, batches * before + done, batches * options.steps)

        return report

    first = invert(
        gen, images, options=options.replace(space="w", steps=halves[0], noise="const"),
        start=start, progress=told(0, halves[0]), **common,
    )  # fmt: skip
    held = options.replace(steps=halves[1], start_weight=max(options.start_weight, weight))
    second = invert(gen, images, options=held, start=first.ws, progress=told(*halves), **common)
    # The start of the second half is the end of the first.
    losses = np.concatenate([first.losses[:, :-1], second.losses], axis=1)
    return dataclasses.replace(second, losses=losses)


def _first(found: optimize.Found, count: int) -> optimize.Found:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], found)


def _collect(
    gen: Generator, parts: list[tuple[optimize.Found, np.ndarray]], space: str
) -> Inversion:
    found = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(part[0] for part in parts))
    curves = np.concatenate([part[1] for part in parts])
    bad = ~(np.isfinite(curves).all(axis=1) & np.isfinite(found.ws).all(axis=(1, 2)))
    if bad.any():
        raise DataError(
            f"the inversion of image {int(np.flatnonzero(bad)[0])} diverged: try a lower "
            "learning_rate"
        )
    return Inversion(
        ws=found.ws,
        images=found.images,
        losses=curves,
        psnr=found.psnr,
        styles={n: found.code[n] for n in gen.config.layer_names} if space == "s" else None,
        noise=found.noise,
    )


def check_images(gen: Generator, images: Array) -> np.ndarray:
    """Images as an array [N, H, H, C] of floats.

    Raises:
        UsageError: another shape or dtype, or values that are not in about [-1, 1].
        DataError: values that are not finite.
    """
    array = np.asarray(images)
    channels = gen.config.img_channels
    if array.ndim == 3:
        raise UsageError(
            f"images must be [N, H, H, {channels}], got {list(array.shape)}: one image needs "
            "a leading axis, images[None]"
        )
    square = array.ndim == 4 and array.shape[1] == array.shape[2]
    if not square or array.shape[3] != channels or 0 in array.shape:
        raise UsageError(
            f"images must be square and at least one, [N, H, H, {channels}], got "
            f"{list(array.shape)}"
        )
    if array.dtype.kind != "f":
        raise UsageError(
            f"images must be floats in [-1, 1], got {array.dtype}: of bytes, images / 127.5 - 1"
        )
    if not np.isfinite(array).all():
        raise DataError("images hold NaN or infinity")
    largest = float(np.abs(array).max())
    if largest > _LARGEST:
        raise UsageError(f"images must be in [-1, 1], got values of up to {largest:g}")
    return array


def _check_start(
    gen: Generator, start: str | Array, encoder: Encoder | None, count: int
) -> np.ndarray | str:
    """Start latents [N, L, D], or "encoder"."""
    config = gen.config
    if isinstance(start, str):
        if start not in ("mean", "encoder"):
            raise UsageError(f'start must be "mean", "encoder" or latents, got {start!r}')
        if start == "encoder":
            if encoder is None:
                raise UsageError('the start "encoder" needs an encoder')
            return start
        return np.repeat(np.asarray(mean_latent(gen)), count, axis=0)
    return as_latents("start", start, (config.num_ws, config.w_dim), count=count)
