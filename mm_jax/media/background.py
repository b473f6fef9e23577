"""Files written in background threads while their frames are still being computed.

The frames of a video are kept once: in memory, or in an unnamed file if they are many. Encoders
read them in any order, each as soon as it is available, so memory grows neither with the length of
a video nor with the number of videos.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Self

import numpy as np

from mm_jax.errors import DataError
from mm_jax.media.images import frame_sequence, save_png
from mm_jax.media.video_writing import video_writer

__all__ = ["Background", "Frames", "scratch"]

_IN_MEMORY = 256 << 20
# Sets of videos encoded at once.
_SETS = 2


def scratch(folder: Path, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An array of zeros; a large one lies in an unnamed file of `folder`, which goes with it.

    Raises:
        DataError: the folder has no room for it.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= _IN_MEMORY:
        return np.zeros(shape, dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            # Reserved now: a full disk would end the process later, when a page is written back.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "w+", shape=tuple(shape))
    except OSError as error:
        raise DataError(
            f"cannot keep {size / 2**30:.1f} GiB of frames in {folder}: {error.strerror or error}"
        ) from error


class _AbandonedError(Exception):
    """The frames that an encoder waits for will not come."""


class Frames:
    """Frames [T, H, W, 3] that one thread adds in order and others read as soon as they are there.

    Args:
        array: where they are kept, of the final shape.
    """

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self._there = 0
        self._abandoned = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._array)

    def add(self, frames: np.ndarray) -> None:
        """Add [n, H, W, 3]; what is beyond the final number of frames is dropped."""
        end = min(self._there + len(frames), len(self))
        self._array[self._there : end] = frames[: end - self._there]
        with self._changed:
            self._there = end
            self._changed.notify_all()

    def abandon(self) -> None:
        """Say that no more frames will come."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def __getitem__(self, index: int) -> np.ndarray:
        """One frame [H, W, 3], waited for if need be."""
        with self._changed:
            self._changed.wait_for(lambda: self._there > index or self._abandoned)
            if self._there <= index:
                raise _AbandonedError
        return self._array[index]


def _write_video(path: Path, frames: Frames, fps: float) -> None:
    with video_writer(path, fps=fps) as add:
        for index in frame_sequence(len(frames)):
            add(frames[index])


class Background:
    """Encoders in threads of their own: `with Background() as background: ..`.

    At the end of the block all files are there; what went wrong in a thread is raised then or
    earlier. If the block itself fails, what is not finished is left out.
    """

    def __init__(self) -> None:
        self._videos: deque[tuple[Frames, list[Future[None]]]] = deque()
        self._images: deque[Future[Path]] = deque()
        workers = min(8, os.cpu_count() or 1)
        self._pool, self._maximum = ThreadPoolExecutor(workers), 2 * workers

    def videos(self, paths: Sequence[Path], frames: Frames, *, fps: float) -> None:
        """Begin to write videos, forth and back, of frames that may be still to come.

        Waits until there is but one earlier set of videos in work.
        """
        while len(self._videos) >= _SETS:
            self._finish_videos()
        if paths:
            # A thread for each, as all of them wait for frames of the thread that calls this.
            pool = ThreadPoolExecutor(len(paths))
            jobs = [pool.submit(_write_video, path, frames, fps) for path in paths]
            pool.shutdown(wait=False)
            self._videos.append((frames, jobs))

    def png(self, path: Path, image: np.ndarray) -> None:
        """Write an image [H, W, 3], sooner or later; it must stay as it is."""
        while len(self._images) >= self._maximum:
            self._images.popleft().result()
        self._images.append(self._pool.submit(save_png, path, image))

    def _finish_videos(self) -> None:
        _, jobs = self._videos.popleft()
        wait(jobs)
        for job in jobs:
            job.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        try:
            while kind is None and self._images:
                self._images.popleft().result()
            while kind is None and self._videos:
                self._finish_videos()
        finally:
            for frames, jobs in self._videos:
                frames.abandon()
                wait(jobs)
            self._pool.shutdown(cancel_futures=True)
