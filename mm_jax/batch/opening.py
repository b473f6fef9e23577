"""The models that mm_batch's flags name, on all devices of this process, and what uses them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax

from mm_jax import parallel
from mm_jax.alignment import framing_of
from mm_jax.batch import compat as cli
from mm_jax.batch.compat import (
    AlignSettings,
    AnchorSettings,
    InvertSettings,
    SubspaceSettings,
    check_layers,
)
from mm_jax.batch.faces import FaceReader
from mm_jax.batch.flags import kind_settings
from mm_jax.batch.kinds import Drawing, Edit, Extract, Invert, Sample
from mm_jax.batch.pipeline import Kind
from mm_jax.batch.settings import BatchSettings
from mm_jax.encoders.encoder import open_encoder
from mm_jax.inversion.folder import InversionNetworks as Looks
from mm_jax.parsers import parse_layers
from mm_jax.perceptual.arcface import load_arcface
from mm_jax.perceptual.clip_files import load_clip
from mm_jax.perceptual.lpips import load_lpips
from mm_jax.stylegan2.generator import Generator
from mm_jax.stylegan2.memory import images_at_once as pictures_at_once
from mm_jax.zoo import load_generator

__all__ = ["open_kind"]

# Pictures of a batch, on each device, where nobody says and memory would allow more.
_DRAWN, _OPTIMISED = 16, 32
# Of an extraction's template, which is the items' own.
_ANY = "{degree}"


def open_kind(
    f: cli.Flags, settings: BatchSettings, *, pictures: bool
) -> tuple[Kind, dict[str, Any]]:
    """What does the items of --kind, and what its results depend on beside the flags.

    Args:
        f: the flags.
        settings: of the run.
        pictures: whether there are any among the items; what finds codes of them is opened then.

    Raises:
        UsageError: bad flags.
        DataError: a damaged model, or models that do not fit each other.
    """
    devices = jax.local_devices()
    gen: Generator = _spread(load_generator(f.generator), devices)
    layers = parse_layers(f.layers)
    check_layers(layers, gen.config.num_ws)
    drawing = Drawing(f.noise_mode, settings.noise_seed, settings.format)
    drawn = _batch(f, gen, _DRAWN, len(devices), gradient=False)
    if f.kind == "sample":
        return Sample(gen=gen, drawing=drawing, batch=drawn), cli.inputs(gen)
    edit = functools.partial(Edit, gen=gen, drawing=drawing, layers=layers, batch=drawn)
    if f.kind == "edit" and not pictures:
        return edit(inverter=None), cli.inputs(gen)
    optimised = _batch(f, gen, _OPTIMISED, len(devices), gradient=True)
    if f.kind == "extract":
        clip = _spread(load_clip(f.clip), devices)
        # An item has its own prompt and degrees, and is a program of its own size in any case.
        anchors = kind_settings(
            f, AnchorSettings, template=_ANY, layers=layers, truncation_psi=f.trunc,
            batch_size=None, identity_weight=1.0,
        )  # fmt: skip
        how = cli.read_settings(f, SubspaceSettings)
        extract = Extract(gen=gen, clip=clip, anchors=anchors, subspace=how, batch=optimised)
        return extract, cli.inputs(gen, clip=clip)
    looks = Looks(
        encoder=_spread(open_encoder(f.encoder, f.generator, gen), devices),
        lpips=_spread(load_lpips(f.lpips) if f.lpips else None, devices),
        arcface=_spread(load_arcface(f.arcface) if f.arcface else None, devices),
    )
    faces = FaceReader(
        cli.read_settings(f, AlignSettings), size=gen.config.resolution, framing=framing_of(gen)
    )
    inverter = Invert(
        gen=gen, looks=looks, settings=kind_settings(f, InvertSettings), faces=faces,
        batch=optimised,
    )  # fmt: skip
    facts = cli.inputs(gen, encoder=looks.encoder, lpips=looks.lpips, arcface=looks.arcface)
    if f.kind == "invert":
        return inverter, facts
    return edit(inverter=inverter), facts


def _spread(model: Any, devices: Sequence[Any]) -> Any:
    """A model, or None, on all devices; with one device there is nothing to do."""
    return parallel.replicate(model, parallel.make_mesh(devices)) if len(devices) > 1 else model


def _batch(f: cli.Flags, gen: Generator, most: int, devices: int, *, gradient: bool) -> int:
    """Pictures of a batch: those of --batch, or what fits, in equal parts for all devices."""
    each = min(pictures_at_once(gen.config, gradient=gradient), most)
    return each * devices if f.batch is None else math.ceil(f.batch / devices) * devices
