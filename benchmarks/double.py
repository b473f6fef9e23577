"""Whether the text-anchor job ends where the official loop ends, rounding apart.

Adam's first steps are as long for a gradient that is rounding error as for any other, so that in
float32 no two programs end at the same latents, nor does one on two machines. Here both compute in
float64: what is then left between them is a difference in what they compute.

  python -m benchmarks.double --peer-path ~/micromotion-styleGAN/StyleCLIP/models/stylegan2
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

# The library computes in what it calls float32, which is asked for by this name: before its modules
# are imported, so that defaults of arguments follow.
jax.config.update("jax_enable_x64", True)
jnp.float32 = jnp.float64

import numpy as np  # noqa: E402

from benchmarks import common, peers, text_anchors  # noqa: E402
from mm_jax.descent import learning_rates  # noqa: E402
from mm_jax.errors import UsageError  # noqa: E402


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4)
    arguments = common.parse(parser, argv)
    if not arguments.peer_path:
        raise UsageError("--peer-path is missing: there is nothing to compare with")
    config = common.sized(arguments.resolution, quick=arguments.quick)
    job = text_anchors.random_job(config, degrees=1, quick=arguments.quick)
    network = text_anchors.torch_clip(job.clip, job.settings).double()
    found = peers.open_generators(arguments.peer_path, job.gen)
    job = jax.tree.map(
        lambda leaf: leaf.astype(np.float64) if hasattr(leaf, "astype") else leaf, job
    )
    torch = peers.import_torch()
    torch.set_default_dtype(torch.float64)
    rates = learning_rates(arguments.steps, 0.1)
    ours = text_anchors.our_codes(job, steps=arguments.steps, judged=config.resolution)
    rows = []
    for name, peer in found.items():
        peer.module.double()
        theirs = text_anchors.official_loop(peer, network, job.ws, job.texts, rates)()
        case = f"{name}, {config.resolution} px, {arguments.steps} steps"
        codes = {common.OURS: ours, name: theirs}
        rows.append({"case": case, **text_anchors.moved_and_apart(job.ws, codes)})
    common.publish("double", rows, arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
