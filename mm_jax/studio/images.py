"""Images that come from outside, and images that go to the page.

What is uploaded is never trusted: bytes are counted, the kind and the size are read from the header
before anything is decoded, and the decoding is that of `mm_jax.media`.
"""

from __future__ import annotations

import base64
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mm_jax import media
from mm_jax.errors import DataError

__all__ = ["KINDS", "MAX_BYTES", "data_url", "fitted", "jpeg", "open_image"]

MAX_BYTES = 25 << 20
MAX_PIXELS = 50_000_000
KINDS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "MPO")


def open_image(data: bytes, name: str) -> np.ndarray:
    """The image [H, W, 3] float32 in [-1, 1] of a file's bytes.

    Raises:
        DataError: too many bytes or pixels, another kind of file, or a damaged one.
    """
    if len(data) > MAX_BYTES:
        raise DataError(
            f"{name} must be at most {MAX_BYTES >> 20} MiB, got {len(data) / 2**20:.0f}"
        )
    if not data:
        raise DataError(f"{name} is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=KINDS) as header:
                width, height = header.size
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} must be at most {MAX_PIXELS // 10**6} million pixels") from error
    except Exception as error:  # whatever a decoder makes of foreign bytes
        wanted = ", ".join(kind for kind in KINDS if kind != "MPO")
        raise DataError(f"{name} is no image that can be read: it must be {wanted}") from error
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name} must be at most {MAX_PIXELS // 10**6} million pixels, got {width} x {height}"
        )
    # The readers take a file, which is gone when they are done.
    with tempfile.TemporaryDirectory(prefix="mm_studio_") as folder:
        path = Path(folder, "upload")
        path.write_bytes(data)
        try:
            return media.read_image(path)
        except DataError as error:
            raise DataError(str(error).replace(str(path), name)) from error


def fitted(image: np.ndarray, side: int) -> np.ndarray:
    """An image [H, W, 3] uint8 reduced to a longer side of at most `side` pixels."""
    longer = max(image.shape[:2])
    if longer <= side:
        return image
    width, height = (max(round(n * side / longer), 1) for n in image.shape[1::-1])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def jpeg(image: Any, *, quality: int = 90) -> bytes:
    """An image [H, W, 3] as the bytes of a JPEG file with full colour resolution."""
    buffer = io.BytesIO()
    Image.fromarray(media.to_uint8(image)).save(
        buffer, format="JPEG", quality=quality, subsampling=0
    )
    return buffer.getvalue()


def data_url(image: Any, *, side: int | None = None, quality: int = 90) -> str:
    """An image [H, W, 3] as a URL that holds it, reduced to `side` pixels."""
    array = media.to_uint8(image)
    array = array if side is None else fitted(array, side)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(array, quality=quality)).decode()}"
