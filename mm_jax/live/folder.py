"""The live face of a run: files in its folder `live`, and the HTML that stands in its report."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax import io, media
from mm_jax.anchors.prompts import MOTIONS, PLACEHOLDER
from mm_jax.artifacts import Latents, Subspace
from mm_jax.errors import UsageError
from mm_jax.latents import synthesize
from mm_jax.live import onnx_graph, page, runtime
from mm_jax.live.options import LiveOptions
from mm_jax.report.parts import REPORT
from mm_jax.runs import RunFolder
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator
from mm_jax.words import distinct

__all__ = [
    "FOLDER",
    "MAX_RESOLUTION",
    "add_live",
    "check_live",
    "live_files",
    "motion_titles",
    "write_live",
]

FOLDER = "live"
MAX_RESOLUTION = 256
"""A browser without a graphics card takes seconds for an image of a larger generator."""

_SCRIPTS = ("live.css", "live.js")
_WORKER = "worker.js"


def check_live(
    options: LiveOptions,
    config: GeneratorConfig,
    *,
    noise_mode: str = "const",
    dry_run: bool = False,
) -> None:
    """Check, and have at hand, what a live face needs, so that no long run fails at its end.

    Args:
        options: whether there is to be one; if not, nothing is checked.
        config: of the generator.
        noise_mode: of the run's images.
        dry_run: check as far as that goes without fetching anything.

    Raises:
        UsageError: a generator that is too large, other noise than the generator's own, or
            something is not installed; the message says what to do.
        DataError: the runtime is not the one that is expected.
    """
    if not options.live:
        return
    if config.resolution > MAX_RESOLUTION:
        raise UsageError(
            f"--live is for generators of at most {MAX_RESOLUTION} px, got {config.resolution}"
        )
    if noise_mode != "const":
        raise UsageError(
            f"--live draws with the generator's own noise, not --noise_mode={noise_mode}"
        )
    onnx_graph.require_onnx()
    if dry_run:
        runtime.check_runtime(options.runtime)
    else:
        runtime.open_runtime(options.runtime)


def live_files(options: LiveOptions) -> list[str]:
    """Names of the files that `add_live` writes, relative to the run's folder."""
    if not options.live:
        return []
    loaded = {name for names in page.loaded_files().values() for name in names}
    scripts = [f"{name}.js" for name in (_WORKER, *sorted(loaded))]
    return [f"{FOLDER}/{name}" for name in (*_SCRIPTS, page.STILL, *scripts)]


def add_live(
    run: RunFolder,
    options: LiveOptions,
    gen: Generator,
    latents: Latents,
    subspaces: Sequence[Subspace],
    **how: Any,
) -> str:
    """Write the live face of a run if one is asked for and not there; its report is to be written.

    Args:
        run: the open folder. A report that is there is deleted, as it has no live face.
        options: whether there is to be one.
        gen: the generator.
        latents: [N, L, D] faces with names.
        subspaces: E of them, a slider each.
        **how: further arguments of `write_live`.

    Returns:
        The markup for the report, "" if there is nothing to write.

    Raises:
        UsageError, DataError: as `check_live` and `write_live` do.
    """
    if not options.live or not run.missing([*live_files(options), REPORT]):
        return ""
    folder = runtime.open_runtime(options.runtime)
    markup = write_live(run.path, gen, latents, subspaces, runtime_folder=folder, **how)
    run.file(REPORT).unlink(missing_ok=True)
    return markup


def write_live(
    outdir: Path,
    gen: Generator,
    latents: Latents,
    subspaces: Sequence[Subspace],
    *,
    runtime_folder: Path,
    layers: Sequence[int] | None = None,
    strengths: Sequence[Sequence[float]] = (),
) -> str:
    """Write the folder `live` of a run.

    Args:
        outdir: the run's folder.
        gen: the generator.
        latents: [N, L, D] faces with names.
        subspaces: E of them, a slider each.
        runtime_folder: of `mm_jax.live.runtime.open_runtime`.
        layers: rows of W+ that may change, beside each subspace's own mask; all unless given.
        strengths: E rows of strengths that the sliders reach at least.

    Returns:
        The HTML for a page in `outdir`.

    Raises:
        UsageError: the extra `onnx` is not installed.
        DataError: a file cannot be written, or the ONNX file does not draw what `gen` draws.
    """
    assert latents.names is not None
    folder, ws = outdir / FOLDER, np.asarray(latents.ws, np.float32)
    titles = motion_titles(subspaces)
    named = dict(zip(titles, subspaces, strict=True))
    reach = {
        title: (min(row), max(row)) for title, row in zip(titles, strengths, strict=bool(strengths))
    }
    data = page.to_json(gen, ws, named, layers=layers, reach=reach)
    contents = {page.LATENTS: json.dumps(data).encode()}
    with tempfile.TemporaryDirectory() as scratch:
        path, _ = onnx_graph.write_onnx(gen, Path(scratch))
        contents[page.NETWORK] = path.read_bytes()
    for names in page.loaded_files().values():
        for name in names:
            if name not in contents:
                contents[name] = (runtime_folder / name).read_bytes()
    sizes = {name: len(content) for name, content in contents.items()}
    contents[_WORKER] = (page.STATIC / _WORKER).read_bytes()
    media.save_png(folder / page.STILL, media.to_uint8(np.asarray(synthesize(gen, ws[:1]))[0]))
    for name, content in contents.items():
        script = f'livePacked("{base64.b64encode(content).decode()}");\n'.encode()
        io.write_atomic(folder / f"{name}.js", lambda file, script=script: file.write(script))
    for name in _SCRIPTS:
        text = (page.STATIC / name).read_bytes()
        io.write_atomic(folder / name, lambda file, text=text: file.write(text))
    return page.markup(f"{FOLDER}/", data, sizes, faces=latents.names, packed=True)


def motion_titles(subspaces: Sequence[Subspace]) -> list[str]:
    """Different names: of the motion whose prompt it was, else the prompt's words, or the video."""
    return distinct([_title(subspace.meta) for subspace in subspaces], between=" ")


def _title(meta: Mapping[str, Any]) -> str:
    known = {motion.template: name for name, motion in MOTIONS.items()}
    template = str(meta.get("template") or "")
    words = " ".join(template.replace(PLACEHOLDER, " ").split())
    stem = Path(str(meta["clip"])).stem if meta.get("source") == "video" else ""
    return known.get(template) or words or stem or "motion"
