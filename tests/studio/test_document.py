"""Documents: edits, the time line, names, undo."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_jax.editing.affine import apply_edit
from mm_jax.errors import UsageError
from mm_jax.studio.document import MAX_FACES, SHEET, Document, Face, StudioMotion, distinct
from mm_jax.studio.history import History
from tests.studio.conftest import CALIBRATION, D, L, subspace


def face(seed=0, name="a"):
    ws = np.random.default_rng(seed).standard_normal((L, D)).astype(np.float32)
    return Face(name, ws, {"kind": "file"})


@pytest.fixture
def document():
    motions = tuple(
        StudioMotion(name, subspace(i), {"kind": "file"}) for i, name in enumerate("xy")
    )
    return Document("g", motions=motions).add_face(face(0)).add_face(face(1))


def test_zero_changes_nothing(document):
    own = np.stack([one.ws for one in document.faces])
    assert document.edited().tobytes() == own.tobytes()
    there = document.change("x", strength=0.7)
    assert there.edited().tobytes() != own.tobytes()
    assert there.change("x", strength=0.0).edited().tobytes() == own.tobytes()


def test_edits_add_up_as_apply_edit_does(document):
    moved = document.change("x", strength=0.5).change("y", strength=-1.5, layers=(0, 2))
    ws = np.stack([one.ws for one in document.faces])
    first = np.asarray(apply_edit(ws, document.motions[0].subspace, 0.5))[:, 0] - ws
    second = np.asarray(apply_edit(ws, document.motions[1].subspace, -1.5, layers=[0, 2]))[:, 0]
    np.testing.assert_allclose(moved.edited(), second + first, atol=1e-6)
    np.testing.assert_array_equal(second[:, [1, 3, 4, 5]], ws[:, [1, 3, 4, 5]])


def test_without_keys_motions_grow_to_their_strengths(document):
    amounts = document.change("x", strength=0.8).frames(5)
    np.testing.assert_allclose(amounts, [[0, 0.2, 0.4, 0.6, 0.8], [0] * 5], atol=1e-6)
    ws = document.change("x", strength=0.8).animated(5)
    np.testing.assert_array_equal(ws[:, 0], document.edited())
    np.testing.assert_allclose(ws[:, -1], document.change("x", strength=0.8).edited(), atol=1e-6)


def test_keys_are_joined_by_straight_lines(document):
    keyed = document.set_key("x", 0.5, 1.0).set_key("x", 1.5, -1.0).set_key("y", 0.0, 0.25)
    np.testing.assert_allclose(keyed.frames(5)[0], [1, 1, 0, -1, -1], atol=1e-6)
    np.testing.assert_allclose(keyed.frames(5)[1], 0.25)
    assert keyed.at(1.0).motion("x").strength == pytest.approx(0.0)
    assert keyed.set_key("x", 0.5, 2.0).motion("x").keys[0].strength == 2.0
    assert keyed.remove_key("x", 0.5).motion("x").keys == keyed.motion("x").keys[1:]
    # A time beyond the end is the end.
    assert document.set_key("x", 99.0, 1.0).motion("x").keys[0].time == document.seconds


def test_the_stage_has_room_for_so_many(document):
    for i in range(MAX_FACES - 2):
        document = document.add_face(face(i))
    assert len({one.name for one in document.faces}) == MAX_FACES
    assert document.chosen == MAX_FACES - 1
    with pytest.raises(UsageError, match="at most 6 faces"):
        document.add_face(face())
    assert len(document.add_face(face(), instead=True).faces) == MAX_FACES


def test_the_chosen_face_stays_chosen(document):
    third = document.add_face(face(2, "third")).choose(1)
    assert third.remove_face("a").face is third.faces[1]
    assert third.remove_face(third.faces[1].name).chosen == 1
    assert document.remove_face("a").remove_face("a_2").face is None


def test_looks(document):
    one = document.change("x", strength=0.5).keep_look()
    two = one.change("y", strength=1.0).keep_look()
    assert [name for name, _ in two.looks] == ["Look 1", "Look 2"]
    back = two.set_strengths(dict(two.looks[0][1]))
    assert [motion.strength for motion in back.motions] == [0.5, 0.0]


@given(st.text(max_size=80), st.lists(st.text(max_size=5), max_size=3))
def test_names_are_distinct_and_fit_for_files(name, taken):
    own = distinct(name, taken)
    assert own and own not in taken and "/" not in own and own[0] != "." and "\0" not in own


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["change", "undo", "redo"]), max_size=30))
def test_undo_and_redo_walk_along_one_line(steps):
    history = History(Document("0"))
    line, place = [history.present], 0
    for i, step in enumerate(steps):
        if step == "change":
            line, place = [*line[: place + 1], Document(str(i))], place + 1
            history.commit(line[place])
        elif step == "undo":
            place = max(place - 1, 0)
            history.undo()
        else:
            place = min(place + 1, len(line) - 1)
            history.redo()
        assert history.present is line[place]
        assert (history.can_undo, history.can_redo) == (place > 0, place < len(line) - 1)


def test_key_frames_keep_their_places_in_another_length(document):
    keyed = document.set_key("x", 0.5, 1.0).set_key("x", 2.0, -1.0)
    longer = keyed.lasting(4.0, 10.0)
    assert (longer.seconds, longer.fps) == (4.0, 10.0)
    np.testing.assert_array_equal(longer.frames(9), keyed.frames(9))
    assert longer.lasting(2.0, 20.0).motion("x").keys == keyed.motion("x").keys


def test_a_drag_is_one_step():
    history = History(Document("a"))
    for i in range(20):
        history.show(dataclasses.replace(history.present, generator=f"b{i}"))
    history.commit()
    history.commit()  # nothing has changed since
    assert history.present.generator == "b19"
    history.undo()
    assert history.present.generator == "a" and not history.can_undo


def test_a_calibrated_motion_has_units_of_its_own():
    plain, even = (StudioMotion("a", subspace(0, **meta), {"kind": "file"})
                   for meta in ({}, {"calibration": CALIBRATION}))  # fmt: skip
    assert plain.shown(0.7) == 0.7 and plain.ends is None and plain.calibration is None
    np.testing.assert_allclose(plain.sheet(), np.linspace(-2, 2, SHEET))
    assert even.shown(0.0) == pytest.approx(0.0) and even.shown(1.0) == pytest.approx(1.0)
    assert even.shown(0.5) == pytest.approx((0.5 - 0.2) / (0.65 - 0.2), abs=1e-3)
    assert even.ends == (-0.5, 1.5)
    assert even.sheet()[0] == pytest.approx(-0.5) and even.sheet()[-1] == pytest.approx(1.5)
    steps = np.diff([even.shown(strength) for strength in even.sheet()])
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-3)


def test_where_nothing_rises_from_0_to_1_units_are_the_subspaces_own():
    flat = {"strengths": [-2, -1, 0, 1.8, 2], "readings": [0, 0.9, 0.9, 0.9, 0.91],
            "saturates": [-2, 2]}  # fmt: skip
    motion = StudioMotion("a", subspace(0, calibration=flat), {"kind": "file"})
    assert motion.calibration is None and motion.shown(0.5) == 0.5 and motion.ends is None


def test_of_some_layers_nothing_was_read():
    even = StudioMotion("a", subspace(0, calibration=CALIBRATION, source="text"), {"kind": "file"})
    some = dataclasses.replace(even, layers=(0, 1))
    assert some.calibration is None and some.shown(0.5) == 0.5
    assert dict(some.masked().meta) == {"source": "text"}
