"""The face of a video: followed through its frames, and cropped from them one after another.

A video is read twice, first for where the face is, then for its crops; its frames are never all in
memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from mm_jax.alignment import Face, Framing, crop_face, ffhq_quad, load_landmarks
from mm_jax.alignment.faces import choose_faces, say, whole_quad
from mm_jax.alignment.find import check_inside, find_faces, open_detector
from mm_jax.alignment.options import AlignOptions
from mm_jax.errors import DataError, UsageError
from mm_jax.faces.network import load_face_network
from mm_jax.faces.readings import describe_face, identity_distance
from mm_jax.media.video_reading import VideoInfo, read_frames
from mm_jax.progress import ProgressFn, silent
from mm_jax.video.options import VideoOptions
from mm_jax.video.smoothing import points_in_crop, smooth_quads

__all__ = ["VideoFace", "crops", "follow_face"]

# A face whose descriptor is so near to one of those known of the person is the person's: two drawn
# people are 0.30 and more apart, two photographed ones 0.67, and one person's in two frames 0.08.
_SAME = 0.28
# One that stays where the person was a frame before, within so many of its sides, may change more.
_STAYS, _STEP = 0.35, 0.5
# Faces whose descriptors are about equally near are told apart by where the person was last.
_ALIKE = 0.1
# Descriptors farther than this from all that are known of a person add to them, up to so many.
_NEW, _KNOWN = 0.15, 32


@dataclasses.dataclass(frozen=True, eq=False)
class VideoFace:
    """Where one face is in the frames of a video.

    Attributes:
        frames: [T] which frames these are.
        quads: [T, 4, 2] float32, smooth over time; filled in where no face was found.
        found: [T] bool.
        landmarks: [T, P, 2] float32 in pixels of the frames where the face has 68 of them in every
            frame in which it was found (the others hold zeros), else None.
        whole: whether the crop is the whole frame.
    """

    frames: tuple[int, ...]
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
    """Find one person's face in every frame: the chosen one at first, then whoever looks like it.

    A person who leaves and comes back, or crosses another, stays the one that is followed.

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
        return VideoFace(frames, every, np.ones(len(frames), bool), whole=True)
    if align.face == "all" or (not isinstance(align.face, str) and len(align.face) > 1):
        raise UsageError("one face is followed through a video: give --face one number, or largest")
    faces = _faces_over_time(info, frames, align, tell, progress)
    found = np.array([face is not None for face in faces])
    if not found.any():
        raise DataError(
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
    quads = smooth_quads(quads, found, np.array(frames) / info.fps, width=video.smoothing)
    some = [face for face in faces if face is not None]
    landmarks = None
    if {len(face.landmarks) for face in some} == {68}:
        landmarks = np.stack(
            [np.zeros((68, 2), np.float32) if face is None else face.landmarks for face in faces]
        )
    return VideoFace(frames, quads, found, landmarks)


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
    detector = None
    if align.landmarks:
        known = load_landmarks(align.landmarks, [str(frame) for frame in range(info.frames)])
    else:
        detector = open_detector(align.detector, align.detector_model)
    followed: list[Face | None] = []
    person: Person | None = None
    others = 0
    for place, (index, frame) in enumerate(read_frames(info, frames)):
        if known is not None:
            faces = known[index]
            for face in faces:
                check_inside(face, *frame.shape[:2])
        else:
            assert detector is not None
            faces = find_faces(frame, detector)
        face = None
        if faces and person is None:
            face = faces[choose_faces(faces, align.face, f"{info.path}, frame {index}", tell)[0]]
            person = Person(frame, face)
        elif faces and person is not None:
            face = person.among(frame, faces)
            others += face is None
        followed.append(face)
        progress("faces", place + 1, len(frames))
    if others:
        tell(
            f"{info.path}: in {others} of {len(frames)} frames the person who is followed is not "
            f"among the faces; seen in {_spans(frames, followed)}"
        )
    return followed


def _spans(frames: Sequence[int], followed: Sequence[Face | None]) -> str:
    """The frames with a face as text: "0 to 12, 30 to 44"."""
    seen = np.flatnonzero([face is not None for face in followed])
    runs = np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1)
    return ", ".join(f"{frames[run[0]]} to {frames[run[-1]]}" for run in runs)


class Person:
    """One person, known by descriptors of the face in the frames seen so far.

    Args:
        frame: [H, W, 3] uint8, where the person is seen first.
        face: the face in it.
    """

    def __init__(self, frame: np.ndarray, face: Face) -> None:
        self._recogniser = load_face_network("faces/recogniser")
        self._last = face
        self._was_seen = True
        self._known = [describe_face(self._recogniser, Image.fromarray(frame), face)]

    def among(self, frame: np.ndarray, faces: Sequence[Face]) -> Face | None:
        """The person's face among those [N >= 1] of a frame, or None if nobody is alike."""
        image = Image.fromarray(frame)
        found = np.stack([describe_face(self._recogniser, image, face) for face in faces])
        known = np.stack(self._known)
        distances = identity_distance(found[:, None], known[None]).min(axis=1)  # [N]
        steps = np.array([np.hypot(*(_middle(face) - _middle(self._last))) for face in faces])
        stays = self._was_seen & (steps <= _STEP * np.sqrt(self._last.area))  # [N]
        alike = distances <= np.where(stays, _STAYS, _SAME)
        alike &= distances <= distances.min() + _ALIKE
        self._was_seen = bool(alike.any())
        if not self._was_seen:
            return None
        best = int(np.where(alike, steps, np.inf).argmin())
        self._last = faces[best]
        if distances[best] > _NEW and len(self._known) < _KNOWN:
            self._known.append(found[best])
        return self._last


def _middle(face: Face) -> np.ndarray:
    return face.box.reshape(2, 2).mean(axis=0)
