import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from mm_jax import media
from mm_jax.errors import DataError, UsageError
from mm_jax.media import video_writing
from mm_jax.media.video_reading import read_frames, video_info


def pictures(count, height=8, width=10, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, height, width, 3)).astype(np.float32)


def smooth(count=6, height=32, width=48):
    ramp = np.linspace(-1, 1, width)[None, None, :, None]
    shift = np.linspace(-0.5, 0.5, count)[:, None, None, None]
    return np.broadcast_to(ramp * 0.5 + shift, (count, height, width, 3)).astype(np.float32)


def test_colours_are_clipped_by_one_rule():
    values = np.array([-5, -1, 0, 1, 5], np.float32)
    image = np.repeat(values[None, :, None], 3, axis=2)
    assert media.to_uint8(image)[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    # A brighter neighbour does not change a picture.
    both = np.stack([image, image * 0.1])
    np.testing.assert_array_equal(media.to_uint8(both)[1], media.to_uint8(both[1]))
    bytes_ = np.zeros((2, 2, 3), np.uint8)
    assert media.to_uint8(bytes_) is bytes_


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_png_round_trip(tmp_path_factory, image):
    path = media.save_png(tmp_path_factory.mktemp("png") / "a.png", image)
    back = media.read_image(path)
    assert back.dtype == np.float32 and back.min() >= -1 and back.max() <= 1
    np.testing.assert_array_equal(media.to_uint8(back), image)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((2, 2, 3), np.nan), "NaN"),
        (np.zeros((2, 2)), r"\[\.\.\., H, W, 3\]"),
        (np.zeros((2, 2, 4)), r"\[\.\.\., H, W, 3\]"),
        (np.zeros((0, 2, 3)), "with no empty axis"),
        (np.zeros((1, 2, 2, 3)), r"\[H, W, 3\]"),
    ],
)
def test_bad_pictures_are_not_written(tmp_path, image, message):
    with pytest.raises(DataError, match=message):
        media.save_png(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = [255, 0, 0, 255]
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = media.read_image(tmp_path / "a.png")
    assert image[0, 0].tolist() == [1, -1, -1] and image[1, 1].tolist() == [1, 1, 1]
    palette = Image.fromarray(rgba[:, :, :3]).quantize(2)
    palette.save(tmp_path / "b.png", transparency=0)
    assert media.read_image(tmp_path / "b.png").shape == (2, 2, 3)


def test_grey_and_sixteen_bits(tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(media.read_image(tmp_path / "a.png")[0, :, 1], [-1, 1])
    Image.fromarray(np.array([[0, 65535, 32768]], np.uint16)).save(tmp_path / "b.png")
    deep = media.read_image(tmp_path / "b.png")
    np.testing.assert_allclose(deep[0, :, 2], [-1, 1, 0], atol=1e-4)


def test_orientation_is_applied(tmp_path):
    image = Image.fromarray(np.zeros((2, 5, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert media.read_image(tmp_path / "a.jpg").shape == (5, 2, 3)


def test_files_that_are_no_pictures_are_data_errors(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        media.read_image(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(DataError, match="not an image"):
        media.read_image(tmp_path / "a.png")
    whole = media.save_png(tmp_path / "b.png", pictures(1, 64, 64)[0]).read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot read"):
        media.read_image(tmp_path / "b.png")
    with pytest.raises(DataError, match="cannot read"):
        media.read_image(tmp_path)


def test_grids_and_strips():
    images = media.to_uint8(pictures(5))
    sheet = media.grid(images, 3, gap=2)
    assert sheet.shape == (2 * 8 + 2, 3 * 10 + 4, 3)
    np.testing.assert_array_equal(sheet[10:18, 12:22], images[4])
    assert (sheet[10:, 24:] == 255).all()
    assert media.grid(images).shape == (16, 30, 3)
    assert media.strip(images).shape == (8, 50, 3)
    rows = media.strip(np.stack([images, images[::-1]]))
    np.testing.assert_array_equal(rows[8:, :10], images[4])
    for options in ({"cols": 0}, {"cols": 2, "gap": -1}):
        with pytest.raises(UsageError, match="cols must be at least 1"):
            media.grid(images, **options)


def test_gif_has_every_frame_and_one_palette(tmp_path):
    frames = smooth()
    path = media.save_gif(tmp_path / "a.gif", frames, fps=10)
    with Image.open(path) as clip:
        assert getattr(clip, "n_frames", 1) == 6 and clip.size == (48, 32)
        assert clip.info["duration"] == 100 and clip.info["loop"] == 0
        clip.seek(5)
        last = np.asarray(clip.convert("RGB")).astype(int)
    assert np.abs(last - media.to_uint8(frames)[5]).mean() < 6


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_mp4_plays_back_and_odd_sizes_are_padded(tmp_path, size):
    frames = smooth(6, *size)
    path = media.save_mp4(tmp_path / "a.mp4", frames, fps=12)
    info = video_info(path)
    height, width = (side + side % 2 for side in size)
    assert (info.size, info.fps, info.frames) == ((height, width), 12, 6)
    (_, shown), *_ = read_frames(info, [3])
    wanted = media.to_uint8(frames)[3].astype(int)
    assert np.abs(shown[: size[0], : size[1]].astype(int) - wanted).mean() < 6
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_clip_settings_are_checked(tmp_path):
    frames = smooth(2)
    for fps in (0, float("nan"), 5000):
        with pytest.raises(UsageError, match="frames per second"):
            media.save_mp4(tmp_path / "a.mp4", frames, fps=fps)
        with pytest.raises(UsageError, match="frames per second"):
            media.save_gif(tmp_path / "a.gif", frames, fps=fps)
    with pytest.raises(UsageError, match="crf"):
        media.save_mp4(tmp_path / "a.mp4", frames, crf=52)
    with pytest.raises(DataError, match=r"\[T, H, W, 3\]"):
        media.save_gif(tmp_path / "a.gif", frames[0])
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_fails_is_a_data_error(tmp_path, monkeypatch):
    monkeypatch.setattr(video_writing, "MP4_CODEC", "libnothing")
    with pytest.raises(DataError, match="cannot encode"):
        media.save_mp4(tmp_path / "a.mp4", smooth(2))
    assert not list(tmp_path.iterdir())


def test_there_and_back_shows_the_ends_once():
    assert media.frame_sequence(4) == [0, 1, 2, 3, 2, 1]
    assert media.frame_sequence(1) == [0] and media.frame_sequence(2) == [0, 1]
    assert media.frame_sequence(3, there_and_back=False) == [0, 1, 2]
    with pytest.raises(UsageError, match="count must be at least 1, got 0"):
        media.frame_sequence(0)
