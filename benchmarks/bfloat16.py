"""What --precision=bfloat16 gains on this processor, and what it costs in accuracy.

Layers that keep the size, images and gradients of configuration f and of the bundled generator, in
float32 and in bfloat16: processor seconds, the least of several runs in turns, which other work
disturbs less than the clock, and how far bfloat16 is from float32. Then the bundled world: the five
motions found anew in either (cosine of their directions, degree that CLIP reads back), and renders
inverted in either.

  python -m benchmarks.bfloat16
  python -m benchmarks.bfloat16 --parts layers images --resolution 256
  python -m docs.bfloat16 runs/bench/bfloat16.json     # puts the tables into the page
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from mm_jax.anchors.options import AnchorOptions
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.anchors.readback import read_back
from mm_jax.anchors.text import text_anchors
from mm_jax.encoders.encoder import load_encoder
from mm_jax.evaluation.renders import load_known_renders
from mm_jax.inversion.invert import invert
from mm_jax.inversion.losses import psnr
from mm_jax.latents import sample_latents, synthesize
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.stylegan2.conv import conv2d
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.precision import PRECISIONS
from mm_jax.subspace import extract_subspace
from mm_jax.subspace.measures import direction_cosine
from mm_jax.zoo import ENCODER, GENERATOR, RENDERS, load_generator

_FACES_AT_ONCE = 8  # of the bundled generator


def _gradient(gen: Generator, ws: jax.Array) -> jax.Array:
    """Of the images' mean square with respect to latents [N, L, D]."""
    return jax.grad(lambda ws: jnp.mean(jnp.square(synthesize(gen, ws))))(ws)


def _measured(
    works: Mapping[str, Callable[[], jax.Array]], repeats: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The least processor seconds of each, in turns, and what each returns."""
    found = {name: np.asarray(work()) for name, work in works.items()}
    seconds = dict.fromkeys(works, np.inf)
    for _ in range(repeats):
        for name, work in works.items():
            began = time.process_time()
            jax.block_until_ready(work())
            seconds[name] = min(seconds[name], time.process_time() - began)
    return seconds, found


def _error(found: Mapping[str, np.ndarray]) -> float:
    """Root mean square of what bfloat16 changes, in units of the result's standard deviation."""
    exact, low = found["float32"], found["bfloat16"]
    return float(np.sqrt(np.mean((low - exact) ** 2)) / exact.std())


def _compared(what: str, seconds: Mapping[str, float], unit: float, name: str) -> dict[str, Any]:
    """Columns of a row: both, and how many times as fast bfloat16 is."""
    row: dict[str, Any] = {f"{what}, {p} [CPU {name}]": seconds[p] / unit for p in PRECISIONS}
    return {**row, f"{what}, times as fast": seconds["float32"] / seconds["bfloat16"]}


def _generators(arguments: argparse.Namespace) -> Iterator[tuple[str, Generator, jax.Array]]:
    """Yield (name, generator, latents [N, L, D]): configuration f, then the bundled one."""
    arguments.batch = [1]
    for name, gen, ws in common.generator_cases(arguments):
        yield f"f, {name}", gen, jnp.asarray(ws)
    gen = load_generator(GENERATOR)
    ws = sample_latents(gen, seeds=range(_FACES_AT_ONCE), truncation_psi=0.7)
    yield f"{gen.name}, {gen.config.resolution} px, batch {len(ws)}", gen, ws


def layers(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each convolution that keeps the size, of each width and size once."""
    rows: dict[str, dict[str, Any]] = {}
    for _, gen, ws in _generators(arguments):
        for side in gen.config.block_resolutions:
            channels = gen.config.channels_at(side)
            label = f"{side} px, {channels} channels, batch {len(ws)}"
            if side < 16 or label in rows:
                continue
            random = np.random.default_rng(0)
            x = jnp.asarray(random.standard_normal((len(ws), side, side, channels), np.float32))
            kernel = random.standard_normal((3, 3, channels, channels), np.float32)
            kernel = jnp.asarray(kernel / np.float32(np.sqrt(9 * channels)))
            forms = {p: functools.partial(conv2d, precision=p) for p in PRECISIONS}
            works = {p: functools.partial(jax.jit(form), x, kernel) for p, form in forms.items()}
            seconds, found = _measured(works, arguments.repeats)
            columns = _compared("layer", seconds, 1e-3, "ms")
            rows[label] = {"layer": label, **columns, "error": _error(found)}
    return list(rows.values())


def images(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each generator: images, and gradients with respect to latents."""
    rows = []
    for name, gen, ws in _generators(arguments):
        gens = {precision: gen.with_precision(precision) for precision in PRECISIONS}
        row: dict[str, Any] = {"generator": name}
        for what, function in (("images", synthesize), ("gradient", _gradient)):
            program = jax.jit(function)
            works = {p: functools.partial(program, one, ws) for p, one in gens.items()}
            seconds, found = _measured(works, arguments.repeats)
            row |= _compared(what, seconds, 1.0, "s")
            if what == "images":
                # Images of random weights are of no known range: they are taken to have the
                # deviation of photographs, half of the way from grey to white.
                error = _error(found) * (0.5 if name[0] == "f" else found["float32"].std())
                row["images, PSNR [dB]"] = float(20 * np.log10(2 / max(error, 1e-12)))
            else:
                row["gradient, error"] = _error(found)
        rows.append(row)
    return rows


def motions(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each bundled motion, found from its prompt in float32 and in bfloat16."""
    clip, rows = load_clip(f"{GENERATOR}-clip"), []
    gens = {p: load_generator(GENERATOR, precision=p) for p in PRECISIONS}
    start = np.asarray(sample_latents(gens["float32"], seeds=[0], truncation_psi=0.7))[0]
    how = AnchorOptions(gradients=4) if arguments.quick else AnchorOptions()
    for name in list(MOTIONS)[: 1 if arguments.quick else None]:
        motion, found = MOTIONS[name], {}
        row: dict[str, Any] = {"motion": name}
        for precision, gen in gens.items():
            anchors = text_anchors(
                gen,
                clip,
                template=motion.template,
                start=start,
                options=how,
                layers=motion.layers,
            )
            found[precision] = extract_subspace(anchors, layers=motion.layers)
            read = read_back(gen, clip, found[precision], faces=2 if arguments.quick else 24)
            row[f"degree read back, {precision}"] = float(read.degree)
        row["1 - cosine"] = 1 - float(direction_cosine(*(found[p].basis[0] for p in PRECISIONS)))
        rows.append(row)
    return rows


def inversion(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One row: the mean PSNR of bundled renders that are inverted in either precision."""
    count, steps = (1, 2) if arguments.quick else (8, 50)
    targets, encoder = load_known_renders(RENDERS).images[:count], load_encoder(ENCODER)
    row: dict[str, Any] = {"renders": count, "steps": steps}
    for precision in PRECISIONS:
        gen = load_generator(GENERATOR, precision=precision)
        found = invert(gen, targets, start="encoder", encoder=encoder, steps=steps)
        # What the latents are worth is what float32 draws of them.
        drawn = synthesize(gen.with_precision("float32"), jnp.asarray(found.ws))
        row[f"PSNR, {precision} [dB]"] = float(
            np.mean(np.asarray(psnr(drawn, jnp.asarray(targets))))
        )
    return [row]


PARTS = {"layers": layers, "images": images, "motions": motions, "inversion": inversion}


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the tables."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, nargs="+", default=[128, 256, 1024])
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    arguments = common.parse(parser, argv)
    found = {part: PARTS[part](arguments) for part in arguments.parts}
    rows = [row for part in found.values() for row in part]
    common.publish("bfloat16", rows, arguments, further={"parts": found})


if __name__ == "__main__":
    raise SystemExit(common.start(main))
