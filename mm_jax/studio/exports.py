"""What is taken home: images, strips, videos, photos, subspaces, latents, commands.

Every function returns the bytes of a file. Shapes: N faces, T frames, H W image.
"""

from __future__ import annotations

import io
import json
import shlex
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mm_jax import artifacts, media
from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.progress import ProgressFn, silent
from mm_jax.studio.document import Document
from mm_jax.studio.frames import draw, pasted
from mm_jax.studio.images import MAX_BYTES
from mm_jax.stylegan2.generator import Generator

__all__ = [
    "animation",
    "command_line",
    "gif",
    "holds_subspace",
    "latents",
    "mp4",
    "photo",
    "png",
    "python_code",
    "strip",
    "subspace",
    "subspace_file",
]

STRIP_COLUMNS = 7
SESSION = "studio.json"


def png(gen: Generator, document: Document) -> bytes:
    """The chosen face as it is edited."""
    place = document.chosen
    return media.png_bytes(draw(gen, [document.faces[place]], document.edited()[[place]])[0])


def strip(gen: Generator, document: Document) -> bytes:
    """All faces, a row each, over the animation."""
    ws = document.animated(STRIP_COLUMNS)  # [N, T, L, D]
    rows = [draw(gen, [face] * len(own), own) for face, own in zip(document.faces, ws, strict=True)]
    return media.png_bytes(media.strip(np.stack(rows)))


def animation(
    gen: Generator,
    document: Document,
    *,
    resolution: int | None = None,
    progress: ProgressFn = silent,
) -> np.ndarray:
    """The frames of the animation: [N, T, H, H, 3] uint8."""
    ws = document.animated()
    count, frames = ws.shape[:2]
    drawn = []
    for i, face in enumerate(document.faces):
        rows = []
        for first in range(0, frames, 8):
            some = ws[i, first : first + 8]
            rows.append(draw(gen, [face] * len(some), some, resolution=resolution))
            progress("frames", i * frames + first + len(some), count * frames)
        drawn.append(np.concatenate(rows))
    return np.stack(drawn)


def _looped(document: Document, frames: np.ndarray) -> np.ndarray:
    """Frames of all faces side by side [T, H, N H, 3]; forth and back where no time line is."""
    joined = np.concatenate(list(frames), axis=2)
    back = not any(motion.keys for motion in document.motions)
    return joined[media.frame_sequence(len(joined), there_and_back=back)]


def mp4(gen: Generator, document: Document, progress: ProgressFn = silent) -> bytes:
    """The animation of all faces, side by side."""
    frames = _looped(document, animation(gen, document, progress=progress))
    return _written("a.mp4", lambda path: media.save_mp4(path, frames, fps=document.fps))


def gif(gen: Generator, document: Document, progress: ProgressFn = silent) -> bytes:
    """As `mp4`, as an animated GIF."""
    frames = _looped(document, animation(gen, document, progress=progress))
    return _written("a.gif", lambda path: media.save_gif(path, frames, fps=document.fps))


def _written(name: str, write: Callable[[Path], object]) -> bytes:
    """The bytes of a file that a writer of files makes."""
    with tempfile.TemporaryDirectory(prefix="mm_studio_") as folder:
        path = Path(folder, name)
        write(path)
        return path.read_bytes()


def photo(gen: Generator, document: Document) -> bytes:
    """The chosen face's photo with the edited face in it, as PNG.

    Raises:
        UsageError: the face has no photo.
    """
    assert document.face is not None
    return media.png_bytes(pasted(gen, document, document.face.name))


def subspace(document: Document, name: str) -> bytes:
    """A motion's subspace: a .zip of `NAME.npz` and its metadata."""
    motion = document.motion(name)
    arrays, metadata = artifacts.subspace_bytes(f"{name}.npz", motion.masked())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{name}.npz", arrays)
        archive.writestr(f"{name}.json", metadata)
    return buffer.getvalue()


def subspace_file(path: Path) -> Path:
    """The .npz of a subspace's file: itself, or what `subspace` has put into a .zip, beside it.

    Raises:
        DataError: no such .zip, or a large one.
    """
    if path.suffix.lower() != ".zip":
        return path
    try:
        with zipfile.ZipFile(path) as archive:
            kinds = {Path(one.filename).suffix: one for one in archive.infolist()}
            if set(kinds) != {".npz", ".json"} or len(archive.infolist()) != 2:
                raise DataError(f"{path}: holds no subspace (.npz) and its metadata (.json)")
            for kind, one in kinds.items():
                if one.file_size > MAX_BYTES:
                    raise DataError(f"{path}: {kind} is larger than {MAX_BYTES >> 20} MiB")
                # Only its own name: never a path out of the archive.
                path.with_suffix(kind).write_bytes(archive.read(one))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise DataError(f"{path}: no .zip that can be read ({first_line(error)})") from error
    return path.with_suffix(".npz")


def holds_subspace(data: bytes) -> bool:
    """Whether the bytes of a .npz hold a subspace, rather than latents."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return "basis.npy" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def latents(document: Document) -> bytes:
    """The edited latents of all faces, as `mm_edit --latents` reads them."""
    names = tuple(face.name for face in document.faces)
    found = artifacts.Latents(document.edited(), names)
    return _written("a.npz", lambda path: artifacts.save_latents(path, found))


def is_plain(document: Document) -> bool:
    """Whether flags alone say what a document is: sampled faces, bundled motions, one mask."""
    faces, moved = document.faces, [one for one in document.motions if one.strength]
    return (
        all(face.source["kind"] == "seed" and "label" not in face.source for face in faces)
        and len({face.source["psi"] for face in faces}) == 1
        and bool(moved)
        and all(motion.source["kind"] == "bundled" for motion in moved)
        and len({motion.layers for motion in moved}) == 1
    )


def command_line(document: Document, *, session: str = SESSION) -> str:
    """The command that renders the present images, as OUTDIR/NAME/frame0000.png.

    Where a document needs more than flags can say, the command reads the session's file.
    """
    _check(document)
    if not is_plain(document):
        words = ["mm_edit", f"--session={session}", "--frames=1"]
    else:
        moved = [one for one in document.motions if one.strength]
        seeds = ",".join(str(face.source["seed"]) for face in document.faces)
        words = ["mm_edit", f"--generator={document.generator}", f"--seeds={seeds}"]
        words.append(f"--trunc={document.faces[0].source['psi']:g}")
        for motion in moved:
            words.append(f"--subspace={motion.source['name']}")
            words.append(f"--strength={motion.strength:g}")
        if moved[0].layers is not None:
            words.append(f"--layers={','.join(map(str, moved[0].layers))}")
    return " ".join(shlex.quote(word) for word in [*words, "--format=png", "--outdir=runs/studio"])


def python_code(document: Document, *, session: str = SESSION) -> str:
    """A program that renders the present images: `images` [N, H, H, 3] in about [-1, 1]."""
    _check(document)
    name = json.dumps(document.generator)
    if not is_plain(document):
        return (
            "import mm_jax\n"
            "from mm_jax.studio import session_files\n\n"
            f"gen = mm_jax.load_generator({name})\n"
            f"values = session_files.read(session_files.read_text({session!r}))\n"
            "document = session_files.load(values, gen)\n"
            "images = mm_jax.synthesize(gen, document.edited())\n"
        )
    moved = [one for one in document.motions if one.strength]
    seeds = [face.source["seed"] for face in document.faces]
    names = [motion.source["name"] for motion in moved]
    strengths = [[round(motion.strength, 6)] for motion in moved]
    layers = moved[0].layers
    extra = "" if layers is None else f", layers={list(layers)}"
    return (
        "import mm_jax\n"
        "from mm_jax import zoo\n\n"
        f"gen = mm_jax.load_generator({name})\n"
        f"ws = mm_jax.sample_latents(gen, seeds={seeds}, "
        f"truncation_psi={document.faces[0].source['psi']:g})\n"
        "motions = zoo.bundled_motions(gen)\n"
        f"subspaces = [mm_jax.load_subspace(motions[name]) for name in {names}]\n"
        f"edited = mm_jax.apply_edit(ws, subspaces, {strengths}{extra})\n"
        "images = mm_jax.synthesize(gen, edited[:, 0])\n"
    )


def _check(document: Document) -> None:
    if not document.faces:
        raise UsageError("there is no face yet: add one first")
