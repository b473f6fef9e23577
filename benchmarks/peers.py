"""Generators of others in PyTorch, from a checkout that the user has: nothing of them is kept here.

They are given our generator's weights, so that what both come to can be compared.

Recognised are NVlabs' stylegan3 (its networks_stylegan2.py), rosinality's stylegan2-pytorch, and
the copy of the latter in the official micromotion-styleGAN. Operations of the last two must be
patched to plain PyTorch where there is no CUDA compiler, imports of the last to its own folder.
NVlabs' imports pkg_resources, which setuptools has no longer from version 81 on.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.common import BFLOAT16
from mm_jax.errors import UsageError
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator
from mm_jax.words import how_to_install
from weights_convert.export import state_of

__all__ = ["TorchGenerator", "import_torch", "open_generators", "works"]


def import_torch() -> Any:
    """PyTorch, with as many threads as there are cores.

    Raises:
        UsageError: it is not installed.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise UsageError(f"--peer-path wants PyTorch: {how_to_install('torch')}") from error
    torch.set_num_threads(os.cpu_count() or 1)
    return torch


class TorchGenerator:
    """A foreign generator with our weights, on the GPU where there is one.

    Args:
        module: the `torch.nn.Module`.
        draw: latents [N, L, D] as tensor to images [N, 3, H, W].
        autocast: whether PyTorch may take bfloat16 where it holds that to be safe.
    """

    def __init__(self, module: Any, draw: Callable[[Any], Any], *, autocast: bool = False) -> None:
        self.torch = import_torch()
        self.autocast = autocast
        self.device = "cuda" if self.torch.cuda.is_available() else "cpu"
        self.module = module
        self._draw = draw
        module.eval().requires_grad_(False).to(self.device)

    def draw(self, ws: Any) -> Any:
        """Images [N, 3, H, W] of latents, both tensors."""
        with self.torch.autocast(self.device, self.torch.bfloat16, enabled=self.autocast):
            return self._draw(ws)

    def codes(self, ws: np.ndarray) -> Any:
        """Latents as a tensor on the device."""
        return self.torch.as_tensor(ws, device=self.device)

    def forward(self, ws: Any) -> None:
        """Draw, and wait."""
        with self.torch.no_grad():
            self.draw(ws)
        self.wait()

    def gradient(self, ws: Any) -> None:
        """Draw, take the gradient of the images' sum with respect to the latents, and wait."""
        leaf = ws.detach().requires_grad_(True)
        self.draw(leaf).sum().backward()
        self.wait()

    def images(self, ws: Any) -> np.ndarray:
        """Images [N, H, W, C] of latents."""
        with self.torch.no_grad():
            return self.draw(ws).permute(0, 2, 3, 1).float().cpu().numpy()

    def wait(self) -> None:
        """Until the device has done its work."""
        if self.device == "cuda":
            self.torch.cuda.synchronize()


def open_generators(
    path: str, gen: Generator, *, autocast: bool = False
) -> dict[str, TorchGenerator]:
    """The checkout's generators with our weights, one for each setting that could be the fastest.

    With ``autocast`` NVlabs' come once more on a CPU, under PyTorch's autocast to bfloat16; their
    names end with `BFLOAT16`. They assert that types stay what they are, so this is done only where
    Python is run without assertions (`python -O`).

    Raises:
        UsageError: no such folder, no checkout that is known, no PyTorch, or a setuptools that is
            too new for the checkout.
    """
    folder = Path(path)
    nvlabs = (folder / "training" / "networks_stylegan2.py").is_file()
    if not nvlabs and not (folder / "op" / "upfirdn2d.py").is_file():
        raise UsageError(
            "--peer-path must be a checkout of NVlabs/stylegan3 or of "
            f"rosinality/stylegan2-pytorch, got {path}"
        )
    torch = import_torch()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    state = {
        name: torch.as_tensor(np.array(value))
        for name, value in state_of(gen, "nvlabs" if nvlabs else "rosinality", nested=False).items()
    }
    return _nvlabs(gen.config, state, torch, autocast) if nvlabs else _rosinality(gen.config, state)


def works(
    found: Mapping[str, TorchGenerator], ws: np.ndarray, what: Literal["forward", "gradient"]
) -> dict[str, Callable[[], object]]:
    """By name, what foreign generators do with latents [N, L, D]."""
    return {
        name: functools.partial(getattr(peer, what), peer.codes(ws)) for name, peer in found.items()
    }


def _nvlabs(
    config: GeneratorConfig, state: dict[str, Any], torch: Any, autocast: bool
) -> dict[str, TorchGenerator]:
    try:
        networks = importlib.import_module("training.networks_stylegan2")
    except ModuleNotFoundError as error:
        if error.name != "pkg_resources":
            raise
        raise UsageError(
            "--peer-path: NVlabs' checkout imports pkg_resources, which setuptools has no longer "
            "from 81 on: pip install 'setuptools<81'"
        ) from error

    def build(*, fp16: bool) -> Any:
        network = networks.Generator(
            config.z_dim,
            0,
            config.w_dim,
            config.resolution,
            config.img_channels,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
            num_fp16_res=4 if fp16 else 0,
            conv_clamp=256 if fp16 else None,
        )
        network.load_state_dict(state)
        return network.synthesis

    def wrapped(network: Any, fused: bool, *, autocast: bool = False) -> TorchGenerator:
        return TorchGenerator(
            network,
            lambda ws: network(ws, noise_mode="const", fused_modconv=fused),
            autocast=autocast,
        )

    network = build(fp16=False)
    found: dict[str, TorchGenerator] = {}
    for name in ("fused", "plain"):
        found[f"NVlabs {name}"] = wrapped(network, name == "fused")
        if autocast and not __debug__ and not torch.cuda.is_available():
            low = wrapped(network, name == "fused", autocast=True)
            found[f"NVlabs {name}{BFLOAT16}"] = low
    if torch.cuda.is_available():
        found["NVlabs fp16"] = wrapped(build(fp16=True), True)
    return found


def _rosinality(config: GeneratorConfig, state: dict[str, Any]) -> dict[str, TorchGenerator]:
    network = importlib.import_module("model").Generator(
        config.resolution, config.w_dim, config.mapping_layers
    )
    network.load_state_dict({k: v for k, v in state.items() if k != "latent_avg"})

    def draw(ws: Any) -> Any:
        return network([ws], input_is_latent=True, randomize_noise=False)[0]

    return {"rosinality": TorchGenerator(network, draw)}
