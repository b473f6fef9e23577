"""Motions finished in a folder: what is read, written and said; CLIP's readings are planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_jax.anchors import finish as module
from mm_jax.anchors.calibrate import WHY_NOT
from mm_jax.anchors.finish import Finish, FinishedMotion, finish_motion
from mm_jax.anchors.readback import ReadBack
from mm_jax.artifacts import Subspace, load_subspace
from mm_jax.errors import DataError, UsageError
from mm_jax.subspace.calibration import Calibration
from tests.anchors.test_calibrate import one_sided
from tests.bin.test_mm_edit_image import subspace

AT = np.linspace(-2, 2, 9)
EVEN = Calibration.measured(AT, np.linspace(0, 1, 9))
PROMPT = "a person with {degree} smile"


def reading(rise: float) -> ReadBack:
    """Four faces whose degree changes by so much from strength -1 to 1."""
    strengths = np.linspace(-1, 1, 5)
    rows = 0.5 + 0.5 * rise * strengths
    return ReadBack(strengths=strengths, readings=np.tile(rows, (4, 1)), controls=np.zeros((2, 5)))


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: Any) -> Any:
    """`finished(Finish(..), read=1.0, curve=EVEN)`: the motion, and what was computed for it."""

    def run(
        how: Finish, *, read: float = 1.0, curve: Any = EVEN, **more: Any
    ) -> tuple[FinishedMotion, list[str]]:
        done: list[str] = []

        def calibrate(*_: Any, template: str, **__: Any) -> Calibration:
            done.append(f"calibrate by {template}")
            if isinstance(curve, Exception):
                raise curve
            return curve

        def find() -> Subspace:
            done.append("find")
            return subspace()

        monkeypatch.setattr(
            module, "read_back", lambda *_, **__: done.append("read") or reading(read)
        )
        monkeypatch.setattr(module, "calibrate", calibrate)
        models: Any = (None, object())
        return finish_motion(*models, find, tmp_path, how, **more), done

    return run


def test_a_motion_is_read_back_calibrated_and_written_once(finished: Any, tmp_path: Path) -> None:
    how = Finish(template=PROMPT, calibrate=PROMPT)
    motion, done = finished(how)
    assert done == ["find", "read", f"calibrate by {PROMPT}"]
    assert motion.fault == "" and motion.words.startswith("degree read back 1.00")
    stored = load_subspace(tmp_path / "subspace.npz")
    assert stored.meta["read_back"] == {"degree_read_back": 1.0, "spearman": 1.0, "found": True}
    assert stored.meta["calibration"] == EVEN.to_dict()
    again, done = finished(how)
    assert done == [] and again.words == motion.words
    # What was read back is known, so only the rest is done again.
    (tmp_path / "subspace.npz").unlink()
    assert finished(how)[1] == ["find", f"calibrate by {PROMPT}"]


def test_a_motion_is_turned_so_that_the_prompt_rises(finished: Any, tmp_path: Path) -> None:
    motion, _ = finished(Finish(template=PROMPT), read=-1.0)
    assert motion.fault == "" and json.loads((tmp_path / "readback.json").read_text())["mirrored"]
    np.testing.assert_allclose(motion.subspace.direction, -np.asarray(subspace().direction))
    (tmp_path / "subspace.npz").unlink()
    np.testing.assert_allclose(
        finished(Finish(template=PROMPT))[0].subspace.direction, motion.subspace.direction
    )


@pytest.mark.parametrize("keep", [False, True])
def test_what_was_not_found_is_written_on_request_alone(
    finished: Any, tmp_path: Path, keep: bool
) -> None:
    motion, done = finished(Finish(template=PROMPT, calibrate=PROMPT, keep=keep), read=0.1)
    assert motion.fault == "nothing was found" and done == ["find", "read"]
    assert (tmp_path / "subspace.npz").exists() == keep
    still, done = finished(Finish(keep=keep, calibrate=PROMPT), still="a.mp4: nothing moves")
    assert (still.fault, still.words) == ("no motion was found", "a.mp4: nothing moves")
    assert done == ([] if keep else ["find"])


@pytest.mark.parametrize(
    ("curve", "why"), [(one_sided(), "not about 0"), (DataError("it hardly rises"), "hardly rises")]
)
def test_what_cannot_be_calibrated_is_written_without(
    finished: Any, tmp_path: Path, curve: Any, why: str
) -> None:
    motion, _ = finished(Finish(template=PROMPT, calibrate=PROMPT), curve=curve)
    stored = load_subspace(tmp_path / "subspace.npz")
    assert Calibration.of(stored.meta) is None and why in stored.meta[WHY_NOT]
    assert why in motion.uncalibrated and motion.fault == ""


def test_a_motion_without_a_prompt_is_not_read(finished: Any, tmp_path: Path) -> None:
    motion, done = finished(Finish())
    assert done == ["find"] and motion.words == "not read back, as there is no prompt"
    assert motion.uncalibrated == "" and not (tmp_path / "readback.json").exists()


def test_what_is_needed_and_damaged(finished: Any, tmp_path: Path) -> None:
    models: Any = (None, None)
    for how in (Finish(template=PROMPT), Finish(without=("aging",)), Finish(calibrate=PROMPT)):
        assert how.needs_clip
        with pytest.raises(UsageError, match="by a CLIP, got none"):
            finish_motion(*models, subspace, tmp_path, how)
    for text, words in (("[]", "must hold a json object, got list"), ("{}", "not what was read")):
        (tmp_path / "readback.json").write_text(text)
        with pytest.raises(DataError, match=words):
            finished(Finish(template=PROMPT))
