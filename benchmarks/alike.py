"""The text-anchor job to the same result: how long until images are as like their prompts.

The official loop runs as many steps as its defaults say, one degree after another. Ours runs with
fewer steps, all degrees side by side, and on request with a smaller image before CLIP, until the
whole image of every degree is at least as similar to its prompt as the loop's. Both are judged by
the same CLIP on whole images. Weights and prompts are random: what is compared is the work that
one similarity takes, not what an image shows.

The loop is measured as its users run it, with memory left to the C library; then memory is kept,
as our programs do.

  python -m benchmarks.alike --peer-path ~/micromotion-styleGAN/StyleCLIP/models/stylegan2
"""

from __future__ import annotations

import time
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks import common, peers, text_anchors
from mm_jax.allocator import keep_freed_memory
from mm_jax.descent import learning_rates
from mm_jax.errors import UsageError
from mm_jax.latents import synthesize
from mm_jax.perceptual.clip import encode_image

# Steps that are tried, the fewest first.
_STEPS = (10, 20, 30, 40)
# Cosines this close count as the same.
_CLOSE = 1e-4


def similarities(job: text_anchors.Job, codes: np.ndarray) -> np.ndarray:
    """Cosine [M] of the whole image of each code [M, L, D] to its prompt."""
    vectors = [
        encode_image(job.clip, synthesize(job.gen, code[None]), preprocess="styleclip")[0]
        for code in codes
    ]
    return np.asarray((jnp.stack(vectors) * jnp.asarray(job.texts)).sum(axis=1))


def until_alike(
    job: text_anchors.Job, wanted: np.ndarray, *, steps: int, judged: int
) -> dict[str, Any]:
    """Columns of ours: the fewest steps after which no degree is below ``wanted [M]``."""
    reached = np.full_like(wanted, -1.0)
    for count in [n for n in _STEPS if n < steps] + [steps]:
        codes = text_anchors.our_codes(job, steps=count, judged=judged)
        reached = similarities(job, codes)
        if (reached >= wanted - _CLOSE).all():
            # Compiled by now.
            began = time.perf_counter()
            text_anchors.our_codes(job, steps=count, judged=judged)
            seconds = time.perf_counter() - began
            return {"steps": count, "ours [s]": seconds, "similarity": float(reached.mean())}
    return {"steps": None, "ours [s]": None, "similarity": float(reached.mean())}


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--judged", type=int, nargs="+", default=[1024, 512, 256])
    parser.add_argument("--degrees", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40, help="of the official loop")
    arguments = parser.parse_args(argv)
    if not arguments.peer_path:
        raise UsageError("--peer-path is missing: there is nothing to compare with")
    quick = arguments.quick
    config = common.sized(arguments.resolution, quick=quick)
    steps = 4 if quick else arguments.steps
    sides = [config.resolution] if quick else arguments.judged
    job = text_anchors.random_job(config, degrees=arguments.degrees, quick=quick)
    network, rates = text_anchors.torch_clip(job.clip, job.settings), learning_rates(steps, 0.1)
    found = peers.open_generators(arguments.peer_path, job.gen)
    before = similarities(job, np.repeat(job.ws, arguments.degrees, axis=0))
    theirs: dict[str, tuple[float, np.ndarray]] = {}
    for name, peer in found.items():
        began = time.perf_counter()
        codes = text_anchors.official_loop(peer, network, job.ws, job.texts, rates)()
        theirs[name] = time.perf_counter() - began, similarities(job, codes)
        print(
            f"{name}: {theirs[name][0]:.0f} s, similarity {theirs[name][1].mean():.4f}", flush=True
        )
    if not arguments.system_allocator:
        keep_freed_memory()
    rows = []
    for name, (seconds, wanted) in theirs.items():
        for side in sides:
            ours = until_alike(job, wanted, steps=steps, judged=side)
            row = {"case": f"{name}, {steps} steps", "peer [s]": seconds, "judged at [px]": side}
            row |= {"similarity, peer": float(wanted.mean()), **ours}
            if ours["steps"]:
                row["times as fast"] = seconds / ours["ours [s]"]
            print(row, flush=True)
            rows.append(row)
    notes = {"similarity at the start": float(before.mean())}
    common.publish("alike", rows, arguments, notes=notes)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
