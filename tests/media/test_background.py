"""Frames that are read as they come, and files written in threads: whole, all of them, or none."""

import threading

import numpy as np
import pytest

from mm_jax import media, rendering
from mm_jax.errors import DataError
from mm_jax.latents import sample_latents
from mm_jax.media import background as module
from mm_jax.media.background import Background, Frames, scratch
from mm_jax.media.video_reading import read_frames, video_info

VIDEO = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("most", [0, 1 << 30])
def test_scratch_is_zeros_and_leaves_no_file(tmp_path, monkeypatch, most):
    monkeypatch.setattr(module, "_IN_MEMORY", most)
    array = scratch(tmp_path / "new", (3, 4), np.float32)
    assert isinstance(array, np.memmap) == (most == 0)
    assert array.shape == (3, 4) and array.dtype == np.float32 and not array.any()
    array[1] = 5
    assert array.sum() == 20
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_no_room_is_one_line(tmp_path):
    with pytest.raises(DataError, match="GiB of frames in"):
        scratch(tmp_path, (1 << 60,), np.uint8)


def test_frames_are_read_as_they_come(tmp_path):
    frames = Frames(scratch(tmp_path, VIDEO.shape, np.uint8))
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(frames[i].copy() for i in (4, 0, 2)))
    reader.start()
    for first in (0, 2):
        frames.add(VIDEO[first : first + 2])
        assert not seen
    frames.add(np.concatenate([VIDEO[4:], VIDEO[:1]]))  # one more than fits, which is dropped
    reader.join()
    np.testing.assert_array_equal(seen, VIDEO[[4, 0, 2]])


def likeness(frames, truth):
    """[T] mean absolute difference of frames from what was written."""
    return np.abs(np.asarray(frames, float) - truth).mean(axis=(1, 2, 3))


def test_all_files_are_there_at_the_end_and_the_same_as_without_threads(tmp_path):
    with Background() as background:
        for name in ("a", "b", "c"):
            frames = Frames(scratch(tmp_path, VIDEO.shape, np.uint8))
            paths = [tmp_path / f"{name}.mp4", tmp_path / f"{name}.gif"]
            background.videos(paths, frames, fps=10)
            for picture in VIDEO:
                frames.add(picture[None])
        for i in range(40):
            background.png(tmp_path / f"{i}.png", VIDEO[i % 5])
    for i in range(40):
        got = media.to_uint8(media.read_image(tmp_path / f"{i}.png"))
        np.testing.assert_array_equal(got, VIDEO[i % 5])
    order = list(media.frame_sequence(len(VIDEO)))
    media.save_mp4(tmp_path / "want.mp4", VIDEO[order], fps=10)
    media.save_gif(tmp_path / "want.gif", VIDEO[order], fps=10)
    for kind in ("mp4", "gif"):
        want = [frame for _, frame in read_frames(video_info(tmp_path / f"want.{kind}"))]
        for name in "abc":
            got = [frame for _, frame in read_frames(video_info(tmp_path / f"{name}.{kind}"))]
            if kind == "gif":
                np.testing.assert_array_equal(got, want)
            else:  # on a busy machine x264 has been seen to spend its bits otherwise
                truth = VIDEO[order]
                np.testing.assert_allclose(likeness(got, truth), likeness(want, truth), atol=3)


def test_a_block_that_fails_leaves_nothing_half_done(tmp_path):
    with pytest.raises(KeyboardInterrupt), Background() as background:
        frames = Frames(scratch(tmp_path, VIDEO.shape, np.uint8))
        background.videos([tmp_path / "a.mp4", tmp_path / "a.gif"], frames, fps=10)
        frames.add(VIDEO[:2])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_in_a_thread_is_raised(tmp_path):
    frames = Frames(VIDEO.astype(np.float32))
    frames.add(frames._array)
    with pytest.raises(DataError, match="uint8"), Background() as background:
        background.videos([tmp_path / "a.mp4"], frames, fps=10)
    with pytest.raises(DataError, match="one image"), Background() as background:
        background.png(tmp_path / "a.png", VIDEO)
    assert list(tmp_path.iterdir()) == []


def test_bytes_of_the_device_are_those_of_the_host(tiny_generator, monkeypatch):
    ws = np.asarray(sample_latents(tiny_generator, seeds=range(7)))
    begun = []
    synthesize = rendering.spaces.synthesize

    def counted(*args, **kwargs):
        begun.append(len(args[1]))
        return synthesize(*args, **kwargs)

    monkeypatch.setattr(rendering.spaces, "synthesize", counted)
    flow = rendering.render_batches(tiny_generator, ws, batch=2, as_bytes=True)
    parts = [next(flow)]
    assert begun == [2, 2]  # one step ahead and no more
    parts += list(flow)
    assert [indices.tolist() for indices, _ in parts] == [[0, 1], [2, 3], [4, 5], [6]]
    got = np.concatenate([images for _, images in parts])
    assert got.dtype == np.uint8
    want = media.to_uint8(rendering.render_all(tiny_generator, ws, batch=2))
    np.testing.assert_array_equal(got, want)


def test_bytes_of_nan_are_refused(tiny_generator):
    ws = np.full((1, tiny_generator.config.num_ws, tiny_generator.config.w_dim), np.nan)
    with pytest.raises(DataError, match="NaN"):
        list(rendering.render_batches(tiny_generator, ws, as_bytes=True))
