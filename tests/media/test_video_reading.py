"""Clips of every kind are read as a player shows them, in bounded memory; bad ones are one line."""

import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mm_jax import media
from mm_jax.errors import DataError, UsageError
from mm_jax.media.timing import Timing
from mm_jax.media.video_reading import read_frames, video_info
from mm_jax.media.video_writing import video_writer
from mm_jax.media.videos import VideoInfo, natural_order, sample_frames
from tests.media.clips import flat, write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "a.mp4"
    with video_writer(path, fps=12.5) as add:
        for frame in flat(8):
            add(frame)
    return path


def frames_of(path, indices=None):
    return {index: frame for index, frame in read_frames(video_info(path), indices)}


def levels(path):
    return [frame.mean() for frame in frames_of(path).values()]


def test_an_mp4_is_read_as_it_was_written(clip):
    info = video_info(clip)
    assert (info.frames, info.fps, info.size, info.sound) == (8, 12.5, (32, 48), False)
    read = frames_of(clip)
    assert list(read) == list(range(8))
    for frame, wanted in zip(read.values(), flat(8), strict=True):
        assert frame.dtype == np.uint8
        assert np.abs(frame.astype(int) - wanted).max() <= 2


def test_chosen_frames_are_those_of_the_whole(clip):
    whole, some = frames_of(clip), frames_of(clip, [0, 3, 7])
    assert list(some) == [0, 3, 7]
    for index, frame in some.items():
        np.testing.assert_array_equal(frame, whole[index])


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        ("webm", "libvpx-vp9", "yuv420p"),
        ("mov", "prores", "yuv422p10le"),
        ("avi", "mjpeg", "yuvj420p"),
        ("mkv", "libx264rgb", "rgb24"),
        ("mpg", "mpeg2video", "yuv420p"),
        ("ts", "libx264", "yuv420p"),
    ],
)
def test_other_containers(tmp_path, suffix, codec, pix_fmt):
    path = write_clip(tmp_path / f"a.{suffix}", flat(8), codec=codec, pix_fmt=pix_fmt, rate=25)
    info = video_info(path)
    assert (info.frames, info.fps) == (8, 25)
    np.testing.assert_allclose(levels(path), flat(8)[:, 0, 0, 0], atol=4)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_film_and_ntsc_rates_are_exact(tmp_path, suffix):
    """Matroska counts in milliseconds, so its times of 24000/1001 are rounded."""
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    rate = Fraction(24000, 1001)
    path = write_clip(tmp_path / f"a.{suffix}", flat(12), codec=codec, rate=rate)
    info = video_info(path)
    assert info.fps == rate and info.timing == Timing.constant(rate, 12)


def test_a_varying_rate_keeps_every_time(tmp_path):
    pts = [0, 40, 80, 90, 100, 110, 500, 540]
    path = write_clip(tmp_path / "a.mkv", flat(8), pts=pts, time_base=Fraction(1, 1000), rate=25)
    info = video_info(path)
    np.testing.assert_allclose(info.times, np.array(pts) / 1000, atol=1e-9)
    # Frames are taken evenly in time, not in number.
    assert sample_frames(info, count=3) == (0, 5, 7)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_phone_held_in_any_way(tmp_path, angle, mirrored):
    """Read as PyAV's own reading, turned by what its documentation says of the display matrix."""
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, :24], picture[16:, :24] = 200, 100
    path = write_clip(tmp_path / "a.mp4", [picture] * 2, rotation=(angle, mirrored))
    got = frames_of(path)[0].astype(int)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        matrix = np.frombuffer(bytes(frame.side_data.get("DISPLAYMATRIX") or b""), "<i4")
        stored = frame.to_ndarray(format="rgb24").astype(int)
    turn = matrix.reshape(3, 3)[:2, :2] // 65536 if len(matrix) else np.eye(2, dtype=int)
    # Every stored pixel (x, y), from the middle, is at (x, y) times the matrix.
    y, x = np.mgrid[:32, :48]
    there = np.stack([2 * x - 47, 2 * y - 31], axis=-1) @ turn
    height, width = got.shape[:2]
    assert (height, width) == ((48, 32) if angle % 180 else (32, 48))
    where = (there + np.array([width - 1, height - 1])) // 2
    np.testing.assert_allclose(got[where[..., 1], where[..., 0]], stored, atol=8)


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2), (32, 96)), (Fraction(1, 2), (64, 48)), (None, (32, 48))]
)
def test_pixels_are_made_square(tmp_path, aspect, size):
    path = write_clip(tmp_path / "a.mp4", flat(3), aspect=aspect)
    info = video_info(path)
    assert info.size == size and bool(info.notes) == (aspect is not None)
    assert {frame.shape[:2] for frame in frames_of(path).values()} == {size}


@pytest.mark.parametrize(("transfer", "white"), [(18, 0.75), (16, 0.58)])
def test_high_dynamic_range_is_shown_as_on_a_screen(tmp_path, transfer, white):
    """Paper white (203 cd/m2 by ITU-R BT.2408) is nearly white; read plainly it would be grey."""
    signal = np.linspace(0.0, white, 8)
    frame = av.VideoFrame(64, 32, "yuv420p10le")
    luma = np.repeat(64 + 876 * signal, 8).astype(np.uint16)
    frame.planes[0].update(np.broadcast_to(luma, (32, 64)).tobytes())
    for plane in frame.planes[1:]:
        plane.update(np.full((16, 32), 512, np.uint16).tobytes())
    context = {"color_trc": transfer, "color_primaries": 9, "colorspace": 9, "color_range": 1}
    frame.color_trc, frame.colorspace, frame.color_range = transfer, 9, 1
    frame.color_primaries = 9
    path = write_clip(
        tmp_path / "a.mp4", [frame] * 2, pix_fmt="yuv420p10le", options={"crf": "4"},
        context=context,
    )  # fmt: skip
    assert "high dynamic range" in video_info(path).notes[0]
    shown = frames_of(path)[0][16, 4::8].astype(int)
    assert (np.diff(shown.mean(axis=1)) > 0).all() and np.ptp(shown, axis=1).max() <= 3
    assert shown[0].max() <= 2 and 235 <= shown[-1].min() <= 252


def test_fields_are_made_frames(tmp_path):
    """A bar that moves between the fields of a frame: read plainly, its edge is a comb."""
    woven = []
    for i in range(6):
        fields = [np.full((32, 64, 3), 40, np.uint8) for _ in range(2)]
        for j, field in enumerate(fields):
            field[:, 8 * i + 4 * j :][:, :10] = 220
        frame = fields[0].copy()
        frame[1::2] = fields[1][1::2]
        woven.append(frame)
    path = write_clip(
        tmp_path / "a.mp4", woven, options={"crf": "1", "x264-params": "tff=1"},
        context={"flags": av.codec.context.Flags.interlaced_dct},
    )  # fmt: skip
    info = video_info(path)
    assert info.interlaced and "interlaced" in info.notes[0] and info.frames == 6
    read = frames_of(path)
    assert list(read) == list(range(6))
    comb = [np.abs(np.diff(f[8:24, :, 0].astype(int), axis=0)).mean() for f in read.values()]
    plain = [np.abs(np.diff(f[8:24, :, 0].astype(int), axis=0)).mean() for f in woven]
    assert max(comb[1:-1]) < 0.3 * min(plain)
    np.testing.assert_array_equal(frames_of(path, [3])[3], read[3])


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((4, 32, 32, 4), np.uint8)
    rgba[:, :16] = [255, 0, 0, 255]
    target = tmp_path / "a.webm"
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libvpx-vp9", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuva420p"
        stream.metadata["alpha_mode"] = "1"
        for picture in rgba:
            frame = av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format="yuva420p")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    pictures = [Image.fromarray(np.roll(picture, i, axis=0)) for i, picture in enumerate(rgba)]
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100, disposal=2
    )
    for path, red in ((target, 4), (tmp_path / "a.gif", 8)):
        last = list(frames_of(path).values())[-1].astype(int)
        assert np.abs(last[red, 4] - [255, 0, 0]).max() < 6
        assert np.abs(last[28, 4] - 255).max() < 6


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_animated_images_keep_their_delays(tmp_path, suffix):
    """A delay of less than 20 ms is what browsers make of it, 100 ms."""
    pictures = [Image.fromarray(frame) for frame in flat(4)]
    path = tmp_path / f"a.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[50, 10, 200, 1000])
    info = video_info(path)
    np.testing.assert_allclose(info.times, [0, 0.05, 0.15, 0.35], atol=1e-9)
    assert info.timing.duration == Fraction(135, 100)
    np.testing.assert_allclose(levels(path), flat(4)[:, 0, 0, 0], atol=3)
    assert list(frames_of(path, [1, 3])) == [1, 3]


def test_a_change_of_resolution_is_undone_and_one_of_shape_refused(tmp_path):
    for name, size in (("a", (32, 48)), ("b", (64, 96)), ("c", (48, 48))):
        write_clip(tmp_path / f"{name}.ts", flat(3, *size))
    parts = {name: (tmp_path / f"{name}.ts").read_bytes() for name in "abc"}
    (tmp_path / "ab.ts").write_bytes(parts["a"] + parts["b"])
    (tmp_path / "ac.ts").write_bytes(parts["a"] + parts["c"])
    info = video_info(tmp_path / "ab.ts")
    assert info.frames == 6 and "2 sizes" in info.notes[0]
    assert {frame.shape for frame in frames_of(tmp_path / "ab.ts").values()} == {(32, 48, 3)}
    assert (np.diff(info.times) > 0).all()
    with pytest.raises(DataError, match="change from 48x32 to 48x48"):
        video_info(tmp_path / "ac.ts")


def test_a_folder_in_natural_order(tmp_path):
    for name, value in (("f10", 200), ("f2", 100), ("f1", 0)):
        media.save_png(tmp_path / f"{name}.png", np.full((4, 5, 3), value, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    assert [frame[0, 0, 0] for frame in frames_of(tmp_path).values()] == [0, 100, 200]
    media.save_png(tmp_path / "f3.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(DataError, match="frame 2 is 5x5, those before it are 5x4"):
        frames_of(tmp_path)


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_natural_order_is_that_of_numbers(numbers):
    names = sorted((f"a{n}b.png" for n in numbers), key=natural_order)
    assert names == [f"a{n}b.png" for n in sorted(numbers)]


@given(st.integers(1, 500), st.integers(1, 60), st.floats(0.1, 100))
def test_samples_are_even_and_within(frames, count, fps):
    info = VideoInfo(Path("a.mp4"), Timing.constant(25, frames), (2, 2))
    taken = sample_frames(info, count=count)
    assert len(taken) == min(count, frames) and taken[0] == 0
    if count > 1:
        assert taken[-1] == frames - 1
    by_rate = sample_frames(info, fps=fps)
    for chosen in (taken, by_rate):
        assert sorted(set(chosen)) == list(chosen) and chosen[-1] < frames
        gaps = np.diff(chosen)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    if fps < 25:
        assert len(by_rate) == int((frames - 1) * fps / 25 + 1e-6) + 1


def test_samples_out_of_range(clip):
    info = video_info(clip)
    for options in ({"count": 0}, {"fps": 0.0}, {"count": 2, "fps": 2.0}):
        with pytest.raises(UsageError):
            sample_frames(info, **options)


def test_bad_files_are_one_line(clip, tmp_path):
    whole = clip.read_bytes()
    for name, content in (
        ("empty.mp4", b""),
        ("text.mp4", b"text"),
        ("short.mp4", whole[: len(whole) // 2]),
        ("unfinished.mp4", whole[: whole.index(b"moov") - 4]),
    ):
        (tmp_path / name).write_bytes(content)
    with av.open(str(tmp_path / "sound.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        stream.codec_context.layout = "mono"
        output.mux([*stream.encode(silence), *stream.encode(None)])
    (tmp_path / "folder").mkdir()
    for name, kind in (("image.png", "png"), ("image.gif", "gif"), ("jpeg.png", "jpeg")):
        Image.new("RGB", (32, 32)).save(tmp_path / name, kind)
    for name, message in (
        ("empty.mp4", "the file is empty"),
        ("text.mp4", "it is text, not a video"),
        ("short.mp4", "no frame that can be decoded"),
        ("unfinished.mp4", "not finished or the copy was cut short"),
        ("sound.mp4", "sound, but no images"),
        ("folder", "holds no image"),
        ("missing.mp4", "no such file"),
        ("image.png", "is a PNG image, not a video"),
        ("image.gif", "is a GIF image, not a video"),
        ("jpeg.png", "is a JPEG image, not a video"),
    ):
        with pytest.raises(DataError, match=message) as raised:
            video_info(tmp_path / name)
        assert "\n" not in str(raised.value)


def test_a_clip_with_damage_in_the_middle(tmp_path):
    path = write_clip(tmp_path / "a.avi", flat(8), codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    places = [i for i in range(len(data)) if data[i : i + 3] == b"\xff\xd8\xff"]
    data[places[3] : places[4] - 8] = bytes(places[4] - 8 - places[3])
    path.write_bytes(data)
    info = video_info(path)
    assert info.frames == 7 and "damaged" in info.notes[0]
    assert len(frames_of(path)) == 7


def test_a_clip_of_no_frame(tmp_path):
    path = write_clip(tmp_path / "a.mkv", flat(1))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    with pytest.raises(DataError, match="cannot read"):
        video_info(path)


def test_a_clip_that_shrinks_after_it_was_looked_at(clip):
    info = video_info(clip)
    longer = VideoInfo(info.path, Timing.constant(info.fps, info.frames + 3), info.size)
    with pytest.raises(DataError, match="ends before frame 8"):
        list(read_frames(longer))


def test_ten_thousand_frames_are_never_held(tmp_path):
    def frames():
        for i in range(10_000):
            yield np.full((16, 16, 3), i % 200, np.uint8)

    path = tmp_path / "long.mp4"
    with video_writer(path, fps=60) as add:
        for frame in frames():
            add(frame)
    info = video_info(path)
    assert info.frames == 10_000
    alive: set[int] = set()
    most = 0
    for index, frame in read_frames(info):
        alive.add(index)
        weakref.finalize(frame, alive.discard, index)
        most = max(most, len(alive))
    assert index == 9999 and most <= 3
