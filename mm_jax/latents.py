"""The spaces Z, W, W+ and S of a generator, and the images of their latents.

Shapes: N latents, L rows of W+, D latent width, H W image. All functions are pure; those that take
no seeds work inside the caller's jit, vmap and grad, with the generator as an argument. Outside of
it, a generator on several devices has its batches split among them (`mm_jax.parallel`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from mm_jax import parallel
from mm_jax.buckets import bucket, filled
from mm_jax.errors import DataError, UsageError
from mm_jax.stylegan2 import networks
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.networks import NoiseMode, Styles

__all__ = [
    "class_labels",
    "draw_latents",
    "fold_in_each",
    "mean_latent",
    "sample_latents",
    "seeds_to_z",
    "skip_images",
    "synthesize",
    "synthesize_from_styles",
    "to_stylespace",
    "truncate",
]


def seeds_to_z(gen: Generator, seeds: Iterable[int]) -> jax.Array:
    """z [N, Z] float32 of integer seeds, the same that NVlabs' scripts draw for them.

    Raises:
        UsageError: no seeds, or one that is not an integer from 0 to 2^32 - 1.
    """
    return jnp.asarray(_draw(gen, seeds))


def _draw(gen: Generator, seeds: Iterable[int]) -> np.ndarray:
    if isinstance(seeds, int | np.integer):
        raise UsageError(f"seeds must be several integers, such as [{seeds}] or range({seeds})")
    seeds = list(seeds)
    if not seeds:
        raise UsageError("seeds must be at least one, got none")
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise UsageError(f"seed must be an integer, got {seed!r}")
        if not 0 <= seed < 2**32:
            raise UsageError(f"seed must be from 0 to {2**32 - 1}, got {seed}")
    rows = [np.random.RandomState(seed).randn(gen.config.z_dim) for seed in seeds]
    return np.stack(rows).astype(np.float32)


def class_labels(gen: Generator, label: int | None, count: int) -> np.ndarray | None:
    """The `labels` of `sample_latents`, [N, C] float32, for N latents of one class.

    None for a generator without classes, of which no class may be asked.

    Raises:
        UsageError: a class that the generator has not, or none for one that has several.
    """
    classes = gen.config.c_dim
    if not classes and label is None:
        return None
    if not classes:
        raise UsageError(f"class must not be given, {gen.name} has none; got {label}")
    if label is None or not 0 <= label < classes:
        how = ": --class chooses" if label is None else ""
        raise UsageError(f"class must be from 0 to {classes - 1} for {gen.name}, got {label}{how}")
    return np.eye(classes, dtype=np.float32)[np.full(count, label)]


def sample_latents(
    gen: Generator,
    *,
    seeds: Iterable[int] | None = None,
    z: jax.Array | np.ndarray | None = None,
    truncation_psi: float | jax.Array = 1.0,
    truncation_cutoff: int | None = None,
    labels: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Latents of W+ for seeds or for z.

    Args:
        gen: the generator.
        seeds: integers; exactly one of seeds and z is given.
        z: [N, Z].
        truncation_psi: 1 leaves the latents, 0 gives the mean; the latents are moved along that
            line.
        truncation_cutoff: truncate only the first so many rows, all by default.
        labels: one-hot [N, C], for conditional generators only.

    Returns:
        [N, L, D] float32, all rows of a latent equal but for the cutoff.

    Raises:
        UsageError: arguments that contradict each other or the generator.
    """
    if (seeds is None) == (z is None):
        raise UsageError("give exactly one of seeds and z")
    count = None
    if seeds is not None:
        z = _draw(gen, seeds)
        if labels is None and np.ndim(truncation_psi) == 0:
            count = len(z)
            z = filled(z, bucket(count))
    labels = None if labels is None else jnp.asarray(labels, jnp.float32)

    def sample(z: jax.Array, labels: jax.Array | None, psi: float | jax.Array) -> jax.Array:
        return _sample(gen, z, labels, psi, truncation_cutoff)

    ws = parallel.over_batch(sample, gen, jnp.asarray(z, jnp.float32), labels, truncation_psi)
    return ws if count is None else ws[:count]


def draw_latents(
    gen: Generator,
    key: jax.Array,
    count: int | None = None,
    *,
    truncation_psi: float | jax.Array = 1.0,
    labels: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Latents of W+ for z drawn with `jax.random`, where `sample_latents` takes seeds.

    Args:
        gen: the generator.
        key: one key, from which all z are drawn at once, or [N] keys, one for each z: then a latent
            depends on its own key alone (`fold_in_each`).
        count: N; needed for one key, and left out for several.
        truncation_psi: as `sample_latents` takes it.
        labels: one-hot [N, C], for conditional generators only.

    Returns:
        [N, L, D] float32.

    Raises:
        UsageError: no count for one key, or arguments that do not fit the generator.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if not key.ndim and count is None:
        raise UsageError("count must be given for one key")
    z = _normals(key, None if key.ndim else count, gen.config.z_dim)
    return sample_latents(gen, z=z, truncation_psi=truncation_psi, labels=labels)


def fold_in_each(key: jax.Array, places: Iterable[int]) -> jax.Array:
    """Keys [N], each of one key and a whole number: a longer list begins with the same keys."""
    return _folded(key, np.asarray(list(places), np.int32))


def truncate(
    gen: Generator, ws: jax.Array, *, psi: float | jax.Array, cutoff: int | None = None
) -> jax.Array:
    """Move the first `cutoff` rows (default all) of ws [N, L, D] towards the mean latent.

    psi is a scalar, or [N] for a truncation of its own for each latent.
    """
    networks.check_ws(gen.config, ws)
    rows = gen.config.num_ws
    if cutoff is not None and not 0 <= cutoff <= rows:
        raise UsageError(f"truncation_cutoff must be from 0 to {rows}, got {cutoff}")
    psi = jnp.asarray(psi, ws.dtype)
    if psi.shape not in ((), ws.shape[:1]):
        raise UsageError(
            f"truncation_psi must be a number, or one for each latent, got shape {list(psi.shape)}"
        )
    mean = gen.params["mapping"]["w_avg"][None, None, :]
    truncated = mean + psi.reshape(-1, 1, 1) * (ws - mean)
    keep = jnp.arange(rows)[None, :, None] >= (rows if cutoff is None else cutoff)
    return jnp.where(keep, ws, truncated)


def mean_latent(gen: Generator) -> jax.Array:
    """The mean of W, as [1, L, D]."""
    mean = gen.params["mapping"]["w_avg"]
    return jnp.broadcast_to(mean[None, None, :], (1, gen.config.num_ws, gen.config.w_dim))


def synthesize(
    gen: Generator,
    ws: jax.Array | np.ndarray,
    *,
    noise_mode: NoiseMode = "const",
    noise_key: jax.Array | None = None,
    resolution: int | None = None,
    batch_size: int | None = None,
) -> jax.Array:
    """Images of latents, differentiable with respect to both latents and generator.

    Args:
        gen: the generator.
        ws: [N, L, D]. One latent is ws[None].
        noise_mode: "const" adds the generator's fixed noise, "none" nothing, "random" fresh noise.
        noise_key: for "random": one key, or [N] keys, one for each image.
        resolution: stop early, at the running image of this resolution; the rest of the generator
            costs nothing then, and the rows that style it have no influence.
        batch_size: images computed at once, to bound memory; all by default.

    Returns:
        [N, H, W, 3] float32, nominally in [-1, 1] and not clipped.

    Raises:
        UsageError: arguments that do not fit the generator or each other.
        DataError: latents that hold NaN or infinity.
    """
    ws = _as_ws(gen, ws)
    resolution = networks.check_options(gen.config, noise_mode, noise_key, resolution)
    keys = networks.per_picture_keys(noise_key, ws.shape[0])
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, got {batch_size}")

    def draw(ws: jax.Array, keys: jax.Array | None) -> jax.Array:
        return _synthesize(gen, ws, keys, noise_mode, resolution, batch_size)

    return parallel.over_batch(draw, gen, ws, keys)


def skip_images(
    gen: Generator,
    ws: jax.Array | np.ndarray,
    *,
    noise_mode: NoiseMode = "const",
    noise_key: jax.Array | None = None,
    resolution: int | None = None,
) -> dict[int, jax.Array]:
    """The running image at every resolution, {4: [N, 4, 4, 3], 8: .., ..}; see `synthesize`."""
    ws = _as_ws(gen, ws)
    resolution = networks.check_options(gen.config, noise_mode, noise_key, resolution)
    keys = networks.per_picture_keys(noise_key, ws.shape[0])

    def draw(ws: jax.Array, keys: jax.Array | None) -> dict[int, jax.Array]:
        return _skip_images(gen, ws, keys, noise_mode, resolution)

    return parallel.over_batch(draw, gen, ws, keys)


def to_stylespace(gen: Generator, ws: jax.Array | np.ndarray) -> Styles:
    """ws [N, L, D] -> {layer name: [N, C]}, the outputs of the layers' affine maps.

    Names and order are those of `gen.config.layer_names`: b4.conv1, b4.torgb, b8.conv0, ..
    """
    styles = parallel.over_batch(functools.partial(_to_stylespace, gen), gen, _as_ws(gen, ws))
    return {name: styles[name] for name in gen.config.layer_names}  # jit sorts by name


def synthesize_from_styles(
    gen: Generator,
    styles: Mapping[str, jax.Array | np.ndarray],
    *,
    noise_mode: NoiseMode = "const",
    noise_key: jax.Array | None = None,
    resolution: int | None = None,
) -> jax.Array:
    """Images [N, H, W, 3] of StyleSpace latents {layer name: [N, C]}; see `synthesize`."""
    styles = {name: jnp.asarray(style, jnp.float32) for name, style in styles.items()}
    resolution = networks.check_options(gen.config, noise_mode, noise_key, resolution)
    styles = networks.check_styles(gen.config, styles, resolution)
    keys = networks.per_picture_keys(noise_key, len(next(iter(styles.values()))))

    def draw(styles: Styles, keys: jax.Array | None) -> jax.Array:
        return _synthesize_from_styles(gen, styles, keys, noise_mode, resolution)

    return parallel.over_batch(draw, gen, styles, keys)


def _as_ws(gen: Generator, ws) -> jax.Array:
    ws = jnp.asarray(ws, jnp.float32)
    networks.check_ws(gen.config, ws)
    # Within the caller's jit there are no values yet.
    if not isinstance(ws, Tracer) and not np.isfinite(np.asarray(ws)).all():
        raise DataError("ws holds NaN or infinity")
    return ws


# Jitted here so that a call outside jit is one program too; inside the caller's jit they are part
# of the caller's program.


@jax.jit
def _folded(key, places):
    return jax.vmap(functools.partial(jax.random.fold_in, key))(places)


@functools.partial(jax.jit, static_argnames=("count", "width"))
def _normals(key, count, width):
    if count is None:
        return jax.vmap(lambda own: jax.random.normal(own, (width,)))(key)
    return jax.random.normal(key, (count, width))


@functools.partial(jax.jit, static_argnames=("cutoff",))
def _sample(gen, z, labels, psi, cutoff):
    w = networks.map_latents(gen.config, gen.params, z, labels)
    ws = jnp.repeat(w[:, None, :], gen.config.num_ws, axis=1)
    return truncate(gen, ws, psi=psi, cutoff=cutoff)


@functools.partial(jax.jit, static_argnames=("noise_mode", "resolution", "batch_size"))
def _synthesize(gen, ws, keys, noise_mode, resolution, batch_size):
    def images(ws, keys):
        return networks.synthesis(
            gen.config,
            gen.params,
            ws,
            noise_mode=noise_mode,
            noise_key=keys,
            resolution=resolution,
        )

    if batch_size is None or batch_size >= ws.shape[0]:
        return images(ws, keys)

    def one(latent):
        w, key = latent
        return images(w[None], None if key is None else key[None])[0]

    return jax.lax.map(one, (ws, keys), batch_size=batch_size)


@functools.partial(jax.jit, static_argnames=("noise_mode", "resolution"))
def _skip_images(gen, ws, keys, noise_mode, resolution):
    return networks.synthesis_skips(
        gen.config,
        gen.params,
        ws,
        noise_mode=noise_mode,
        noise_key=keys,
        resolution=resolution,
    )


@jax.jit
def _to_stylespace(gen, ws):
    return networks.styles(gen.config, gen.params, ws)


@functools.partial(jax.jit, static_argnames=("noise_mode", "resolution"))
def _synthesize_from_styles(gen, styles, keys, noise_mode, resolution):
    return networks.synthesis_from_styles(
        gen.config,
        gen.params,
        styles,
        noise_mode=noise_mode,
        noise_key=keys,
        resolution=resolution,
    )
