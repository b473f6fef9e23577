"""One of our generators as a state dict of another layout."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mm_jax import io
from mm_jax.errors import DataError
from mm_jax.nn.network import flatten_tree
from mm_jax.stylegan2.generator import Generator
from weights_convert import nvlabs, rosinality
from weights_convert.detect import detect
from weights_convert.plan import Request
from weights_convert.readers import read_file, write_torch_zip

__all__ = ["state_of", "with_their_multiplier", "write_state"]

_MULTIPLIER = 0.01


def state_of(gen: Generator, to: str, *, nested: bool) -> dict[str, Any]:
    """What a file of another layout holds of a generator.

    Args:
        gen: the generator, `with_their_multiplier`.
        to: "rosinality" or "nvlabs".
        nested: rosinality's {"g_ema": .., "latent_avg": ..}; else one flat dictionary of arrays, in
            which latent_avg stands beside the others.

    Raises:
        UsageError: the layout cannot hold this generator.
    """
    if to == "nvlabs":
        return dict(nvlabs.params_to_nvlabs(gen.config, gen.params))
    state, mean = rosinality.params_to_rosinality(gen.config, gen.params)
    return {"g_ema": state, "latent_avg": mean} if nested else {**state, "latent_avg": mean}


def with_their_multiplier(gen: Generator) -> Generator:
    """The same function with the learning-rate multiplier that the other layouts take for granted.

    Stored weights and biases of the mapping are divided by it.
    """
    config = gen.config
    factor = config.mapping_lr_multiplier / _MULTIPLIER
    if factor == 1:
        return gen
    mapping = dict(gen.params["mapping"])
    for i in range(config.mapping_layers):
        layer = mapping[f"fc{i}"]
        mapping[f"fc{i}"] = {k: np.asarray(v) * np.float32(factor) for k, v in layer.items()}
    return dataclasses.replace(
        gen,
        config=dataclasses.replace(config, mapping_lr_multiplier=_MULTIPLIER),
        params={**gen.params, "mapping": mapping},
    )


def write_state(gen: Generator, folder: Path, *, to: str, format: str) -> Path:
    """Writes the state as generator.safetensors or generator.pt, and reads it back.

    Raises:
        UsageError: the layout cannot hold this generator.
        DataError: the file cannot be written, or does not read back as what it was made from.
    """
    gen = with_their_multiplier(gen)
    state = state_of(gen, to, nested=format == "pt")
    path = folder / f"generator.{format}"
    io.write_atomic(path, functools.partial(_put, state, format))
    content = read_file(path).content
    request = Request(conv_clamp=gen.config.conv_clamp)
    again = detect(content)[1].plan(content, request).parts[0].build()
    ours, theirs = flatten_tree(gen.params), flatten_tree(again.params)
    for name, value in ours.items():
        if not np.array_equal(np.asarray(value), np.asarray(theirs[name])):
            raise DataError(f"{path.name} does not read back as what it was made from: {name}")
    return path


def _put(state: Mapping[str, Any], format: str, file: BinaryIO) -> None:
    if format == "pt":
        write_torch_zip(file, state)
    else:
        io.put_safetensors(file, state, metadata={"format": "pt"})
