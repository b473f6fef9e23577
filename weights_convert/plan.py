"""How a file of some layout is converted: its parts, and how each is built.

A plan is made from keys and shapes; values are looked at when a part is built.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mm_jax.errors import DataError
from mm_jax.nn.network import flatten_tree
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator, make_generator

__all__ = [
    "LARGEST",
    "Layout",
    "Part",
    "Plan",
    "Request",
    "check_square",
    "generator_part",
    "refuse_choice",
]

LARGEST = 4096
"""Largest resolution that is believed of a file; keys alone could claim any."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What the caller asks of a file.

    Attributes:
        name: what the result is called.
        network: which generator, of a file that holds several: "G_ema" or "G".
        rows: L, for what a file holds for W only, or flattened.
        generator: that bare arrays belong to, or None.
        conv_clamp: a number or None, in place of what the file says; "auto" for just that.
        trunk: content of the second file, of networks that come in two.
        activation: of a CLIP whose file does not say it: "quick_gelu", "gelu" or "auto".
        vocabulary: file of the words that a CLIP knows, where it comes without.
    """

    name: str = "converted"
    network: str = "G_ema"
    rows: int = 18
    generator: Generator | None = None
    conv_clamp: float | str | None = "auto"
    activation: str = "auto"
    trunk: Any = None
    vocabulary: str = ""


@dataclasses.dataclass(frozen=True)
class Part:
    """One result.

    Attributes:
        metadata: what is known of it, for reading.
        build: makes it; raises DataError where values are bad.
        folder: where it goes below the output folder; "" is that folder itself.
    """

    metadata: Mapping[str, Any]
    build: Callable[[], Any]
    folder: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """All results of a file, and notes on assumptions and on what was left out."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout that can be converted.

    Attributes:
        what: the kind, for messages.
        plan: what becomes of a content of this kind; raises DataError where keys or shapes are not
            exactly those of the layout.
    """

    what: str
    plan: Callable[[Any, Request], Plan]


def check_square(const: Any) -> None:
    """Raises DataError where the first map [.., H, W] of a generator is not square."""
    height, width = np.shape(const)[-2:] if np.ndim(const) > 1 else (0, 0)
    if height != width:
        raise DataError(
            f"holds a generator whose images are not square, {height} by {width} at the start, "
            "such as StyleGAN-Human's, which is not supported"
        )


def refuse_choice(network: str) -> None:
    """Raises DataError where another network than the default is wanted of a single one."""
    if network != Request.network:
        raise DataError(f"the file holds a single generator, so there is no --network={network}")


def generator_part(
    config: GeneratorConfig,
    params: Callable[[], Mapping[str, Any]],
    request: Request,
    *,
    folder: str = "",
) -> Part:
    """The part that is a generator of ours, from a function that makes its parameters."""
    leaves = flatten_tree(Generator.shapes(config)).values()
    metadata = {
        "resolution": config.resolution,
        "channels": ", ".join(f"{r}: {config.channels_at(r)}" for r in config.block_resolutions),
        "z, w, labels": f"{config.z_dim}, {config.w_dim}, {config.c_dim}",
        "mapping layers": config.mapping_layers,
        "conv_clamp": config.conv_clamp,
        "parameters": f"{sum(leaf.size for leaf in leaves):,}",
    }

    def build():
        return make_generator(config, params(), meta={"name": request.name})

    return Part(metadata, build, folder)
