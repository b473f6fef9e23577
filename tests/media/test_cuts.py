"""Cuts stand out, dissolves mix; pans, zooms, movement, light and copied frames are neither."""

import itertools

import numpy as np
import pytest
from PIL import Image

from mm_jax import zoo
from mm_jax.media.cuts import CutFinder, thumbnail
from mm_jax.media.video_reading import read_frames, video_info
from tests.media.clips import write_clip

RNG = np.random.default_rng(0)
SCENES = RNG.integers(0, 256, (3, 8, 64, 3)).astype(np.uint8).repeat(4, axis=1)  # [3, 32, 64, 3]


def shot(scene, count, *, step=0, copies=1):
    """A scene [32, 32, 3] seen by a camera that moves by `step` pixels a frame."""
    moved = [np.roll(SCENES[scene], -step * i, axis=1)[:, :32] for i in range(count)]
    return [frame for frame in moved for _ in range(copies)]


def cuts(frames):
    finder = CutFinder()
    for frame in frames:
        finder.add(np.clip(frame + RNG.integers(-1, 2, frame.shape), 0, 255).astype(np.uint8))
    return finder.cuts()


@pytest.mark.parametrize(
    ("frames", "wanted"),
    [
        (shot(0, 9) + shot(1, 5) + shot(2, 9), (9, 14)),
        (shot(0, 20, step=3), ()),
        (shot(0, 10, step=3, copies=2), ()),
        (shot(0, 20), ()),
        ([*shot(0, 9), np.full((32, 32, 3), 255), *shot(0, 9)], ()),
        (shot(0, 1), ()),
    ],
)
def test_cuts_of_many_kinds(frames, wanted):
    assert cuts(frames) == wanted


def test_a_video_names_its_shots(tmp_path):
    path = write_clip(tmp_path / "a.mp4", shot(0, 8) + shot(1, 7))
    info = video_info(path)
    assert info.cuts == (8,) and info.shots == (range(8), range(8, 15))


# --- dissolves of the bundled videos of people into each other ------------------------------------

MOTIONS = ("aging", "anger", "closing_eyes", "head_turn", "smile")


@pytest.fixture(scope="module")
def people():
    """[25, 32, 32, 3] thumbnails of each video."""
    folder = zoo.ASSETS / "people-videos"
    infos = {name: video_info(folder / f"{name}.mp4") for name in MOTIONS}
    return {
        name: np.stack([thumbnail(frame) for _, frame in read_frames(info)])
        for name, info in infos.items()
    }


def playing(video, count):
    """The video to its end, back and so on, over so many frames."""
    return video[np.abs(24 - np.arange(count) % 48)].astype(np.float64)


def dissolved(first, second, length):
    """70 frames of each, of which the last of one are mixed with the first of the other."""
    first, second = playing(first, 70), playing(second, 70)
    share = (np.arange(1, length + 1) / (length + 1))[:, None, None, None]
    mixed = (1 - share) * first[70 - length :] + share * second[:length]
    return np.concatenate([first[: 70 - length], mixed, second[length:]])


@pytest.mark.parametrize("length", [1, 2, 3, 6, 12, 24, 40])
def test_a_dissolve_is_found_in_its_middle(people, length):
    """Also while faces move in both shots, but for the head that turns, which does so too fast."""
    still = [name for name in MOTIONS if name != "head_turn"]
    for one, other in itertools.permutations(still, 2):
        found = cuts(dissolved(people[one], people[other], length))
        assert len(found) == 1, (one, other, found)
        assert abs(found[0] - (70 - length + length // 2)) <= max(1, length / 8), (one, other)


def test_a_dissolve_is_found_whatever_is_around_it(people):
    one, other, third = (people[name] for name in ("smile", "anger", "aging"))
    start = dissolved(one, other, 12)
    longer = np.concatenate([start, dissolved(other, third, 24)[46:]])
    first, second, *more = cuts(np.concatenate([longer, playing(one, 30)]))
    assert abs(first - 64) <= 2 and abs(second - (len(longer) - 58)) <= 4
    assert more == [len(longer)]  # a cut, at its very frame


def test_a_face_that_moves_dissolves_into_nothing(people):
    for name, video in people.items():
        for shown in (video, playing(video, 100), video[::2], video.repeat(2, axis=0)):
            assert cuts(shown) == (), name


def painting():
    """A made-up scene of many sizes of detail: [300, 500, 3] in [0, 255]."""
    rng = np.random.default_rng(3)
    scene = np.zeros((300, 500, 3))
    for cell in (10, 20, 50, 100):
        coarse = rng.uniform(-1, 1, (300 // cell, 500 // cell, 3))
        scene += cell**0.5 * coarse.repeat(cell, axis=0).repeat(cell, axis=1)
    return 255 * (scene - scene.min()) / np.ptp(scene)


def seen(scene, x, side):
    """A square of a scene as a thumbnail."""
    image = Image.fromarray(scene.astype(np.uint8))
    box = (x, 0, x + side, side)
    return np.asarray(image.resize((32, 32), Image.Resampling.BOX, box=box), np.float64)


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.0, 2.0, 4.0])
def test_a_camera_that_moves_dissolves_nothing(speed):
    scene = painting()
    assert cuts([seen(scene, min(speed * t, 240), 256) for t in range(60)]) == ()
    assert cuts([seen(scene, 0, max(256 - speed * t, 60)) for t in range(60)]) == ()


@pytest.mark.parametrize("light", ["dims", "fades in", "fades out", "flashes"])
def test_light_that_changes_dissolves_nothing(light):
    scene, time = seen(painting(), 0, 256), np.clip((np.arange(60) - 20) / 20, 0, 1)
    amount = {
        "dims": 1 - 0.6 * time,
        "fades in": time,
        "fades out": 1 - time,
        "flashes": 1 - np.exp(-(((np.arange(60) - 30) / 4) ** 2)),
    }[light]
    towards = 255.0 if light == "flashes" else 0.0
    assert cuts([a * scene + (1 - a) * towards for a in amount]) == ()


def test_a_video_names_the_shots_that_a_dissolve_joins(people, tmp_path):
    frames = dissolved(people["smile"], people["anger"], 12).round().astype(np.uint8)
    path = write_clip(tmp_path / "a.mp4", list(frames.repeat(2, axis=1).repeat(2, axis=2)))
    first, second = video_info(path).shots
    assert abs(len(first) - 64) <= 2 and len(first) + len(second) == 128
