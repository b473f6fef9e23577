"""Verdicts on edits, with planted readings on a tiny generator."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import mm_jax
from mm_jax.alignment.options import PasteOptions
from mm_jax.alignment.warp import paste_face
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.artifacts import Latents
from mm_jax.editing.options import EditOptions
from mm_jax.editing.verdict import EditVerdict, judge_edit, targets_of
from mm_jax.faces.judge import READ, TARGETS, judge_face, target_of
from mm_jax.faces.readings import Readings
from tests.bin.test_mm_edit_image import subspace

SMILE = dataclasses.replace(subspace(), meta={"template": MOTIONS["smile"].template})
STRENGTHS = EditOptions(strengths=((-1.0, 0.0, 1.0),))


def planted(happy: Any, descriptors: Any) -> Readings:
    """Readings of as many images as there are values; None is an image without a face."""
    found = np.array([value is not None for value in happy])
    values = {name: np.where(found, 0.5, np.nan) for name in READ}
    values["happy"] = np.array([np.nan if value is None else value for value in happy], float)
    people = np.zeros((len(found), 128), np.float32)
    people[:, 0] = descriptors
    return Readings(values, people, found)


@pytest.mark.parametrize(
    ("happy", "descriptors", "faults", "still"),
    [
        ((0.1, 0.5, 0.9), (0, 0, 0.2), [], []),
        ((0.5, 0.5, 0.51), (0, 0, 0.2), [], ["happy does not move"]),
        ((0.9, 0.5, 0.1), (0, 0, 0.2), [], ["happy goes the wrong way"]),
        ((0.999, 1.0, 1.0), (0, 0, 0.2), [], []),
        ((0.1, 0.5, 0.9), (0, 0, 0.8), ["another person"], []),
        ((0.1, 0.5, None), (0, 0, 0), ["no face is found at strength 1"], []),
        ((None, None, None), (0, 0, 0), ["no face is found at strength -1, 0, 1"], []),
    ],
)
def test_what_is_wrong_is_said(
    happy: Any, descriptors: Any, faults: list[str], still: list[str]
) -> None:
    readings = planted(happy, descriptors)
    edit = judge_face(readings, STRENGTHS.strengths, [("happy", 1)], np.zeros(128))
    for got, want in ((edit.faults, faults), (edit.still, still)):
        assert len(got) == len(want)
        assert all(words in text for words, text in zip(want, got, strict=True))
    drawn = EditVerdict({"me": edit}, [("happy", 1)])
    photograph = dataclasses.replace(drawn, images=True)
    assert drawn.usable == (not faults) and photograph.usable == (not faults + still)
    assert ("NOT AS ASKED" in photograph.line()) == bool(faults + still)
    # Who smiles broadly already is not told that nothing could be read.
    assert ("happy can't be read any higher" in photograph.line()) == (happy[0] == 0.999)
    assert ("moves can't be read" in photograph.line()) == (happy[2] is None)
    assert EditVerdict.from_dict(photograph.to_dict()) == photograph
    painted = dataclasses.replace(photograph, faces={**photograph.faces, "painted": None})
    assert painted.line().startswith(photograph.line().partition(", NOT AS")[0])
    assert "not judged, as no face is found by those who judge: painted" in painted.line()
    for verdict in (drawn, photograph, painted):
        table = verdict.table()
        assert {len(row) for row in table.rows} == {len(table.columns)} == {len(table.units)}
        assert ("detail" in table.columns) == verdict.images == ("Detail:" in table.caption)


def test_a_blurred_face_is_not_as_asked() -> None:
    readings = planted((0.1, 0.5, 0.9), (0, 0, 0.2))
    asked = (readings, STRENGTHS.strengths, [("happy", 1)], np.zeros(128))
    sharp = judge_face(*asked, detail=np.array([1.0, 0.9, 0.8]))
    soft = judge_face(*asked, detail=np.array([1.0, 0.9, 0.25]))
    assert sharp.detail == 0.8 and not sharp.faults
    assert soft.faults == ("is blurred (must keep 50% of the photo's fine detail, keeps 25%)",)
    verdict = EditVerdict({"me": sharp, "you": soft}, [("happy", 1)], images=True)
    assert verdict.usable == 1 and "NOT AS ASKED: you: is blurred" in verdict.line()
    assert EditVerdict.from_dict(verdict.to_dict()) == verdict


def test_each_motion_asks_for_its_reading() -> None:
    assert {name: target_of(motion.template) for name, motion in MOTIONS.items()} == TARGETS
    assert target_of("a {degree} younger woman") == ("age", -1)
    assert target_of("a person with {degree} beard") is None


@pytest.mark.parametrize(
    ("meta", "target"),
    [
        ({"source": "video", "clip": "head_turn.mp4"}, ("yaw", 1)),
        ({"source": "video", "clip": "closing_eyes.mp4"}, ("eyes_open", -1)),
        ({"source": "video", "clip": "holiday.mp4"}, None),
        ({"source": "video"}, None),
        ({"source": "text", "clip": "smile", "template": "turns {degree} left"}, ("yaw", -1)),
        ({}, None),
    ],
)  # fmt: skip
def test_a_motion_from_a_video_is_known_by_the_bundled_video_of_its_name(meta, target) -> None:
    assert targets_of([dataclasses.replace(subspace(), meta=meta)]) == [target]


def test_the_face_in_the_image_is_what_is_read(tiny_generator: Any) -> None:
    ws = np.asarray(mm_jax.sample_latents(tiny_generator, seeds=range(2)))
    latents = Latents(ws, ("one", "two"))
    images = np.full((2, 16, 16, 3), 0.25, np.float32)
    seen: list[np.ndarray] = []

    def reader(batch: np.ndarray) -> Readings:
        seen.append(batch)
        return planted(np.linspace(0.1, 0.9, len(batch)), np.zeros(len(batch)))

    added = PasteOptions(paste="difference")
    verdict = judge_edit(
        tiny_generator, latents, [SMILE], STRENGTHS, reader, images=images, paste=added
    )
    assert list(verdict.faces) == ["one", "two"] and verdict.usable == 2
    before, after = seen[0], seen[1]
    np.testing.assert_allclose(before[0], images[0], atol=1e-6)
    # Strength 0 is the image itself; the others differ from it by what the edit changes.
    np.testing.assert_allclose(after[1], images[0], atol=1e-6)
    edited = np.clip(mm_jax.synthesize(tiny_generator, mm_jax.apply_edit(ws, SMILE, 1.0)[0]), -1, 1)
    rebuilt = np.clip(mm_jax.synthesize(tiny_generator, ws[:1]), -1, 1)
    quad = np.array([[0, 0], [0, 16], [16, 16], [16, 0]]) - 0.5
    want = paste_face(images[0], edited[0], quad, original=rebuilt[0], feather=added.feather)
    np.testing.assert_allclose(after[2], want, atol=1e-5)
    replaced = PasteOptions(paste="replace")
    judge_edit(tiny_generator, latents, [SMILE], STRENGTHS, reader, images=images, paste=replaced)
    own = np.clip(mm_jax.synthesize(tiny_generator, ws[1:]), -1, 1)[0]
    want = paste_face(images[1], own, quad, feather=replaced.feather)
    np.testing.assert_allclose(seen[-1][1], want, atol=1e-5)
    # A grey image has nothing that could be moved: there is no more than what the edit adds.
    judge_edit(tiny_generator, latents, [SMILE], STRENGTHS, reader, images=images)
    assert len(seen[-1]) == 3
    np.testing.assert_allclose(seen[-1][1], images[1], atol=1e-6)


def test_faces_that_cannot_be_read_are_not_judged(tiny_generator: Any) -> None:
    latents = Latents(np.asarray(mm_jax.sample_latents(tiny_generator, seeds=[0])), ("one",))
    verdict = judge_edit(tiny_generator, latents, [SMILE], STRENGTHS, None)
    assert verdict.faces == {"one": None} and verdict.usable == 1
    assert "not judged" in verdict.line()
