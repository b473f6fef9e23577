"""Clips are written as streams: whole or not at all, one palette, times, sound and colours kept."""

from fractions import Fraction

import av
import numpy as np
import pytest

from mm_jax import media
from mm_jax.errors import DataError, UsageError
from mm_jax.media import video_writing
from mm_jax.media.timing import MAX_FPS, Timing, as_rate
from mm_jax.media.video_reading import read_frames, video_info
from mm_jax.media.video_writing import check_encoder, padding_note, video_writer
from tests.media.clips import flat, heard, write_clip

COLOURS = np.random.default_rng(0).integers(16, 240, (5, 3))


def coloured(height=32, width=40):
    return [np.broadcast_to(c, (height, width, 3)).astype(np.uint8) for c in COLOURS]


def write(path, frames, **options):
    with video_writer(path, **options) as add:
        for frame in frames:
            add(frame)
    return video_info(path)


@pytest.mark.parametrize(("suffix", "most"), [("mp4", 3), ("gif", 2)])
def test_colours_come_back(tmp_path, suffix, most):
    path = tmp_path / f"a.{suffix}"
    info = write(path, coloured(), fps=10)
    read = [frame.mean(axis=(0, 1)) for _, frame in read_frames(info)]
    assert np.abs(np.array(read) - COLOURS).max() <= most
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_stream_is_the_same_file_as_the_whole(tmp_path):
    frames = np.stack(coloured())
    media.save_mp4(tmp_path / "whole.mp4", frames, fps=10)
    write(tmp_path / "stream.mp4", frames, fps=10)
    assert (tmp_path / "whole.mp4").read_bytes() == (tmp_path / "stream.mp4").read_bytes()


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        (25, Fraction(25)),
        (12.5, Fraction(25, 2)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (240, Fraction(240)),
        (0.1, Fraction(1, 10)),
    ],
)
def test_rates_are_exact(tmp_path, given, rate):
    assert as_rate(given) == rate
    assert write(tmp_path / "a.mp4", coloured(), fps=given).fps == rate


PTS = (3, 40, 80, 95, 110, 500, 540)


@pytest.mark.parametrize(("suffix", "unit"), [("mp4", 1e-9), ("gif", 0.005)])
def test_every_time_is_kept(tmp_path, suffix, unit):
    """Of a varying rate, also how long the last frame is shown."""
    timing = Timing(PTS, Fraction(1, 1000), 800)
    info = write(tmp_path / f"a.{suffix}", flat(7), timing=timing)
    # A GIF leaves out what comes within 20 ms.
    wanted = [pts for pts in PTS if suffix == "mp4" or pts not in (95,)]
    np.testing.assert_allclose(
        info.times, (np.array(wanted) - wanted[0]) / 1000, atol=1.01 * unit, rtol=0
    )
    assert float(info.timing.duration) == pytest.approx(0.797, abs=2.01 * unit)


@pytest.mark.parametrize("fps", [60, 240])
def test_a_gif_of_many_frames_a_second_lasts_as_long(tmp_path, fps):
    info = write(tmp_path / "a.gif", flat(60), fps=fps)
    assert float(info.timing.duration) == pytest.approx(60 / fps, abs=0.021)
    assert info.fps <= 50


@pytest.mark.parametrize(("first", "seconds"), [(0.0, 0.2), (0.0, 0.45), (0.0, 1.5), (0.3, 0.5)])
@pytest.mark.parametrize("codec", ["aac", "libopus"])
def test_sound_is_kept_as_it_is(tmp_path, codec, first, seconds):
    """Shorter than the frames, nearly as long, longer, and late: no frame and no sound is lost."""
    suffix = "mp4" if codec == "aac" else "mkv"
    source = write_clip(tmp_path / f"source.{suffix}", coloured(), sound=(codec, first, seconds))
    info = write(tmp_path / "out.mp4", coloured(), timing=video_info(source).timing, sound=source)
    assert info.frames == 5 and info.sound
    begins, ends, kind = heard(tmp_path / "out.mp4")
    was_begun, was_ended, _ = heard(source)
    assert kind == "aac"
    assert begins == pytest.approx(was_begun, abs=0.01) and was_begun == pytest.approx(
        first, abs=0.03
    )
    assert ends == pytest.approx(was_ended, abs=0.03)


def test_frames_that_begin_after_the_sound_still_do(tmp_path):
    pts = [500 + 100 * i for i in range(5)]
    source = write_clip(
        tmp_path / "source.mkv", coloured(), pts=pts, time_base=Fraction(1, 1000),
        sound=("aac", 0.0, 1.0),
    )  # fmt: skip
    timing = video_info(source).timing
    assert timing.first == Fraction(1, 2)
    info = write(tmp_path / "out.mp4", coloured(), timing=timing, sound=source)
    assert info.timing.first == Fraction(1, 2)
    assert heard(tmp_path / "out.mp4")[0] == pytest.approx(0.0, abs=0.03)


def test_no_sound_is_no_error(tmp_path):
    source = write_clip(tmp_path / "source.mp4", coloured())
    assert not write(tmp_path / "out.mp4", coloured(), sound=source).sound


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "hold no frame"),
        ([np.zeros((8, 8, 3))], "uint8"),
        ([np.zeros((8, 8), np.uint8)], r"\[H, W, 3\]"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)], "differ in size"),
    ],
)
def test_bad_frames_leave_nothing(tmp_path, suffix, frames, message):
    with (
        pytest.raises(DataError, match=message),
        video_writer(tmp_path / f"a.{suffix}") as add,
    ):
        for frame in frames:
            add(frame)
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_caller_leaves_nothing(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), video_writer(tmp_path / "a.mp4") as add:
        add(coloured()[0])
        _ = 1 / 0
    assert (tmp_path / "a.mp4").read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 1


def test_settings_are_checked_before_a_file_is_made(tmp_path):
    for name, options in (
        ("a.avi", {}),
        ("a.mp4", {"fps": 0}),
        ("a.mp4", {"fps": MAX_FPS + 1}),
        ("a.mp4", {"crf": 52}),
    ):
        with pytest.raises(UsageError), video_writer(tmp_path / name, **options):
            pass
    with pytest.raises(UsageError, match=r"named \*\.gif"):
        media.save_gif(tmp_path / "a.mp4", np.zeros((1, 4, 4, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_encoded_is_known_beforehand(tmp_path, monkeypatch):
    for name in ("a.mp4", "a.gif"):
        check_encoder(tmp_path / name, (33, 47))
    with pytest.raises(DataError, match=r"cannot encode a\.mp4"):
        check_encoder("a.mp4", (16, 20000))
    # A sound that is no sound: the bytes of its codec's name are changed.
    source = write_clip(tmp_path / "s.mkv", coloured(), sound=("libopus", 0.0, 0.4))
    check_encoder("a.mp4", (32, 40), sound=source)
    source.write_bytes(source.read_bytes().replace(b"A_OPUS", b"A_XXXX"))
    with pytest.raises(DataError, match=r"sound of .* cannot be kept.*silent copy"):
        check_encoder("a.mp4", (32, 40), sound=source)
    monkeypatch.setattr(video_writing, "MP4_CODEC", "libnothing")
    with pytest.raises(DataError, match=r"no encoder .*libnothing.*PyPI"):
        check_encoder("a.mp4", (32, 40))
    assert {path.name for path in tmp_path.iterdir()} == {"s.mkv"}


def test_an_odd_size_is_said():
    assert padding_note((32, 40)) is None
    assert "401 x 531 is written as 402 x 532" in str(padding_note((531, 401)))


def test_frames_beyond_the_timing(tmp_path):
    with (
        pytest.raises(DataError, match="more frames than the 2"),
        video_writer(tmp_path / "a.mp4", timing=Timing.constant(10, 2)) as add,
    ):
        for frame in coloured():
            add(frame)
    assert not list(tmp_path.iterdir())


def test_the_written_colours_are_named(tmp_path):
    write(tmp_path / "a.mp4", coloured())
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        named = (context.colorspace, context.color_primaries, context.color_trc)
        assert named == (1, 1, 1) and context.color_range == 1 and context.pix_fmt == "yuv420p"
