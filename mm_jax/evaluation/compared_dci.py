"""Disentanglement of Z, W, W+ and S, a part of mm_eval --topic=compared.

What is predicted is what the probe reads of sampled faces. Of sampled faces all rows of W+ are
alike, which says nothing of W+; there, faces are mixed: up to some row they have one latent, from
it on another. `mm_jax.evaluation.disentanglement` says what the measures are.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mm_jax import io
from mm_jax.baselines.world import World
from mm_jax.evaluation.compared_judge import Judged
from mm_jax.evaluation.disentanglement import dci
from mm_jax.evaluation.options import ComparedEval
from mm_jax.evaluation.reading import read_latents
from mm_jax.latents import to_stylespace
from mm_jax.progress import ProgressFn
from mm_jax.runs import RunFolder

__all__ = ["measure_all", "mixed", "outputs"]

DCI = "claims/dci.json"
# More faces change the measures little, and take long where a space has thousands of numbers.
_FACES = 2048


def outputs(options: ComparedEval) -> list[str]:
    """Names of the files that are written."""
    del options  # whatever is compared
    return [DCI]


def measure_all(
    world: World, judged: Judged, run: RunFolder, options: ComparedEval, progress: ProgressFn
) -> dict[str, Any]:
    """The measures by space; read if the folder has them."""
    del judged  # what methods may see is measured by what they may see
    file = run.file(DCI)
    if not file.exists():
        io.write_json(file, _measure(world, options, progress))
    return {"dci": io.read_json(file)}


def mixed(ws: np.ndarray, others: np.ndarray, key: jax.Array) -> np.ndarray:
    """Latents [n, L, D] that have the rows of the others [n, L, D] from some row on."""
    rows = ws.shape[1]
    first = np.asarray(jax.random.randint(key, (len(ws),), 1, max(rows, 2)))
    return np.where(np.arange(rows)[None, :, None] < first[:, None, None], ws, others)


def _measure(world: World, options: ComparedEval, progress: ProgressFn) -> dict[str, Any]:
    count = min(_FACES, len(world.faces.w))
    w, factors = world.faces.w[:count], world.faces.factors[:count]
    rows = np.repeat(w[:, None], world.gen.config.num_ws, axis=1)
    parts = []
    for first in range(0, count, 256):
        styles = to_stylespace(world.gen, rows[first : first + 256])
        parts.append(np.concatenate([np.asarray(s) for s in styles.values()], axis=1))
    across = mixed(rows, world.draw("mixed with", count), world.key("mixed at"))
    assert world.probe is not None  # as the sampled faces have factors
    read = read_latents(
        world.gen, world.probe, across, batch=options.batch, progress=progress, label="mixed faces"
    )
    pairs = {
        "Z": (world.draw_z("faces", count), factors),
        "W": (w, factors),
        "W+": (across.reshape(count, -1), read),
        "S": (np.concatenate(parts), factors),
    }
    found: dict[str, Any] = {}
    for done, (name, (latents, truth)) in enumerate(pairs.items()):
        found[name] = {**dci(latents, truth), "of": int(latents.shape[1])}
        progress("disentanglement", done + 1, len(pairs))
    return {"faces": count, "spaces": found}
