"""Pictures to codes, by optimisation from a start: the checked way in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import parallel
from mm_jax.checks import check_count, check_number, check_one_of
from mm_jax.descent import as_argument, chunk_length, full_batches, learning_rates
from mm_jax.encoders.encoder import Encoder, encode
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion import optimize, spaces
from mm_jax.latents import mean_latent
from mm_jax.perceptual.lpips import Lpips
from mm_jax.perceptual.resize import area_resize
from mm_jax.progress import ProgressFn, silent
from mm_jax.stylegan2.generator import Generator

__all__ = ["Inversion", "check_images", "invert"]

Array = jax.Array | np.ndarray

# Pictures are in [-1, 1], a generator's own a little beyond; bytes as floats are far beyond.
_LARGEST = 16.0


@dataclasses.dataclass(frozen=True, eq=False)
class Inversion:
    """Codes of pictures, a pytree.

    Attributes:
        ws: [N, L, D] float32, the best codes; of an inversion into S, the codes of W+ whose styles
            are nearest to `styles`.
        images: [N, R, R, C] float32, their pictures; of an inversion into S those of the styles.
        losses: [N, steps + 1] float32, the whole loss at the start and after each step. Where a
            picture was left early, its last value is repeated.
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
    space: str = "w+",
    start: str | Array = "mean",
    encoder: Encoder | None = None,
    encoder_steps: int = 5,
    steps: int = 100,
    optimizer: str = "adam",
    learning_rate: float = 0.1,
    pixel_weight: float = 1.0,
    laplacian_weight: float = 1.0,
    lpips: Lpips | None = None,
    lpips_weight: float = 1.0,
    identity: Callable[[jax.Array], jax.Array] | None = None,
    identity_weight: float = 0.1,
    mean_weight: float = 0.0,
    start_weight: float = 0.0,
    temporal_weight: float = 0.0,
    noise: str = "const",
    noise_weight: float = 1.0,
    patience: int | None = None,
    batch_size: int | None = None,
    key: jax.Array | None = None,
    progress: ProgressFn = silent,
) -> Inversion:
    """Find the codes whose pictures are `images`; the loss is in `mm_jax.inversion.optimize`.

    Pictures do not interact, whatever `batch_size`: unless `temporal_weight` is given, each gets
    the code that it would get alone. Distances of codes are squared, averaged over rows, and in
    units of what they are on average between the mean code and a sampled one
    (`mm_jax.inversion.spaces`).

    Args:
        gen: the generator.
        images: [N, H, H, C] float in [-1, 1], aligned as the generator's training pictures; other
            sizes than the generator's are resized by area.
        space: "w+", "w" (all rows equal) or "s" (StyleSpace).
        start: "mean", "encoder", or codes [N, L, D], or [L, D] for all pictures.
        encoder: for the start "encoder": of any kind, as `mm_jax.load_encoder` opens it.
        encoder_steps: corrections of a ReStyle encoder.
        steps: of the optimisation; 0 only measures the start.
        optimizer: "adam" with the schedule of Karras et al. 2020's projector, or "lbfgs" with a
            line search for each picture, whose steps cost several times as much.
        learning_rate: of Adam, in units of a coordinate's deviation over sampled codes.
        pixel_weight: of the mean squared difference.
        laplacian_weight: of `mm_jax.inversion.losses.laplacian_distance`.
        lpips, lpips_weight: a perceptual distance to add, and its weight.
        identity, identity_weight: pictures [B, R, R, C] in [-1, 1] to unit vectors [B, *], such as
            an `mm_jax.ArcFace`, and what one minus the cosine to the picture's own vector costs.
        mean_weight: what distance from the mean code costs. Codes near the mean answer to edits as
            sampled ones do, at the price of likeness.
        start_weight: what distance from the start costs; with an encoder, the same trade.
        temporal_weight: the pictures are the frames of one clip in order; what the distance of
            each code to the one before costs. Of a further batch, the first is held to the last
            code of the batch before, so here the result depends on `batch_size`.
        noise: "const" keeps the generator's fixed noise, "optimize" fits maps for each picture.
        noise_weight: of their autocorrelation.
        patience: leave a picture alone when its loss has not fallen by 1 % in so many steps.
        batch_size: pictures in work at once, all unless given; it bounds memory.
        key: of the first noise maps, for "optimize".
        progress: called as ("inversion", steps done, steps in all).

    Raises:
        UsageError: an argument is out of range, of another shape, or contradicts another.
        DataError: the pictures or start codes are not finite, or the optimisation diverges.
    """
    pictures = check_images(gen, images)
    check_one_of("space", space, spaces.SPACES)
    check_one_of("optimizer", optimizer, optimize.OPTIMIZERS)
    check_one_of("noise", noise, ("const", "optimize"))
    check_count("steps", steps, least=0)
    check_count("patience", patience)
    check_count("batch_size", batch_size)
    check_number("learning_rate", learning_rate, above=0.0)
    weights = optimize.Weights(
        pixel=pixel_weight,
        laplacian=laplacian_weight,
        lpips=lpips_weight,
        identity=identity_weight,
        mean=mean_weight,
        start=start_weight,
        temporal=temporal_weight,
        noise=noise_weight,
    )
    for name, value in weights._asdict().items():
        check_number(f"{name}_weight", value)
    if optimizer == "lbfgs" and (temporal_weight or noise == "optimize"):
        raise UsageError(
            "lbfgs takes pictures one by one and with fixed noise: use adam with temporal_weight "
            "or optimised noise"
        )
    if noise == "optimize" and key is None:
        raise UsageError("optimised noise needs a key, such as jax.random.key(0)")
    starts = _check_start(gen, start, encoder, len(pictures))

    population = spaces.measure_population(gen, space)
    identity = as_argument(identity)
    terms = optimize.Terms(
        weights=jax.tree.map(lambda value: jnp.asarray(value, jnp.float32), weights),
        population=population,
        lpips=lpips,
        identity=identity,
        before=population.mean,
        patience=jnp.asarray(np.iinfo(np.int32).max if patience is None else patience, jnp.int32),
    )
    rates = learning_rates(steps, learning_rate) if steps else np.zeros(0, np.float32)
    chunk = chunk_length(steps) if steps else 1
    # The searches along lines of L-BFGS, loops within loops, come out wrong when they are split.
    place = parallel.split if optimizer == "adam" else parallel.whole
    devices = parallel.width(gen) if optimizer == "adam" else 1
    batches = list(full_batches(len(pictures), batch_size, devices=devices))
    parts: list[tuple[optimize.Found, np.ndarray]] = []
    for i, (indices, count) in enumerate(batches):
        images = place(jnp.asarray(pictures[indices], jnp.float32), gen)
        wanted = area_resize(images, gen.config.resolution)
        if isinstance(starts, str):
            assert encoder is not None  # checked
            codes = encode(encoder, wanted, gen=gen, steps=encoder_steps)
        else:
            codes = place(jnp.asarray(starts[indices]), gen)
        # The first picture of a clip, and those that fill up the last batch, follow nothing.
        follows = (np.arange(len(indices)) < count) & (indices > 0)
        batch = optimize.Pictures(
            images=wanted,
            start=spaces.code_of(gen, codes, space),
            person=None if identity is None else identity(wanted),
            follows=jnp.asarray(follows, jnp.float32),
            counts=jnp.asarray(np.arange(len(indices)) < count, jnp.float32),
        )
        batch = place(batch, gen)
        maps = None
        if noise == "optimize":
            assert key is not None  # checked
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(indices))
            maps = place(spaces.fresh_noise(gen, keys), gen)
        state = place(optimize.begin(gen, terms, batch, maps, optimizer=optimizer), gen)
        curves: list[np.ndarray] = []
        for first in range(0, steps, chunk):
            state, figures = optimize.run_chunk(
                gen,
                terms,
                batch,
                state,
                jnp.asarray(rates[first : first + chunk]),
                optimizer=optimizer,
            )
            curves.append(np.asarray(figures))
            progress("inversion", i * steps + first + chunk, len(batches) * steps)
            if patience is not None and (np.asarray(state.idle)[:count] >= patience).all():
                progress("inversion", (i + 1) * steps, len(batches) * steps)
                break
        found = optimize.finish(gen, terms, batch, state)
        last = np.repeat(np.asarray(found.loss)[None], steps + 1 - len(curves) * chunk, axis=0)
        parts.append((_first(found, count), np.concatenate([*curves, last]).T[:count]))
        if temporal_weight:
            own = jax.tree.map(lambda leaf, n=count: leaf[n - 1 : n], found.code)
            terms = terms._replace(before=own)
    return _collect(gen, parts, space)


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
            f"the inversion of picture {int(np.flatnonzero(bad)[0])} came to NaN or infinity: try "
            "a lower learning rate"
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
    """Pictures as an array [N, H, H, C] of floats.

    Raises:
        UsageError: another shape or dtype, or values that are not in about [-1, 1].
        DataError: values that are not finite.
    """
    pictures = np.asarray(images)
    channels = gen.config.img_channels
    if pictures.ndim == 3:
        raise UsageError(
            f"images must be [N, H, H, {channels}], got {list(pictures.shape)}: one picture needs "
            "a leading axis, images[None]"
        )
    square = pictures.ndim == 4 and pictures.shape[1] == pictures.shape[2]
    if not square or pictures.shape[3] != channels or 0 in pictures.shape:
        raise UsageError(
            f"images must be square and at least one, [N, H, H, {channels}], got "
            f"{list(pictures.shape)}"
        )
    if pictures.dtype.kind != "f":
        raise UsageError(
            f"images must be floats in [-1, 1], got {pictures.dtype}: of bytes, images / 127.5 - 1"
        )
    if not np.isfinite(pictures).all():
        raise DataError("images hold NaN or infinity")
    largest = float(np.abs(pictures).max())
    if largest > _LARGEST:
        raise UsageError(f"images must be in [-1, 1], got values of up to {largest:g}")
    return pictures


def _check_start(
    gen: Generator, start: str | Array, encoder: Encoder | None, count: int
) -> np.ndarray | str:
    """Start codes [N, L, D], or "encoder"."""
    config = gen.config
    if isinstance(start, str):
        if start not in ("mean", "encoder"):
            raise UsageError(f'start must be "mean", "encoder" or codes, got {start!r}')
        if start == "encoder":
            if encoder is None:
                raise UsageError('the start "encoder" needs an encoder')
            return start
        return np.repeat(np.asarray(mean_latent(gen)), count, axis=0)
    codes = np.asarray(start)
    if codes.dtype.kind not in "fiu":
        raise UsageError(f"start must be numbers, got {codes.dtype}")
    if codes.ndim == 2:
        codes = np.repeat(codes[None], count, axis=0)
    if codes.shape != (count, config.num_ws, config.w_dim):
        raise UsageError(
            f"start must be [{config.num_ws}, {config.w_dim}] or "
            f"[{count}, {config.num_ws}, {config.w_dim}], got {list(np.shape(start))}"
        )
    if not np.isfinite(codes).all():
        raise DataError("start holds NaN or infinity")
    return codes.astype(np.float32)
