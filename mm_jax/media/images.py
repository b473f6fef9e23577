"""Images and videos: arrays to files and back.

Shapes: N images, T frames, H W size. Arrays hold colours in [-1, 1], black to white, float32.
Values outside are clipped, always by the same rule: an image's brightness never depends on its
own extremes, so that the frames of a video do not flicker.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mm_jax.errors import DataError, UsageError, first_line
from mm_jax.io import PathLike, write_atomic
from mm_jax.kinds import described
from mm_jax.media.video_writing import video_writer
from mm_jax.words import how_to_install

__all__ = [
    "ANIMATED",
    "MAX_PIXELS",
    "frame_sequence",
    "grid",
    "over_white",
    "png_bytes",
    "read_image",
    "reduced_note",
    "save_gif",
    "save_mp4",
    "save_png",
    "strip",
    "to_float",
    "to_uint8",
]

# Larger images are reduced as they are read: with three float32 these are 768 MB.
MAX_PIXELS = 64_000_000
# Of which no more than their bytes are ever held.
_LARGEST = 1_000_000_000
_BOUND = threading.Lock()
_ORDINALS = {2: "half", 3: "third", 4: "quarter"}
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

# Formats in which several frames are an animation, not pages or a thumbnail.
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")


def to_uint8(images: Any) -> np.ndarray:
    """Colours in [-1, 1] to 0..255, clipped and rounded; uint8 is passed through.

    Args:
        images: [..., H, W, 3] float or uint8.

    Raises:
        DataError: NaN or infinity, or another shape.
    """
    array = np.asarray(images)
    if array.ndim < 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise DataError(
            f"images must be [..., H, W, 3] with no empty axis, got {list(array.shape)}"
        )
    if array.dtype == np.uint8:
        return array
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise DataError("images hold NaN or infinity")
    return np.rint((np.clip(array, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def to_float(images: Any) -> np.ndarray:
    """Colours as float32 in [-1, 1]: 0..255 of uint8 are divided, floats are taken as they are.

    Args:
        images: [..., H, W, 3] float or uint8.

    Raises:
        DataError: NaN or infinity, another shape, or numbers of another kind.
    """
    array = np.asarray(images)
    if array.ndim < 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise DataError(
            f"images must be [..., H, W, 3] with no empty axis, got {list(array.shape)}"
        )
    if array.dtype == np.uint8:
        return array.astype(np.float32) / 127.5 - 1.0
    if array.dtype.kind != "f":
        raise DataError(f"images must be float or uint8, got {array.dtype}")
    array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise DataError("images hold NaN or infinity")
    return array


def _one(image: Any) -> np.ndarray:
    array = to_uint8(image)
    if array.ndim != 3:
        raise DataError(f"one image must be [H, W, 3], got {list(array.shape)}")
    return array


def _many(images: Any, letter: str) -> np.ndarray:
    array = to_uint8(images)
    if array.ndim != 4:
        raise DataError(f"images must be [{letter}, H, W, 3], got {list(array.shape)}")
    return array


def png_bytes(image: Any) -> bytes:
    """One image [H, W, 3] as the bytes of a PNG file.

    Raises:
        DataError: as `to_uint8`.
    """
    buffer = io.BytesIO()
    # Twice as quick as zlib's default level, for files that are at most 3 % larger.
    Image.fromarray(_one(image)).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def save_png(path: PathLike, image: Any) -> Path:
    """Write one image [H, W, 3]."""
    data = png_bytes(image)
    return write_atomic(path, lambda file: file.write(data))


def read_image(path: PathLike) -> np.ndarray:
    """Read an image file.

    Its EXIF orientation is applied, an embedded colour profile is converted to sRGB (CMYK without
    one by the plain rule), transparency is laid over white, grey becomes colour. 16-bit grey keeps
    its range; 16-bit colour is read with 8 bits. Of a file of several pages the first is read. An
    image of more than `MAX_PIXELS` is reduced by a whole number as it is read; `reduced_note`
    says so.

    Returns:
        [H, W, 3] float32 in [-1, 1].

    Raises:
        DataError: the file is missing, empty, no image, damaged, animated, too large, of a format
            whose reader is not installed, or holds samples of unknown range.
    """
    with _opened(path) as opened:
        frames = getattr(opened, "n_frames", 1)
        if frames > 1 and opened.format in ANIMATED:
            raise DataError(
                f"{path} must be one image, got {frames} frames of an animation: save one of them, "
                "or use it as a video"
            )
        image = _reduced(opened, _reduction(opened.size))
        return _colours(ImageOps.exif_transpose(image), path)


def reduced_note(path: PathLike) -> str | None:
    """What `read_image` leaves out of a very large image; None where it is read as it is.

    Raises:
        DataError: as `read_image`, of a file that cannot be opened.
    """
    with _opened(path) as opened:
        factor = _reduction(opened.size)
        if factor == 1:
            return None
        width, height = (math.ceil(side / factor) for side in opened.size)
        millions = opened.width * opened.height / 1e6
        return (
            f"{path} has {millions:.0f} million pixels: it is read, and its results are written, "
            f"reduced to a {_ORDINALS.get(factor, f'1/{factor}')} of its sides, {width} x {height}"
        )


def _reduction(size: tuple[int, int]) -> int:
    return max(math.ceil(math.sqrt(size[0] * size[1] / MAX_PIXELS)), 1)


@contextlib.contextmanager
def _opened(path: PathLike) -> Iterator[Image.Image]:
    """An image file by Pillow; what goes wrong with it in the block is one line, too."""
    try:
        if _is_heic(path):
            _register_heic(path)
        with warnings.catch_warnings(), _larger_images():
            # Pillow warns at half the size that it refuses.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
        with opened:
            yield opened
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"cannot read {path}: no such file") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} {_no_image(Path(path))}") from error
    except Image.DecompressionBombError as error:
        limit = _LARGEST // 10**6
        raise DataError(
            f"{path} is too large: it must be at most {limit} million pixels"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise DataError(f"cannot read {path}: {first_line(error)}") from error


def _no_image(path: Path) -> str:
    if path.stat().st_size == 0:
        return "is empty"
    what = described(path)
    if what.startswith("a video"):
        return f"is {what}, not an image: videos are for --video of mm_extract and mm_edit"
    return f"is {what + ', ' if what else ''}not an image in a known format"


@contextlib.contextmanager
def _larger_images() -> Iterator[None]:
    """Let Pillow open what it would take for an attack: its bound is one of the whole process."""
    with _BOUND:
        usual = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = _LARGEST // 2  # Pillow refuses twice as many
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """An opened image, loaded, with its sides divided by a whole number."""
    if factor > 1:
        # A JPEG can be decoded at a half, a quarter or an eighth at once.
        size = math.ceil(image.width / factor), math.ceil(image.height / factor)
        whole = image.size
        image.draft(None, size)
        factor = factor * image.width // whole[0] or 1
    image.load()
    if factor == 1:
        return image
    if image.mode in ("1", "P", "PA"):
        # Numbers of colours have no mean.
        image = image.convert(
            "RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB"
        )
    elif image.mode.startswith("I;"):
        image = image.convert("I")
    return image.reduce(factor)


def _is_heic(path: PathLike) -> bool:
    with open(path, "rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:] in _HEIC_BRANDS


def _register_heic(path: PathLike) -> None:
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError as error:
        name, stem, command = Path(path).name, Path(path).stem, how_to_install("pillow-heif")
        raise DataError(
            f"{path} is a HEIC image, which needs the extra heic ({command}); "
            f"or convert it: sips -s format jpeg {name} --out {stem}.jpg on macOS, heif-convert "
            f"{name} {stem}.jpg on Linux"
        ) from error
    pillow_heif.register_heif_opener()


def _colours(image: Image.Image, path: PathLike) -> np.ndarray:
    """An image of any mode as [H, W, 3] float32 in [-1, 1]."""
    if 0 in image.size:
        raise DataError(f"{path} has no pixels: it is {image.width} x {image.height}")
    if image.mode == "F":
        raise DataError(f"{path} holds floating-point samples of unknown range")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float32)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{path} holds samples of more than 16 bits and unknown range")
        return np.repeat((values / 32767.5 - 1.0)[:, :, None], 3, axis=2)
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    image = _to_srgb(image)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB")).astype(np.float32) / 127.5 - 1.0


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert the embedded colour profile, if there is a sound one for the image's mode."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        target = ImageCms.createProfile("sRGB")
        changed = ImageCms.profileToProfile(image, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        # A damaged profile, or one of another colour space: viewers show the plain samples, too.
        return image
    return changed or image


def over_white(rgba: np.ndarray) -> np.ndarray:
    """Colours [H, W, 3] uint8 of an image [H, W, 4] uint8 on white."""
    alpha = rgba[:, :, 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[:, :, :3])
    fraction = alpha.astype(np.float32) / 255.0
    return np.rint(rgba[:, :, :3] * fraction + 255.0 * (1.0 - fraction)).astype(np.uint8)


def grid(images: Any, cols: int | None = None, *, gap: int = 0) -> np.ndarray:
    """Images in rows, left to right and top to bottom, on white.

    Args:
        images: [N, H, W, 3].
        cols: images in a row; nearly square unless given.
        gap: pixels between images.

    Returns:
        One image, uint8.

    Raises:
        DataError: another shape. UsageError: `cols` or `gap` out of range.
    """
    array = _many(images, "N")
    count, height, width, _ = array.shape
    cols = math.ceil(math.sqrt(count)) if cols is None else cols
    if cols < 1 or gap < 0:
        raise UsageError(f"cols must be at least 1 and gap at least 0, got {cols} and {gap}")
    rows = math.ceil(count / cols)
    shape = (rows * (height + gap) - gap, cols * (width + gap) - gap, 3)
    sheet = np.full(shape, 255, np.uint8)
    for index, image in enumerate(array):
        top, left = (index // cols) * (height + gap), (index % cols) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def strip(images: Any, *, gap: int = 0) -> np.ndarray:
    """Images [T, H, W, 3] side by side; [N, T, H, W, 3] gives one row for each n. uint8."""
    array = to_uint8(images)
    if array.ndim == 5:
        return grid(array.reshape((-1, *array.shape[2:])), array.shape[1], gap=gap)
    return grid(array, len(array), gap=gap)


def save_gif(path: PathLike, frames: Any, *, fps: float = 20, loop: bool = True) -> Path:
    """Write a video [T, H, W, 3] as an animated GIF with one palette for all frames.

    Raises:
        DataError: another shape, or the encoder fails. UsageError: a rate out of range.
    """
    with video_writer(_named(path, ".gif"), fps=fps, loop=loop) as add:
        for frame in _many(frames, "T"):
            add(frame)
    return Path(path)


def save_mp4(path: PathLike, frames: Any, *, fps: float = 20, crf: int = 18) -> Path:
    """Write a video [T, H, W, 3] as H.264 in yuv420p, which every browser plays.

    The codec wants even sizes: an odd height or width is padded by repeating the last line.

    Args:
        path: the file.
        frames: [T, H, W, 3].
        fps: frames per second.
        crf: the encoder's constant rate factor, 0 (lossless) to 51 (worst).

    Raises:
        DataError: another shape, or the encoder fails. UsageError: a setting out of range.
    """
    with video_writer(_named(path, ".mp4"), fps=fps, crf=crf) as add:
        for frame in _many(frames, "T"):
            add(frame)
    return Path(path)


def _named(path: PathLike, suffix: str) -> Path:
    if Path(path).suffix.lower() != suffix:
        raise UsageError(f"{path}: the file must be named *{suffix}")
    return Path(path)


def frame_sequence(count: int, *, there_and_back: bool = True) -> Sequence[int]:
    """Order of `count` frames for a video that loops: forth, and back without its two ends."""
    if count < 1:
        raise UsageError(f"count must be at least 1, got {count}")
    forth = list(range(count))
    return forth + forth[-2:0:-1] if there_and_back else forth
