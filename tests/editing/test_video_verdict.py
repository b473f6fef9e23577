"""Verdicts on edited videos: which frames are read, and that they are read as they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mm_jax
from mm_jax import media
from mm_jax.alignment import crop_face
from mm_jax.alignment.options import PasteOptions
from mm_jax.artifacts import Latents, save_latents
from mm_jax.editing.video import VideoEdit
from mm_jax.editing.video_folder import VideoVerdict
from mm_jax.editing.video_verdict import judge_video, judged_frames
from mm_jax.faces.readings import Readings
from mm_jax.inversion.judge import InversionVerdict, Likeness
from mm_jax.inversion.video import VideoLatents, piece_files
from mm_jax.media.video_reading import read_frames, video_info
from mm_jax.video.faces import VideoFace
from tests.editing.test_verdict import SMILE, planted

T, SIDE = 9, 16


@pytest.mark.parametrize(
    ("weights", "strengths", "want"),
    [
        ([1] * 9, [[0, 1, 2, 3, 4, 5, 6, 7, 8]], [1, 3, 5, 6, 8]),
        ([1] * 9, [[0, 0, 0, -5, 0, 0, 0, 0, 0]], [3]),
        ([1] * 9, [[0] * 9], [0, 2, 4, 6, 8]),
        ([0] * 6 + [1] * 3, [[1] * 9], [6, 7, 8]),
        ([0] * 9, [[1] * 9], []),
        ([1] * 9, np.zeros((0, 9)), [0, 2, 4, 6, 8]),
    ],
)
def test_frames_are_read_where_the_edit_is_and_where_it_is_most(
    weights: Any, strengths: Any, want: list[int]
) -> None:
    assert judged_frames(np.array(weights, float), np.array(strengths, float)) == want


@pytest.fixture
def latents(tiny_generator: Any, tmp_path: Any) -> VideoLatents:
    rng = np.random.default_rng(0)
    media.save_mp4(tmp_path / "me.mp4", rng.uniform(-1, 1, (T, SIDE, SIDE, 3)), fps=10)
    info = video_info(tmp_path / "me.mp4")
    whole = np.array([[0, 0], [0, SIDE], [SIDE, SIDE], [SIDE, 0]], np.float32) - 0.5
    face = VideoFace(
        tuple(range(T)), np.arange(T) / 10, np.stack([whole] * T), np.ones(T, bool), whole=True
    )
    ws = np.asarray(mm_jax.sample_latents(tiny_generator, seeds=range(T)))
    (tmp_path / "codes").mkdir()
    (name,) = piece_files(info)
    save_latents(tmp_path / name, Latents(ws))
    return VideoLatents(tiny_generator, None, info, face, tmp_path, smoothing=0)


def test_frames_are_read_before_and_after_as_they_are_written(
    tiny_generator: Any, latents: VideoLatents
) -> None:
    seen: list[np.ndarray] = []

    def reader(images: np.ndarray) -> Readings:
        seen.append(images)
        return planted([0.2, 0.9], [0, 0.3])

    edit = VideoEdit(latents, [SMILE], [[0, 1, 0]], 1, None)
    weights, added = np.ones(T), PasteOptions(paste="difference")
    verdict = judge_video(tiny_generator, latents, edit, weights, reader, paste=added)
    places = (1, 3, 4, 5, 7)  # there is no edit at the ends
    assert list(verdict.faces) == [f"frame {i}" for i in places]
    quad = latents.face.quads[0]
    frames = [crop_face(frame, quad, size=SIDE) for _, frame in read_frames(latents.info)]
    for i, (before, after) in zip(places, seen, strict=True):
        np.testing.assert_allclose(before, frames[i], atol=1e-5)
        assert np.abs(after - before).max() > 1e-3
    # A reading counts where the edit is strong.
    moved = [face.moved for face in verdict.faces.values() if face is not None]
    assert [bool(one) for one in moved] == [False, True, True, True, False]
    assert verdict.usable == 5 and "identity changes by 0.30" in verdict.line()
    # Nobody is there, or nobody can look.
    nobody = judge_video(
        tiny_generator, latents, edit, weights, lambda _: planted([None, None], [0, 0]), paste=added
    )
    assert set(nobody.faces.values()) == {None} and "not judged" in nobody.line()
    unread = judge_video(tiny_generator, latents, edit, weights, None, paste=added)
    assert set(unread.faces.values()) == {None}
    # A face that is seen too briefly for an edit is none of use.
    brief = judge_video(tiny_generator, latents, edit, np.zeros(T), reader, paste=added)
    assert not brief.faces and brief.usable == 0 and "not judged" in brief.line()


def test_the_verdict_is_kept_with_that_on_what_is_rebuilt(
    tiny_generator: Any, latents: VideoLatents
) -> None:
    edit = VideoEdit(latents, [SMILE], [[1]], 1, None)
    edited = judge_video(
        tiny_generator, latents, edit, np.ones(T), lambda _: planted([0.2, 0.9], [0, 0.3]),
        paste=PasteOptions(paste="difference"),
    )  # fmt: skip
    alone = VideoVerdict(edited, None)
    assert alone.usable == 5 and alone.good and alone.line() == edited.line()
    smear = Likeness(psnr=12.0, laplacian=1.0, from_mean=1.0, face=False)
    both = VideoVerdict(edited, InversionVerdict({"frame 0": smear}))
    values = both.to_dict()
    assert values["usable"] == both.usable == 0 and not both.good
    assert "0 of 1 frames usable" in values["line"] and "try --paste=move" in values["line"]
    assert edited.line() in values["line"]
    for one in (alone, both):
        assert VideoVerdict.from_dict(one.to_dict()) == one
    brief = VideoVerdict(judge_video(
        tiny_generator, latents, edit, np.zeros(T), None, paste=PasteOptions()
    ), None)  # fmt: skip
    assert not brief.usable and "seen too briefly" in brief.line()


def test_a_face_that_is_lost_is_said_without_a_subspace(
    tiny_generator: Any, latents: VideoLatents
) -> None:
    edit = VideoEdit(latents, [], [], 2, None)
    verdict = judge_video(
        tiny_generator, latents, edit, np.ones(T), lambda _: planted([0.5, None], [0, 0]),
        paste=PasteOptions(),
    )  # fmt: skip
    assert verdict.usable == 0 and "frame 4: no face is found" in verdict.line()
