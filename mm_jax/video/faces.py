"""The face of a video: followed through its frames, and cropped from them one after another.

A video is read twice, first for where the face is, then for its crops; its frames are never all in
memory. Each shot is smoothed by itself.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mm_jax.alignment import Face, Framing, crop_face, ffhq_quad, load_landmarks
from mm_jax.alignment.faces import choose_faces, say, whole_quad
from mm_jax.alignment.find import Detector, check_inside, find_faces, open_detector
from mm_jax.alignment.options import AlignOptions
from mm_jax.errors import DataError, UsageError
from mm_jax.faces.detection import FaceDetector
from mm_jax.faces.readings import Recogniser
from mm_jax.media.video_reading import read_frames
from mm_jax.media.videos import VideoInfo
from mm_jax.progress import ProgressFn, silent
from mm_jax.video.options import VideoOptions
from mm_jax.video.search import FaceSearch
from mm_jax.video.smoothing import points_in_crop, smooth_quads
from mm_jax.video.tracking import FaceTracker, spans_text

__all__ = ["NoFaceError", "VideoFace", "crops", "follow_face"]

# Seconds between shots, where only the order of frames within each counts: no smoothing reaches so
# far.
_APART = 1e4


class NoFaceError(DataError):
    """A video shows no face."""


@dataclasses.dataclass(frozen=True, eq=False)
class VideoFace:
    """Where one face is in the frames of a video.

    Attributes:
        frames: [T] which frames these are.
        times: [T] float64, seconds; those of each shot are far from those of any other, so that
            what smooths over them smooths each shot by itself.
        quads: [T, 4, 2] float32, smooth over time; filled in where no face was found.
        found: [T] bool.
        landmarks: [T, P, 2] float32 in pixels of the frames where the face has 68 of them in every
            frame in which it was found (the others hold zeros), else None.
        whole: whether the crop is the whole frame.
    """

    frames: tuple[int, ...]
    times: np.ndarray
    quads: np.ndarray
    found: np.ndarray
    landmarks: np.ndarray | None = None
    whole: bool = False

    def points(self, chosen: np.ndarray, *, size: int) -> np.ndarray | None:
        """Landmarks [M, P, 2] in pixels of the crops of the frames at `chosen`."""
        if self.landmarks is None:
            return None
        return np.stack(
            [points_in_crop(self.landmarks[i], self.quads[i], size=size) for i in chosen]
        )


def follow_face(
    info: VideoInfo,
    frames: Sequence[int],
    align: AlignOptions,
    video: VideoOptions,
    framing: Framing,
    *,
    tell: Callable[[str], None] = say,
    progress: ProgressFn = silent,
) -> VideoFace:
    """Find one face in every frame: the chosen one at first, then the same person.

    What is found is told: in which frames, and in how many shots.

    Raises:
        UsageError: a detector that is not there, or a choice of more than one face.
        DataError: a video that cannot be read, without a face, or not square where it is said to be
            aligned.
    """
    frames = tuple(frames)
    if align.aligned:
        _, first = next(iter(read_frames(info, frames[:1])))
        quad = whole_quad(first, info.path, "videos")
        every = np.broadcast_to(quad, (len(frames), 4, 2))
        return VideoFace(
            frames, _times(info, frames), every, np.ones(len(frames), bool), whole=True
        )
    if align.face == "all" or (not isinstance(align.face, str) and len(align.face) > 1):
        raise UsageError("one face is followed through a video: give --face one number, or largest")
    faces = _faces_over_time(info, frames, align, tell, progress)
    found = np.array([face is not None for face in faces])
    if not found.any():
        raise NoFaceError(
            f"{info.path}: no face is found in {len(frames)} frames: try another --detector, give "
            "--landmarks, or --aligned if the video is a crop already"
        )
    quads = np.stack(
        [
            np.zeros((4, 2), np.float32)
            if face is None
            else framing.apply(ffhq_quad(face.landmarks))
            for face in faces
        ]
    )
    times = _times(info, frames)
    quads = smooth_quads(quads, found, times, width=video.smoothing)
    _tell(info, frames, found, tell)
    some = [face for face in faces if face is not None]
    landmarks = None
    if {len(face.landmarks) for face in some} == {68}:
        landmarks = np.stack(
            [np.zeros((68, 2), np.float32) if face is None else face.landmarks for face in faces]
        )
    return VideoFace(frames, times, quads, found, landmarks)


def crops(
    info: VideoInfo, face: VideoFace, *, size: int, only: Sequence[int] | None = None
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield (place in `face`, frame [H, W, 3] uint8, crop [size, size, 3] float32 in [-1, 1]).

    Args:
        info: of the video.
        face: where the face is.
        size: side of the crops.
        only: places in `face`, growing; all by default.
    """
    places = range(len(face.frames)) if only is None else only
    wanted = [face.frames[place] for place in places]
    for place, (_, frame) in zip(places, read_frames(info, wanted), strict=True):
        yield place, frame, crop_face(frame, face.quads[place], size=size)


def _faces_over_time(
    info: VideoInfo,
    frames: tuple[int, ...],
    align: AlignOptions,
    tell: Callable[[str], None],
    progress: ProgressFn,
) -> list[Face | None]:
    known: list[list[Face]] | None = None
    search = None
    if align.landmarks:
        known = load_landmarks(align.landmarks, [str(frame) for frame in range(info.frames)])
    else:
        search = _search(open_detector(align.detector, align.detector_model))
    followed: list[Face | None] = []
    tracker = FaceTracker(Recogniser())
    shots = _shot_of(info, frames)
    for place, (index, frame) in enumerate(read_frames(info, frames)):
        cut = place > 0 and bool(shots[place] != shots[place - 1])
        if known is not None:
            faces = known[index]
            for face in faces:
                check_inside(face, *frame.shape[:2])
        else:
            assert search is not None
            away = tracker.begun and followed[-1] is None
            faces = search(frame, cut=cut, away=away)
        if tracker.begun:
            face = tracker.next(frame, faces, cut=cut)
        elif faces:
            where = f"{info.path}, frame {index}"
            chosen = choose_faces(faces, align.face, where, tell)[0]
            face = tracker.begin(frame, faces, chosen)
        else:
            face = None
        followed.append(face)
        progress("faces", place + 1, len(frames))
    return followed


def _search(detector: Detector) -> FaceSearch:
    find = functools.partial(find_faces, detector=detector)
    if not isinstance(detector, FaceDetector):
        return FaceSearch(find, None)
    glance = functools.partial(find_faces, detector=detector.glance)
    return FaceSearch(find, functools.partial(detector.near, exact=True), glance)


def _shot_of(info: VideoInfo, frames: Sequence[int]) -> np.ndarray:
    """[T] the number of the shot that each frame is in."""
    return np.searchsorted(np.array(info.cuts, int), np.array(frames), side="right")


def _times(info: VideoInfo, frames: Sequence[int]) -> np.ndarray:
    return info.times[list(frames)] + _APART * _shot_of(info, frames)


def _tell(
    info: VideoInfo, frames: Sequence[int], found: np.ndarray, tell: Callable[[str], None]
) -> None:
    shots = len(np.unique(_shot_of(info, frames)))
    if shots > 1:
        cuts = ", ".join(map(str, info.cuts[:10])) + (", .." if len(info.cuts) > 10 else "")
        tell(f"{info.path}: {shots} shots (new ones at frames {cuts}), each is smoothed by itself")
    if not found.all():
        there = spans_text(np.array(frames)[found].tolist())
        tell(
            f"{info.path}: this person is found in {int(found.sum())} of {len(frames)} frames: "
            f"{there}"
        )
