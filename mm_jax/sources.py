"""What the programs work on, opened by name: generators, sampled or stored latents, subspaces."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from mm_jax import io, runs, zoo
from mm_jax.checks import check_latent_shape
from mm_jax.errors import DataError, UsageError
from mm_jax.options import Options, option, seeds_option
from mm_jax.stylegan2.precision import CHOICES

with epy.lazy_imports():
    from mm_jax import artifacts, latents
    from mm_jax.stylegan2 import generator

__all__ = [
    "OF_SEEDS",
    "SEEDS",
    "STORED",
    "GeneratorOptions",
    "LatentOptions",
    "fingerprints",
    "label_option",
    "open_latents",
    "open_subspaces",
    "precision_option",
]

SEEDS = "Seeds of sampled latents, e.g. 0-7,12."
# Flags that only concern sampled latents, and why they do nothing beside --latents.
OF_SEEDS = ("seeds", "trunc", "class")
STORED = "stored latents are taken as they are"


def label_option() -> Any:
    """The `option` of the class of sampled latents."""
    return option(
        None, "Class of sampled latents, for class-conditional generators.", kind=int, minimum=0,
        flag="class",
    )  # fmt: skip


def precision_option() -> Any:
    """The `option` of the precision in which a generator draws."""
    return option(
        "float32",
        "Of the generator's products: float32, bfloat16 (on CPUs), or auto, which is bfloat16 on "
        "processors where that was measured to be faster.",
        choices=CHOICES,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorOptions(Options):
    """Which generator renders, and how."""

    generator: str = option(zoo.GENERATOR, "Name of a bundled generator, or a folder of one.")
    noise_mode: str = option(
        "const",
        "Per-pixel noise: the generator's own, none, or random.",
        choices=("const", "none", "random"),
    )
    batch: int | None = option(
        None, "Images per step; by default what fits in 2 GiB.", kind=int, minimum=1
    )
    precision: str = precision_option()


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentOptions(Options):
    """Which latents to work on; a program chooses the default of its seeds."""

    seeds: tuple[int, ...] = seeds_option("0", SEEDS)
    latents: str = option("", "File of latents (.npz) to use in place of seeds.")
    trunc: float = option(
        0.7, "Truncation psi of sampled latents: 1 is none, 0 is the mean.", minimum=-2, maximum=2
    )
    label: int | None = label_option()


def open_latents(gen: generator.Generator, options: LatentOptions) -> artifacts.Latents:
    """The named latents [N, L, D] that the options ask for.

    Raises:
        DataError: a bad file, or latents of another generator's shape.
    """
    if not options.latents:
        names = tuple(f"seed{seed:04d}" for seed in options.seeds)
        ws = latents.sample_latents(
            gen, seeds=options.seeds, truncation_psi=options.trunc,
            labels=latents.class_labels(gen, options.label, len(options.seeds)),
        )  # fmt: skip
        return artifacts.Latents(ws, names, options.seeds)
    wanted = (gen.config.num_ws, gen.config.w_dim)
    loaded = artifacts.fitted_latents(artifacts.load_latents(options.latents), wanted)
    check_latent_shape(options.latents, loaded.ws.shape[1:], wanted, gen.name)
    names = loaded.names or tuple(f"code{i:04d}" for i in range(len(loaded.ws)))
    if len(set(names)) < len(names) or any(Path(n).name != n or n[0] == "." for n in names):
        raise DataError(f"{options.latents}: names are not distinct names of files")
    return artifacts.Latents(loaded.ws, names, loaded.seeds)


def open_subspaces(
    names: Sequence[str], gen: generator.Generator
) -> tuple[list[str], list[artifacts.Subspace]]:
    """Subspaces for a generator; notes say which are another generator's, or of nothing found.

    Args:
        names: files, or names of subspaces that are bundled for the generator.
        gen: the generator.

    Returns:
        Their files, and the subspaces [K, L, D].

    Raises:
        UsageError: neither a file nor a bundled name.
        DataError: a bad file, or a subspace of another generator's shape.
    """
    paths = [_subspace_file(name, gen) for name in names]
    wanted = (gen.config.num_ws, gen.config.w_dim)
    loaded = [artifacts.fitted_subspace(artifacts.load_subspace(path), wanted) for path in paths]
    for path, subspace in zip(paths, loaded, strict=True):
        check_latent_shape(path, subspace.basis.shape[1:], wanted, gen.name)
        home = subspace.meta.get("generator_fingerprint", gen.fingerprint)
        if home not in (gen.fingerprint, gen.meta.get("base_fingerprint")):
            print(f"note: {path} was found in another generator than {gen.name}", file=sys.stderr)
        if not subspace.meta.get("read_back", {}).get("found", True):
            print(f"note: {path} was kept although nothing was found", file=sys.stderr)
    return paths, loaded


def _subspace_file(path: str, gen: generator.Generator) -> str:
    """The file of a subspace: a path as it is, or that of a bundled subspace's name."""
    if Path(path).name != path or Path(path).suffix or Path(path).exists():
        return path
    known = zoo.bundled_motions(gen)
    if path not in known:
        raise UsageError(
            f"unknown subspace {path!r}: give a file (.npz), or for {gen.name} one of "
            f"{', '.join(known) or 'no bundled names'}"
        )
    return str(known[path])


def fingerprints(gen: generator.Generator, *paths: Any, **networks: Any) -> dict[str, Any]:
    """What a run's results depend on beside its flags: the bytes of networks and of files.

    Args:
        gen: the generator.
        *paths: files; empty names are skipped.
        **networks: further pytrees by name, or None.

    Raises:
        DataError: a file cannot be read.
    """
    found: dict[str, Any] = {"generator_fingerprint": gen.fingerprint}
    for name, network in networks.items():
        if network is not None:
            found[f"{name}_fingerprint"] = runs.fingerprint(network)
    return {**found, "inputs": {str(path): io.sha256_file(path) for path in paths if str(path)}}
