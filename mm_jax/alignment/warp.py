"""Crops out of images, and crops back into images.

Images are float32 or uint8; values are colours in [-1, 1], those of uint8 after division.
Positions here are those of pixel edges: the middle of the top left pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from mm_jax.errors import DataError, UsageError
from mm_jax.media import to_float

__all__ = ["crop_face", "paste_face"]

# Fractions of the crop's side over which what is mirrored beyond the border gets soft, and fades.
_SOFT, _FADE, _RADIUS = 0.08, 0.35, 0.02
_RARE = 1  # per cent of a face that may have a rarer colour than an edit brings
_FINE = 2  # times that an image is enlarged before it is sampled
_MARGIN = 3  # pixels that bicubic interpolation may ask for beyond the crop


def crop_face(image: Any, quad: Any, *, size: int) -> np.ndarray:
    """Cut a crop out of an image.

    Every pixel of the crop is the mean of several bicubic samples of the area that it covers, as
    many as the reduction wants, so that nothing aliases. Beyond the image's border it is
    mirrored, gets soft and fades to the median colour, so that no hard edge appears there; the
    image's own pixels stay as they are.

    Args:
        image: [H, W, 3], float in [-1, 1] or uint8.
        quad: [4, 2], corners of a parallelogram: top left, bottom left, bottom right, top right.
        size: side of the crop.

    Returns:
        [size, size, 3] float32 in [-1, 1].

    Raises:
        UsageError: size below 1.
        DataError: an image of another shape, or a quad that is none or lies beside the image.
    """
    image, corners = _image(image), _corners(quad)
    if size < 1:
        raise UsageError(f"size of a crop must be at least 1, got {size}")
    across, along = (corners[3] - corners[0]) / size, (corners[1] - corners[0]) / size
    density = max(np.hypot(*across), np.hypot(*along))  # pixels of the image per pixel
    shrink = max(int(density / 2), 1)
    samples = max(math.ceil(1.2 * density / shrink), 1)
    # A mean over two pixels and more needs no fine interpolation between them.
    fine = _FINE if density < 2 else 1
    block, origin = _surroundings(image, corners, shrink)
    # From one sample of the crop to the next, and the first, in pixels of the enlarged block.
    step = fine * np.stack([across, along], axis=1) / (shrink * samples)
    start = fine * (corners[0] / shrink - origin)
    side = (size * samples, size * samples)

    def cut(channel: Image.Image) -> Image.Image:
        larger = (fine * channel.width, fine * channel.height)
        enlarged = channel.resize(larger, Image.Resampling.BICUBIC)
        return _sampled(enlarged, side, step, start).reduce(samples)

    crop = _by_channel(block, cut)
    return np.clip(crop, -1.0, 1.0)


def paste_face(
    image: Any,
    face: Any,
    quad: Any,
    *,
    original: Any | None = None,
    flow: Any | None = None,
    feather: float = 0.15,
) -> np.ndarray:
    """Put a crop back into the image, under a mask with a soft edge.

    Args:
        image: [H, W, 3], float in [-1, 1] or uint8.
        face: [S, S, 3], the crop to be seen; float or uint8.
        quad: [4, 2], where it belongs, as for `crop_face`.
        original: [S, S, 3], what `face` looked like before it was edited. If given, only the
            change is put on top of the image: what both have in common, such as fine detail,
            hair and background that a generator does not rebuild, stays the image's own.
        flow: [F, F, 2] (x, y) in sides of the crop: what `face` shows at a place was in `original`
            at that place + flow. If given, the image is moved so before what is left of the change
            is put on top, so that no old mouth stays under a new one; and the change brings no
            colours that the image's face has not.
        feather: width of the soft edge, as a fraction of half the crop's side, in (0, 1].

    Returns:
        [H, W, 3] float32 in [-1, 1]. Outside of the quad every pixel is the image's, and so it is
        inside where `face` equals `original`.

    Raises:
        UsageError: a feather out of range, or a flow without an original.
        DataError: arrays of another shape, or a quad that is none.
    """
    image, corners = _image(image), _corners(quad)
    if flow is not None and original is None:
        raise UsageError("flow must be given together with original, got flow alone")
    if not 0 < feather <= 1:
        raise UsageError(f"feather must be a number above 0 and at most 1, got {feather}")
    layer = _image(face)
    if layer.shape[0] != layer.shape[1]:
        raise DataError(f"a crop must be [S, S, 3], got {list(layer.shape)}")
    if original is not None:
        before = _image(original)
        if before.shape != layer.shape:
            raise DataError(
                f"original must have the shape of the face, {list(layer.shape)}, "
                f"got {list(before.shape)}"
            )
        if flow is not None:
            flow = np.asarray(flow, np.float32)
            if flow.ndim != 3 or flow.shape[0] != flow.shape[1] or flow.shape[2] != 2:
                raise DataError(f"a flow must be [F, F, 2], got {list(flow.shape)}")
            before = _moved(before, _resized(flow, len(before)) * len(before))
        layer = layer - before
    result = image.copy()  # [H, W, 3]
    height, width = image.shape[:2]
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int), [width, height])
    if (low >= high).any():
        return result
    window = (slice(low[1], high[1]), slice(low[0], high[0]))  # rows, columns: [h, w]
    # [2, 2]: offsets in the image (x, y) to offsets in the crop, whose sides are 1 long; [2]: where
    # the window's upper left corner lies in the crop.
    inverse = np.linalg.inv(np.stack([corners[3] - corners[0], corners[1] - corners[0]], axis=1))
    start = inverse @ (low - corners[0])
    # Of the window [h, w] that holds the quad: the soft mask, and the crop warped into it.
    mask = _mask(inverse, start, high - low, feather)[:, :, None]  # [h, w, 1]
    warped = _spread(layer, corners, inverse, start, tuple(high - low))  # [h, w, 3]
    here = result[window]  # [h, w, 3]
    if flow is not None:
        padded = np.concatenate([flow, np.zeros_like(flow[..., :1])], axis=-1)
        spread = _spread(padded, corners, inverse, start, tuple(high - low))[..., :2]
        sides = np.stack([corners[3] - corners[0], corners[1] - corners[0]], axis=1)
        here = _moved(image, mask * (spread @ sides.T), first=tuple(low))
    # With an original, what is warped is a difference, to be added; else a face, to be blended in.
    edited = here + mask * (warped if original is not None else warped - here)
    if flow is not None:
        # Its middle [h, w] is the face, without most of what is behind.
        face = _mask(inverse, start, high - low, 1.0) > 0.5
        edited = edited + _too_colourful(edited, here, face)
    result[window] = np.where(mask > 0, np.clip(edited, -1.0, 1.0), result[window])
    return result


def _too_colourful(edited: np.ndarray, image: np.ndarray, face: np.ndarray) -> np.ndarray:
    """What takes colours [h, w, 3] out of an edited image that its face has not.

    The blue that a generator may put between lips, say. Light is left as it is.

    Args:
        edited: [h, w, 3].
        image: [h, w, 3] before the edit.
        face: [h, w] bool, where the face is.
    """
    if not face.any():
        return np.zeros_like(edited)
    before, after = (some - some.mean(axis=-1, keepdims=True) for some in (image, edited))
    low, high = np.percentile(before[face], [_RARE, 100 - _RARE], axis=0)
    allowed = np.clip(after, np.minimum(before, low), np.maximum(before, high))
    excess = allowed - after
    return (excess - excess.mean(axis=-1, keepdims=True)).astype(np.float32)


def _moved(image: np.ndarray, flow: np.ndarray, *, first: tuple[int, int] = (0, 0)) -> np.ndarray:
    """What a window of an image [H, W, 3], its corner at `first` (x, y), shows at p + flow.

    The flow [h, w, 2] is in pixels; where it is 0 the image stays as it is.
    """
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]]
    at = [y + first[1] + flow[..., 1], x + first[0] + flow[..., 0]]
    moved = [ndimage.map_coordinates(image[..., c], at, order=1, mode="nearest") for c in range(3)]
    return np.stack(moved, axis=-1)


def _resized(flow: np.ndarray, size: int) -> np.ndarray:
    """A flow [F, F, 2] as [size, size, 2]."""
    parts = [
        Image.fromarray(np.ascontiguousarray(flow[..., i])).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        for i in (0, 1)
    ]
    return np.stack([np.asarray(part) for part in parts], axis=-1)


def _image(image: Any) -> np.ndarray:
    array = to_float(image)
    if array.ndim != 3:
        raise DataError(f"one image must be [H, W, 3], got {list(array.shape)}")
    return array


def _corners(quad: Any) -> np.ndarray:
    """Corners [4, 2] at pixel edges, float64."""
    corners = np.asarray(quad)
    if corners.shape != (4, 2) or corners.dtype.kind not in "fiu":
        raise DataError(f"a quad must be numbers [4, 2], got {list(corners.shape)}")
    corners = corners.astype(np.float64) + 0.5
    if not np.isfinite(corners).all():
        raise DataError("a quad holds NaN or infinity")
    across, along = corners[3] - corners[0], corners[1] - corners[0]
    side = max(np.hypot(*across), np.hypot(*along))
    if np.abs(corners[0] + along + across - corners[2]).max() > 1e-3 * side + 1e-6:
        raise DataError("a quad must be a parallelogram")
    if not across[0] * along[1] - across[1] * along[0] > 1e-3 * side**2:
        raise DataError("a quad must have an area, its corners in order: top left, bottom left, ..")
    return corners


def _by_channel(array: np.ndarray, change) -> np.ndarray:
    """Apply a function of Pillow's float images to every channel of [H, W, 3]."""
    parts = [change(Image.fromarray(np.ascontiguousarray(array[..., c]))) for c in range(3)]
    return np.stack([np.asarray(part, np.float32) for part in parts], axis=-1)


def _sampled(
    image: Image.Image, size: tuple[int, int], step: np.ndarray, start: np.ndarray
) -> Image.Image:
    """Samples of an enlarged image at `start + step @ (x, y)`.

    Pillow's own bicubic transform is off by up to a tenth of a pixel (its kernel does not keep
    straight lines straight); linear samples of a bicubic enlargement are not.
    """
    data = (*step[0], start[0], *step[1], start[1])
    return image.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


def _surroundings(
    image: np.ndarray, corners: np.ndarray, shrink: int
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image about a quad, reduced by `shrink`, and where it begins [2] (x, y)."""
    low = np.floor(corners.min(axis=0) / shrink).astype(int) - _MARGIN
    high = np.ceil(corners.max(axis=0) / shrink).astype(int) + _MARGIN
    counts = -(-np.array(image.shape[1::-1]) // shrink)
    if (high <= _MARGIN).any() or (low >= counts - _MARGIN).any():
        raise DataError(
            f"the crop lies outside of the image, {image.shape[1]} x {image.shape[0]} pixels"
        )
    (columns, right), (rows, down) = (
        _mirrored(*ends) for ends in zip(low, high, counts, strict=True)
    )
    left, top = columns.min(), rows.min()
    part = image[
        top * shrink : (rows.max() + 1) * shrink, left * shrink : (columns.max() + 1) * shrink
    ]
    if shrink > 1:
        part = _by_channel(part, lambda image: image.reduce(shrink))
    block = part[rows - top][:, columns - left]
    beyond = np.maximum(down[:, None], right[None, :])
    if beyond.any():
        side = max(np.hypot(*(corners[3] - corners[0])), np.hypot(*(corners[1] - corners[0])))
        block = _soften(block, beyond, part, side / shrink)
    return block, low.astype(float)


def _mirrored(low: int, high: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices in [0, count) of low..high-1, mirrored at the ends, and their distances beyond."""
    at = np.arange(low, high)
    period = max(2 * (count - 1), 1)
    index = at % period
    index = np.where(index >= count, period - index, index)
    return index, np.maximum(np.maximum(-at, at - (count - 1)), 0)


def _soften(block: np.ndarray, beyond: np.ndarray, part: np.ndarray, side: float) -> np.ndarray:
    """Blur what lies beyond the image's border, and fade it to the image's median."""
    height, width = block.shape[:2]
    radius = max(_RADIUS * side, 1.0)
    small = (max(round(width / radius), 1), max(round(height / radius), 1))
    blurred = _by_channel(
        block,
        lambda image: image.resize(small, Image.Resampling.HAMMING).resize(
            (width, height), Image.Resampling.BICUBIC
        ),
    )
    soft = np.clip(beyond / (_SOFT * side), 0.0, 1.0)[:, :, None].astype(np.float32)
    fade = np.clip(beyond / (_FADE * side), 0.0, 1.0)[:, :, None].astype(np.float32)
    block = block + soft * (blurred - block)
    median = np.median(part, axis=(0, 1)).reshape(1, 1, 3)
    return block + fade * (median - block)


def _mask(inverse: np.ndarray, start: np.ndarray, extent: np.ndarray, feather: float) -> np.ndarray:
    """Weights [h, w] float32 of a window's pixels: 1 well inside of the crop, 0 at its edge."""
    x, y = np.arange(extent[0]) + 0.5, np.arange(extent[1]) + 0.5
    # Coordinates in the crop, -1 to 1, and from them a square with round corners.
    u, v = (
        2 * (inverse[i, 0] * x[None, :] + inverse[i, 1] * y[:, None] + start[i]) - 1 for i in (0, 1)
    )
    radius = np.sqrt(np.sqrt(u**4 + v**4))
    ramp = np.clip((1.0 - radius) / feather, 0.0, 1.0)
    return (ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)


def _spread(
    layer: np.ndarray,
    corners: np.ndarray,
    inverse: np.ndarray,
    start: np.ndarray,
    extent: tuple[int, int],
) -> np.ndarray:
    """The crop `layer` [S, S, 3] as a window of the image sees it: [h, w, 3]."""
    side = np.hypot(*(corners[3] - corners[0])), np.hypot(*(corners[1] - corners[0]))
    # Where the image is coarser than the crop [S, S], the crop is reduced first, to `small`; where
    # it is finer, the crop gets as fine, `fine`. Both are (width, height).
    small = tuple(min(layer.shape[0], max(math.ceil(s), 1)) for s in side)
    fine = tuple(max(_FINE * n, math.ceil(s)) for n, s in zip(small, side, strict=True))
    scale = np.array(fine)

    def spread(image: Image.Image) -> Image.Image:
        reduced = image.resize(small, Image.Resampling.BICUBIC)
        larger = reduced.resize(fine, Image.Resampling.BICUBIC)
        # In pixels of `larger`: the step of one pixel of the window [2, 2], and the first [2].
        return _sampled(larger, extent, inverse * scale[:, None], start * scale)

    return _by_channel(layer, spread)
