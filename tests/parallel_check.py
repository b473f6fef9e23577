"""What `test_parallel.py` runs in a process of its own, whose CPU is eight devices.

Prints as json how far results on all devices are from those on one, by name, and how one result was
split. With the argument "all", all functions are compared.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import jax
import numpy as np

from mm_jax import latents, parallel, rendering
from mm_jax.anchors.text import text_anchors
from mm_jax.artifacts import Subspace
from mm_jax.editing import apply_edit
from mm_jax.inversion.invert import invert
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import make_generator
from mm_jax.stylegan2.networks import init_params

COUNT = 11  # is no multiple of the devices


def doubles():
    path = Path(__file__).parent / "conftest.py"
    spec = importlib.util.spec_from_file_location("doubles", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(gen, clip):
    """By name: results to compare."""
    del clip
    ws = latents.sample_latents(gen, seeds=range(COUNT), truncation_psi=0.7)
    return {
        "sample_latents": ws,
        "synthesize": latents.synthesize(gen, ws),
        "apply_edit": apply_edit(ws, subspace(gen), [-1.0, 0.5]),
    }


def subspace(gen):
    shape = (gen.config.num_ws, gen.config.w_dim)
    basis = np.full((1, *shape), 1 / np.sqrt(np.prod(shape)), np.float32)
    return Subspace(
        basis=basis,
        scale=2.0,
        singular_values=np.ones(1, np.float32),
        mean=np.zeros(shape, np.float32),
        pc1_ratio=1.0,
        mask=np.ones(shape[0], np.bool_),
    )


def everything(gen, clip):
    """By name: results of all functions that split their batches."""
    key = jax.random.key(3)
    found = drawn(gen, clip)
    ws = np.asarray(found["sample_latents"])
    styles = latents.to_stylespace(gen, ws)
    noisy = latents.synthesize(gen, ws, noise_mode="random", noise_key=key)
    found |= {
        "to_stylespace": styles,
        "random noise": noisy,
        "synthesize_from_styles": latents.synthesize_from_styles(gen, styles),
        "skip_images": latents.skip_images(gen, ws),
        "batches": rendering.render_all(gen, ws, batch=4),
    }
    frames = np.asarray(noisy)[:5].clip(-1, 1)
    for name, options in {
        # Two batches, either of them filled up to the devices; frames of a batch interact.
        "clip": {"temporal_weight": 0.1, "batch_size": 3},
        "noise": {"noise": "optimize", "key": key},
        "S": {"space": "s"},
        "lbfgs": {"optimizer": "lbfgs"},
    }.items():
        result = invert(gen, frames, steps=2, learning_rate=0.03, **options)
        found[f"invert, {name}"] = [result.losses, result.ws, result.images]
    for name, options in {
        "optimize": {"steps": 2},
        "sample": {"samples": 20, "keep": 4, "batch_size": 6},
    }.items():
        anchors = text_anchors(
            gen, clip, start=ws[0], template="{degree} angry", degrees=("no", "90%"),
            strategy=name, key=key, **options,
        )  # fmt: skip
        assert not isinstance(anchors, list)
        found[f"text_anchors, {name}"] = anchors.ws
    return found


def distance(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def main():
    make = everything if "all" in sys.argv else drawn
    config = GeneratorConfig(resolution=8, z_dim=10, w_dim=12, mapping_layers=2, channels=(8, 8))
    models = (
        make_generator(config, init_params(jax.random.key(0), config)),
        doubles().make_clip(image_size=8),
    )
    mesh = parallel.make_mesh()
    everywhere = parallel.replicate(models, mesh)
    alone, together = make(*models), make(*everywhere)
    gen = everywhere[0]
    whole = latents.synthesize(gen, latents.sample_latents(gen, seeds=range(16)))
    print(
        json.dumps(
            {
                "devices": mesh.devices.size,
                "far": {name: distance(alone[name], together[name]) for name in alone},
                "parts": [list(shard.data.shape) for shard in whole.addressable_shards],
            }
        )
    )


if __name__ == "__main__":
    main()
