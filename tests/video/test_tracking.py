"""One person is followed past others, gaps and cuts; descriptors are those of a perfect judge."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mm_jax.alignment import Face
from mm_jax.video.tracking import FaceTracker, spans_text

FRAME = np.zeros((200, 400, 3), np.uint8)
# Who somebody is, is the third landmark's place in its face; people differ by 0.4, looks by 0.02.
PEOPLE = {"ann": 0.0, "bob": 0.4, "eve": 0.8}


def face(who, x, y=100.0, side=40.0, look=0.0):
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])
    eyes = [[x - 8, y - 5], [x + 8, y - 5]]
    mouth = [[x - 6, y + 10], [x + 6, y + 10]]
    return Face(np.array([*eyes, [x + 4 * (PEOPLE[who] + look), y], *mouth]), box)


def describe(frame, face):
    del frame
    x = face.box[[0, 2]].mean()
    return np.array([(face.landmarks[2, 0] - x) / 4, 0.0])


def begun(*faces, chosen=0):
    tracker = FaceTracker(describe)
    tracker.begin(FRAME, list(faces), chosen)
    return tracker


def place(face):
    return None if face is None else float(face.box[[0, 2]].mean())


def test_people_who_cross_are_not_exchanged():
    tracker = begun(face("ann", 100), face("bob", 300))
    for step in range(1, 21):
        # Half-way only one of them is seen: bob, in front.
        there = [face("ann", 100 + 10 * step, look=0.01), face("bob", 300 - 10 * step)]
        there = there[1:] if 9 <= step <= 11 else there
        want = None if 9 <= step <= 11 else 100 + 10 * step
        assert place(tracker.next(FRAME, there, cut=False)) == want


def test_who_leaves_is_not_taken_for_who_comes_and_is_known_again():
    tracker = begun(face("ann", 30), face("bob", 300))
    assert tracker.next(FRAME, [face("bob", 60)], cut=False) is None
    for x in range(50, 300, 10):
        assert tracker.next(FRAME, [face("bob", x)], cut=False) is None
    assert tracker.next(FRAME, [], cut=False) is None
    assert place(tracker.next(FRAME, [face("bob", 200), face("ann", 350)], cut=False)) == 350


def test_after_a_cut_the_same_place_is_not_the_same_person():
    tracker = begun(face("ann", 100))
    assert tracker.next(FRAME, [face("ann", 101)], cut=False) is not None
    assert tracker.next(FRAME, [face("bob", 101)], cut=True) is None
    assert tracker.next(FRAME, [face("bob", 101)], cut=False) is None
    assert place(tracker.next(FRAME, [face("ann", 300, look=0.1)], cut=True)) == 300


def test_a_single_face_is_followed_by_its_place_alone():
    asked = []

    def counted(frame, face):
        asked.append(face)
        return describe(frame, face)

    tracker = FaceTracker(counted)
    tracker.begin(FRAME, [face("ann", 100)], 0)
    for step in range(1, 31):
        assert tracker.next(FRAME, [face("ann", 100 + step)], cut=False) is not None
    assert len(asked) <= 5


@given(st.sets(st.integers(0, 30), min_size=1))
def test_spans_name_every_number_once(numbers):
    named = []
    for part in spans_text(sorted(numbers)).split(", "):
        first, _, last = part.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(numbers)
