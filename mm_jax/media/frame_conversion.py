"""Decoded frames of a video to arrays as a player shows them.

Upright, in square pixels, deinterlaced, in an ordinary screen's colours, over white.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from av.error import BlockingIOError as NotYetError
from av.error import EOFError as StreamEndError
from av.filter import Graph

from mm_jax.media import colour
from mm_jax.media.images import over_white
from mm_jax.media.timing import as_fraction
from mm_jax.media.videos import VideoInfo

__all__ = ["FrameConverter", "Look"]

_SCALER = "accurate_rnd+full_chroma_int+full_chroma_inp+bicubic"
# Matrices between R'G'B' and Y'CbCr, by their numbers in ISO/IEC 23091-2, as FFmpeg calls them.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
_BT2020 = 9
# Of a stream that names no matrix, players take that of high definition from this height on.
_HD_HEIGHT = 576


@dataclasses.dataclass(frozen=True)
class Look:
    """How the frames of a stream are to be shown.

    Attributes:
        size: (H, W) in square pixels, upright.
        scaled: (H, W) in square pixels, as stored.
        swap, left_right, top_bottom: what makes a frame upright: first axes exchanged, then flips.
        notes: what is worth saying.
    """

    size: tuple[int, int]
    scaled: tuple[int, int]
    swap: bool
    left_right: bool
    top_bottom: bool
    notes: tuple[str, ...]

    @classmethod
    def of(cls, frame: Any, stream: Any) -> Look:
        """From a decoded frame and its stream."""
        notes = []
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        aspect = as_fraction(aspect or 1)
        height, width = frame.height, frame.width
        scaled = (height, round(width * aspect)) if aspect >= 1 else (round(height / aspect), width)
        if scaled != (height, width):
            notes.append(
                f"its pixels are not square ({aspect.numerator}:{aspect.denominator}): "
                f"{width} x {height} are read as {scaled[1]} x {scaled[0]}"
            )
        if frame.color_trc in (colour.HLG, colour.PQ):
            name = "HLG" if frame.color_trc == colour.HLG else "PQ"
            notes.append(f"it is high dynamic range ({name}): read in an ordinary screen's colours")
        swap, left_right, top_bottom = _orientation(frame)
        size = scaled[::-1] if swap else scaled
        return cls(size, scaled, swap, left_right, top_bottom, tuple(notes))

    def upright(self, image: np.ndarray) -> np.ndarray:
        """An image [H, W, C] as it is stored, upright."""
        if self.swap:
            image = image.swapaxes(0, 1)
        image = image[:: -1 if self.top_bottom else 1, :: -1 if self.left_right else 1]
        return np.ascontiguousarray(image)


def _orientation(frame: Any) -> tuple[bool, bool, bool]:
    """Whether axes are exchanged, left and right, top and bottom, by the frame's display matrix."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    values = np.frombuffer(bytes(matrix), "<i4").reshape(3, 3)
    # A point (x, y) is shown at (a x + c y, b x + d y); y grows downwards.
    (a, b), (c, d) = values[:2, :2].tolist()
    if abs(b) > abs(a):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


class FrameConverter:
    """Decoded frames to arrays [H, W, 3] uint8 as a player shows them.

    Args:
        stream: where the frames come from.
        info: of the video.
        folder: for files that filters read.
    """

    def __init__(self, stream: Any, info: VideoInfo, folder: Path) -> None:
        self._stream, self._interlaced, self._folder = stream, info.interlaced, folder
        self._look: Look | None = None
        self._graphs: dict[tuple[Any, ...], Graph] = {}

    def __call__(self, frames: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index, frame [H, W, 3] uint8) for (index, decoded frame)."""
        waiting: collections.deque[int] = collections.deque()
        graph = None
        for index, frame in frames:
            chosen = self._graph(frame)
            if graph is not None and graph is not chosen:
                yield from self._rest(graph, waiting)
            graph = chosen
            waiting.append(index)
            graph.push(frame)
            yield from self._pulled(graph, waiting)
        if graph is not None:
            yield from self._rest(graph, waiting)

    def _rest(
        self, graph: Graph, waiting: collections.deque[int]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """What a filter that looks ahead still holds; the graph is of no use afterwards."""
        if waiting:
            graph.push(None)
            yield from self._pulled(graph, waiting)
            self._graphs.clear()

    def _pulled(
        self, graph: Graph, waiting: collections.deque[int]
    ) -> Iterator[tuple[int, np.ndarray]]:
        while waiting:
            try:
                frame = graph.vpull()
            except (NotYetError, StreamEndError):
                return
            assert self._look is not None
            image = frame.to_ndarray()
            image = over_white(image) if image.shape[2] == 4 else image
            yield waiting.popleft(), self._look.upright(image)

    def _graph(self, frame: Any) -> Graph:
        """The filters for frames such as this one."""
        self._look = self._look or Look.of(frame, self._stream)
        matrix, transfer = frame.colorspace, frame.color_trc
        key = (frame.width, frame.height, frame.format.name, matrix, transfer, frame.color_range)
        if key not in self._graphs:
            self._graphs[key] = self._new_graph(frame, self._look.scaled)
        return self._graphs[key]

    def _new_graph(self, frame: Any, scaled: tuple[int, int]) -> Graph:
        alpha = any(component.is_alpha for component in frame.format.components)
        wide = not alpha and (
            frame.color_trc in (colour.HLG, colour.PQ) or frame.color_primaries == _BT2020
        )
        graph = Graph()
        nodes = [
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format,
                time_base=self._stream.time_base,
            )
        ]  # fmt: skip
        if self._interlaced:
            nodes.append(graph.add("bwdif", "mode=send_frame:deint=interlaced"))
        scale = {"w": str(scaled[1]), "h": str(scaled[0]), "flags": _SCALER}
        if not frame.format.is_rgb:
            usual = "bt709" if frame.height > _HD_HEIGHT else "bt601"
            scale["in_color_matrix"] = _MATRICES.get(frame.colorspace, usual)
        nodes.append(graph.add("scale", **scale))
        if wide:
            nodes.append(graph.add("format", "rgb48le"))
            cube = self._folder / f"{frame.color_trc}.cube"
            cube.write_text(colour.cube_file(frame.color_trc))
            nodes.append(graph.add("lut3d", file=str(cube)))
        nodes.append(graph.add("format", "rgba" if alpha else "rgb24"))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph
