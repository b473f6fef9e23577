"""Images of anchors: files that are there stay, long videos are compared in a few frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import mm_jax
from mm_jax import media
from mm_jax.anchors.images import draw_images, image_files, save_comparison
from mm_jax.artifacts import Anchors
from tests.bin.test_mm_edit_image import subspace

SIDE = 16


def test_what_is_there_is_not_drawn_again(tiny_generator: Any, tmp_path: Path) -> None:
    ws = np.asarray(mm_jax.sample_latents(tiny_generator, seeds=range(3)))
    anchors = Anchors(ws[1:], ws[0], np.array([0.0, 1.0]), {})
    (tmp_path / "motion.png").write_bytes(b"kept")
    draw_images(tiny_generator, ["a"], [anchors], subspace(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(image_files(["a"]))
    assert (tmp_path / "motion.png").read_bytes() == b"kept"
    # The start, then both anchors.
    drawn = media.read_image(tmp_path / "anchors_a.png")
    first = np.clip(np.asarray(mm_jax.synthesize(tiny_generator, ws[:1]))[0], -1, 1)
    assert drawn.shape[:2] == (SIDE, 3 * SIDE)
    np.testing.assert_allclose(drawn[:, :SIDE], first, atol=0.01)


def test_a_comparison_shows_sixteen_frames_of_a_long_video(
    tiny_generator: Any, tmp_path: Path
) -> None:
    ws = np.asarray(mm_jax.sample_latents(tiny_generator, seeds=range(20)))
    frames = np.linspace(-1, 1, 20, dtype=np.float32)[:, None, None, None]
    frames = np.broadcast_to(frames, (20, SIDE, SIDE, 3))
    save_comparison(tmp_path / "c.png", tiny_generator, frames, ws)
    both = media.read_image(tmp_path / "c.png")
    assert both.shape[0] == 2 * SIDE + 2 and both.shape[1] == 16 * SIDE + 15 * 2
    # The first frame and the last are among them, over what their latents render.
    np.testing.assert_allclose(both[0, [0, -1]], [[-1] * 3, [1] * 3], atol=0.01)
    last = np.clip(np.asarray(mm_jax.synthesize(tiny_generator, ws[-1:]))[0], -1, 1)
    np.testing.assert_allclose(both[-SIDE:, -SIDE:], last, atol=0.01)
