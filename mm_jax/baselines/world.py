"""What methods look at, and what they answer.

Several methods look at the same things: faces drawn at random with what CLIP says of them, anchors
that were optimised, Jacobians. A `World` makes each of them once, when it is first asked for, and
keeps it in a folder if it is given one.

The probe is the one that training may use. The judge that measures is another, and no method sees
it.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mm_jax import io, rendering
from mm_jax.alignment.options import AlignOptions
from mm_jax.anchors import folder as anchors_folder
from mm_jax.anchors.gradient import mean_field, reading_gradients
from mm_jax.anchors.metric import metric_of_w
from mm_jax.anchors.prompts import MOTIONS, Motion, degree_values, fill
from mm_jax.anchors.reading import from_none_to_all
from mm_jax.anchors.text import text_anchors
from mm_jax.anchors.video_files import anchors_of_video
from mm_jax.artifacts import Anchors, Latents, Subspace
from mm_jax.baselines.options import BaselineOptions
from mm_jax.buckets import filled
from mm_jax.checks import layer_mask
from mm_jax.demo.options import DemoOptions
from mm_jax.encoders.encoder import Encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.reading import factor_scale
from mm_jax.latents import sample_latents, synthesize
from mm_jax.media.video_reading import video_info
from mm_jax.perceptual.clip import Clip, encode_image, encode_text
from mm_jax.perceptual.probe import Probe, read_factors
from mm_jax.progress import ProgressFn, prefixed, silent
from mm_jax.stylegan2.generator import Generator

__all__ = [
    "FIELDS",
    "FROM_VIDEO",
    "JACOBIAN",
    "SAMPLED",
    "Direction",
    "Sampled",
    "World",
    "start_names",
]

SAMPLED, JACOBIAN, FIELDS = "sampled.npz", "jacobian.npz", "gradients.npz"
T = TypeVar("T")

# What the anchors of a video are called in the folder of their motion.
FROM_VIDEO = "video"
# Latents from which the covariance of W is estimated.
_COVARIANCE = 8192


@dataclasses.dataclass(frozen=True, eq=False)
class Direction:
    """A move of latents.

    Attributes:
        move: [L, D] of W+, or the move of each layer's style [C] by the layer's name (S). Its
            length does not count; its sign does.
        facts: how it was found, as plain json values.
    """

    move: np.ndarray | Mapping[str, np.ndarray]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def space(self) -> str:
        """W+ or S."""
        return "S" if isinstance(self.move, Mapping) else "W+"

    @property
    def length(self) -> float:
        """Of all numbers of the move together."""
        parts = self.arrays().values()
        return float(np.sqrt(sum((part.astype(np.float64) ** 2).sum() for part in parts)))

    def arrays(self) -> dict[str, np.ndarray]:
        """The move as arrays by name, for `io.save_npz`."""
        if isinstance(self.move, Mapping):
            return {name: np.asarray(part, np.float32) for name, part in self.move.items()}
        return {"ws": np.asarray(self.move, np.float32)}

    def subspace(self, amount: float, motion: Motion | None = None) -> Subspace:
        """The move of W+ as a subspace whose strength 1 is ``amount`` of it.

        Args:
            amount: of the move.
            motion: whose prompt is the subspace's own, and whose rows take part.
        """
        move = np.asarray(self.move, np.float64)
        length = float(np.linalg.norm(move))
        meta = {} if motion is None else {"template": motion.template}
        return Subspace(
            basis=(move / length)[None].astype(np.float32),
            scale=amount * length,
            singular_values=np.ones(1, np.float32),
            mean=np.zeros(move.shape, np.float32),
            pc1_ratio=1.0,
            mask=layer_mask(motion.layers if motion else None, len(move)),
            meta=meta,
        )

    @classmethod
    def of_w(cls, move: np.ndarray, rows: int) -> Direction:
        """The move [D] of W in each of so many rows of W+."""
        return cls(np.repeat(move[None], rows, axis=0).astype(np.float32))

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Direction:
        """Inverse of `arrays`."""
        return cls(arrays["ws"] if set(arrays) == {"ws"} else dict(arrays))


@dataclasses.dataclass(frozen=True, eq=False)
class Sampled:
    """Faces drawn at random, and what networks say of them.

    Attributes:
        w: [n, D] latents of W.
        vectors: [n, E] unit vectors of CLIP.
        factors: [n, F] what the probe reads; F is 0 without a probe.
    """

    w: np.ndarray
    vectors: np.ndarray
    factors: np.ndarray


def start_names(count: int) -> tuple[str, ...]:
    """What the start faces of optimised anchors are called."""
    return tuple(f"start{i}" for i in range(count))


class World:
    """All that a method may look at.

    Args:
        gen: the generator.
        clip: the network that compares images with prompts.
        key: of everything that is drawn at random.
        options: how much is looked at.
        probe: what reads known factors, for the methods that may see them.
        encoder: guesses latents of a video's frames.
        videos: files of videos by motion.
        motions: names of those that are looked for, which share what can be shared.
        folder: where what was found is kept, and read from if it is there; None keeps nothing.
        video_folder: where the anchors of videos are kept, which do not depend on the key; the
            same unless given.
        progress: called with the steps.
    """

    def __init__(
        self,
        gen: Generator,
        clip: Clip,
        *,
        key: jax.Array,
        options: BaselineOptions = BaselineOptions(),
        probe: Probe | None = None,
        encoder: Encoder | None = None,
        videos: Mapping[str, Path] | None = None,
        motions: Sequence[str] = tuple(MOTIONS),
        folder: Path | None = None,
        video_folder: Path | None = None,
        progress: ProgressFn = silent,
    ) -> None:
        self.gen, self.clip, self.probe, self.encoder = gen, clip, probe, encoder
        self.options, self.folder, self.progress = options, folder, progress
        self.videos, self.motions = dict(videos or {}), tuple(motions)
        self.video_folder = video_folder or folder
        self._key = key
        self._anchors: dict[str, list[Anchors]] = {}
        self._once: dict[str, Any] = {}

    def key(self, purpose: str) -> jax.Array:
        """A key of its own for each purpose."""
        return jax.random.fold_in(self._key, zlib.crc32(purpose.encode()) & 0x7FFFFFFF)

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the factors that the probe reads.

        Raises:
            UsageError: there is no probe.
        """
        if self.probe is None:
            raise UsageError("this method needs a probe of known factors")
        return self.probe.factors

    def target(self, motion: Motion) -> tuple[int, int]:
        """Position of the factor that a motion is about, and its sign; see `target_of`."""
        return target_of(motion.name, self.factor_names)

    def draw_z(self, purpose: str, count: int) -> np.ndarray:
        """Latents [count, Z] of Z drawn at random; another count does not change the first ones."""
        keys = jax.vmap(functools.partial(jax.random.fold_in, self.key(purpose)))(jnp.arange(count))
        return np.asarray(
            jax.vmap(lambda one: jax.random.normal(one, (self.gen.config.z_dim,)))(keys)
        )

    def draw(self, purpose: str, count: int) -> np.ndarray:
        """The latents [count, L, D] that `draw_z` are mapped to."""
        z = self.draw_z(purpose, count)
        psi = self.options.truncation_psi
        return np.asarray(sample_latents(self.gen, z=z, truncation_psi=psi))

    @functools.cached_property
    def faces(self) -> Sampled:
        """Sampled faces, `options.samples` of them."""
        shapes = {"w": 2, "vectors": 2, "factors": 2}
        return Sampled(**self.kept(SAMPLED, shapes, self._look))

    @functools.cached_property
    def scale(self) -> np.ndarray:
        """[F] standard deviation of each factor over the sampled faces."""
        if not self.faces.factors.shape[1]:
            raise UsageError("this method needs a probe of known factors")
        return factor_scale(self.faces.factors)

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        """Covariance [D, D] float64 of W."""
        return np.cov(self.draw("covariance", _COVARIANCE)[:, 0].astype(np.float64).T)

    @functools.cached_property
    def inverse_covariance(self) -> np.ndarray:
        """[D, D] of W, within what W varies in."""
        return np.linalg.pinv(self.covariance, rcond=1e-6, hermitian=True)

    @functools.cached_property
    def metric(self) -> np.ndarray:
        """The metric [D, D] of W; see `metric_of_w`."""
        return metric_of_w(self.covariance)

    @functools.cached_property
    def jacobian(self) -> np.ndarray:
        """[F, L, D] mean derivative of the factors over `options.jacobian_faces` faces.

        Factors are in standard deviations.
        """
        names = self.factor_names
        shape = (len(names), self.gen.config.num_ws, self.gen.config.w_dim)
        found = self.kept(JACOBIAN, {"jacobian": 3}, self._derive)["jacobian"]
        if found.shape != shape:
            raise DataError(f"the stored Jacobian is {list(found.shape)}, not {list(shape)}")
        return found / self.scale[:, None, None]

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What is made when it is first asked for by this name."""
        if name not in self._once:
            self._once[name] = make()
        return self._once[name]

    def prompts(self, template: str) -> np.ndarray:
        """CLIP's unit vectors [M, E] of a prompt at each of mm_demo's degrees."""
        degrees = DemoOptions().anchors.degrees
        prompts = [fill(template, degree) for degree in degrees]
        return np.asarray(encode_text(self.clip, prompts), np.float32)

    def texts(self, motion: Motion) -> np.ndarray:
        """CLIP's unit vectors [2, E] of a motion's prompts at its two ends."""
        return self.prompts(motion.template)[[0, -1]]

    @functools.cached_property
    def fields(self) -> dict[str, tuple[np.ndarray, float]]:
        """By motion the mean gradient [L, D] of what CLIP reads, and how well two faces' agree.

        All motions are read off the same faces, so the way to the image is gone once for all.
        """
        shape = (len(self.motions), self.gen.config.num_ws, self.gen.config.w_dim)
        found = self.kept(FIELDS, {"fields": 3, "agreements": 1}, self._follow)
        if found["fields"].shape != shape:
            raise DataError(
                f"the stored gradients are {list(found['fields'].shape)}, not {list(shape)}"
            )
        pairs = zip(found["fields"].astype(np.float64), found["agreements"], strict=True)
        return {
            name: (field, float(agreement))
            for name, (field, agreement) in zip(self.motions, pairs, strict=True)
        }

    def gradients(self, templates: Sequence[str]) -> np.ndarray:
        """[K, N, L, D] gradients of the degree that CLIP reads by prompts, at the same faces."""
        degrees = degree_values(DemoOptions().anchors.degrees)
        texts = np.stack([self.prompts(template) for template in templates])
        ws = self.draw("gradients", self.options.averaged)
        return reading_gradients(
            self.gen, self.clip, ws, texts, from_none_to_all(degrees),
            progress=self.progress,
        )[0]  # fmt: skip

    def _follow(self) -> dict[str, np.ndarray]:
        motions = [MOTIONS[name] for name in self.motions]
        found = [
            mean_field(one, self.metric, layer_mask(motion.layers, self.gen.config.num_ws))
            for motion, one in zip(
                motions, self.gradients([motion.template for motion in motions]), strict=True
            )
        ]
        return {
            "fields": np.stack([field for field, _ in found]).astype(np.float32),
            "agreements": np.array([agreement for _, agreement in found]),
        }

    def score(self, motion: Motion) -> np.ndarray:
        """[n] how much more the sampled faces match the end of a motion than its beginning."""
        low, high = self.texts(motion)
        return self.faces.vectors @ (high - low)

    def text_anchors(self, motion: Motion) -> list[Anchors]:
        """Our anchors from prompts, optimised from `options.starts` faces as mm_demo does it."""
        if motion.name in self._anchors:
            return self._anchors[motion.name]
        names = start_names(self.options.starts)
        starts = Latents(self.draw("starts", len(names)), names)
        how = DemoOptions().anchors.replace(
            strategy="optimize", steps=self.options.optimize_steps, layers=motion.layers
        )
        told = prefixed(self.progress, motion.name)
        if self.folder is not None:
            found = anchors_folder.find_anchors(
                self.gen, self.clip, motion.template, starts, self.folder / motion.name, how,
                progress=told,
            )  # fmt: skip
        else:
            found = text_anchors(
                self.gen, self.clip, template=motion.template, start=starts.ws, options=how,
                progress=told,
            )  # fmt: skip
        assert isinstance(found, list)  # as the starts have a batch axis
        self._anchors[motion.name] = found
        return found

    def video_anchors(self, motion: Motion) -> Anchors:
        """Our anchors from a video, found as mm_demo does it.

        Raises:
            UsageError: there is no video of the motion. DataError: it cannot be read.
        """
        if motion.name not in self.videos:
            raise UsageError(f"there is no video of {motion.name}")

        def find() -> Anchors:
            found, _ = anchors_of_video(
                self.gen,
                self.encoder,
                video_info(self.videos[motion.name]),
                align=AlignOptions(aligned=True),
                options=DemoOptions().video_anchors,
                progress=prefixed(self.progress, f"{motion.name}, video"),
            )
            return found

        if self.video_folder is None:
            return find()
        file = self.video_folder / motion.name / anchors_folder.anchor_file(FROM_VIDEO)
        return anchors_folder.keep_anchors(file, find)

    def kept(
        self, name: str, axes: Mapping[str, int], make: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Arrays with so many axes, of a file of the world's folder, or made and written there."""
        file = None if self.folder is None else self.folder / name
        if file is not None and file.exists():
            return io.load_npz(file, required=axes)
        found = make()
        if file is not None:
            io.save_npz(file, **found)
        return found

    def _look(self) -> dict[str, np.ndarray]:
        """What `Sampled` holds."""
        ws, batch = self.draw("faces", self.options.samples), self.options.batch
        vectors, factors = [], []
        for _, images in rendering.render_batches(
            self.gen, ws, batch=batch, progress=self.progress, label="sampled faces"
        ):
            shown = jnp.asarray(filled(images, min(batch, len(ws))))
            vectors.append(np.asarray(_embed(self.clip, shown))[: len(images)])
            if self.probe is not None:
                factors.append(np.asarray(read_factors(self.probe, shown))[: len(images)])
        read = np.concatenate(factors) if factors else np.zeros((len(ws), 0), np.float32)
        return {"w": ws[:, 0], "vectors": np.concatenate(vectors), "factors": read}

    def _derive(self) -> dict[str, np.ndarray]:
        assert self.probe is not None  # as `factor_names` was asked for first
        ws, total = self.draw("jacobian", self.options.jacobian_faces), 0.0
        size = max(1, self.options.batch // 4)
        for first in range(0, len(ws), size):
            part = ws[first : first + size]
            weights = jnp.asarray(np.arange(size) < len(part), jnp.float32)
            found = _factor_gradients(
                self.gen, self.probe, jnp.asarray(filled(part, size)), weights
            )
            total = total + np.asarray(found, np.float64)
            self.progress("Jacobian of factors", first + len(part), len(ws))
        return {"jacobian": np.asarray(total / len(ws), np.float32)}


@jax.jit
def _embed(clip: Clip, images: jax.Array) -> jax.Array:
    return encode_image(clip, images)


@jax.jit
def _factor_gradients(gen: Generator, probe: Probe, ws: jax.Array, weights: jax.Array) -> jax.Array:
    """Derivatives [F, L, D] of the factors of latents [N, L, D], summed with weights [N]."""
    factors, pull = jax.vjp(lambda ws: read_factors(probe, synthesize(gen, ws)), ws)

    def of_one(which: jax.Array) -> jax.Array:  # [F] with a single 1
        (gradient,) = pull(weights[:, None] * which[None, :])
        return gradient.sum(axis=0)

    return jax.lax.map(of_one, jnp.eye(factors.shape[1]))
