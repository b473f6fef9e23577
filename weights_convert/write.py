"""What was converted as the files that the rest of the project opens, and back from them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mm_jax import io
from mm_jax.artifacts import (
    Latents,
    Subspace,
    load_latents,
    load_subspace,
    save_latents,
    save_subspace,
)
from mm_jax.checkpoints import CONFIG, SAFETENSORS, nested, save_generator
from mm_jax.encoders.encoder import Encoder, load_encoder, save_encoder
from mm_jax.faces.network import FaceNetwork
from mm_jax.meta import Meta
from mm_jax.perceptual.arcface import ArcFace, load_arcface, save_arcface
from mm_jax.perceptual.clip import Clip
from mm_jax.perceptual.clip_files import load_clip, save_clip
from mm_jax.perceptual.lpips import Lpips, load_lpips, save_lpips
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator, make_generator
from weights_convert.readers import read_file

__all__ = ["Written", "write"]


@dataclasses.dataclass(frozen=True)
class Written:
    """The path that other programs are given, what opens it as they do, and how one is called."""

    path: Path
    load: Callable[[], Any]
    used: str = ""


@dataclasses.dataclass(frozen=True)
class _Format:
    """How a result is saved, loaded and used; `file` is its name where it is a file of a folder."""

    save: Callable[[Any, Path], Any]
    load: Callable[[Path], Any]
    used: str = ""
    file: str = ""


def _mapped_generator(folder: Path) -> Generator:
    """As `load_generator_dir`, with parameters that stay in the file until they are needed."""
    config = GeneratorConfig.from_dict(io.read_json(folder / CONFIG)["architecture"])
    stored = read_file(folder / SAFETENSORS).content
    return make_generator(config, nested(stored), meta={"name": folder.name})


_FORMATS: dict[type, _Format] = {
    Generator: _Format(
        functools.partial(save_generator, format="safetensors"),
        _mapped_generator,
        "mm_sample --generator={} --seeds=0-7",
    ),
    Encoder: _Format(save_encoder, load_encoder, "mm_invert --encoder={} --image=FILE"),
    ArcFace: _Format(save_arcface, load_arcface, "mm_extract --arcface={} --motion=smile"),
    Lpips: _Format(save_lpips, load_lpips, "mm_invert --lpips={} --image=FILE"),
    Clip: _Format(save_clip, load_clip, "mm_extract --clip={} --motion=smile"),
    FaceNetwork: _Format(FaceNetwork.save, FaceNetwork.load),
    Subspace: _Format(
        lambda it, to: save_subspace(to, it), load_subspace, "mm_edit --subspace={}", "subspace.npz"
    ),
    Latents: _Format(
        lambda it, to: save_latents(to, it),
        load_latents,
        "mm_sample --generator=FOLDER --latents={}",
        "latents.npz",
    ),
}


def write(built: Any, folder: Path, metadata: Mapping[str, Any]) -> Written:
    """Writes the result of a part.

    Args:
        built: the result.
        folder: an empty folder, or one that is still to be made.
        metadata: where it comes from; added to the meta data of results that have such.

    Raises:
        DataError: it cannot be written.
    """
    if hasattr(built, "meta"):
        built = dataclasses.replace(built, meta=Meta({**built.meta, **metadata}))
    form = _FORMATS[type(built)]
    path = folder / form.file
    form.save(built, path)
    return Written(path, functools.partial(form.load, path), form.used)
