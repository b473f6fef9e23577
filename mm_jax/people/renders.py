"""A store of rendered people with their z, made once and read by several trainings.

Chunks are made by several processes, each file appears whole, and what is there is not made again.
"""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epy

from mm_jax.io import save_npz
from mm_jax.people.factors import (
    FACTORS,
    MOTION_FACTORS,
    NUM_FACTORS,
    Z_DIM,
    factors_from_z,
    index,
    mean_factors,
    scores_from_z,
    set_scores,
)

# Only rendering needs the extra `heads`.
with epy.lazy_imports():
    from mm_jax.people import heads as head_files
    from mm_jax.people import looks, renderer

__all__ = ["RenderSet", "Renders", "load_renders", "make_renders", "missing_chunks"]

CHUNK = 500
RESOLUTION = 128
#: How many unseen renders are bundled.
KNOWN = 64
#: Which of a chunk's stored arrays there are.
FIELDS = ("images", "focus", "z", "psi", "factors")
# How often a factor is the one that differs in a pair: what moves more often, small things too.
_PAIR_WEIGHT = {name: 2.0 for name in MOTION_FACTORS} | {"gaze_x": 3.0, "gaze_y": 3.0}


@dataclasses.dataclass(frozen=True)
class RenderSet:
    """A set of renders.

    Attributes:
        name: of its files.
        seed: of its z; sets of different seeds are disjoint.
        count: images, a multiple of 500.
        pose: scale of the scores of yaw, pitch and roll.
        truncated: fraction of images whose factors are moved towards their mean by psi.
        least_psi: lowest psi; it is uniform from there to 1.
        pairs: whether the second half of each chunk repeats the first with one score changed.
    """

    name: str
    seed: int
    count: int
    pose: float = 1.0
    truncated: float = 0.0
    least_psi: float = 0.4
    pairs: bool = False

    @property
    def chunks(self) -> int:
        """Number of files."""
        return self.count // CHUNK


class Renders(NamedTuple):
    """N images.

    Attributes:
        images: ``[N, 128, 128, 3]`` uint8.
        focus: ``[N, 64, 64]`` uint8, 255 where eyes, brows or mouth are.
        z: ``[N, 128]`` float32.
        psi: ``[N]`` float32, the truncation of W that belongs to the image.
        factors: ``[N, F]`` float32 as drawn.
    """

    images: np.ndarray
    focus: np.ndarray
    z: np.ndarray
    psi: np.ndarray
    factors: np.ndarray


def draw_z(which: RenderSet, chunk: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z ``[500, 128]``, psi ``[500]`` and factors ``[500, F]`` of a chunk."""
    with jax.default_device(jax.devices("cpu")[0]):
        z, psi, factors = _draw_z(which, chunk)
        return np.asarray(z), np.asarray(psi), np.asarray(factors)


@functools.partial(jax.jit, static_argnums=0)
def _draw_z(which: RenderSet, chunk):
    key = jax.random.fold_in(jax.random.key(which.seed), chunk)
    kz, kt, kp, kf, ka, ks = jax.random.split(key, 6)
    count = CHUNK // 2 if which.pairs else CHUNK
    z = jax.random.normal(kz, (count, Z_DIM))
    scores = scores_from_z(z)
    pose = jnp.asarray([which.pose if n in ("yaw", "pitch", "roll") else 1.0 for n in FACTORS])
    scores = scores * pose[None]
    truncated = jax.random.bernoulli(kt, which.truncated, (count,))
    psi = jnp.where(truncated, jax.random.uniform(kp, (count,), minval=which.least_psi), 1.0)
    if which.pairs:
        weight = np.array([_PAIR_WEIGHT.get(name, 1.0) for name in FACTORS])
        factor = jax.random.choice(kf, NUM_FACTORS, (count,), p=jnp.asarray(weight / weight.sum()))
        amount = jax.random.uniform(ka, (count,), minval=0.5, maxval=1.5)
        # Away from the end that is nearer, so that scores stay usual.
        own = jnp.take_along_axis(scores, factor[:, None], 1)[:, 0]
        sign = jnp.where(jax.random.uniform(ks, (count,)) < 0.7, -jnp.sign(own), jnp.sign(own))
        changed = scores + (sign * amount)[:, None] * jax.nn.one_hot(factor, NUM_FACTORS)
        scores = jnp.concatenate([scores, changed])
        z, psi = jnp.concatenate([z, z]), jnp.concatenate([psi, psi])
    z = set_scores(z, scores)
    return z, psi, truncated_factors(factors_from_z(z), psi)


def truncated_factors(factors: jax.Array, psi: jax.Array) -> jax.Array:
    """Factors ``[N, F]`` moved towards their mean by psi ``[N]``; the style of hair stays.

    W is trained to be linear in the factors, so this is what truncating W by psi means.
    """
    mean = jnp.asarray(mean_factors())[None]
    moved = mean + psi[:, None] * (factors - mean)
    return moved.at[:, index("hair_style")].set(factors[:, index("hair_style")])


_renderer: renderer.Renderer | None = None  # of a process of the pool


def _start(heads: Path) -> None:
    global _renderer
    _renderer = renderer.Renderer(head_files.load_heads(heads))


def _render_chunk(task: tuple[Path, np.ndarray, np.ndarray, np.ndarray]) -> str:
    assert _renderer is not None, "_start comes first"
    path, z, psi, factors = task
    images = np.zeros((len(z), RESOLUTION, RESOLUTION, 3), np.uint8)
    focus = np.zeros((len(z), RESOLUTION // 2, RESOLUTION // 2), np.uint8)
    for k, values in enumerate(factors):
        picture = _renderer.draw(looks.person_of(values), RESOLUTION)
        images[k] = picture.image
        features = picture.masks["eyes"] + picture.masks["mouth"] + picture.masks["brows"]
        half = features.reshape(RESOLUTION // 2, 2, RESOLUTION // 2, 2).mean(axis=(1, 3))
        focus[k] = np.round(255 * np.clip(half, 0, 1))
    save_npz(path, images=images, focus=focus, z=z, psi=psi, factors=factors)
    return path.name


def make_renders(folder: Path, heads: Path, sets: Sequence[RenderSet], *, jobs: int) -> None:
    """Render what ``folder`` lacks of ``sets``, in ``jobs`` processes of one thread each.

    Args:
        folder: for the chunks.
        heads: file of `mm_jax.people.heads.save_heads`.
        sets: in the order in which they are wanted.
        jobs: processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = missing_chunks(folder, sets)
    if not wanted:
        return
    tasks = ((_path(folder, which, chunk), *draw_z(which, chunk)) for which, chunk in wanted)
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, _start, (heads,)) as pool:
        for name in pool.imap(_render_chunk, tasks):
            print(f"renders: {name}", flush=True)


def missing_chunks(folder: Path, sets: Sequence[RenderSet]) -> list[tuple[RenderSet, int]]:
    """Sets and numbers of the chunks that ``folder`` lacks, in order."""
    return [
        (which, chunk)
        for which in sets
        for chunk in range(which.chunks)
        if not _path(folder, which, chunk).exists()
    ]


def _path(folder: Path, which: RenderSet, chunk: int) -> Path:
    return folder / f"{which.name}-{which.seed}-{chunk:03d}.npz"


def load_renders(folder: Path, which: RenderSet, *, partial: bool = False) -> Renders:
    """All chunks of a set; with ``partial`` those that are there.

    Raises:
        FileNotFoundError: a chunk is missing.
    """
    paths = [_path(folder, which, chunk) for chunk in range(which.chunks)]
    if partial:
        paths = [path for path in paths if path.exists()]
    chunks = []
    for path in paths:
        with np.load(path) as file:
            chunks.append([file[name] for name in FIELDS])
    return Renders(*(np.concatenate(column) for column in zip(*chunks, strict=True)))
