"""Notes on anchors: what failed, what was begun again, and what robust PCA took."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_jax.anchors.calibrate import uncalibrated
from mm_jax.anchors.notes import anchor_notes, prompt_notes
from mm_jax.artifacts import Anchors, Subspace
from mm_jax.perceptual.clip_files import load_clip
from tests.bin.test_mm_edit_image import D, L, subspace


def anchors(**meta: Any) -> Anchors:
    return Anchors(np.zeros((2, L, D)), np.zeros((L, D)), np.array([0.0, 1.0]), meta)


def taken(fraction: float) -> Subspace:
    return dataclasses.replace(subspace(), meta={"rpca": {"sparse_energy": fraction}})


def test_sound_anchors_need_no_note() -> None:
    assert anchor_notes(["a"], [anchors(rises=True)], taken(0.4)) == []


def test_each_failure_is_noted() -> None:
    sets = [
        anchors(rises=False),
        anchors(retried=["50%"], dropped=[{"degree": "no"}, {"frame": 3}]),
    ]
    notes = anchor_notes(["a", "b"], sets, taken(0.6))
    assert len(notes) == 4
    assert notes[0].startswith("a:") and notes[0].endswith("left out")
    assert notes[1].endswith(": 50%") and notes[2].endswith(": no")
    assert "60%" in notes[3] and "--method=svd" in notes[3]
    alone = anchor_notes(["a"], sets[:1], taken(0.0))
    assert len(alone) == 1 and alone[0].endswith("used as it is")


def test_why_a_motion_is_not_calibrated() -> None:
    (note,) = anchor_notes([], [], uncalibrated(subspace(), why="it hardly rises"))
    assert note == "strengths are not calibrated: it hardly rises"


@pytest.mark.parametrize(("degrees", "count"), [(("no", "50%"), 0), (("no", "100%", "very"), 1)])
def test_degrees_without_a_number_are_noted(tiny_clip: Any, degrees: Any, count: int) -> None:
    notes = prompt_notes(tiny_clip, "a person with {degree} smile", degrees)
    about = [note for note in notes if note.startswith("--degrees")]
    assert len(about) == count and all("“very”" in note for note in about)


def test_the_note_on_unknown_words_names_a_file_that_is_there() -> None:
    (note,) = prompt_notes(load_clip("people-clip"), "a person with {degree} hat", ["no", "50%"])
    assert "“hat”" in note and Path(note.split(" listed in ")[1]).is_file()
