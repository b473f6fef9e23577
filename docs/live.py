"""The live face of the site: what a browser needs to draw faces itself, put into build/live.

    python -m docs.live

`build/live/world` is made from a bundled generator: its ONNX file, latents and directions, a still
image. `build/live/runtime` is ONNX Runtime for browsers, from npm. Each is made once, and again
when what it is made of has changed. Where one cannot be made, one line says so and the site is
built without the live face. `docs/hooks.py` takes the files, and the HTML of the face, from here;
nothing that the hooks need imports JAX.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
from etils import epy

from mm_jax import io, sources
from mm_jax.errors import DataError, UsageError
from mm_jax.live import page, runtime
from mm_jax.words import counted

with epy.lazy_imports():
    from mm_jax import artifacts, latents, media, zoo
    from mm_jax.anchors import prompts
    from mm_jax.live import onnx_graph

__all__ = ["BUILD", "GENERATOR", "MARKER", "built_files", "make_world", "markup"]

GENERATOR: str = sources.GeneratorOptions().generator
"""The bundled generator whose faces are shown; its bundled motions are the sliders."""

BUILD = Path(__file__).resolve().parents[1] / "build" / "live"
MARKER = "<!-- live face -->"
"""The line of a page's Markdown that becomes the live face."""

SITE = "assets/live"
SEEDS, PSI = (zoo.FACE, *range(23)), 0.7
"""The faces, in the order in which they are shown."""


def main() -> int:
    """Make what is missing; returns the exit status."""
    for make, folder in ((runtime.make_runtime, "runtime"), (make_world, "world")):
        try:
            make(BUILD / folder)
        except UsageError as error:
            # Something is not installed that only the live face needs.
            shutil.rmtree(BUILD / folder, ignore_errors=True)
            print(f"The live face is left out of the site: {error}")
            return 0
        except DataError as error:
            print(f"docs.live: {error}", file=sys.stderr)
            return 1
    return 0


def make_world(folder: Path) -> None:
    """The generator's ONNX file, its latents and motions, and the first face as a still image.

    Raises:
        UsageError: the extra `onnx` is not installed.
        DataError: the models are damaged, or the ONNX file does not draw what the generator draws.
    """
    gen = zoo.load_generator(GENERATOR)
    motions = zoo.bundled_motions(gen)
    made_of = {
        "generator": gen.fingerprint,
        "motions": {name: io.sha256_file(file) for name, file in motions.items()},
        "faces": [list(SEEDS), PSI],
        "code": [io.sha256_file(file) for file in (onnx_graph.__file__, page.__file__, __file__)],
    }
    if runtime.is_made(folder, made_of):
        return
    onnx_graph.require_onnx()
    known = list(prompts.MOTIONS)
    order = sorted(
        motions, key=lambda name: (name not in known, name in known and known.index(name))
    )
    print(f"Exporting {GENERATOR} with {counted(len(order), 'motion')}")
    with io.whole_folder(folder, mark=runtime.MADE, what="a world") as new:
        onnx_graph.write_onnx(gen, new)
        subspaces = {name: artifacts.load_subspace(motions[name]) for name in order}
        ws = np.asarray(latents.sample_latents(gen, seeds=SEEDS, truncation_psi=PSI))
        data = page.to_json(gen, ws, subspaces)
        (new / page.LATENTS).write_text(json.dumps(data), encoding="utf-8")
        still = np.asarray(latents.synthesize(gen, ws[:1]))[0]
        media.save_png(new / page.STILL, media.to_uint8(still))
        io.write_json(new / runtime.MADE, made_of)


# What the hooks take.


def built_files(build: Path = BUILD) -> dict[str, Path]:
    """Files of the live face by their path within the site; none unless all of it was made."""
    parts = [build / "world", build / "runtime"]
    if not all((part / runtime.MADE).is_file() for part in parts):
        return {}
    files = [file for part in (*parts, page.STATIC) for file in sorted(part.iterdir())]
    return {f"{SITE}/{file.name}": file for file in files if file.name != runtime.MADE}


def markup(uri: str, build: Path = BUILD) -> str:
    """What stands for `MARKER` on a page: the live face, or images of it where it was not made.

    Args:
        uri: the page within the site's sources.
        build: where the live face was made.
    """
    up = os.path.relpath(".", Path(uri).parent)
    files = built_files(build)
    if not files:
        return (
            f"![Five micromotions, one in each row]({up}/demo.webp)\n\n"
            "*The live face is not part of this build of the site: `make docs` adds it where npm "
            "is installed.*"
        )
    return page.markup(
        f"{up}/{SITE}/",
        io.read_json(files[f"{SITE}/{page.LATENTS}"]),
        {Path(name).name: file.stat().st_size for name, file in files.items()},
        faces=len(SEEDS),
        button="md-button",
    )


if __name__ == "__main__":
    raise SystemExit(main())
