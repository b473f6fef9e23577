"""What a file or a folder is, in words, so that a message about a wrong one says what it is.

A few bytes are looked at, and the names of an archive's entries; nothing is unpacked, and nothing
here imports JAX.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

from mm_jax.errors import DAMAGE, DataError

__all__ = ["described", "folder_of", "looks_like", "wrong_kind"]

_MAGICS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\x1aE\xdf\xa3", "a video (WebM or Matroska)"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "a sound file (MP3)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file"),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself with `git lfs pull`"),
)
_WEB_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
_RIFF = {b"WEBP": "a WebP image", b"AVI ": "a video (AVI)", b"WAVE": "a sound file (WAV)"}
_STILL = {b"heic": "a HEIC image", b"heix": "a HEIC image", b"mif1": "a HEIC image"}
_STILL |= {b"avif": "an AVIF image", b"avis": "an AVIF image"}

# What our own files hold, by the array that only they have.
_OURS = (("basis", "a subspace"), ("degrees", "anchors"), ("ws", "latents"), ("w", "latents"))
_MADE_BY = {
    "a subspace": ": the subspace.npz of mm_extract or mm_convert is one",
    "latents": ": the latents.npz of mm_sample, mm_invert or mm_convert holds some",
}
_FOREIGN = ("an array of numbers (.npy)", "a pickle", "a torch file", "a safetensors file")


def looks_like(start: bytes) -> str:
    """What a file is by its first bytes, of which 300 are enough; "" if that is not known."""
    for magic, what in _MAGICS:
        if start.startswith(magic):
            return what
    if start[4:8] == b"ftyp":
        return _STILL.get(start[8:12], "a video (MP4 or MOV)")
    if start[:4] == b"RIFF":
        return _RIFF.get(start[8:12], "")
    if start.lstrip().lower().startswith(_WEB_PAGES):
        return "a web page, perhaps one that was saved instead of the file it links to"
    if start[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if start and all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start):
        return "text"
    return ""


def described(path: str | os.PathLike[str]) -> str:
    """What is at a path: "a PNG image", "latents", "a folder of a generator"; "" if not known."""
    path = Path(path)
    try:
        if path.is_dir():
            return _folder(path)
        with open(path, "rb") as file:
            start = file.read(300)
    except OSError:
        return ""
    if not start:
        return "an empty file"
    if start.startswith(b"PK"):
        return _archive(path)
    if start.startswith(b"\x93NUMPY"):
        return _FOREIGN[0]
    if start.startswith(b"\x80"):
        return _FOREIGN[1]
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:
        return _FOREIGN[3]
    return looks_like(start)


def folder_of(kind: str) -> str:
    """What the folder of a network is called, such as "the folder of an encoder"."""
    return f"the folder of {'an' if kind[:1] in 'aeiou' else 'a'} {kind.replace('_', ' ')}"


def wrong_kind(path: str | os.PathLike[str], wanted: str, *, called: str = "") -> DataError | None:
    """The error for a path that is of another kind than wanted; None if nothing can be said of it.

    Args:
        path: what was given.
        wanted: its kind, such as "a subspace".
        called: the name of a file of the kind in the folders of our programs.
    """
    what = described(path)
    # A plain folder says nothing where a folder is wanted, nor an .npz of other arrays.
    if not what or what.startswith(wanted) or (what, wanted[:10]) == ("a folder", "the folder"):
        return None
    text = f"{path} is {what}, not {wanted}"
    if called and (Path(path) / called).is_file():
        return DataError(f"{text}: give {Path(path) / called}")
    if what in _FOREIGN:
        return DataError(
            f"{text}: if another project wrote it, convert it first, "
            f"mm_convert --source={path} --outdir=FOLDER"
        )
    # An .npz of other arrays may be of the right kind, but for a name: the caller says which.
    return DataError(text if what.startswith("an .npz of") else text + _MADE_BY.get(wanted, ""))


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGE:
        return "a damaged zip archive"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return _FOREIGN[2]
    held = {name.removesuffix(".npy") for name in names if name.endswith(".npy")}
    for name, what in _OURS:
        if name in held:
            return what
    return f"an .npz of {', '.join(sorted(held)[:5])}" if held else "a zip archive"


def _folder(path: Path) -> str:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = None
    if isinstance(config, dict):
        if isinstance(config.get("format_version"), int) and config.get("kind"):
            return folder_of(str(config["kind"]))
        if isinstance(config.get("command"), str):
            return f"the folder of a run of {config['command']}"
        if isinstance(config.get("model_type"), str):
            return f"the folder of a {config['model_type']} of Hugging Face"
    return "a folder"
