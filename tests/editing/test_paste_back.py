"""Whole pictures with edited faces: what is written, in what size, and what stays as it was."""

import numpy as np
import pytest
from PIL import Image

from mm_jax import media
from mm_jax.alignment.faces import Aligned
from mm_jax.alignment.options import PasteOptions
from mm_jax.editing.options import EditOptions
from mm_jax.editing.paste_back import FullImages
from mm_jax.errors import UsageError

SIDE = 8
REBUILT = np.full((SIDE, SIDE, 3), 0.1, np.float32)
# Three frames: as it was, brighter, brighter still.
FRAMES = np.stack([REBUILT, REBUILT + 0.2, REBUILT + 0.4])


def square(left, top, side):
    right, bottom = left + side, top + side
    return np.array([[left, top], [left, bottom], [right, bottom], [right, top]], np.float32)


@pytest.fixture
def photo(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.4, 0.4, (60, 101, 3))
    return media.save_png(tmp_path / "photo.png", noise)


def pictures(photo, tmp_path, formats=("png",), quads=((20, 10, 30),), **paste):
    faces = [
        Aligned(f"face{i}", "photo", photo, square(*quad), REBUILT) for i, quad in enumerate(quads)
    ]
    settings = EditOptions(strengths=((0.0, 0.5, 1.0),), formats=formats, columns=3)
    return FullImages(faces, tmp_path / "out", settings, PasteOptions(**paste))


def read(path):
    return media.to_uint8(media.read_image(path)).astype(int)


def test_only_the_change_is_seen(photo, tmp_path):
    full = pictures(photo, tmp_path)
    assert full.names == ["photo"] and full.missing(0)
    full.add(0, FRAMES, REBUILT)
    assert not full.missing(0)
    written = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert written == set(full.files("photo"))
    before = read(photo)
    frames = [read(tmp_path / "out" / f"photo_full/frame{i:04d}.png") for i in range(3)]
    # Without a change the picture is itself, to the last bit.
    np.testing.assert_array_equal(frames[0], before)
    for i, brighter in ((1, 0.2), (2, 0.4)):
        change = frames[i] - before
        np.testing.assert_allclose(change[25, 35], 127.5 * brighter, atol=1)
        outside = np.ones((60, 101), bool)
        outside[10:41, 20:51] = False
        assert (change[outside] == 0).all()
    np.testing.assert_array_equal(read(tmp_path / "out/photo_full.png"), frames[2])
    strip = read(tmp_path / "out/photo_full_strip.png")
    assert strip.shape == (60, 303, 3)
    np.testing.assert_array_equal(strip[:, 202:], frames[2])


def test_the_face_can_be_replaced(photo, tmp_path):
    full = pictures(photo, tmp_path, paste="replace", feather=0.2)
    full.add(0, FRAMES, REBUILT)
    frame = read(tmp_path / "out/photo_full/frame0000.png")
    np.testing.assert_allclose(frame[25, 35], 127.5 * 1.1, atol=1)


def test_faces_of_one_picture_are_written_together(photo, tmp_path):
    full = pictures(photo, tmp_path, quads=((5, 10, 30), (60, 20, 30)))
    full.add(0, FRAMES, REBUILT)
    assert not (tmp_path / "out").exists() and full.missing(1)
    full.add(1, FRAMES[::-1], REBUILT)
    first, last = (read(tmp_path / f"out/photo_full/frame000{i}.png") for i in (0, 2))
    before = read(photo)
    np.testing.assert_array_equal(first[25, 20], before[25, 20])
    np.testing.assert_allclose((first - before)[35, 75], 51, atol=1)
    np.testing.assert_allclose((last - before)[25, 20], 51, atol=1)
    np.testing.assert_array_equal(last[35, 75], before[35, 75])


def test_clips_are_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr("mm_jax.editing.paste_back._VIDEO_SIDE", 50)
    photo = media.save_png(tmp_path / "photo.png", np.zeros((60, 101, 3), np.float32))
    full = pictures(photo, tmp_path, formats=("gif", "mp4", "npy"))
    full.add(0, FRAMES, REBUILT)
    with Image.open(tmp_path / "out/photo_full.gif") as clip:
        assert clip.size == (50, 30) and getattr(clip, "n_frames", 1) == 4
    assert (tmp_path / "out/photo_full.mp4").stat().st_size > 500
    assert read(tmp_path / "out/photo_full.png").shape == (60, 101, 3)
    assert not full.missing(0)


def test_what_is_there_stays(photo, tmp_path):
    full = pictures(photo, tmp_path)
    full.add(0, FRAMES, REBUILT)
    still = tmp_path / "out/photo_full.png"
    stamp = still.stat().st_mtime_ns
    (tmp_path / "out/photo_full/frame0001.png").unlink()
    assert full.missing(0)
    full.add(0, FRAMES, REBUILT)
    assert not full.missing(0) and still.stat().st_mtime_ns == stamp


def test_settings():
    for feather in (0.0, 1.5, np.nan):
        with pytest.raises(UsageError, match="feather"):
            PasteOptions(feather=feather)
