"""mm_edit --video end to end, on a tiny generator: frames, codes, what is added, what is kept."""

import json
import re
from fractions import Fraction

import numpy as np
import pytest

from mm_jax import media
from mm_jax.artifacts import Anchors, load_latents, save_subspace
from mm_jax.inversion import video as inversion_video
from mm_jax.inversion.judge import Likeness
from mm_jax.latents import mean_latent, sample_latents, synthesize
from mm_jax.media import video_writing
from mm_jax.media.video_reading import read_frames, video_info
from mm_jax.subspace import extract_subspace
from tests.media.clips import heard, write_clip

T = 7
# Codes are the mean's: what inversion does is tested where it lives.
QUICK = ("--keep", "--aligned", "--steps=0", "--temporal_weight=0", "--encoder=none", "--batch=4")


@pytest.fixture
def direction(tiny_generator):
    one, other = np.asarray(sample_latents(tiny_generator, seeds=[1, 2]))
    return other - one


@pytest.fixture
def clip(tiny_generator, direction, tmp_path):
    """A clip that moves, of 32 px, and a subspace of its motion."""
    way = np.linspace(0, 1, T, dtype=np.float32)[:, None, None] * direction
    start = np.asarray(mean_latent(tiny_generator))
    frames = np.asarray(synthesize(tiny_generator, start + way))
    media.save_mp4(tmp_path / "me.mp4", frames.repeat(2, axis=1).repeat(2, axis=2), fps=12.5)
    degrees = np.linspace(0, 1, T).astype(np.float32)
    anchors = Anchors(start + way, start[0], degrees)
    save_subspace(tmp_path / "s.npz", extract_subspace(anchors, method="svd"))
    return tmp_path / "me.mp4"


@pytest.fixture
def edit(call, generator_dir):
    return lambda *args: call("mm_edit", f"--generator={generator_dir}", *QUICK, *args)


def frames_of(path):
    return np.stack([frame for _, frame in read_frames(video_info(path))]).astype(int)


def check_cost(err, report, stages):
    """The last line's and the report's stages are those of the work, and add up to the whole."""
    total, cost = re.fullmatch(r"([\d.]+) s, of which .* s \((.*)\)", err.splitlines()[-1]).groups()
    named = dict(one.removesuffix(" s").rsplit(" ", 1) for one in cost.split(", "))
    assert {"opening", *stages, "the rest"} == set(named)
    assert sum(map(float, named.values())) == pytest.approx(
        float(total), abs=0.05 * len(named) + 0.1
    )
    page = report.read_text()
    assert all(f">{stage}</th>" in page for stage in ("opening", *stages, "together"))


def test_a_clip_is_edited_and_keeps_its_rate_and_length(edit, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(inversion_video, "PIECE", 3)
    args = ("--video=me.mp4", "--subspace=s.npz", "--strength=0:1", "--format=mp4,gif,png")
    status, out, err = edit(*args, "--outdir=out")
    assert status == 0, err
    assert "7 frames, 7 with a face" in out
    folder = tmp_path / "out"
    check_cost(err, folder / "report.html", ("latents", "frames"))
    config = json.loads((folder / "config.json").read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(config["outputs"]) == files - {"config.json"}
    assert {f"codes/{i:06d}.npz" for i in (0, 3, 6)} <= files
    info = video_info(folder / "me_edited.mp4")
    assert (info.frames, info.fps) == (T, 12.5)
    before, after = frames_of(clip), frames_of(folder / "me_edited.mp4")
    change = np.abs(after - before).mean(axis=(1, 2, 3))
    # Strength grows from nothing, and so does what is changed.
    assert change[0] < 3 and change[-1] > 2 * change[1] + 2
    # Towards the border the image is the video's own more and more, and wholly in its corners.
    for index, frame in enumerate(before):
        picture = media.to_uint8(media.read_image(folder / f"me/frame{index:06d}.png"))
        assert np.abs(picture.astype(int) - frame)[[0, -1]].max() <= 6
        np.testing.assert_array_equal(
            picture[[0, 0, -1, -1], [0, -1, 0, -1]], frame[[0, 0, -1, -1], [0, -1, 0, -1]]
        )
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*.*")}
    (folder / "codes" / "000003.npz").unlink()
    (folder / "me_edited.mp4").unlink()
    assert edit(*args, "--outdir=out")[0] == 0
    fresh = {p.name for p in folder.rglob("*.*") if stamps[p] != p.stat().st_mtime_ns}
    assert {"000003.npz", "me_edited.mp4"} <= fresh
    assert not {"000000.npz", "000006.npz", "report.html"} & fresh


def test_no_strength_leaves_the_clip_alone(edit, clip, tmp_path):
    """Its pixels, the time of each of its frames, its sound; and an odd size is said."""
    frames = [np.pad(frame, ((0, 1), (0, 1), (0, 0))) for frame in frames_of(clip).astype(np.uint8)]
    pts = [0, 40, 80, 90, 100, 700, 740]
    source = write_clip(
        tmp_path / "odd.mkv", frames, codec="libx264rgb", pix_fmt="rgb24", rate=25, pts=pts,
        time_base=Fraction(1, 1000), sound=("aac", 0.1, 1.5),
    )  # fmt: skip
    args = ("--video=odd.mkv", "--subspace=s.npz", "--strength=0,0,0", "--format=png,mp4")
    status, _, err = edit(*args, "--outdir=out")
    assert status == 0 and "33 x 33 is written as 34 x 34" in err
    for index, frame in read_frames(video_info(source)):
        picture = media.to_uint8(media.read_image(f"out/odd/frame{index:06d}.png"))
        np.testing.assert_array_equal(picture, frame)
    info = video_info(tmp_path / "out" / "odd_edited.mp4")
    np.testing.assert_allclose(info.times, np.array(pts) / 1000, atol=1e-9)
    begins, ends, _ = heard(info.path)
    assert abs(begins - 0.1) < 0.03 and abs(ends - 1.6) < 0.03
    assert "odd.mkv: strength 0<" in (tmp_path / "out" / "report.html").read_text()


def test_amplified_codes_move_further(clip, edit, tiny_generator, direction, tmp_path):
    found = edit("--video=me.mp4", "--amplify=2", "--steps=10", "--smoothing=0", "--outdir=out")
    assert found[0] == 0, found[2]
    ws = np.asarray(load_latents("out/codes/000000.npz").ws)
    assert ws.shape[0] == T
    moved = np.abs(frames_of("out/me_edited.mp4") - frames_of(clip)).mean(axis=(1, 2, 3))
    # The middle of the motion rests, its ends are carried on.
    assert moved[T // 2] < min(moved[0], moved[-1])


def test_a_face_that_is_not_known_is_inverted_near_the_mean(
    edit, clip, tiny_generator, monkeypatch
):
    args = ("--video=me.mp4", "--amplify=2", "--steps=10")
    told = "its frames are inverted near the mean"
    judged: list[float] = []

    def unknown(gen, images, drawn, ws, *, reader):
        judged.extend(len(images) * [float(np.abs(images).max())])
        return len(images) * [Likeness(psnr=12.0, laplacian=1.0, from_mean=1.0, face=False)]

    monkeypatch.setattr(inversion_video, "judge_inversions", unknown)
    far = []
    for name, more in (("pulled", ()), ("free", ("--pull=0",))):
        status, _, err = edit(*args, *more, f"--outdir={name}")
        assert status == 0 and (told in err) == (name == "pulled"), err
        ws = np.asarray(load_latents(f"{name}/codes/000000.npz").ws)
        far.append(np.abs(ws - np.asarray(mean_latent(tiny_generator))).max())
    assert far[0] < far[1] and len(judged) == 4
    # Nobody asks where the latents are there.
    _, _, err = edit(*args, "--outdir=pulled", "--format=gif")
    assert told not in err and len(judged) == 4


def test_a_dead_encoder_is_said_before_the_work(edit, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(video_writing, "MP4_CODEC", "libnothing")
    status, _, err = edit("--video=me.mp4", "--subspace=s.npz", "--outdir=out")
    assert status == 1 and "no encoder" in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("status", "words", "args"),
    [
        (2, "nothing to do", ["--video=me.mp4"]),
        (2, "not two of them", ["--video=me.mp4", "--image=x.png", "--amplify=2"]),
        (2, "does nothing beside --video", ["--video=me.mp4", "--subspace=s.npz", "--tune"]),
        (2, "videos are written as", ["--video=me.mp4", "--subspace=s.npz", "--format=npy"]),
        (2, "along a subspace", ["--video=me.mp4", "--amplify=2", "--strength=0:1"]),
        (2, "amplify must be at least -10 and at most 10", ["--video=me.mp4", "--amplify=99"]),
        (1, "no such file", ["--video=none.mp4", "--amplify=2"]),
        (1, "cannot read", ["--video=empty.mp4", "--amplify=2"]),
    ],
)
def test_bad_usage(edit, clip, tmp_path, status, words, args):
    (tmp_path / "empty.mp4").touch()
    got, _, err = edit(*args, "--outdir=out")
    assert got == status and words in err and err.count("\n") == 1, err
    assert not (tmp_path / "out").exists()
