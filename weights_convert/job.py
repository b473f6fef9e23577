"""mm_convert: a foreign file to ours, or one of our generators to a foreign layout."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mm_jax import io, zoo
from mm_jax.artifacts import Subspace, load_latents
from mm_jax.errors import DataError, UsageError
from mm_jax.live.onnx_graph import require_onnx, write_onnx
from mm_jax.words import counted
from weights_convert import clip_folder, outcome
from weights_convert.detect import detect, is_known
from weights_convert.export import write_state
from weights_convert.options import ConvertOptions
from weights_convert.plan import Plan, Request
from weights_convert.readers import read_file
from weights_convert.table import listed
from weights_convert.verify import TOLERANCE, verify
from weights_convert.wrappers import unwrapped
from weights_convert.write import Written, write

__all__ = ["convert"]

Say = Callable[[str], None]
_SETTINGS = ("layout", "network", "conv_clamp", "rows", "component", "activation", "to", "format")
_LATENTS = "projected_w"
_ONNX = "onnx"


@dataclasses.dataclass(frozen=True)
class _Source:
    """A source that was read: what it is, in words, its checksum, and what becomes of it."""

    layout: str
    what: str
    sha256: str
    plan: Plan


def convert(options: ConvertOptions, *, say: Say = print) -> list[Path]:
    """Converts, verifies and writes; nothing is written unless all of it succeeds.

    Args:
        options: what to do.
        say: gets each line of the report.

    Returns:
        What the other programs open: folders and files. Nothing, of a dry run.

    Raises:
        DataError: a source that cannot be read or converted, or results that do not verify.
        UsageError: settings that do not fit the source, or an output folder that is taken.
    """
    if options.to:
        return _export(options, say)
    path = Path(options.source)
    expected = _expected(options.verify)
    try:
        source = _read(path, options)
        _describe(path, source, say)
        record = _record(options, source.sha256, source.layout)
        if outcome.is_done(options.outdir, record, overwrite=options.overwrite):
            say(f"{options.outdir} holds this conversion already")
            return [Path(options.outdir)]
        if options.dry_run:
            say("dry run: nothing was written")
            return []
        metadata = {"source": record["source"], "licence": None}
        outdir = Path(options.outdir)
        notes = list(source.plan.notes)
        with outcome.new_folder(outdir, {**record, "notes": notes}) as folder:
            written = {
                part.folder: write(part.build(), folder / part.folder, metadata)
                for part in source.plan.parts
            }
            del source  # and with it the file's memory, before the forward pass wants its own
            _verify(written, expected, say)
            names = [it.path.relative_to(folder) for it in written.values()]
            used = [it.used for it in written.values()]
    except DataError as error:
        raise _naming(path, error) from error
    opened = [outdir / name for name in names]
    say(f"wrote {', '.join(map(str, opened))}")
    for path, command in zip(opened, used, strict=True):
        if command:
            say(f"next: {command.format(path)} --outdir=FOLDER")
    return opened


def _export(options: ConvertOptions, say: Say) -> list[Path]:
    if options.to == _LATENTS:
        return _export_latents(options, say)
    if options.to == _ONNX:
        require_onnx()
    gen = zoo.load_generator(options.source)
    say(f"{options.source}: generator of {gen.config.resolution} px to {options.to}")
    if gen.config.conv_clamp is not None and options.to != _ONNX:
        say(f"  note: build the other generator with conv_clamp={gen.config.conv_clamp:g}")
    record = _record(options, gen.fingerprint, "mm_jax")
    suffix = _ONNX if options.to == _ONNX else options.format
    path = Path(options.outdir) / f"generator.{suffix}"
    if outcome.is_done(options.outdir, record, overwrite=options.overwrite):
        say(f"{options.outdir} holds this conversion already")
        return [path]
    if options.dry_run:
        say("dry run: nothing was written")
        return []
    with outcome.new_folder(options.outdir, record) as folder:
        if options.to == _ONNX:
            error = write_onnx(gen, folder)[1]
            found = f"whose images differ from ours by at most {error:.1g}"
        else:
            write_state(gen, folder, to=options.to, format=options.format)
            found = "which reads back as the same"
    say(f"wrote {path}, {found}")
    return [path]


def _export_latents(options: ConvertOptions, say: Say) -> list[Path]:
    """Latents as the projector of stylegan2-ada-pytorch writes them: a file each, w [1, L, D]."""
    latents = load_latents(options.source)
    ws = np.asarray(latents.ws)
    names = latents.names or [f"code{i:04d}" for i in range(len(ws))]
    path = Path(options.outdir)
    paths = [path / f"{name}.npz" for name in names]
    say(f"{options.source}: {counted(len(ws), 'latent')} of shape {list(ws.shape[1:])}")
    record = _record(options, io.sha256_file(options.source), "mm_jax")
    if outcome.is_done(options.outdir, record, overwrite=options.overwrite):
        say(f"{options.outdir} holds this conversion already")
        return paths
    if options.dry_run:
        say("dry run: nothing was written")
        return []
    with outcome.new_folder(options.outdir, record) as folder:
        for name, w in zip(names, ws, strict=True):
            io.save_npz(folder / f"{name}.npz", w=w[None])
    say(f"wrote {counted(len(paths), 'file')} to {path}, each as projected_w.npz is")
    return paths


def _read(path: Path, options: ConvertOptions) -> _Source:
    gen = zoo.load_generator(options.generator) if options.generator else None
    request = Request(
        name=path.stem,
        generator=gen,
        network=options.network,
        rows=gen.config.num_ws if gen else options.rows,
        conv_clamp=options.conv_clamp,
        vocabulary=options.vocabulary,
        activation=options.activation,
    )
    if path.is_dir():
        if options.layout not in ("auto", "clip"):
            raise UsageError(f"--layout={options.layout} is for files, {path} is a folder")
        return _Source("clip", "CLIP", _digest(path), clip_folder.plan_folder(path, request))
    if options.layout == "clip":
        raise UsageError(f"--layout=clip is for folders of Hugging Face, {path} is a file")
    if options.trunk:
        request = dataclasses.replace(request, trunk=read_file(options.trunk).content)
    foreign = read_file(path)
    fits = functools.partial(is_known, name=options.layout)
    content, notes, chosen = unwrapped(foreign.content, fits, network=options.network)
    if chosen:
        request = dataclasses.replace(request, network=Request.network)
    unknown = listed(foreign.unknown)
    try:
        name, layout, more = detect(content, options.layout, request)
        plan = layout.plan(content, request)
    except DataError as error:
        if not unknown:
            raise
        raise DataError(
            f"{error} (it refers to {unknown}, which this reader does not know; nothing was "
            "executed)"
        ) from error
    notes += more
    if unknown:
        notes += (f"classes that are not known, and were not executed: {unknown}",)
    plan = dataclasses.replace(plan, notes=(*notes, *plan.notes))
    if options.component is not None:
        plan = _one_of(plan, options.component)
    return _Source(name, f"{layout.what}, {foreign.container}", foreign.sha256, plan)


def _one_of(plan: Plan, component: int) -> Plan:
    """The plan whose results are one of several directions."""

    def chosen(build: Callable[[], Any]) -> Any:
        built = build()
        if not isinstance(built, Subspace):
            raise UsageError("--component is for files of several directions")
        return built.component(component)

    parts = [
        dataclasses.replace(part, build=functools.partial(chosen, part.build))
        for part in plan.parts
    ]
    return dataclasses.replace(plan, parts=tuple(parts))


def _describe(path: Path, source: _Source, say: Say) -> None:
    say(f"{path}: {source.what}")
    say(f"  sha256 {source.sha256}")
    for part in source.plan.parts:
        if part.folder:
            say(f"  {part.folder}")
        for name, value in part.metadata.items():
            say(f"  {name}: {value}")
    for note in source.plan.notes:
        say(f"  note: {note}")


def _record(options: ConvertOptions, sha256: str, layout: str) -> dict[str, Any]:
    return {
        "source": {"file": Path(options.source).name, "sha256": sha256},
        "layout": layout,
        "settings": {
            **{name: getattr(options, name) for name in _SETTINGS},
            **{
                name: io.sha256_file(path) if (path := getattr(options, name)) else None
                for name in ("trunk", "vocabulary")
            },
        },
    }


def _expected(path: str) -> dict[str, np.ndarray]:
    arrays = io.load_npz(path, required={}) if path else {}
    for name, value in arrays.items():
        if value.dtype.kind not in "fiu":
            raise DataError(f"{path}: {name!r} must hold numbers, got {value.dtype}")
    return arrays


def _verify(written: Mapping[str, Written], expected: Mapping[str, np.ndarray], say: Say) -> None:
    """Opens what was written, runs it, and prints figures and comparisons.

    Raises:
        DataError: NaN, or outputs that are not the expected ones, or nothing to compare.
    """
    checks = []
    for folder, it in written.items():
        verified = verify(it.load(), expected)
        for line in verified.figures:
            say(f"  {folder:10}{line}" if folder else f"  {line}")
        checks += verified.checks
    for check in checks:
        verdict = "pass" if check.passed else "FAIL"
        say(f"  {check.name:24} {check.error:9.2e}  {verdict}")
    compared = {check.name for check in checks}
    aside = [n for n in expected if n not in compared and not n.startswith("in_")]
    if aside:
        say(f"  not compared: {listed(aside)}")
    if expected and not compared:
        raise DataError("the file of expected values holds nothing to compare with")
    if failed := [check.name for check in checks if not check.passed]:
        raise DataError(
            f"differs by more than {TOLERANCE:g} of the largest value from what is expected: "
            f"{listed(failed)}"
        )


def _digest(folder: Path) -> str:
    """sha256 over the names and checksums of a folder's files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {io.sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _naming(path: Path, error: DataError) -> DataError:
    text = str(error)
    return error if str(path) in text else DataError(f"{path}: {text}")
