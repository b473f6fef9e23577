"""The text-anchor job: all degrees of one prompt, with a CLIP of ViT-B/32's size.

Weights are random: how long it takes does not depend on them. The peer is the official loop, one
degree after another, in PyTorch, on the generator of its own repository (a copy of rosinality's),
on rosinality's or on NVlabs', with Hugging Face's CLIP. All steps take as long, so by default a few
are made; `--steps 40` is a whole job.

  python -m benchmarks.text_anchors --resolution 1024 --degrees 11 --steps 40
  python -m benchmarks.text_anchors --judged 256          # the image is judged at 256 px
  python -m benchmarks.text_anchors --peer-path ~/micromotion-styleGAN/StyleCLIP/models/stylegan2
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from benchmarks import common, peers
from mm_jax.anchors.optimize import optimize_latents
from mm_jax.anchors.options import AnchorOptions
from mm_jax.descent import learning_rates
from mm_jax.perceptual.clip import Clip, ClipSpec, clip_module
from mm_jax.perceptual.clip_files import parameter_shapes, torch_tensors
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator

_L2 = 0.008


def clip_settings(*, quick: bool) -> dict[str, Any]:
    """Hugging Face's settings of CLIP ViT-B/32, which are its defaults, or of a tiny one."""
    from transformers import CLIPConfig

    if not quick:
        return CLIPConfig().to_dict()
    tower = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    vision = {**tower, "image_size": 8, "patch_size": 4}
    text = {**tower, "vocab_size": 8, "max_position_embeddings": 4}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=8).to_dict()


def random_clip(config: dict[str, Any]) -> Clip:
    """A CLIP that is shown images only, and so has no tokenizer."""
    import json

    random, values = np.random.default_rng(0), {}
    for path, shape in parameter_shapes(clip_module(config)).items():
        size = np.sqrt(np.prod(shape[:-1])) if path[-1] == "kernel" else 50.0
        values[path] = jnp.asarray(random.standard_normal(shape, np.float32) / np.float32(size))
    spec = ClipSpec(
        config_json=json.dumps(config, sort_keys=True),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        tokenizer=cast(Any, None),
        name="random",
    )
    return Clip(unflatten_dict(values), spec)


def torch_clip(clip: Clip, config: dict[str, Any]) -> Any:
    """The same CLIP in PyTorch, by Hugging Face."""
    torch, transformers = map(importlib.import_module, ("torch", "transformers"))
    network = transformers.CLIPModel(transformers.CLIPConfig.from_dict(config))
    network.load_state_dict({k: torch.from_numpy(v) for k, v in torch_tensors(clip).items()})
    return network.eval().requires_grad_(False)


class Job(NamedTuple):
    """One prompt: what draws, what judges and its settings, where it begins, what is wanted."""

    gen: Generator
    clip: Clip
    settings: dict[str, Any]
    ws: np.ndarray  # [1, L, D]
    texts: np.ndarray  # [M, E], unit vectors


def random_job(config: GeneratorConfig, *, degrees: int, quick: bool) -> Job:
    """A job of random weights and prompts."""
    settings = clip_settings(quick=quick)
    clip = random_clip(settings)
    random = np.random.default_rng(1)
    ws = random.standard_normal((1, config.num_ws, config.w_dim)).astype(np.float32)
    texts = random.standard_normal((degrees, clip.embed_dim)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    return Job(common.random_generator(config), clip, settings, ws, texts)


def our_codes(job: Job, *, steps: int, judged: int, batch_size: int | None = None) -> np.ndarray:
    """Every degree from the start latent, side by side: latents [M, L, D]."""
    return optimize_latents(
        job.gen,
        job.clip,
        start=jnp.asarray(job.ws),
        texts=jnp.asarray(job.texts),
        options=AnchorOptions(
            preprocess="styleclip", resolution=judged, steps=steps, l2_weight=_L2
        ),
        batch_size=batch_size,
    ).ws[0]


def official_loop(
    peer: peers.TorchGenerator,
    network: Any,
    ws: np.ndarray,
    texts: np.ndarray,
    rates: np.ndarray,
) -> Callable[[], np.ndarray]:
    """Every degree from the start latent by Adam, one after another: latents [M, L, D]."""
    torch = peer.torch
    network.to(peer.device)
    side = network.config.vision_config.image_size
    start, wanted = peer.codes(ws), peer.codes(texts)

    def seen(image: Any) -> Any:
        # Nearest by `side`, then the mean of squares as large as the image: area weights.
        larger = torch.nn.functional.interpolate(image, scale_factor=max(1, side // 32))
        return torch.nn.functional.adaptive_avg_pool2d(larger, side)

    def work() -> np.ndarray:
        codes = []
        for text in wanted:
            code = start.clone().requires_grad_(True)
            adam = torch.optim.Adam([code], lr=1.0)
            for rate in rates:
                adam.param_groups[0]["lr"] = float(rate)
                vision = network.vision_model(pixel_values=seen(peer.draw(code)))
                vector = network.visual_projection(vision.pooler_output)[0]
                loss = 1 - torch.nn.functional.cosine_similarity(vector, text, dim=0)
                loss = loss + _L2 * ((code - start) ** 2).sum()
                adam.zero_grad()
                loss.backward()
                adam.step()
            codes.append(code.detach().cpu().numpy()[0])
        return np.stack(codes)

    return work


def moved_and_apart(ws: np.ndarray, codes: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Columns of a row: how far ours went from latents [1, L, D], how far from there others are."""
    ours = codes[common.OURS]
    others = np.stack([other for name, other in codes.items() if name != common.OURS])
    apart = np.abs(others - ours)
    return {
        "codes moved by, rms": float(np.sqrt(np.mean((ours - ws) ** 2))),
        "codes apart by, rms": float(np.sqrt(np.mean(apart**2))),
        "codes apart by, at most": float(apart.max()),
    }


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = common.parser(__doc__ or "")
    parser.add_argument("--resolution", type=int, default=1024)
    parser.add_argument("--judged", type=int, help="resolution of the image that CLIP is shown")
    parser.add_argument("--degrees", type=int, default=11)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--peer", nargs="+", help="of the peer's settings only these")
    parser.set_defaults(repeats=3)  # each takes half a minute
    arguments = common.parse(parser, argv)
    quick = arguments.quick
    config = common.sized(arguments.resolution, quick=quick)
    degrees, steps = (2, 2) if quick else (arguments.degrees, arguments.steps)
    job = random_job(config, degrees=degrees, quick=quick)
    judged = arguments.judged or config.resolution

    def ours() -> np.ndarray:
        return our_codes(job, steps=steps, judged=judged)

    works = {common.OURS: ours}
    if arguments.peer_path:
        network, rates = torch_clip(job.clip, job.settings), learning_rates(steps, 0.1)
        for name, peer in peers.open_generators(arguments.peer_path, job.gen).items():
            if name in (arguments.peer or name):
                works[name] = official_loop(peer, network, job.ws, job.texts, rates)
    codes: dict[str, np.ndarray] = {}

    def keeping(name: str) -> common.Work:
        return lambda: codes.__setitem__(name, works[name]())

    seconds = common.alternate({n: keeping(n) for n in works}, repeats=arguments.repeats)
    row = {
        "case": f"{config.resolution} px, {degrees} degrees x {steps} steps",
        **common.compared(seconds),
        "ours, a step of all degrees [s]": seconds[common.OURS] / steps,
    }
    if len(codes) > 1:
        row |= moved_and_apart(job.ws, codes)
    common.publish("text_anchors", [row], arguments)


if __name__ == "__main__":
    raise SystemExit(common.start(main))
