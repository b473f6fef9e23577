"""One person followed among several, by planted descriptors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mm_jax.alignment import Face
from mm_jax.video import faces
from mm_jax.video.faces import Person

FRAME = np.zeros((100, 400, 3), np.uint8)


def face(x: float, who: float) -> Face:
    """A face of 20 pixels at x, whose score is taken for the person's descriptor."""
    points = np.array([[x, 40], [x + 20, 40], [x + 10, 50], [x, 60], [x + 20, 60]])
    return Face(points, score=who)


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    def described(net: Any, image: Any, face: Face) -> np.ndarray:
        return np.eye(1, 128)[0] * face.score

    monkeypatch.setattr(faces, "describe_face", described)
    return Person(FRAME, face(100, 0.0))


def test_crossing_people_keep_their_names(person: Person) -> None:
    """The other one passes by and is the nearer for a while."""
    for step in range(10):
        own, other = face(100 + 10 * step, 0.02 * (step % 2)), face(190 - 10 * step, 0.6)
        assert person.among(FRAME, [own, other]) is own


def test_a_person_who_leaves_is_found_again(person: Person) -> None:
    stranger, back = face(105, 0.6), face(300, 0.1)
    assert person.among(FRAME, [stranger]) is None
    assert person.among(FRAME, [stranger, back]) is back


def test_a_face_may_change_step_by_step(person: Person) -> None:
    """As when a head is turned: each frame is near to the last, the last one far from the first."""
    for who in np.arange(0, 0.9, 0.1):
        assert person.among(FRAME, [face(100, who)]) is not None
    assert person.among(FRAME, [face(300, 0.0)]) is not None


def test_a_cut_to_somebody_at_the_same_place_is_seen(person: Person) -> None:
    assert person.among(FRAME, [face(100, 0.37)]) is None


def test_twins_are_told_apart_by_place(person: Person) -> None:
    near, far = face(110, 0.05), face(300, 0.0)
    assert person.among(FRAME, [far, near]) is near
