"""Generators that were tuned to a photo, as bytes: a delta of `mm_jax.deltas` in a zip."""

from __future__ import annotations

import dataclasses
import io
import tempfile
import zipfile
import zlib
from pathlib import Path

from mm_jax.checkpoints import CONFIG
from mm_jax.deltas import load_delta, save_delta
from mm_jax.errors import DataError
from mm_jax.stylegan2.generator import Generator

__all__ = ["pack", "unpack"]

_FILES = (CONFIG, "params.safetensors")
_MAX_BYTES = 256 << 20


def pack(tuned: Generator, base: Generator, name: str) -> bytes:
    """The bytes of a tuned generator.

    Args:
        tuned: the copy.
        base: what it was tuned from.
        name: how that is opened.

    Raises:
        DataError: it equals its base.
    """
    buffer = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="mm_studio_") as folder:
        files = save_delta(tuned, Path(folder, "delta"), base=base, base_name=name)
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in _FILES:
                archive.write(Path(files, file), file)
    return buffer.getvalue()


def unpack(data: bytes, base: Generator, name: str) -> Generator:
    """The generator of such bytes.

    Args:
        data: as `pack` gives them.
        base: what it was tuned from.
        name: of the file, for messages.

    Raises:
        DataError: damaged bytes, or of another base.
    """
    with tempfile.TemporaryDirectory(prefix="mm_studio_") as folder:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(archive.getinfo(file).file_size for file in _FILES) > _MAX_BYTES:
                    raise DataError(f"{name}: the tuned generator is too large")
                for file in _FILES:
                    Path(folder, file).write_bytes(archive.read(file))
        except (KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{name}: the tuned generator is damaged") from error
        try:
            tuned = load_delta(folder, base)
        except DataError as error:
            raise DataError(str(error).replace(folder, name)) from error
    # With the original's metadata it is rendered by the programs that are compiled already.
    return dataclasses.replace(tuned, meta=base.meta)
