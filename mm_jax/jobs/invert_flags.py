"""The flags of inversion, which mm_invert and mm_edit share; nothing here imports JAX."""

from __future__ import annotations

from mm_jax import cli
from mm_jax.jobs.align_settings import AlignSettings
from mm_jax.jobs.invert_settings import InvertSettings, TuneSettings

__all__ = ["define"]


def define(f: cli.Flags) -> None:
    """Flags that `mm_jax.jobs.invert_inputs.load` reads, but for --image and --generator."""
    cli.flag(f, "encoder", "auto", "Encoder to begin with: name, folder, or none for the mean.")
    cli.flag(f, "start", "", "File of codes (.npz) to begin with in place of an encoder.")
    cli.flag(f, "lpips", "", "Folder of an LPIPS network to compare pictures with.")
    cli.flag(f, "arcface", "", "Folder of an ArcFace network that holds the identity.")
    cli.define_settings(f, InvertSettings, TuneSettings, AlignSettings)
