"""What it costs to judge a smaller image: the text anchors of `--resolution`, by their result.

The running image of half the side leaves out the layers above it, so a step is quicker; rows of
W+ that only those layers use stay where they are. For some of the demonstration's prompts, on the
bundled models: how long the anchors take, how alike the direction is to that of whole images, and
what it does to faces that took no part (`mm_jax.edit_metrics`). CLIP is shown images of 64 px here,
as ViT-B/32 is shown 224: 64 of 128 px are what 256 are of 1024.

  python -m benchmarks.shortcut --judged 128 64 32 --motions smile anger aging closing_eyes
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import common
from mm_jax.anchors import folder as anchors_folder
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.artifacts import Latents
from mm_jax.demo.options import DemoOptions
from mm_jax.edit_metrics import motion_truth
from mm_jax.editing.affine import apply_edit
from mm_jax.evaluation.motions import target_of
from mm_jax.evaluation.reading import factor_scale, read_latents
from mm_jax.latents import sample_latents
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.probe import load_probe
from mm_jax.subspace.measures import direction_cosine
from mm_jax.zoo import load_generator


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--judged", type=int, nargs="+", default=[128, 64, 32])
    parser.add_argument("--motions", nargs="+", choices=MOTIONS, default=["smile", "closing_eyes"])
    arguments = common.parse(parser, argv)
    gen, probe = load_generator("people"), load_probe("people-judge")
    clip, demo = load_clip("people-clip"), DemoOptions()
    motions = arguments.motions
    if arguments.quick:
        few = {"starts": (0,), "identities": (1000, 1001), "population": (2000, 2001)}
        demo = demo.replace(anchors=demo.anchors.replace(steps=2), measured=3, **few)
        motions = motions[:1]

    def codes(seeds: tuple[int, ...]) -> np.ndarray:
        return np.asarray(sample_latents(gen, seeds=seeds, truncation_psi=demo.trunc))

    scale = factor_scale(read_latents(gen, probe, codes(demo.population)))
    strengths = demo.strengths(demo.measured)
    starts = Latents(codes(demo.starts), tuple(map(str, demo.starts)), demo.starts)
    rows = []
    for motion in motions:
        whole = None
        for side in arguments.judged:
            preset = MOTIONS[motion]
            how = demo.anchors.replace(layers=preset.layers, resolution=side)
            seconds = []
            with tempfile.TemporaryDirectory() as folder:
                for run in ("compiling", "timed"):
                    began = time.perf_counter()
                    sets = anchors_folder.find_anchors(
                        gen, clip, preset.template, starts, Path(folder, run), how
                    )
                    seconds.append(time.perf_counter() - began)
                own = demo.subspace.replace(layers=preset.layers)
                subspace = anchors_folder.find_subspace(sets, Path(folder), own)
            whole = subspace if whole is None else whole
            edited = apply_edit(codes(demo.identities), subspace, strengths)
            target, sign = target_of(motion, probe.factors)
            truth = motion_truth(
                read_latents(gen, probe, np.asarray(edited)),
                strengths,
                target=target,
                factor_scale=scale,
                sign=sign,
            )
            rows.append(
                {
                    "motion": motion,
                    "judged [px]": str(side),
                    "anchors [s]": seconds[-1],
                    "cosine": float(direction_cosine(whole.basis[0], subspace.basis[0])),
                    "spearman": float(truth.spearman),
                    "leakage, mean": float(truth.leakage_mean),
                    "leakage, most": float(truth.leakage_max),
                }
            )
    common.publish("shortcut", rows, arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
