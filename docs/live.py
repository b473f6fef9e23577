"""The live face of the site: what a browser needs to draw faces itself, put into build/live.

    python -m docs.live

`build/live/world` is made from a bundled generator: its ONNX file, latents and directions, a still
picture. `build/live/runtime` is ONNX Runtime for browsers, from npm. Each is made once, and again
when what it is made of has changed. Where one cannot be made, one line says so and the site is
built without the live face. `docs/hooks.py` takes the files, and the HTML of the face, from here;
nothing that the hooks need imports JAX.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from mm_jax import io, sources
from mm_jax.errors import DataError, UsageError
from mm_jax.words import counted

with epy.lazy_imports():
    from mm_jax import artifacts, latents, media, zoo
    from mm_jax.anchors import prompts
    from mm_jax.editing import limits
    from weights_convert import onnx_graph

__all__ = [
    "BUILD",
    "GENERATOR",
    "MARKER",
    "built_files",
    "make_runtime",
    "make_world",
    "markup",
    "to_json",
]

GENERATOR: str = sources.GeneratorOptions().generator
"""The bundled generator whose faces are shown; its bundled motions are the sliders."""

BUILD = Path(__file__).resolve().parents[1] / "build" / "live"
MARKER = "<!-- live face -->"
"""The line of a page's Markdown that becomes the live face."""

SITE = "assets/live"
SEEDS, PSI = (zoo.FACE, *range(23)), 0.7
"""The faces, in the order in which they are shown."""

_PACKAGE, _VERSION = "onnxruntime-web", "1.30.0"
_SHA512 = (
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
# By what it computes with: the module, and the program that the module starts. The one of WebGPU
# suspends the program while it waits for the graphics card, which not every browser can (JSPI).
_RUNTIMES = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
}
_MADE = "made.json"
_DATA = "latents.json"


class _LeftOut(Exception):
    """Something is missing that only the live face needs."""


def main() -> int:
    """Make what is missing; returns the exit status."""
    try:
        make_runtime(BUILD / "runtime")
        make_world(BUILD / "world")
    except _LeftOut as error:
        print(f"The live face is left out of the site: {error}")
    except (DataError, UsageError) as error:
        print(f"docs.live: {error}", file=sys.stderr)
        return 1
    return 0


# What is made.


def _is_made(folder: Path, made_of: Mapping[str, Any]) -> bool:
    mark = folder / _MADE
    return mark.is_file() and io.read_json(mark) == made_of


def make_runtime(folder: Path) -> None:
    """ONNX Runtime for browsers, with its programs compressed: 14 MB become 4 MB.

    Raises:
        _LeftOut: npm is not there, or does not reach its registry.
        DataError: the package is not the one that is expected.
    """
    made_of = {"package": _PACKAGE, "version": _VERSION, "sha512": _SHA512}
    if _is_made(folder, made_of):
        return
    npm = shutil.which("npm")
    if npm is None:
        shutil.rmtree(folder, ignore_errors=True)
        raise _LeftOut("npm is not installed")
    print(f"Fetching {_PACKAGE} {_VERSION} from npm")
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [npm, "pack", f"{_PACKAGE}@{_VERSION}", "--silent", "--fetch-retries=1",
             "--fetch-timeout=60000"],
            cwd=scratch, capture_output=True, text=True,
        )  # fmt: skip
        found = list(Path(scratch).glob("*.tgz"))
        if done.returncode or not found:
            shutil.rmtree(folder, ignore_errors=True)
            said = (done.stderr.strip() or f"status {done.returncode}").splitlines()[0]
            raise _LeftOut(f"npm could not fetch {_PACKAGE} {_VERSION} ({said})")
        if hashlib.sha512(found[0].read_bytes()).hexdigest() != _SHA512:
            raise DataError(f"{_PACKAGE} {_VERSION} from npm is not the package that was expected")
        with (
            tarfile.open(found[0]) as package,
            io.whole_folder(folder, mark=_MADE, what="a runtime") as new,
        ):
            for module, program in _RUNTIMES.values():
                (new / module).write_bytes(_member(package, module))
                packed = gzip.compress(_member(package, program), 9, mtime=0)
                (new / f"{program}.gz").write_bytes(packed)
            io.write_json(new / _MADE, made_of)


def _member(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(f"package/dist/{name}")
    if file is None:
        raise DataError(f"{_PACKAGE} {_VERSION} has no file {name}")
    return file.read()


def make_world(folder: Path) -> None:
    """The generator's ONNX file, its latents and motions, and the first face as a still picture.

    Raises:
        _LeftOut: the extra `onnx` is not installed.
        DataError: the models are damaged, or the ONNX file does not draw what the generator draws.
    """
    gen = zoo.load_generator(GENERATOR)
    motions = zoo.bundled_motions(gen)
    made_of = {
        "generator": gen.fingerprint,
        "motions": {name: io.sha256_file(file) for name, file in motions.items()},
        "faces": [list(SEEDS), PSI],
        "code": [io.sha256_file(file) for file in (onnx_graph.__file__, __file__)],
    }
    if _is_made(folder, made_of):
        return
    try:
        onnx_graph.require_onnx()
    except UsageError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _LeftOut(str(error)) from error
    known = list(prompts.MOTIONS)
    order = sorted(
        motions, key=lambda name: (name not in known, name in known and known.index(name))
    )
    print(f"Exporting {GENERATOR} with {counted(len(order), 'motion')}")
    with io.whole_folder(folder, mark=_MADE, what="a world") as new:
        onnx_graph.write_onnx(gen, new)
        subspaces = {name: artifacts.load_subspace(motions[name]) for name in order}
        ws = np.asarray(latents.sample_latents(gen, seeds=SEEDS, truncation_psi=PSI))
        (new / _DATA).write_text(json.dumps(to_json(gen, ws, subspaces)), encoding="utf-8")
        still = np.asarray(latents.synthesize(gen, ws[:1]))[0]
        media.save_png(new / "still.png", media.to_uint8(still))
        io.write_json(new / _MADE, made_of)


def to_json(gen: Any, ws: np.ndarray, subspaces: Mapping[str, Any]) -> dict[str, Any]:
    """What the page needs beside the network, as plain values.

    Arrays are base64 of little-endian float32.

    Args:
        gen: the generator.
        ws: [N, L, D] faces, whose rows are all equal.
        subspaces: motions by name, in the order of the sliders.

    Returns:
        "generator", "resolution", "rows" (L), "width" (D), "faces" [N, D], "mean" [D], and
        "motions": each with "name", "title", "direction" [L, D] of strength 1, and the strengths
        "low" and "high" between which its pictures follow.

    Raises:
        DataError: faces with rows that differ.
    """
    if not (ws == ws[:, :1]).all():
        raise DataError("the faces must be of W: all rows of a latent equal")
    motions = []
    for name, subspace in subspaces.items():
        known = subspace.meta.get("limits")
        low, high = known if known is not None else limits.motion_limits(gen, subspace)
        words = name.replace("_", " ")
        motions.append(
            {
                "name": name,
                "title": words[:1].upper() + words[1:],
                "low": low,
                "high": high,
                "direction": _packed(subspace.direction),
            }
        )
    return {
        "generator": gen.name,
        "resolution": gen.config.resolution,
        "rows": gen.config.num_ws,
        "width": gen.config.w_dim,
        "faces": _packed(ws[:, 0]),
        "mean": _packed(gen.params["mapping"]["w_avg"]),
        "motions": motions,
    }


def _packed(array: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


# What the hooks take.


def built_files(build: Path = BUILD) -> dict[str, Path]:
    """Files of the live face by their path within the site; none unless all of it was made."""
    parts = [build / "world", build / "runtime"]
    if not all((part / _MADE).is_file() for part in parts):
        return {}
    files = sorted(file for part in parts for file in part.iterdir() if file.name != _MADE)
    return {f"{SITE}/{file.name}": file for file in files}


def markup(uri: str, build: Path = BUILD) -> str:
    """What stands for `MARKER` on a page: the live face, or pictures of it where it was not made.

    Args:
        uri: the page within the site's sources.
        build: where the live face was made.
    """
    up = os.path.relpath(".", Path(uri).parent)
    files = built_files(build)
    if not files:
        return (
            f"![Five micromotions, one in each row]({up}/demo.png)\n\n"
            "*The live face is not part of this build of the site: `make docs` adds it where npm "
            "is installed.*"
        )
    data = io.read_json(files[f"{SITE}/{_DATA}"])
    base = f"{up}/{SITE}"
    sizes = {
        kind: {name: files[f"{SITE}/{name}"].stat().st_size for name in names}
        for kind, names in _load_lists().items()
    }
    least = min(sum(each.values()) for each in sizes.values())
    megabytes = f"{least / 1e6:.0f} MB"
    sliders = "".join(map(_slider, data["motions"]))
    side = data["resolution"]
    settings = html.escape(json.dumps({"sizes": sizes, "count": len(SEEDS)}))
    # One block without empty lines, which Markdown leaves as it is.
    return (
        f'<link rel="stylesheet" href="{base}/live.css">'
        f'<div class="live" data-base="{base}/" data-settings="{settings}">'
        f'<div class="live-stage"><img src="{base}/still.png" width="{side}" height="{side}" '
        'alt="A face that the generator drew">'
        f'<canvas width="{side}" height="{side}" role="img" aria-label="The face, moved" hidden>'
        "</canvas>"
        '<progress max="1" value="0" aria-label="Loading" hidden></progress></div>'
        f'<div class="live-controls" hidden>{sliders}'
        '<div class="live-buttons"><button type="button" class="md-button live-new">New face'
        '</button><button type="button" class="md-button live-reset">Reset</button></div></div>'
        f'<p class="live-status" role="status">Drag a slider: the generator ({megabytes}) is '
        "loaded and draws here, in your browser. Nothing is sent anywhere.</p>"
        "<noscript><p>The face moves where scripts may run.</p></noscript></div>"
        f'<script src="{base}/live.js" defer></script>'
    )


def _load_lists() -> dict[str, list[str]]:
    """What is loaded, by what the runtime computes with."""
    return {
        kind: [module, f"{program}.gz", "generator.onnx", _DATA]
        for kind, (module, program) in _RUNTIMES.items()
    }


def _slider(motion: Mapping[str, Any]) -> str:
    low, high = motion["low"], motion["high"]
    title, name = html.escape(motion["title"]), html.escape(motion["name"])
    return (
        f'<label><span>{title}</span><output>0.00</output><input type="range" name="{name}" '
        f'min="{low:.2f}" max="{high:.2f}" step="0.01" value="0" autocomplete="off"></label>'
    )


if __name__ == "__main__":
    raise SystemExit(main())
