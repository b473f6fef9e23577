"""Faces of frame after frame: when a whole frame is searched, and when a face's place is."""

from __future__ import annotations

import numpy as np
import pytest

from mm_jax.alignment.face import Face
from mm_jax.video.search import _AWAY, _EVERY, FaceSearch

SHAPE = np.random.default_rng(0).uniform(0, 1, (68, 2))


def face(x, side=40.0):
    return Face(SHAPE * side + x, np.array([x - 2, x - 2, x + side + 2, x + side + 2]), 0.9)


class Video:
    """Frames that hold where their faces are: [1, N, 3] uint8 of places."""

    def __init__(self):
        self.searched = self.looked = 0

    def find(self, frame):
        self.searched += 1
        return [face(float(x)) for x in frame[0, :, 0]]

    def near(self, frame, box):
        self.looked += 1
        gaps = [(abs(face(float(x)).box[0] - box[0]), float(x)) for x in frame[0, :, 0]]
        return face(min(gaps)[1]) if gaps and min(gaps)[0] < 40 else None


def frame(*places):
    return np.tile(np.array(places, np.uint8)[None, :, None], (1, 1, 3))


def places(faces):
    return [float(face.landmarks[0, 0]) - SHAPE[0, 0] * 40 for face in faces]


def test_a_face_that_moves_on_is_looked_for_where_it_was():
    video = Video()
    search = FaceSearch(video.find, video.near)
    for i in range(2 * _EVERY):
        (found,) = search(frame(50 + i))
        np.testing.assert_allclose(found.box, face(50.0 + i).box, atol=1e-3)
        assert found.score == pytest.approx(0.9)
    assert video.searched == 2 and video.looked == 2 * _EVERY - 2


def test_somebody_who_comes_is_seen_at_the_next_search():
    video = Video()
    search = FaceSearch(video.find, video.near)
    counts = [len(search(frame(50 + i, 150))) for i in range(3)]
    counts += [len(search(frame(53 + i, 150, 200))) for i in range(_EVERY)]
    assert counts[:3] == [2, 2, 2] and counts[-1] == 3
    assert video.searched == 2


def test_somebody_who_is_missed_is_seen_soon_after_coming_back():
    video = Video()
    search = FaceSearch(video.find, video.near)
    search(frame(50, 150))
    assert len(search(frame(51))) == 1
    counts = [len(search(frame(52 + i, 200 - i), away=True)) for i in range(_AWAY)]
    assert counts == [1] * (_AWAY - 1) + [2]
    assert video.searched == 3


@pytest.mark.parametrize("after", [frame(90), frame(), frame(100, 104)])
def test_where_faces_jump_go_or_meet_the_whole_frame_is_searched(after):
    video = Video()
    search = FaceSearch(video.find, video.near)
    before = (50,) if after.shape[1] < 2 else (90, 150)
    search(frame(*before))
    assert places(search(after)) == pytest.approx([float(x) for x in after[0, :, 0]], abs=1e-3)
    assert video.searched == 2


def test_cuts_and_repeated_frames():
    video = Video()
    search = FaceSearch(video.find, video.near)
    search(frame(50))
    search(frame(50), cut=True)
    assert video.searched == 1 and not video.looked  # the same frame again
    search(frame(51), cut=True)
    assert video.searched == 2 and not video.looked


def test_where_nobody_was_for_long_frames_are_glanced_at():
    video, glanced = Video(), []

    def glance(frame):
        glanced.append(frame)
        return [face(float(x)) for x in frame[0, :, 0] if x > 100]

    search = FaceSearch(video.find, video.near, glance)
    # Frames that are not the same: of no place, and of growing height.
    empty = (np.zeros((height, 0, 3), np.uint8) for height in range(1, 1000))
    for _ in range(_EVERY):
        assert search(next(empty)) == []
    assert video.searched == _EVERY and not glanced  # a short gap is searched as before
    for _ in range(2 * _EVERY):
        assert search(next(empty)) == []
    assert video.searched == _EVERY + 2 and len(glanced) == 2 * _EVERY - 2
    # Who is seen is found at once, and who is not, at the next search.
    assert len(search(frame(150))) == 1
    assert search(np.zeros((1, 0, 3), np.uint8)) == [] and video.searched == _EVERY + 4
    for _ in range(3 * _EVERY):
        search(next(empty))
    found = [len(search(frame(50 + i))) for i in range(_EVERY)]
    assert found[-1] == 1 and found == sorted(found)


def test_after_a_cut_nobody_is_looked_for_everywhere():
    video = Video()
    search = FaceSearch(video.find, video.near, lambda frame: [])
    empty = (np.zeros((height, 0, 3), np.uint8) for height in range(1, 1000))
    for _ in range(_EVERY + 3):
        search(next(empty))
    assert video.searched == _EVERY
    search(next(empty), cut=True)
    search(next(empty))
    assert video.searched == _EVERY + 2


def test_a_detector_that_cannot_look_near_searches_every_frame():
    video = Video()
    search = FaceSearch(video.find, None)
    for i in range(5):
        search(frame(50 + i))
    assert video.searched == 5


def test_a_face_that_comes_nearer_has_a_larger_box():
    sizes = iter([40.0, 44.0])
    search = FaceSearch(
        lambda frame: [face(50.0, next(sizes))], lambda frame, box: face(50.0, next(sizes))
    )
    (small,), (large,) = search(frame(1)), search(frame(2))
    assert large.area == pytest.approx(small.area * 1.1**2, rel=1e-3)
