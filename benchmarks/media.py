"""Frames to mp4 and gif: the whole work of mm_edit on one latent, and its two halves alone.

python -m benchmarks.media --resolution 128 --frames 60
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from mm_jax import media, rendering
from mm_jax.artifacts import Latents, Subspace
from mm_jax.editing import draw
from mm_jax.editing.options import EditOptions
from mm_jax.latents import sample_latents
from mm_jax.stylegan2.config import GeneratorConfig


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--channels", type=int, default=64, help="the most in any layer")
    arguments = common.parse(parser, argv)
    quick = arguments.quick
    resolution, frames = (16, 3) if quick else (arguments.resolution, arguments.frames)
    gen = common.random_generator(
        GeneratorConfig(
            resolution=resolution,
            z_dim=32,
            w_dim=32,
            channel_base=max(16 * 128, resolution),
            channel_max=8 if quick else arguments.channels,
        )
    )
    rows_of_w, width = gen.config.num_ws, gen.config.w_dim
    direction = np.random.default_rng(0).standard_normal((1, rows_of_w, width)).astype(np.float32)
    subspace = Subspace(
        basis=direction / np.linalg.norm(direction),
        scale=np.float32(5.0),
        singular_values=np.ones((1,), np.float32),
        mean=np.zeros((rows_of_w, width), np.float32),
        pc1_ratio=np.float32(1.0),
        mask=np.ones(rows_of_w, np.bool_),
    )
    latents = Latents(sample_latents(gen, seeds=[0]), ("code",), (0,))
    strengths = (tuple(np.linspace(-1, 1, frames).tolist()),)
    options = EditOptions(strengths=strengths, formats=("mp4", "gif"))
    ws = np.repeat(np.asarray(latents.ws), frames, axis=0)
    drawn = np.concatenate([part for _, part in rendering.render_batches(gen, ws, as_bytes=True)])
    order = list(media.frame_sequence(frames))
    with tempfile.TemporaryDirectory() as folder:
        fresh = (Path(folder) / str(i) for i in itertools.count())

        def encode() -> None:
            here = next(fresh)
            media.save_mp4(here / "a.mp4", drawn[order])
            media.save_gif(here / "a.gif", drawn[order])

        works: dict[str, common.Work] = {
            "all of it": lambda: draw.draw(gen, latents, [subspace], next(fresh), options),
            "synthesis alone": lambda: list(rendering.render_batches(gen, ws, as_bytes=True)),
            "encoding alone": encode,
        }
        seconds = common.alternate(works, repeats=arguments.repeats)
    row: dict[str, Any] = {"case": f"{frames} frames of {resolution} px to mp4 and gif"}
    row |= {f"{name} [s]": value for name, value in seconds.items()}
    common.publish("media", [row], arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
